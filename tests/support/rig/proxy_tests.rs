//! The proxy does what it says: else a scenario would pass for want of a fault.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::rig::proxy::{Fault, Proxy};
use crate::rig::within;

const LONG: Duration = Duration::from_secs(10);

/// Longer than loopback needs, shorter than a test may take.
const SILENCE: Duration = Duration::from_millis(100);

/// Sends back what it is sent; after the end, one byte more.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = socket.split();
                tokio::io::copy(&mut from, &mut to).await.ok();
                to.write_all(b"!").await.ok();
            });
        }
    });
    address
}

async fn connected() -> (Proxy, TcpStream) {
    let proxy = Proxy::start(echo().await, 1).await;
    let socket = TcpStream::connect(proxy.address).await.unwrap();
    (proxy, socket)
}

/// Sends a byte; when it is back.
async fn round_trip(socket: &mut TcpStream) -> std::io::Result<u8> {
    socket.write_all(b"?").await?;
    within("the echo", LONG, socket.read_u8()).await
}

#[tokio::test]
async fn without_a_fault_it_passes_bytes_and_the_end() {
    let (_proxy, mut socket) = connected().await;
    socket.write_all(&[7; 100_000]).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut back = Vec::new();
    within("the end", LONG, socket.read_to_end(&mut back)).await.unwrap();
    assert_eq!(back.len(), 100_001);
}

#[tokio::test]
async fn a_delay_is_both_ways_and_holds_up_nothing_behind_it() {
    let (proxy, mut socket) = connected().await;
    proxy.set(Fault::Delay(Duration::from_millis(50)));
    let began = Instant::now();
    let (mut from, mut to) = socket.split();
    // Ten pieces, each on its own.
    for _ in 0..10 {
        to.write_all(b"?").await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut back = [0; 10];
    within("the echo", LONG, from.read_exact(&mut back)).await.unwrap();
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(100) && took < Duration::from_millis(500), "{took:?}");
}

#[tokio::test]
async fn a_rate_holds_back() {
    let (proxy, mut socket) = connected().await;
    proxy.set(Fault::Rate(100_000));
    let began = Instant::now();
    socket.write_all(&[7; 20_000]).await.unwrap();
    let mut back = vec![0; 20_000];
    within("the echo", LONG, socket.read_exact(&mut back)).await.unwrap();
    // The last piece has no wait behind it.
    assert!(began.elapsed() >= Duration::from_millis(100), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_stall_is_silent_and_loses_nothing() {
    for fault in [Fault::Stall, Fault::StallToServer] {
        let (proxy, mut socket) = connected().await;
        proxy.set(fault);
        socket.write_all(b"?").await.unwrap();
        let answer = tokio::time::timeout(SILENCE, socket.read_u8()).await;
        assert!(answer.is_err(), "{fault:?}: {answer:?}");
        proxy.set(Fault::None);
        assert_eq!(within("the echo", LONG, socket.read_u8()).await.unwrap(), b'?');
    }
}

#[tokio::test]
async fn a_reset_is_a_reset_for_old_and_new_connections() {
    let (proxy, mut socket) = connected().await;
    round_trip(&mut socket).await.unwrap();
    proxy.set(Fault::Reset);
    let error = within("the reset", LONG, socket.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let mut another = TcpStream::connect(proxy.address).await.unwrap();
    assert!(round_trip(&mut another).await.is_err());
    proxy.set(Fault::None);
    let mut healed = TcpStream::connect(proxy.address).await.unwrap();
    round_trip(&mut healed).await.unwrap();
}

#[tokio::test]
async fn a_half_close_is_seen_by_the_server_alone() {
    let (proxy, mut socket) = connected().await;
    round_trip(&mut socket).await.unwrap();
    proxy.set(Fault::HalfClose);
    // The server has seen the end and says its last word, which still arrives.
    assert_eq!(within("the last word", LONG, socket.read_u8()).await.unwrap(), b'!');
}

#[tokio::test]
async fn drops_come_by_chance_and_by_seed() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let (proxy, mut socket) = connected().await;
        proxy.set(Fault::Drop(0.05));
        let mut count = 0;
        while count < 1_000 && round_trip(&mut socket).await.is_ok() {
            count += 1;
        }
        assert!(count < 1_000, "nothing was dropped");
        runs.push(count);
    }
    assert_eq!(runs[0], runs[1]);
}
