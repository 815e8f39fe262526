//! A real shard thread on a real port.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use axum::body::Body;
use hyper::Response;
use tungstenite::{Message, WebSocket};

#[path = "thread_tls_tests.rs"]
mod tls;

use super::*;
use crate::io::{ControlRequest, PortSharing, bind};
use crate::lane::{TraySender, mesh, tray};
use crate::shard::WorkOutcome;
use crate::telemetry::Counter;

pub(super) struct Running {
    pub address: SocketAddr,
    pub tray: TraySender<TrayMessage>,
    pub metrics: Arc<ShardMetrics>,
    /// What /proc said of the shard's thread when it had drained.
    pub drained: mpsc::Receiver<String>,
    pub thread: JoinHandle<()>,
}

fn start(core: Option<CoreId>) -> Running {
    start_with(core, shard::Options::default())
}

fn start_with(core: Option<CoreId>, options: shard::Options) -> Running {
    start_with_jobs(core, options, Box::new(Err))
}

fn start_with_jobs(core: Option<CoreId>, options: shard::Options, jobs: JobSink) -> Running {
    start_setup(core, options, jobs, None, super::super::Options::default())
}

pub(super) fn start_setup(
    core: Option<CoreId>,
    options: shard::Options,
    jobs: JobSink,
    tls: Option<Newest>,
    io_options: super::super::Options,
) -> Running {
    let listener = bind((Ipv4Addr::LOCALHOST, 0).into(), 1, PortSharing::Exclusive).unwrap().remove(0);
    let address = listener.local_addr().unwrap();
    let ports = mesh(1, limits::LANE_SLOTS).remove(0);
    let (sender, receiver) = tray(limits::TRAY_SLOTS, Arc::clone(ports.doorbell()));
    let (control, mut asked) = tokio::sync::mpsc::channel::<ControlRequest>(8);
    std::thread::spawn(move || {
        while let Some((request, answer)) = asked.blocking_recv() {
            let _ = answer.send(Response::new(Body::from(request.uri().path().to_owned())));
        }
    });
    let metrics = Arc::<ShardMetrics>::default();
    let (report, drained) = mpsc::channel();
    let thread = start_shard(ShardSetup {
        id: ShardId(0),
        core,
        listener,
        ports,
        tray: receiver,
        shard_options: Arc::new(options),
        io_options: Arc::new(io_options),
        admission: Arc::default(),
        tls,
        metrics: Arc::clone(&metrics),
        control,
        jobs,
        requests: RequestSink { submit: Box::new(Err), wake: Box::new(|| ()) },
        seed: 0,
        start: Instant::now(),
        drained: Box::new(move || {
            let _ = report.send(fs::read_to_string("/proc/thread-self/status").unwrap());
        }),
    })
    .unwrap();
    Running { address, tray: sender, metrics, drained, thread }
}

/// Whoever has asked before the drain is answered before the shard calls itself drained.
#[test]
fn a_request_in_hand_is_answered_before_the_end() {
    let shard = start(None);
    let mut client = TcpStream::connect(shard.address).unwrap();
    client.write_all(b"POST /api/publish HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n").unwrap();
    // A first answer on a second connection: by now the request above has long been taken in.
    request(shard.address, "/first").unwrap();
    assert!(shard.tray.try_push(TrayMessage::Drain { window: Duration::ZERO }).is_ok());
    let mut answer = String::new();
    client.write_all(b"{}").unwrap();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("/api/publish"), "{answer}");
    shard.drained.recv().unwrap();
    assert!(shard.tray.try_push(TrayMessage::Stop).is_ok());
    shard.thread.join().unwrap();
}

fn request(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn a_shard_serves_drains_and_stops() {
    let shard = start(None);
    let answer = request(shard.address, "/metrics").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("/metrics"), "{answer}");

    assert!(shard.tray.try_push(TrayMessage::Drain { window: Duration::ZERO }).is_ok());
    shard.drained.recv().expect("no connection is left");
    assert!(!shard.thread.is_finished(), "it stays the home of its rooms");
    assert!(TcpStream::connect(shard.address).is_err(), "its port is closed");

    assert!(shard.tray.try_push(TrayMessage::Stop).is_ok());
    shard.thread.join().expect("the thread ends well");
}

