//! The socket of a TLS connection, against rustls' own client over loopback.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use rustls::{ClientConnection, SupportedProtocolVersion};
use socket2::SockRef;

use super::*;
use crate::io::tls::fixtures::{VERSIONS, client, identity};

/// A connection after its handshake.
struct Pair {
    ours: TlsSocket,
    buffers: Buffers,
    scratch: Vec<u8>,
    peer: ClientConnection,
    wire: TcpStream,
}

impl Pair {
    fn new(version: &'static SupportedProtocolVersion) -> Pair {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let wire = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        SockRef::from(&accepted).set_send_buffer_size(4096).unwrap();
        wire.set_nodelay(true).unwrap();
        let session = Session::new(identity().config).unwrap();
        let ours = TlsSocket::new(mio::net::TcpStream::from_std(accepted), session);
        let scratch = vec![0; limits::READ_SCRATCH_BYTES];
        let mut pair = Pair { ours, buffers: Buffers::default(), scratch, peer: client(version), wire };
        while pair.peer.is_handshaking() || pair.ours.session.is_handshaking() {
            pair.peer_sends();
            pair.read_nothing();
            pair.peer_takes();
        }
        pair
    }

    fn peer_sends(&mut self) {
        while self.peer.wants_write() {
            self.peer.write_tls(&mut self.wire).unwrap();
        }
    }

    /// Takes what is on the wire, without waiting for more.
    fn peer_takes(&mut self) {
        self.wire.set_nonblocking(true).unwrap();
        while let Ok(1..) = self.peer.read_tls(&mut self.wire) {
            self.peer.process_new_packets().unwrap();
        }
        self.wire.set_nonblocking(false).unwrap();
    }

    fn say(&mut self, text: &[u8]) {
        self.peer.writer().write_all(text).unwrap();
        self.peer_sends();
    }

    fn read(&mut self) -> io::Result<Read> {
        self.ours.read(&mut self.scratch, &mut self.buffers)
    }

