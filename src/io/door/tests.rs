//! The door through a real socket: raw bytes in, status line and arrivals out.

mod crowded;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{LocalSet, spawn_local};

use super::*;
use crate::io::accept::accept;
use crate::io::{AdmissionLimits, PortSharing, bind};
use crate::model::{Format, WindowBits};
use crate::shard::Speaks;

/// A door with its street side and its inner side.
struct House {
    address: SocketAddr,
    arriving: mpsc::Receiver<Arrival>,
    asked: mpsc::Receiver<ControlRequest>,
    draining: watch::Sender<bool>,
    full: watch::Sender<bool>,
    metrics: Arc<ShardMetrics>,
}

async fn in_house<F: Future>(options: Options, test: impl FnOnce(House) -> F) -> F::Output {
    in_house_of(options, AdmissionLimits::default(), test).await
}

async fn in_house_of<F: Future>(options: Options, limits: AdmissionLimits, test: impl FnOnce(House) -> F) -> F::Output {
    let listener = bind((Ipv4Addr::LOCALHOST, 0).into(), 1, PortSharing::Exclusive).unwrap().remove(0);
    let address = listener.local_addr().unwrap();
    let (control, asked) = mpsc::channel(1);
    let (draining, drains) = watch::channel(false);
    let (full, is_full) = watch::channel(false);
    let told = Told { draining: drains, full: is_full };
    let (admission, metrics) = (Arc::new(Admission::new(limits)), Arc::<ShardMetrics>::default());
    let (door, arriving) = Door::new(Arc::new(options), control, admission, Arc::clone(&metrics), told, None);
    let tasks = LocalSet::new();
    tasks
        .run_until(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            spawn_local(async move { match accept(listener, door).await {} });
            // Held here too: a test that does not name it would drop it, and that is draining.
            let _draining = draining.clone();
            test(House { address, arriving, asked, draining, full, metrics }).await
        })
        .await
}

fn origins(allowed: &[&str]) -> Options {
    let allowed_origins = AllowedOrigins::parse(allowed.iter().copied()).unwrap();
    Options { allowed_origins, ..Options::default() }
}

/// The key and the answer of RFC 6455, section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn upgrade_to(target: &str, more: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{more}\r\n"
    )
}

fn upgrade(more: &str) -> String {
    upgrade_to("/connection/websocket", more)
}

/// Reads one answer: its head in lower case but for the first line, and its body.
async fn read_answer(stream: &mut TcpStream) -> (String, String) {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.expect("an answer with a whole head"));
    }
    let head = String::from_utf8(bytes).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    (head, String::from_utf8(body).unwrap())
}

async fn ask(address: SocketAddr, bytes: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    read_answer(&mut stream).await
}

/// A wrong head gets this status, and a healthy client is let in right after it.
async fn check_refused(request: &str, status: &str) -> (String, String) {
    in_house(Options::default(), |mut house| async move {
        let (head, body) = ask(house.address, request).await;
        assert!(head.starts_with(&status.to_lowercase()), "{request:?} got {head}{body}");
        let (healthy, _) = ask(house.address, &upgrade("")).await;
        assert!(healthy.starts_with("http/1.1 101 "), "{healthy}");
        house.arriving.recv().await.expect("the healthy client");
        assert!(house.arriving.try_recv().is_err(), "the refused one did not arrive");
        (head, body)
    })
    .await
}

async fn check_opening(target: &str, more: &str, expected: Speaks, subprotocol: Option<&str>) {
    let options = Options { echo_path: Some("/echo".into()), ..Options::default() };
    in_house(options, |mut house| async move {
        let (head, _) = ask(house.address, &upgrade_to(target, more)).await;
        assert!(head.starts_with("http/1.1 101 "), "{target} {more} got {head}");
        let chosen = head.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
        assert_eq!(chosen, subprotocol, "{target} {more}");
        assert_eq!(house.arriving.recv().await.unwrap().opening.speaks, expected, "{target} {more}");
    })
    .await
}

