//! Runs the control plane's router: for an own listener, and for requests that shards pass on.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::sleep;
use tower::ServiceExt;

use crate::limits::{ACCEPT_RETRY, CONTROL_REQUESTS_MAX, HEAD_BYTES_MAX, HEAD_FIELDS_MAX, HEAD_TIMEOUT};

/// A request that a shard's door read and is not for it, and where the answer goes. Dropped
/// unanswered when the control plane stops.
pub type Forwarded = (Request<Incoming>, oneshot::Sender<Response<Body>>);

/// Answers what the shards pass on, until they all hung up. At most [`CONTROL_REQUESTS_MAX`] at a
/// time: further ones wait in the channel, and then in their sockets.
pub async fn serve_forwarded(router: Router, mut requests: mpsc::Receiver<Forwarded>) {
    let permits = Arc::new(Semaphore::new(CONTROL_REQUESTS_MAX));
    while let Some((request, answer)) = requests.recv().await {
        let permit = Arc::clone(&permits).acquire_owned().await.expect("nobody closes the permits");
        let router = router.clone();
        tokio::spawn(async move {
            let response = route(router, request).await;
            // The asker may be gone by now.
            drop(answer.send(response));
            drop(permit);
        });
    }
}

/// Serves the router on an own listener, until the task is dropped. At most
/// [`CONTROL_REQUESTS_MAX`] sockets are open at a time; further ones are not accepted yet. `open`
/// makes of each what HTTP is spoken over: itself, or TLS.
pub async fn serve_listener<S, F>(
    router: Router,
    listener: TcpListener,
    open: impl Fn(TcpStream) -> F + Send + Sync + 'static,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = io::Result<S>> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(CONTROL_REQUESTS_MAX));
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await.expect("nobody closes the permits");
        match listener.accept().await {
            Ok((socket, _)) => {
                let router = router.clone();
                let opened = open(socket);
                tokio::spawn(async move {
                    match opened.await {
                        Ok(socket) => serve_socket(router, socket).await,
                        Err(error) => tracing::debug!(%error, "a socket of the internal port did not open"),
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                // Most likely no descriptor is left: an accept loop would spin on that.
                tracing::warn!(%error, "the internal port can't accept");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn serve_socket<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(router: Router, socket: S) {
    let service = service_fn(move |request| {
        let router = router.clone();
        async move { Ok::<_, Infallible>(route(router, request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HEAD_FIELDS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a socket of the internal port broke");
    }
}

async fn route(router: Router, request: Request<Incoming>) -> Response<Body> {
    match router.oneshot(request.map(Body::new)).await {
        Ok(response) => response,
        Err(infallible) => match infallible {},
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn router() -> Router {
        Router::new().route("/hello", get(|| async { "hello" }))
    }

    async fn exchange(socket: &mut TcpStream, head: &str) -> String {
        socket.write_all(head.as_bytes()).await.expect("the server reads");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("the server answers");
        answer
    }

    #[tokio::test]
    async fn an_own_listener_serves_the_router() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let server = tokio::spawn(serve_listener(router(), listener, |socket| ready(Ok(socket))));
        let mut socket = TcpStream::connect(address).await.expect("the server listens");
        let answer = exchange(&mut socket, "GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("hello"), "{answer}");
        let mut socket = TcpStream::connect(address).await.expect("the server listens");
        let answer = exchange(&mut socket, &format!("GET /{} HTTP/1.1\r\n", "x".repeat(HEAD_BYTES_MAX))).await;
        assert!(answer.starts_with("HTTP/1.1 431 ") || answer.starts_with("HTTP/1.1 414 "), "{answer}");
        server.abort();
    }

    /// A door in small: it reads a head and passes the request on.
    #[tokio::test]
    async fn a_forwarded_request_is_answered() {
        let (sender, requests) = mpsc::channel(1);
        let plane = tokio::spawn(serve_forwarded(router(), requests));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        tokio::spawn(async move {
            let (socket, _) = listener.accept().await.expect("a client comes");
            let door = service_fn(move |request| {
                let sender = sender.clone();
                async move {
                    let (answer, answered) = oneshot::channel();
                    sender.send((request, answer)).await.expect("the control plane is there");
                    Ok::<_, Infallible>(answered.await.expect("the control plane answers"))
                }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), door).await;
        });
        let mut socket = TcpStream::connect(address).await.expect("the door listens");
        let answer = exchange(&mut socket, "GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("hello"), "{answer}");
        plane.await.expect("without doors the control plane ends");
    }
}