#[test]
fn a_shard_is_pinned_to_its_core_alone() {
    // This thread is not pinned, so these are all cores that the process may use.
    let core = *core_affinity::get_core_ids().unwrap().last().unwrap();
    let shard = start(Some(core));
    assert!(shard.tray.try_push(TrayMessage::Drain { window: Duration::ZERO }).is_ok());
    let status = shard.drained.recv().unwrap();
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(line("Cpus_allowed_list:"), core.id.to_string());
    assert_eq!(line("Name:"), "shard-0");
    assert!(shard.tray.try_push(TrayMessage::Stop).is_ok());
    shard.thread.join().unwrap();
}

/// The heartbeat ends a sleep too, but only once a second: twenty wakes in less than five are the
/// doorbell's work.
#[test]
fn the_tray_wakes_a_sleeping_shard() {
    let begun = Instant::now();
    for _ in 0..10 {
        let shard = start(None);
        assert!(shard.tray.try_push(TrayMessage::Drain { window: Duration::ZERO }).is_ok());
        shard.drained.recv().unwrap();
        assert!(shard.tray.try_push(TrayMessage::Stop).is_ok());
        shard.thread.join().unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "took {:?}", begun.elapsed());
}

/// One connection's misfortune is its own: it is closed with 3004, and a healthy one is served on.
#[test]
fn a_panic_in_one_connection_closes_that_one() {
    let faults = shard::Faults { panic_on_rpc: true, ..shard::Faults::default() };
    let options = shard::Options { faults, allow_anonymous_connect: true, ..shard::Options::default() };
    let shard = start_with(None, options);
    let mut bystander = client(shard.address);
    for panics in 1..=3 {
        let mut unlucky = client(shard.address);
        say(&mut unlucky, r#"{"id":2,"rpc":{"method":"fanfare.fault.panic","data":{}}}"#);
        let Message::Close(Some(close)) = unlucky.read().unwrap() else { panic!("it is closed") };
        assert_eq!((u16::from(close.code), &*close.reason), (3004, "internal server error"));
        assert_eq!(shard.metrics.counter(Counter::Bugs), panics);
        say(&mut bystander, r#"{"id":3,"rpc":{"method":"other","data":{}}}"#);
        let answer = bystander.read().unwrap();
        assert_eq!(answer.to_text().unwrap(), r#"{"id":3,"error":{"code":108,"message":"not available"}}"#);
    }
    assert!(shard.tray.try_push(TrayMessage::Stop).is_ok());
    shard.thread.join().unwrap();
}

/// Also when the command had to wait for something, so that not its bytes but a job's end starts it.
#[test]
fn a_panic_in_a_command_that_waited_closes_that_one() {
    let faults = shard::Faults { panic_on_rpc: true, ..shard::Faults::default() };
    let options = shard::Options { faults, allow_anonymous_connect: true, ..shard::Options::default() };
    let (submit, submitted) = mpsc::channel();
    let jobs = move |job| submit.send(job).map_err(|mpsc::SendError(job)| job);
    let shard = start_with_jobs(None, options, Box::new(jobs));
    let mut bystander = client(shard.address);
    let mut unlucky = client(shard.address);
    let waits = r#"{"id":2,"rpc":{"method":"fanfare.fault.panic_worker","data":{}}}"#;
    let panics = r#"{"id":3,"rpc":{"method":"fanfare.fault.panic","data":{}}}"#;
    say(&mut unlucky, &format!("{waits}\n{panics}"));
    let job = submitted.recv().unwrap();
    let done = job.end(WorkOutcome::Panicked);
    assert!(shard.tray.try_push(TrayMessage::Done(done)).is_ok());
    assert!(unlucky.read().unwrap().to_text().unwrap().starts_with(r#"{"id":2,"error":{"code":100,"#));
    let Message::Close(Some(close)) = unlucky.read().unwrap() else { panic!("it is closed") };
    assert_eq!(u16::from(close.code), 3004);
    assert_eq!(shard.metrics.counter(Counter::Bugs), 1);
    say(&mut bystander, r#"{"id":3,"rpc":{"method":"other","data":{}}}"#);
    assert!(bystander.read().unwrap().to_text().unwrap().starts_with(r#"{"id":3,"error":{"code":108,"#));
    assert!(shard.tray.try_push(TrayMessage::Stop).is_ok());
    shard.thread.join().unwrap();
}

/// A connected client.
fn client(address: SocketAddr) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    let url = format!("ws://{address}/connection/websocket");
    let (mut client, _) = tungstenite::client(url, stream).unwrap();
    say(&mut client, r#"{"id":1,"connect":{}}"#);
    assert!(client.read().unwrap().to_text().unwrap().starts_with(r#"{"id":1,"connect":"#));
    client
}

fn say(client: &mut WebSocket<TcpStream>, command: &str) {
    client.send(Message::text(command)).unwrap();
}