#[tokio::test]
async fn an_upgrade_is_answered_as_rfc_6455_says() {
    in_house(Options::default(), |mut house| async move {
        let (head, _) = ask(house.address, &upgrade("")).await;
        assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
        assert!(head.contains("\r\nconnection: upgrade\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nsec-websocket-accept: {}\r\n", ACCEPT.to_lowercase())), "{head}");
        assert!(!head.contains("sec-websocket-protocol"), "{head}");
        assert!(house.arriving.recv().await.unwrap().read_ahead.is_empty());
    })
    .await;
}

#[tokio::test]
async fn without_memory_no_socket_is_granted_and_all_else_is_served() {
    in_house(Options::default(), |mut house| async move {
        house.full.send_replace(true);
        let (head, body) = ask(house.address, &upgrade("")).await;
        assert!(head.starts_with("http/1.1 503 ") && head.contains("\r\nretry-after: 1\r\n"), "{head}");
        assert!(body.starts_with("out of memory for more clients"), "{body}");
        spawn_local(async move {
            let (_, answer) = house.asked.recv().await.expect("a request for the control plane");
            answer.send(Response::new(Body::from("metrics"))).expect("somebody waits for it");
        });
        assert_eq!(ask(house.address, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await.1, "metrics");
        house.full.send_replace(false);
        assert!(ask(house.address, &upgrade("")).await.0.starts_with("http/1.1 101 "));
    })
    .await;
}

#[tokio::test]
async fn the_client_chooses_its_encoding() {
    const JSON: Speaks = Speaks::Centrifugo(Format::CentrifugoJson);
    const PROTOBUF: Speaks = Speaks::Centrifugo(Format::CentrifugoProtobuf);
    let protocols = |list: &str| format!("Sec-WebSocket-Protocol: {list}\r\n");
    let path = "/connection/websocket";

    check_opening(path, "", JSON, None).await;
    check_opening("/connection/websocket?format=protobuf", "", PROTOBUF, None).await;
    check_opening("/connection/websocket?a=b&cf_protocol=protobuf", "", PROTOBUF, None).await;
    check_opening("/connection/websocket?format=json", "", JSON, None).await;
    check_opening(path, &protocols("centrifuge-protobuf"), PROTOBUF, Some("centrifuge-protobuf")).await;
    check_opening(path, &protocols("centrifuge-json"), JSON, Some("centrifuge-json")).await;
    check_opening(
        path,
        &protocols("chat, centrifuge-protobuf ,centrifuge-json"),
        PROTOBUF,
        Some("centrifuge-protobuf"),
    )
    .await;
    let two_lines = protocols("chat") + &protocols("centrifuge-protobuf");
    check_opening(path, &two_lines, PROTOBUF, Some("centrifuge-protobuf")).await;
    check_opening(path, &protocols("chat"), JSON, None).await;
    check_opening("/echo", &protocols("centrifuge-protobuf"), Speaks::Echo, None).await;
}

/// What is answered to an offer, and the window that the shard is told of.
async fn check_deflate(options: Options, target: &str, offer: &str, answer: Option<&str>, window: Option<u8>) {
    let options = Options { echo_path: Some("/echo".into()), ..options };
    in_house(options, |mut house| async move {
        let offer = format!("Sec-WebSocket-Extensions: {offer}\r\n");
        let (head, _) = ask(house.address, &upgrade_to(target, &offer)).await;
        assert!(head.starts_with("http/1.1 101 "), "{offer} got {head}");
        let answered = head.lines().find_map(|line| line.strip_prefix("sec-websocket-extensions: "));
        assert_eq!(answered, answer, "{offer}");
        let opening = house.arriving.recv().await.unwrap().opening;
        assert_eq!(opening.window.map(WindowBits::as_bits), window, "{offer}");
    })
    .await
}

#[tokio::test]
async fn compression_is_agreed_on_where_it_is_switched_on() {
    const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    const PATH: &str = "/connection/websocket";
    let on = || Options { compression: true, ..Options::default() };
    let browser = "permessage-deflate; client_max_window_bits";
    let narrow = "permessage-deflate; server_max_window_bits=10";

    check_deflate(on(), PATH, browser, Some(ANSWER), Some(15)).await;
    check_deflate(on(), PATH, narrow, Some(&format!("{ANSWER}; server_max_window_bits=10")), Some(10)).await;
    check_deflate(on(), PATH, "permessage-deflate; server_max_window_bits=8", None, None).await;
    check_deflate(on(), PATH, "x-other", None, None).await;
    check_deflate(Options::default(), PATH, browser, None, None).await;
    check_deflate(Options::default(), "/echo", browser, Some(ANSWER), Some(15)).await;
}

/// One segment may carry the head and the first command: nothing of it may be lost on the way from
/// hyper to the shard, and what comes later is in the socket.
#[tokio::test]
async fn bytes_behind_the_head_arrive_with_the_socket() {
    in_house(Options::default(), |mut house| async move {
        let mut client = TcpStream::connect(house.address).await.unwrap();
        client.write_all((upgrade("") + "first command").as_bytes()).await.unwrap();
        let (head, _) = read_answer(&mut client).await;
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        let arrival = house.arriving.recv().await.unwrap();
        assert_eq!(arrival.read_ahead, "first command");

        client.write_all(b"second").await.unwrap();
        let Socket::Plain(stream) = arrival.socket else { panic!("a plain port") };
        let stream = std::net::TcpStream::from(Rc::into_inner(stream).expect("the only one"));
        stream.set_nonblocking(true).unwrap();
        let mut stream = TcpStream::from_std(stream).unwrap();
        let mut second = [0; 6];
        stream.read_exact(&mut second).await.unwrap();
        assert_eq!(&second, b"second");
        stream.write_all(b"answer").await.unwrap();
        let mut answer = [0; 6];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
    })
    .await;
}

#[tokio::test]
async fn a_head_may_come_byte_by_byte() {
    in_house(Options::default(), |mut house| async move {
        let mut client = TcpStream::connect(house.address).await.unwrap();
        client.set_nodelay(true).unwrap();
        for byte in upgrade("").as_bytes() {
            client.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let (head, _) = read_answer(&mut client).await;
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert!(house.arriving.recv().await.unwrap().read_ahead.is_empty());
    })
    .await;
}

#[tokio::test]
async fn wrong_heads_are_refused_with_a_reason() {
    let replaced = |from: &str, to: &str| {
        assert!(upgrade("").contains(from));
        upgrade("").replace(from, to)
    };
    check_refused(&replaced("HTTP/1.1", "HTTP/1.0"), "HTTP/1.0 400 ").await;
    check_refused(&replaced("GET", "POST"), "HTTP/1.1 405 ").await;
    check_refused(&replaced(KEY, "c2hvcnQ="), "HTTP/1.1 400 ").await;
    check_refused(&replaced(KEY, "not base64, not at all!!"), "HTTP/1.1 400 ").await;
    check_refused(&replaced(&format!("Sec-WebSocket-Key: {KEY}\r\n"), ""), "HTTP/1.1 400 ").await;
    check_refused(&replaced("Upgrade: websocket\r\n", ""), "HTTP/1.1 426 ").await;
    check_refused(&replaced("Upgrade: websocket", "Upgrade: h2c"), "HTTP/1.1 426 ").await;
    check_refused(&upgrade("Content-Length: 5\r\n"), "HTTP/1.1 400 ").await;
    check_refused(&upgrade("Transfer-Encoding: chunked\r\n"), "HTTP/1.1 400 ").await;
    check_refused("\r\nthis is not HTTP\r\n\r\n", "HTTP/1.1 400 ").await;
    check_refused("GET /connection/websocket HTTP/1.1\r\nno colon here\r\n\r\n", "HTTP/1.1 400 ").await;

    let (head, body) = check_refused(&replaced("Version: 13", "Version: 12"), "HTTP/1.1 426 ").await;
    assert!(head.contains("\r\nsec-websocket-version: 13\r\n"), "{head}");
    assert_eq!(body, "the WebSocket version spoken here is 13\n");
}

#[tokio::test]
async fn heads_are_bounded_in_bytes_and_fields() {
    let long = format!("X: {}\r\n", "x".repeat(limits::HEAD_BYTES_MAX));
    check_refused(&upgrade(&long), "HTTP/1.1 431 ").await;
    // Refused before it ends, which it never does.
    let endless = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(limits::HEAD_BYTES_MAX + 1));
    check_refused(&endless, "HTTP/1.1 431 ").await;
    let many: String = (0..limits::HEAD_FIELDS_MAX).map(|n| format!("X-{n}: x\r\n")).collect();
    check_refused(&upgrade(&many), "HTTP/1.1 431 ").await;
    let of_one_name = "X: x\r\n".repeat(limits::HEAD_FIELDS_MAX);
    check_refused(&upgrade(&of_one_name), "HTTP/1.1 431 ").await;
}

#[tokio::test]
async fn a_foreign_origin_is_told_what_to_add() {
    let (_, body) = check_refused(&upgrade("Origin: https://evil.example\r\n"), "HTTP/1.1 403 ").await;
    assert_eq!(body, "origin \"https://evil.example\" is not allowed: add it to client.allowed_origins\n");

    in_house(origins(&["https://*.example.com"]), |house| async move {
        let (head, _) = ask(house.address, &upgrade("Origin: https://Chat.Example.com\r\n")).await;
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        let two = "Origin: https://chat.example.com\r\nOrigin: https://evil.example\r\n";
        let (head, _) = ask(house.address, &upgrade(two)).await;
        assert!(head.starts_with("http/1.1 403 "), "each of several must be allowed: {head}");
        let (head, _) = ask(house.address, &upgrade("")).await;
        assert!(head.starts_with("http/1.1 101 "), "without an origin it is no page: {head}");
    })
    .await;
}

#[tokio::test]
async fn a_head_that_does_not_end_in_time_is_closed() {
    let options = Options { head_timeout: Duration::from_millis(30), ..Options::default() };
    in_house(options, |mut house| async move {
        for begun in ["", "GET /connection/websocket HTTP/1.1\r\nHost: a\r\n"] {
            let mut client = TcpStream::connect(house.address).await.unwrap();
            client.write_all(begun.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&answer), "", "after {begun:?}");
        }
        assert!(house.arriving.try_recv().is_err());
    })
    .await;
}

