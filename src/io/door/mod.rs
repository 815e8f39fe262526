//! The door: a connection between accept and upgrade, as HTTP/1.1, over TLS where the port speaks it.
//!
//! hyper reads the heads, tungstenite's handshake functions decide whether one opens a socket, and
//! the socket leaves for the shard's poll set together with the bytes that came behind its head.
//! Every other request goes to the control plane with its body, and its answer comes back here.
//!
//! Invariants: heads are bounded in bytes, fields and time, their senders in number (`guests`); a
//! head that can be read is answered. Must never touch the shard's state. Read `upgrade.rs` first.

mod guests;
mod handshake;
mod origin;
mod rehearsal;
mod upgrade;

#[cfg(test)]
mod tests;

pub use origin::{AllowedOrigins, BadOriginPattern};
pub use rehearsal::rehearse;

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::limits;
use crate::shard::Opening;
use crate::telemetry::{Counter, ShardMetrics};

use super::Options;
use super::admission::{Admission, Crowded, Place};
use super::socket::Socket;
use super::tls::{Newest, Parts, Ration, Stream, TlsSocket};
use guests::{Guest, Guests};
use handshake::Handshakes;
use upgrade::{Asked, Refusal, decide, user_of};

/// A request for the control plane, and where its answer goes.
pub type ControlRequest = (Request<Incoming>, oneshot::Sender<Response<Body>>);

/// The way to the control plane: bounded, and a request that finds it full is answered 503.
pub type ControlSender = mpsc::Sender<ControlRequest>;

/// A socket that finished its upgrade, on its way to the shard.
pub(super) struct Arrival {
    pub socket: Socket,
    pub opening: Opening,
    pub place: Place,
    /// Who it is, if that is said in a header that clients can't set.
    pub user: Option<Box<str>>,
    /// What came in behind the head, at most `READ_AHEAD_BYTES_MAX`: the connection's first bytes.
    pub read_ahead: Bytes,
}

/// A socket that was granted, while its answer is on its way.
struct Granted {
    upgrade: OnUpgrade,
    opening: Opening,
    place: Place,
    user: Option<Box<str>>,
}

/// What the door is told of the node, as it changes.
pub(super) struct Told {
    /// Turns true when the node drains: no request after the one in hand.
    pub draining: watch::Receiver<bool>,
    /// Memory is above its limit: no new sockets.
    pub full: watch::Receiver<bool>,
}

/// What all connections in one shard's door share.
pub(super) struct Door {
    pub options: Arc<Options>,
    pub control: ControlSender,
    /// Has room for every guest, and one is in it at most once.
    pub arrivals: mpsc::Sender<Arrival>,
    pub admission: Arc<Admission>,
    pub metrics: Arc<ShardMetrics>,
    pub told: Told,
    guests: Rc<Guests>,
    /// `None`: the port is plain.
    handshakes: Option<Handshakes>,
}

impl Door {
    /// With `tls`, the port speaks nothing else, and handshakes keep to the ration.
    pub fn new(
        options: Arc<Options>,
        control: ControlSender,
        admission: Arc<Admission>,
        metrics: Arc<ShardMetrics>,
        told: Told,
        tls: Option<(Newest, Rc<Ration>)>,
    ) -> (Rc<Door>, mpsc::Receiver<Arrival>) {
        let handshakes = tls.map(|(newest, ration)| Handshakes::new(newest, ration));
        let (arrivals, arriving) = mpsc::channel(limits::DOOR_CONNECTIONS_MAX);
        let guests = Guests::new(limits::DOOR_CONNECTIONS_MAX, Arc::clone(&metrics));
        (Rc::new(Door { options, control, arrivals, admission, metrics, told, guests, handshakes }), arriving)
    }

    /// Takes in a connection that was just accepted; gives it back if the door is full.
    pub fn admit(self: &Rc<Self>, stream: TcpStream) -> Result<(), TcpStream> {
        if !self.guests.make_room() {
            return Err(stream);
        }
        let door = Rc::clone(self);
        self.guests.seat(move |guest| async move {
            match &door.handshakes {
                None => door.serve(stream, guest).await,
                Some(handshakes) => {
                    if let Some(stream) = door.shake(handshakes, stream, &guest).await {
                        door.serve(stream, guest).await;
                    }
                }
            }
        });
        Ok(())
    }

    /// Waits until there is CPU time for a newcomer: at once at a plain port.
    pub async fn let_pass(&self) {
        if let Some(handshakes) = &self.handshakes {
            handshakes.let_pass().await;
        }
    }

