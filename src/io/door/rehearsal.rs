//! The door without a street: all bytes come at once, then the end. For fuzzing and its corpus.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use axum::body::Body;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};

use super::upgrade::{Asked, decide};
use super::{Options, http_builder};

/// What a connection that sends `bytes` and ends is answered, byte by byte. Requests that are the
/// control plane's business get an empty 404.
pub fn rehearse(options: &Options, bytes: &[u8]) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let mut street = Street { unread: bytes, answer: Vec::new() };
    runtime.expect("a runtime without I/O needs nothing").block_on(async {
        let service = service_fn(|request| {
            let response = answer(options, &request);
            async { Ok::<_, Infallible>(response) }
        });
        // Errors are what the peer did wrong; hyper has answered them.
        let _ = pin!(http_builder(options).serve_connection(&mut street, service)).await;
    });
    street.answer
}

fn answer(options: &Options, request: &Request<Incoming>) -> Response<Body> {
    match decide(options, request) {
        Asked::Socket(response, _) => response,
        Asked::Refused(refusal) => refusal.into_response(),
        Asked::Other => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}

struct Street<'a> {
    unread: &'a [u8],
    answer: Vec<u8>,
}

impl Read for Street<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let (now, later) = self.unread.split_at(self.unread.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.unread = later;
        Poll::Ready(Ok(()))
    }
}

impl Write for Street<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.answer.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