#[tokio::test]
async fn other_requests_go_to_the_control_plane_with_their_bodies() {
    use http_body_util::BodyExt;

    in_house(Options::default(), |mut house| async move {
        let asked = spawn_local(async move {
            let (request, answer) = house.asked.recv().await.unwrap();
            assert_eq!(request.uri().path(), "/api/publish");
            let body = request.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, "hello");
            answer.send(Response::new(Body::from("world"))).unwrap();
        });
        let mut client = TcpStream::connect(house.address).await.unwrap();
        client.write_all(b"POST /api/publish HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
        // Half closed: the answer still comes.
        client.shutdown().await.unwrap();
        let (head, body) = read_answer(&mut client).await;
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        assert_eq!(body, "world");
        asked.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_busy_or_gone_control_plane_is_503() {
    in_house(Options::default(), |house| async move {
        let request = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut first = TcpStream::connect(house.address).await.unwrap();
        first.write_all(request).await.unwrap();
        while house.asked.is_empty() {
            tokio::task::yield_now().await;
        }
        let (head, _) = ask(house.address, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(head.starts_with("http/1.1 503 "), "one waits already, and one is all it takes: {head}");
        drop(house.asked);
        let (head, _) = read_answer(&mut first).await;
        assert!(head.starts_with("http/1.1 503 "), "{head}");
        assert!(head.contains("\r\nretry-after: 1\r\n"), "{head}");
    })
    .await;
}

#[tokio::test]
async fn draining_lets_nobody_linger() {
    in_house(Options::default(), |mut house| async move {
        let mut idle = TcpStream::connect(house.address).await.unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let (_, answer) = house.asked.recv().await.unwrap();
        house.draining.send_replace(true);
        answer.send(Response::new(Body::from("last"))).unwrap();
        let (head, body) = read_answer(&mut idle).await;
        assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
        assert_eq!(body, "last");
        assert_eq!(idle.read(&mut [0; 8]).await.unwrap(), 0, "closed after the request in hand");
    })
    .await;
}
