//! Out of descriptors. Alone in its process, whose limit it lowers.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use fanfare::io::{self, ControlRequest, PortSharing, RequestSink, ShardSetup, bind, start_shard};
use fanfare::lane::{mesh, tray};
use fanfare::model::ShardId;
use hyper::Response;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

/// Connects and asks for a page over a connection that stays; `None` if it is closed instead.
fn ask(socket: Socket, address: SocketAddr) -> Option<TcpStream> {
    let mut stream = connect(socket, address);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"served") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        answer.extend(byte);
    }
    Some(stream)
}

fn new_socket() -> Socket {
    Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()
}

/// Connects and is told 503. It says nothing, for what it says could come after the close and turn
/// that into a reset; and it keeps its descriptor, which would be one for the hub.
fn is_turned_away(socket: Socket, address: SocketAddr) -> TcpStream {
    let mut stream = connect(socket, address);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    stream
}

fn connect(socket: Socket, address: SocketAddr) -> TcpStream {
    socket.connect(&address.into()).expect("the backlog has room");
    socket.into()
}

/// CPU time of this process, user and system.
fn cpu_time() -> Duration {
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    clock.try_into().expect("time is not negative")
}

#[test]
fn newcomers_are_told_503_and_nothing_spins() {
    let listener = bind((Ipv4Addr::LOCALHOST, 0).into(), 1, PortSharing::Exclusive).unwrap().remove(0);
    let address = listener.local_addr().unwrap();
    let ports = mesh(1, 8).remove(0);
    let (_tray, receiver) = tray(8, Arc::clone(ports.doorbell()));
    let (control, mut asked) = tokio::sync::mpsc::channel::<ControlRequest>(8);
    std::thread::spawn(move || {
        while let Some((_, answer)) = asked.blocking_recv() {
            let _ = answer.send(Response::new(Body::from("served")));
        }
    });
    start_shard(ShardSetup {
        id: ShardId(0),
        core: None,
        listener,
        ports,
        tray: receiver,
        shard_options: Arc::default(),
        // The served connection stays open, with its descriptor.
        tls: None,
        io_options: Arc::new(io::Options { head_timeout: Duration::from_secs(600), ..io::Options::default() }),
        admission: Arc::default(),
        metrics: Arc::default(),
        control,
        jobs: Box::new(Err),
        requests: RequestSink { submit: Box::new(Err), wake: Box::new(|| ()) },
        seed: 0,
        start: Instant::now(),
        drained: Box::new(|| ()),
    })
    .unwrap();

    // These have their descriptors before there are none left.
    let [served, first, second] = [new_socket(), new_socket(), new_socket()];
    let _served = ask(served, address).expect("there are descriptors");

    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum }).unwrap();
    let hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(!hoard.is_empty());
    let _first = is_turned_away(first, address);

    // Still exhausted: the next one costs a pause, not a spinning core.
    let (begun, cpu) = (Instant::now(), cpu_time());
    let _second = is_turned_away(second, address);
    let (took, cpu) = (begun.elapsed(), cpu_time() - cpu);
    assert!(cpu < Duration::from_millis(30), "{cpu:?} of CPU in {took:?}");

    // As before, once it has seen that there are descriptors again.
    drop(hoard);
    while ask(new_socket(), address).is_none() {}
}
