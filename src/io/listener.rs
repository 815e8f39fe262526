//! The port: one listener for each shard, all on the same address; and how the next process takes it over.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, TcpKeepalive, Type};

use crate::limits;

/// Binds `shards` listeners to one address; the kernel spreads connections over them by their
/// addresses. With port 0 all share the port that the first was given.
///
/// Errors: the address is not ours, or another program has the port. The latter is found out by an
/// exclusive bind first, for SO_REUSEPORT would let two programs of one user share the port, each
/// with half of the connections, and neither would know. That is left out where it is wanted.
pub fn bind(address: SocketAddr, shards: usize, sharing: PortSharing) -> io::Result<Vec<TcpListener>> {
    if sharing == PortSharing::Exclusive {
        drop(bound_socket(address).map_err(|error| explain(address, &error))?);
    }
    let mut address = address;
    let mut listeners = Vec::with_capacity(shards);
    for _ in 0..shards {
        let listener = shared_listener(address).map_err(|error| explain(address, &error))?;
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Whether another process may have the port too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortSharing {
    Exclusive,
    /// With processes of the same user: the one that comes, and the one that goes.
    WithOthers,
}

/// The listeners once more, for the process that leaves its port to another one.
pub struct SharedPort(Vec<TcpListener>);

impl SharedPort {
    pub fn of(listeners: &[TcpListener]) -> io::Result<SharedPort> {
        listeners.iter().map(TcpListener::try_clone).collect::<io::Result<_>>().map(SharedPort)
    }

    /// From now on nobody new begins to connect here, while those who have begun are accepted as before. Once the
    /// listeners are closed all newcomers are the other process's, also those that knocked here meanwhile: TCP has
    /// them knock again after a second. Closing the listeners at once instead would refuse who stands in the backlog.
    pub fn turn_newcomers_away(self) -> io::Result<()> {
        self.0.iter().try_for_each(|listener| SockRef::from(listener).attach_filter(&without_first_packets()))
    }
}

/// Takes every packet but those that begin a connection: SYN without ACK. Accepted sockets inherit it, and their
/// peers send no such packet.
fn without_first_packets() -> [SockFilter; 5] {
    [
        SockFilter::new(LOAD_BYTE, 0, 0, TCP_FLAGS_AT),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}

// Classic BPF (linux/filter.h): BPF_LD | BPF_B | BPF_ABS, BPF_ALU | BPF_AND | BPF_K, BPF_JMP | BPF_JEQ | BPF_K,
// BPF_RET | BPF_K. Packets begin with the TCP header; its flags: RFC 9293, section 3.1.
const LOAD_BYTE: u16 = 0x30;
const AND: u16 = 0x54;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
const TCP_FLAGS_AT: u32 = 13;
const SYN: u32 = 0x02;
const ACK: u32 = 0x10;

fn shared_listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = new_socket(address)?;
    socket.set_reuse_port(true)?;
    // What is set here the accepted sockets inherit (Linux, tcp(7)): no system call for each.
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(limits::SOCKET_SEND_BYTES)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(limits::SOCKET_KEEPALIVE).with_interval(limits::SOCKET_KEEPALIVE),
    )?;
    socket.bind(&address.into())?;
    socket.listen(limits::LISTEN_BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A socket that has the address for itself, as long as it lives.
fn bound_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = new_socket(address)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn new_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Only against connections of an earlier run in TIME_WAIT; a listener still stands in the way.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` means every address of the machine.
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

/// Says what, where and the fix.
fn explain(address: SocketAddr, error: &io::Error) -> io::Error {
    let port = address.port();
    let explained = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "port {port} is in use by another program: stop that one, or choose another port with --port \
                 (http_server.reuse_port lets a hub share it with the one that it takes the place of)"
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{} is no address of this machine: choose one with --address", address.ip())
        }
        io::ErrorKind::PermissionDenied => {
            format!("port {port} needs privileges: choose one above 1023 with --port")
        }
        _ => format!("can't listen on {address}: {error}"),
    };
    io::Error::new(error.kind(), explained)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};

    use super::PortSharing::{Exclusive, WithOthers};
    use super::*;

    const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn a_port_in_use_is_an_error_that_says_so() {
        let other = TcpListener::bind(ANY_PORT).unwrap();
        let address = other.local_addr().unwrap();
        let error = bind(address, 2, Exclusive).expect_err("the port is taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let expected = format!("port {} is in use by another program", address.port());
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert!(error.to_string().contains("--port"), "{error}");
    }

    /// Without the exclusive bind this second hub would take half of the first one's connections.
    #[test]
    fn a_second_hub_does_not_share_the_port() {
        let first = bind(ANY_PORT, 2, WithOthers).unwrap();
        let error = bind(first[0].local_addr().unwrap(), 2, Exclusive).expect_err("the port is the first one's");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_port_is_free_again_after_its_hub() {
        let first = bind(ANY_PORT, 1, Exclusive).unwrap();
        let address = first[0].local_addr().unwrap();
        // Closed from our side first, so that its end lingers in TIME_WAIT.
        let mut client = TcpStream::connect(address).unwrap();
        first[0].set_nonblocking(false).unwrap();
        drop(first[0].accept().unwrap());
        client.read_to_end(&mut Vec::new()).unwrap();
        drop((client, first));
        bind(address, 2, Exclusive).expect("the port is free");
    }

    #[test]
    fn all_shards_listen_on_one_port_and_share_its_connections() {
        let listeners = bind(ANY_PORT, 4, Exclusive).unwrap();
        let address = listeners[0].local_addr().unwrap();
        assert!(listeners.iter().all(|listener| listener.local_addr().unwrap() == address));

        let clients: Vec<_> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
        let accepted: Vec<usize> =
            listeners.iter().map(|listener| std::iter::from_fn(|| listener.accept().ok()).count()).collect();
        assert_eq!(accepted.iter().sum::<usize>(), clients.len());
        assert!(accepted.iter().all(|share| *share > 0), "{accepted:?}");
    }

    #[test]
    fn a_port_goes_over_to_another_process_and_nobody_is_refused() {
        let first = bind(ANY_PORT, 2, Exclusive).unwrap();
        let address = first[0].local_addr().unwrap();
        let second = bind(address, 2, WithOthers).expect("both want to share it");
        let waiting: Vec<_> = (0..50).map(|_| TcpStream::connect(address).unwrap()).collect();
        SharedPort::of(&first).unwrap().turn_newcomers_away().unwrap();
        // Some knock at the first one's listeners, which are silent, and again when there are only the second one's.
        let knocking = std::thread::spawn(move || (0..50).map(|_| TcpStream::connect(address)).collect::<Vec<_>>());
        let accepted = |listeners: &[TcpListener]| {
            listeners.iter().map(|listener| std::iter::from_fn(|| listener.accept().ok()).count()).sum::<usize>()
        };
        let (of_first, of_second) = (accepted(&first), accepted(&second));
        drop(first);
        let knocked = knocking.join().unwrap();
        assert!(knocked.iter().all(|connected| connected.is_ok()), "{knocked:?}");
        assert!(of_first > 0, "those in its backlog are its own");
        assert_eq!(of_first + of_second + accepted(&second), waiting.len() + knocked.len());
    }

    #[test]
    fn accepted_sockets_inherit_their_options() {
        let listeners = bind(ANY_PORT, 1, Exclusive).unwrap();
        let _client = TcpStream::connect(listeners[0].local_addr().unwrap()).unwrap();
        listeners[0].set_nonblocking(false).unwrap();
        let (accepted, _) = listeners[0].accept().unwrap();
        let socket = SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), limits::SOCKET_KEEPALIVE);
        // Doubled by the kernel (socket(7)), unless net.core.wmem_max is lower.
        assert!(socket.send_buffer_size().unwrap() <= 2 * limits::SOCKET_SEND_BYTES);
    }

    #[test]
    fn ipv6_is_bound_too_where_there_is_any() {
        match bind((Ipv6Addr::LOCALHOST, 0).into(), 2, Exclusive) {
            Ok(listeners) => assert_eq!(listeners.len(), 2),
            Err(error) => assert!(error.to_string().contains("--address"), "{error}"),
        }
    }
}
