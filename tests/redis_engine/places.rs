//! Other ways to a server: a socket in the file system, TLS, several servers at once; and messages between nodes.

use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use fanfare::engine::redis::{Address, Deployment, Options, start_control};
use fanfare::engine::tls::{Tls, TlsOptions};
use fanfare::telemetry::EngineMetrics;
use tokio::time::timeout;

use super::bed::{Bed, PATIENCE};
use super::servers::Server;

async fn check(options: &Options) -> Bed {
    let mut bed = Bed::start(options);
    bed.until(|bed| bed.metrics.is_ready()).await;
    bed.listen("room").await;
    assert_eq!(bed.publish("room", "1").await.offset, 1);
    assert_eq!(bed.next_publication().await.2, "1");
    bed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_will_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("redis.sock");
    let _server = Server::start(&["--port", "0", "--unixsocket", path.to_str().expect("text")]);
    check(&Options::new(vec![Deployment::Server(Address::Unix(path))])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_spoken_with_a_server_that_is_trusted() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let (key, cert) = (file("key.pem"), file("cert.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args([
            "-subj",
            "/CN=redis",
            "-addext",
            "subjectAltName=DNS:redis.test",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .args(["-keyout", &key, "-out", &cert])
        .output()
        .expect("openssl is there: run tests/install.sh");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let port = super::servers::free_port().to_string();
    let files = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &cert];
    let _server = Server::start(&[&["--port", "0", "--tls-port", &port][..], &files].concat());

    let read = |path: &str| std::fs::read_to_string(path).expect("openssl wrote it");
    let address = Address::tcp("127.0.0.1", port.parse().expect("a port"));
    let mut options = Options::new(vec![Deployment::Server(address)]);
    let trusted = TlsOptions {
        server_ca_pem: Some(read(&cert)),
        pair_pem: Some((read(&cert), read(&key))),
        server_name: Some("redis.test".to_owned()),
        insecure_skip_verify: false,
    };
    options.tls = Some(Tls::new(&trusted).expect("good options"));
    check(&options).await;

    let another_name = TlsOptions { server_name: None, ..trusted.clone() };
    options.tls = Some(Tls::new(&another_name).expect("good options"));
    let bed = Bed::start(&options);
    let refused = bed.ask("room", super::bed::publish("1", |_| ())).await;
    assert!(refused.is_err() && !bed.metrics.is_up(), "that is not whom the certificate names");
    options.tls = Some(Tls::new(&TlsOptions { insecure_skip_verify: true, ..another_name }).expect("good options"));
    Bed::start(&options).until(|bed| bed.metrics.is_ready()).await;
}

#[test]
fn bad_tls_options_are_named() {
    let with = |change: &dyn Fn(&mut TlsOptions)| {
        let mut options = TlsOptions::default();
        change(&mut options);
        Tls::new(&options).map(drop).expect_err("it is bad")
    };
    assert!(with(&|options| options.server_ca_pem = Some("x".into())).contains("server_ca_pem"));
    assert!(
        with(&|options| {
            options.insecure_skip_verify = true;
            options.pair_pem = Some(("x".into(), "y".into()));
        })
        .contains("key_pem")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_are_spread_over_several_servers() {
    let servers = [Server::start(&[]), Server::start(&[])];
    let options = Options::new(servers.iter().map(Server::deployment).collect());
    let mut bed = Bed::start(&options);
    bed.until(|bed| bed.metrics.is_ready()).await;
    for n in 0..40 {
        let channel = format!("room:{n}");
        bed.listen(&channel).await;
        bed.publish(&channel, "1").await;
        assert_eq!(bed.next_publication().await.0, channel);
    }
    for server in &servers {
        let keys: usize = server.say(&["DBSIZE"]).parse().expect("a number");
        assert!((20..=60).contains(&keys), "{keys} keys of 80");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_of_several_may_be_away() {
    let mut servers = [Server::start(&[]), Server::start(&[])];
    let bed = Bed::start(&Options::new(servers.iter().map(Server::deployment).collect()));
    bed.until(|bed| bed.metrics.is_ready()).await;
    servers[1].kill();
    bed.until(|bed| !bed.metrics.is_ready()).await;
    let mut published = 0;
    for n in 0..40 {
        published += usize::from(bed.ask(&format!("room:{n}"), super::bed::publish("1", |_| ())).await.is_ok());
    }
    assert!((5..=35).contains(&published), "{published} of 40");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_hear_one_another() {
    let server = Server::start(&[]);
    let options = Options::new(vec![server.deployment()]);
    let metrics = || Arc::<EngineMetrics>::default();
    let ((one, mut to_one), (_two, mut to_two)) =
        (start_control(&options, "one", metrics()), start_control(&options, "two", metrics()));
    let count = |topic: &str| server.say(&["PUBSUB", "NUMSUB", topic]);
    while !(count("fanfare.control").ends_with('2') && count("fanfare.node.two").ends_with('1')) {
        tokio::task::yield_now().await;
    }
    one.broadcast(Bytes::from_static(b"all"));
    one.send("two", Bytes::from_static(b"two"));
    one.send("one", Bytes::from_static(b"\0\xff"));
    for (queue, expected) in [(&mut to_one, [&b"all"[..], b"\0\xff"]), (&mut to_two, [b"all", b"two"])] {
        for message in expected {
            let heard = timeout(PATIENCE, queue.recv()).await.expect("it comes").expect("it runs");
            assert_eq!(heard, message);
        }
    }
}
