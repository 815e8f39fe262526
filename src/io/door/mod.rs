//! The door: a connection between accept and upgrade, as HTTP/1.1.
//!
//! hyper reads the heads, tungstenite's handshake functions decide whether one opens a socket, and
//! the socket leaves for the shard's poll set together with the bytes that came behind its head.
//! Every other request goes to the control plane with its body, and its answer comes back here.
//!
//! Invariants: heads are bounded in bytes, fields and time, their senders in number (`guests`); a
//! head that can be read is answered. Must never touch the shard's state. Read `upgrade.rs` first.

mod guests;
mod origin;
mod upgrade;

#[cfg(test)]
mod tests;

pub use origin::{AllowedOrigins, BadOriginPattern};

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};

use crate::limits;
use crate::shard::Opening;
use crate::telemetry::{Counter, ShardMetrics};

use super::Options;
use guests::{Guest, Guests};
use upgrade::{Asked, Refusal, decide};

/// A request for the control plane, and where its answer goes.
pub type ControlRequest = (Request<Incoming>, oneshot::Sender<Response<Body>>);

/// The way to the control plane: bounded, and a request that finds it full is answered 503.
pub type ControlSender = mpsc::Sender<ControlRequest>;

/// A socket that finished its upgrade, on its way to the shard.
pub(super) struct Arrival {
    pub stream: mio::net::TcpStream,
    pub opening: Opening,
    /// What came in behind the head, at most `HEAD_BYTES_MAX`: the connection's first bytes.
    pub read_ahead: Bytes,
}

/// What all connections in one shard's door share.
pub(super) struct Door {
    pub options: Arc<Options>,
    pub control: ControlSender,
    /// Has room for every guest, and one is in it at most once.
    pub arrivals: mpsc::Sender<Arrival>,
    pub metrics: Arc<ShardMetrics>,
    /// Turns true when the node drains: no request after the one in hand.
    pub draining: watch::Receiver<bool>,
    guests: Rc<Guests>,
}

impl Door {
    pub fn new(
        options: Arc<Options>,
        control: ControlSender,
        metrics: Arc<ShardMetrics>,
        draining: watch::Receiver<bool>,
    ) -> (Rc<Door>, mpsc::Receiver<Arrival>) {
        let (arrivals, arriving) = mpsc::channel(limits::DOOR_CONNECTIONS_MAX);
        let guests = Guests::new(limits::DOOR_CONNECTIONS_MAX, Arc::clone(&metrics));
        (Rc::new(Door { options, control, arrivals, metrics, draining, guests }), arriving)
    }

    /// Takes in a connection that was just accepted; gives it back if the door is full.
    pub fn admit(self: &Rc<Self>, stream: TcpStream) -> Result<(), TcpStream> {
        if !self.guests.make_room() {
            return Err(stream);
        }
        let door = Rc::clone(self);
        self.guests.seat(move |guest| async move { door.serve(stream, guest).await });
        Ok(())
    }

    /// Answers the requests of one connection until it leaves or becomes a socket.
    async fn serve(&self, stream: TcpStream, guest: Guest) {
        let granted = Cell::new(None);
        let service = service_fn(|request| async {
            guest.sent_its_head();
            let response = self.answer(request, &granted).await;
            guest.was_answered();
            Ok::<_, Infallible>(response)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.options.head_timeout)
            .max_buf_size(limits::HEAD_BYTES_MAX)
            .max_headers(limits::HEAD_FIELDS_MAX)
            // One that ends its side after a whole request still gets its answer.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let mut draining = self.draining.clone();
        let ended = tokio::select! {
            biased;
            _ = draining.wait_for(|draining| *draining) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            ended = &mut connection => ended,
        };
        match (ended, granted.take()) {
            (Ok(()), Some((upgrade, opening))) => self.hand_over(upgrade, opening).await,
            (Ok(()), None) => {}
            // Unreadable (hyper has answered 4xx), too slow, or gone in the middle of a head.
            (Err(error), _) if error.is_parse() || error.is_timeout() || error.is_incomplete_message() => {
                self.metrics.add(Counter::UpgradesRefused, 1);
            }
            // The network's doing.
            (Err(_), _) => {}
        }
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        granted: &Cell<Option<(OnUpgrade, Opening)>>,
    ) -> Response<Body> {
        match decide(&self.options, &request) {
            Asked::Socket(response, opening) => {
                granted.set(Some((hyper::upgrade::on(&mut request), opening)));
                response
            }
            Asked::Refused(refusal) => {
                self.metrics.add(Counter::UpgradesRefused, 1);
                // Browsers do not show the answer's text to the page's author.
                tracing::debug!(reason = refusal.text, "refused a WebSocket");
                refusal.into_response()
            }
            Asked::Other => self.ask_control(request).await,
        }
    }

    async fn ask_control(&self, request: Request<Incoming>) -> Response<Body> {
        let (answer, answered) = oneshot::channel();
        if self.control.try_send((request, answer)).is_ok()
            && let Ok(response) = answered.await
        {
            return response;
        }
        // Too many requests wait already, or the control plane ends.
        Refusal {
            status: StatusCode::SERVICE_UNAVAILABLE,
            text: "busy: try again".into(),
            hint: Some((hyper::header::RETRY_AFTER, "1")),
        }
        .into_response()
    }

    /// Takes the socket out of hyper and tokio; nothing of theirs stays with it.
    async fn hand_over(&self, upgrade: OnUpgrade, opening: Opening) {
        // An error is a peer that left before it had our answer.
        let Ok(upgraded) = upgrade.await else { return };
        let parts = upgraded.downcast::<TokioIo<TcpStream>>().expect("the door serves plain TCP");
        let Ok(stream) = parts.io.into_inner().into_std() else { return };
        let arrival = Arrival { stream: mio::net::TcpStream::from_std(stream), opening, read_ahead: parts.read_buf };
        // Refused only when the shard's loop has ended.
        let _ = self.arrivals.try_send(arrival);
    }
}
