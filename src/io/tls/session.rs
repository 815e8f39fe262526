//! One connection's TLS: a state machine over buffers of others. Pure.

use std::mem;
use std::sync::Arc;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};
use rustls::{Error, ServerConfig};

use crate::limits;

/// The server's end of one TLS connection.
///
/// Invariants: an idle session holds no buffer (`partial` and `waiting` are empty and unallocated);
/// what is sealed or said by the handshake leaves in the order in which it was made.
pub struct Session {
    connection: UnbufferedServerConnection,
    /// The beginning of a record whose end has not come yet.
    pub partial: Vec<u8>,
    /// Records that the socket has not taken yet.
    pub waiting: Vec<u8>,
    is_closed_by_peer: bool,
    is_broken: bool,
}

impl Session {
    pub fn new(config: Arc<ServerConfig>) -> Result<Session, Error> {
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Session { connection, partial: Vec::new(), waiting: Vec::new(), is_closed_by_peer: false, is_broken: false })
    }

    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// The peer said that it sends no more.
    pub fn is_closed_by_peer(&self) -> bool {
        self.is_closed_by_peer
    }

    /// Takes in `incoming`, which begins with what was `partial`, and hands each piece of plaintext
    /// to `plain`. Answers of the handshake are added to `waiting`.
    ///
    /// Errors: the peer broke the rules, or a record is not authentic; `waiting` then ends with the
    /// alert that says so, and nothing more can be received.
    pub fn receive(&mut self, incoming: &mut [u8], mut plain: impl FnMut(&[u8])) -> Result<(), Error> {
        let mut out = mem::take(&mut self.waiting);
        let (used, result) = self.advance(incoming, &mut plain, &mut out, |_, _| ());
        self.waiting = out;
        result?;
        let rest = &incoming[used..];
        if rest.len() > limits::TLS_PARTIAL_BYTES_MAX {
            return Err(Error::General("a handshake message is too long".into()));
        }
        self.partial = rest.to_vec();
        Ok(())
    }

    /// Adds `plain` to `out` as records.
    ///
    /// Errors: the session is broken, or its keys are used up (2^24 records with TLS 1.2).
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        self.say(out, |traffic, out| append(out, plain.len() + RECORD_OVERHEAD, |room| traffic.encrypt(plain, room)))
    }

    /// Adds the alert to `out` that tells the peer that nothing more comes.
    pub fn seal_end(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.say(out, |traffic, out| append(out, RECORD_OVERHEAD, |room| traffic.queue_close_notify(room)))
    }

    fn say(
        &mut self,
        out: &mut Vec<u8>,
        seal: impl FnOnce(&mut WriteTraffic<'_>, &mut Vec<u8>) -> Result<(), EncryptError>,
    ) -> Result<(), Error> {
        let mut sealed = None;
        let mut partial = mem::take(&mut self.partial);
        // What is whole was received before: there is nothing to take in but what the state says.
        let (used, result) = self.advance(&mut partial, &mut |_: &[u8]| (), out, |traffic, out| {
            sealed = Some(seal(traffic, out));
        });
        partial.drain(..used);
        self.partial = partial;
        result?;
        match sealed {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) => Err(Error::EncryptError),
            None => Err(Error::HandshakeNotComplete),
        }
    }

    /// Runs the state machine until it waits for bytes, and lets `at_rest` seal something if that is
    /// allowed. Returns how many bytes of `incoming` were used.
    fn advance(
        &mut self,
        incoming: &mut [u8],
        plain: &mut impl FnMut(&[u8]),
        out: &mut Vec<u8>,
        at_rest: impl FnOnce(&mut WriteTraffic<'_>, &mut Vec<u8>),
    ) -> (usize, Result<(), Error>) {
        let mut used = 0;
        loop {
            if self.is_broken {
                return (used, Err(Error::General("the session is broken".into())));
            }
            let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(&mut incoming[used..]);
            let rest = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                    match traffic.next_record() {
                        None => break None,
                        Some(Ok(record)) => {
                            discard += record.discard;
                            plain(record.payload);
                        }
                        Some(Err(error)) => break Some(Err(error)),
                    }
                },
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    encode(data, out);
                    None
                }
                // `out` goes to the socket before whatever is made after it.
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    None
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.is_closed_by_peer = true;
                    None
                }
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    at_rest(&mut traffic, out);
                    return (used + discard, Ok(()));
                }
                // BlockedHandshake, or Closed; early data is never offered.
                Ok(_) => Some(Ok(())),
                Err(error) => Some(Err(error)),
            };
            used += discard;
            match rest {
                None => {}
                Some(Ok(())) => return (used, Ok(())),
                Some(Err(error)) => {
                    self.is_broken = true;
                    self.encode_alert(out);
                    return (used, Err(error));
                }
            }
        }
    }

    /// Adds what a broken session still has to say. It takes in nothing more: it would fall over
    /// the same record again.
    fn encode_alert(&mut self, out: &mut Vec<u8>) {
        while self.connection.wants_write() {
            match self.connection.process_tls_records(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, out),
                Ok(ConnectionState::ReadTraffic(mut traffic)) => while traffic.next_record().is_some() {},
                _ => return,
            }
        }
    }
}

fn encode(mut data: EncodeTlsData<'_, ServerConnectionData>, out: &mut Vec<u8>) {
    append(out, 0, |room| data.encode(room)).expect("a buffer of the size that was asked for");
}

type WriteTraffic<'c> = rustls::unbuffered::WriteTraffic<'c, ServerConnectionData>;

/// What a writer of records says when its room is too small.
trait WantsRoom {
    fn required_size(&self) -> Option<usize>;
}

impl WantsRoom for EncodeError {
    fn required_size(&self) -> Option<usize> {
        match self {
            EncodeError::InsufficientSize(size) => Some(size.required_size),
            EncodeError::AlreadyEncoded => None,
        }
    }
}

impl WantsRoom for EncryptError {
    fn required_size(&self) -> Option<usize> {
        match self {
            EncryptError::InsufficientSize(size) => Some(size.required_size),
            EncryptError::EncryptExhausted => None,
        }
    }
}

/// Lets `write` append to `out`, with `guess` bytes of room at first and as many as it asks for then.
fn append<E: WantsRoom>(
    out: &mut Vec<u8>,
    guess: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
) -> Result<(), E> {
    let start = out.len();
    let mut room = guess;
    loop {
        out.resize(start + room, 0);
        match write(&mut out[start..]) {
            Ok(written) => {
                out.truncate(start + written);
                return Ok(());
            }
            Err(error) => {
                out.truncate(start);
                match error.required_size() {
                    Some(required) if required > room => room = required,
                    _ => return Err(error),
                }
            }
        }
    }
}

/// What one record adds to its plaintext at most: header, content type, nonce and tag of either
/// version (RFC 8446, section 5.2; RFC 5288, section 3).
const RECORD_OVERHEAD: usize = 64;