    async fn shake(&self, handshakes: &Handshakes, stream: TcpStream, guest: &Guest) -> Option<Stream> {
        // Nobody waits long for us here: those who would are still in the listener's backlog.
        let shaken = timeout(self.options.head_timeout, handshakes.shake(stream, guest)).await;
        match shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                self.metrics.add(Counter::Handshakes, 1);
                Some(stream)
            }
            Err(error) => {
                self.metrics.add(Counter::HandshakesFailed, 1);
                tracing::debug!(%error, "a TLS handshake failed");
                None
            }
        }
    }

    /// Answers the requests of one connection until it leaves or becomes a socket.
    async fn serve<S: Street>(&self, stream: S, guest: Guest) {
        let granted = Cell::new(None);
        let service = service_fn(|request| async {
            guest.is_waiting();
            let response = self.answer(request, &granted).await;
            guest.is_owing();
            Ok::<_, Infallible>(response)
        });
        let connection = http_builder(&self.options).serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut connection = pin!(connection);
        let mut draining = self.told.draining.clone();
        let ended = tokio::select! {
            biased;
            _ = draining.wait_for(|draining| *draining) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            ended = &mut connection => ended,
        };
        match (ended, granted.take()) {
            (Ok(()), Some(granted)) => self.hand_over::<S>(granted).await,
            (Ok(()), None) => {}
            // Unreadable (hyper has answered 4xx), too slow, or gone in the middle of a head.
            (Err(error), _) if error.is_parse() || error.is_timeout() || error.is_incomplete_message() => {
                self.metrics.add(Counter::RefusedForHead, 1);
            }
            // The network's doing.
            (Err(_), _) => {}
        }
    }

    async fn answer(&self, mut request: Request<Incoming>, granted: &Cell<Option<Granted>>) -> Response<Body> {
        let refused = match decide(&self.options, &request) {
            Asked::Socket(response, opening) => match self.take_place() {
                Ok(place) => {
                    let user = user_of(&self.options, request.headers());
                    granted.set(Some(Granted { upgrade: hyper::upgrade::on(&mut request), opening, place, user }));
                    return response;
                }
                Err(refusal) => refusal,
            },
            Asked::Refused(refusal) => refusal,
            Asked::Other => return self.ask_control(request).await,
        };
        self.metrics.add(refused.counter, 1);
        // Browsers do not show the answer's text to the page's author.
        tracing::debug!(reason = refused.text, "refused a WebSocket");
        refused.into_response()
    }

    /// A place for one socket more, as far as memory and the node's limits allow.
    fn take_place(&self) -> Result<Place, Refusal> {
        if *self.told.full.borrow() {
            let text = "out of memory for more clients: try again, at another node if there is one";
            return Err(Refusal::busy(text, Counter::RefusedForMemory));
        }
        self.admission.admit().map_err(|crowded| match crowded {
            Crowded::Connections => Refusal::busy(
                "this node has as many clients as client.connection_limit allows: try again, at another node",
                Counter::RefusedForConnectionLimit,
            ),
            Crowded::Rate => Refusal::busy(
                "more clients connect in a second than client.connection_rate_limit allows: try again",
                Counter::RefusedForRate,
            ),
        })
    }

    async fn ask_control(&self, request: Request<Incoming>) -> Response<Body> {
        let (answer, answered) = oneshot::channel();
        if self.control.try_send((request, answer)).is_ok()
            && let Ok(response) = answered.await
        {
            return response;
        }
        // Too many requests wait already, or the control plane ends.
        self.metrics.add(Counter::RefusedForControl, 1);
        Refusal::busy("busy: try again", Counter::RefusedForControl).into_response()
    }

    /// Takes the socket out of hyper and tokio; nothing of theirs stays with it.
    async fn hand_over<S: Street>(&self, granted: Granted) {
        let Granted { upgrade, opening, place, user } = granted;
        // An error is a peer that left before it had our answer.
        let Ok(upgraded) = upgrade.await else { return };
        let parts = upgraded.downcast::<TokioIo<S>>().expect("what comes out of hyper went in");
        let Ok((socket, read_ahead)) = parts.io.into_inner().into_socket(parts.read_buf) else { return };
        // Refused only when the shard's loop has ended.
        let _ = self.arrivals.try_send(Arrival { socket, opening, place, user, read_ahead });
    }
}

/// HTTP/1.1 as the door speaks it.
fn http_builder(options: &Options) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(options.head_timeout)
        .max_buf_size(limits::HEAD_BYTES_MAX)
        .max_headers(limits::HEAD_FIELDS_MAX)
        // One that ends its side after a whole request still gets its answer.
        .half_close(true);
    builder
}

/// How bytes come in from the street: as they are, or in records.
trait Street: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The socket for the shard's poll set, and its first bytes: `read_ahead` and what lies behind it.
    fn into_socket(self, read_ahead: Bytes) -> io::Result<(Socket, Bytes)>;
}

impl Street for TcpStream {
    fn into_socket(self, read_ahead: Bytes) -> io::Result<(Socket, Bytes)> {
        Ok((Socket::plain(mio::net::TcpStream::from_std(self.into_std()?)), read_ahead))
    }
}

impl Street for Stream {
    fn into_socket(self, read_ahead: Bytes) -> io::Result<(Socket, Bytes)> {
        let Parts { tcp, session, plain } = self.into_parts();
        let stream = mio::net::TcpStream::from_std(tcp.into_std()?);
        let read_ahead = if plain.is_empty() { read_ahead } else { [&read_ahead[..], &plain].concat().into() };
        Ok((Socket::Tls(Box::new(TlsSocket::new(stream, session))), read_ahead))
    }
}