    fn read_nothing(&mut self) {
        assert_eq!(self.read().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    fn write(&mut self, frames: &[Bytes]) -> io::Result<usize> {
        self.ours.write(frames.iter(), &mut self.buffers)
    }

    /// Reads until `bytes` have come, however often the socket would block in between.
    fn read_all(&mut self, bytes: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < bytes {
            match self.read() {
                Ok(read) => all.extend_from_slice(&self.scratch[..read.bytes]),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        all
    }

    fn holds_nothing(&self) -> bool {
        self.ours.session.partial.capacity() == 0 && self.ours.session.waiting.capacity() == 0
    }
}

fn for_both_versions(test: impl Fn(Pair)) {
    for (version, name) in VERSIONS {
        let pair = Pair::new(version);
        assert_eq!(pair.peer.protocol_version(), Some(name));
        test(pair);
    }
}

#[test]
fn what_is_said_arrives_both_ways_and_nothing_is_held() {
    for_both_versions(|mut pair| {
        pair.say(b"hello");
        assert_eq!(pair.read_all(5), b"hello");
        pair.read_nothing();
        let frames = ["one", ", ", "two"].map(Bytes::from);
        assert_eq!(pair.write(&frames).unwrap(), 8);
        assert_eq!(pair.write(&[]).unwrap(), 0);
        pair.peer_takes();
        let mut text = [0; 8];
        pair.peer.reader().read_exact(&mut text).unwrap();
        assert_eq!(&text, b"one, two");
        assert!(pair.holds_nothing());
    });
}

/// More than the scratch holds, so that records are cut by our reads.
#[test]
fn a_long_message_arrives_in_order() {
    for_both_versions(|mut pair| {
        let text: Vec<u8> = (0..300_000_u32).map(|number| number as u8).collect();
        let mut wire = pair.wire.try_clone().unwrap();
        let (mut records, mut rest) = (Vec::new(), &text[..]);
        while !rest.is_empty() {
            let taken = pair.peer.writer().write(rest).unwrap();
            rest = &rest[taken..];
            while pair.peer.wants_write() {
                pair.peer.write_tls(&mut records).unwrap();
            }
        }
        let sender = std::thread::spawn(move || wire.write_all(&records).unwrap());
        assert!(pair.read_all(text.len()) == text, "in order, and whole");
        sender.join().unwrap();
        assert!(pair.holds_nothing());
    });
}

/// One byte at a time: each cut of a record is met.
#[test]
fn a_record_in_pieces_is_one_message() {
    for_both_versions(|mut pair| {
        pair.peer.writer().write_all(b"hello").unwrap();
        let mut record = Vec::new();
        pair.peer.write_tls(&mut record).unwrap();
        let (last, first) = record.split_last().unwrap();
        for byte in first {
            pair.wire.write_all(&[*byte]).unwrap();
            pair.read_nothing();
        }
        pair.wire.write_all(&[*last]).unwrap();
        assert_eq!(pair.read_all(5), b"hello");
        assert!(pair.holds_nothing());
    });
}

/// The peer does not read: what is sealed is bounded, its last byte is not reported, and nothing is
/// sealed behind it. When the peer reads, everything arrives once.
#[test]
fn a_full_socket_keeps_its_records_and_owes_one_byte() {
    for_both_versions(|mut pair| {
        let text: Vec<u8> = (0..3_000_000_u32).map(|number| (number / 7) as u8).collect();
        let mut unsent = Bytes::from(text.clone());
        let mut cuts = 0;
        let mut arrived = Vec::new();
        while !unsent.is_empty() {
            match pair.write(&[unsent.clone()]) {
                Ok(taken) => {
                    assert!((1..=limits::TLS_SEAL_BYTES_MAX).contains(&taken));
                    let _ = unsent.split_to(taken);
                }
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    assert!(pair.ours.owes_a_byte, "the byte that stands for what waits");
                    assert!(pair.ours.session.waiting.len() <= limits::TLS_SEAL_BYTES_MAX + 64);
                    cuts += 1;
                    pair.peer_takes_plain(&mut arrived);
                }
            }
        }
        assert!(cuts > 0, "the socket was never full");
        while arrived.len() < text.len() {
            pair.peer_takes_plain(&mut arrived);
        }
        assert!(arrived == text, "in order, and once");
        assert!(pair.holds_nothing());
    });
}

impl Pair {
    /// Reads what is in the records on the wire. There may be none: a socket is still full for a moment
    /// after its peer has taken everything, until the kernel has told it so.
    fn peer_takes_plain(&mut self, out: &mut Vec<u8>) {
        self.wire.set_nonblocking(true).unwrap();
        let read = self.peer.read_tls(&mut self.wire);
        self.wire.set_nonblocking(false).unwrap();
        match read {
            Ok(bytes) => assert_ne!(bytes, 0, "the wire is open"),
            Err(error) => return assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        let state = self.peer.process_new_packets().unwrap();
        let start = out.len();
        out.resize(start + state.plaintext_bytes_to_read(), 0);
        self.peer.reader().read_exact(&mut out[start..]).unwrap();
    }
}

#[test]
fn a_cut_frame_gives_more_than_its_first_byte() {
    const MAX: usize = limits::TLS_SEAL_BYTES_MAX;
    let check = |lengths: &[usize], expected: usize| {
        let frames: Vec<_> = lengths.iter().map(|length| Bytes::from(vec![0; *length])).collect();
        assert_eq!(gather(frames.iter(), &mut Vec::new()).len(), expected, "{lengths:?}");
    };
    check(&[], 0);
    check(&[5], 5);
    check(&[MAX + 5], MAX);
    check(&[MAX, 5], MAX);
    check(&[MAX - 2, 5, 5], MAX);
    check(&[MAX - 1, 5, 5], MAX - 1);
    check(&[MAX - 1, 1, 5], MAX);
}

#[test]
fn the_peers_goodbye_is_the_end() {
    for_both_versions(|mut pair| {
        pair.peer.writer().write_all(b"last words").unwrap();
        pair.peer.send_close_notify();
        pair.peer_sends();
        let mut heard = Vec::new();
        loop {
            match pair.read() {
                Ok(Read { bytes: 0, .. }) => break,
                Ok(read) => {
                    heard.extend_from_slice(&pair.scratch[..read.bytes]);
                    // The goodbye may have come with it: then there is no event left for it.
                    assert!(!read.is_drained || !pair.ours.session.is_closed_by_peer());
                }
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        assert_eq!(heard, b"last words");
    });
}

#[test]
fn our_goodbye_is_heard() {
    for_both_versions(|mut pair| {
        pair.write(&[Bytes::from_static(b"last words")]).unwrap();
        pair.ours.end();
        drop(pair.ours);
        let mut stream = rustls::Stream::new(&mut pair.peer, &mut pair.wire);
        let mut heard = String::new();
        // Without the goodbye this is an unexpected end.
        stream.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "last words");
    });
}

#[test]
fn a_forged_record_is_an_error_and_answered_with_an_alert() {
    for_both_versions(|mut pair| {
        pair.wire.write_all(b"\x17\x03\x03\x00\x20this is not a sealed record at a").unwrap();
        let error = loop {
            match pair.read() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => break result.unwrap_err(),
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        pair.peer.read_tls(&mut pair.wire).unwrap();
        let told = pair.peer.process_new_packets().unwrap_err();
        assert_eq!(told, rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac));
    });
}
