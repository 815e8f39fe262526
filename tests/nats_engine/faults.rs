//! A server that goes, comes back, stands still or says no.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanfare::engine::contract::Operation;
use fanfare::engine::nats::{Credentials, Options, start_control};
use fanfare::model::ErrorCode;
use fanfare::telemetry::EngineCounter;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::engine_node::{EngineNode, kept, passing, texts, wait_until};
use crate::nats_server::{NatsServer, Release, free_port};
use crate::{options, server_and_node, start};

/// Promised in docs/guarantees.md, with room for a busy machine.
const BACK_WITHIN: Duration = Duration::from_secs(4);

#[tokio::test]
async fn a_restart_with_its_store_loses_nothing() {
    for release in Release::ALL {
        let (mut server, mut node) = server_and_node(release).await;
        node.listen("chat").await;
        let before = node.append("chat", "a").await;
        node.publication().await;
        server.kill();
        wait_until("the loss is noticed", || !node.metrics.is_up()).await;
        let asked = Instant::now();
        assert_eq!(node.publish("chat", kept("lost")).await, Err(ErrorCode::Internal));
        assert!(asked.elapsed() < Duration::from_millis(500), "at once: {:?}", asked.elapsed());
        server.start_again();
        let after = published_again(&mut node).await;
        assert_eq!((after.0, after.1), (before.epoch, before.offset + 1));
        assert_eq!(node.recheck().await.as_str(), "chat");
        assert_eq!(node.read("chat", 1, Some(before)).await.position().epoch, before.epoch);
        assert_eq!(node.metrics.get(EngineCounter::Interruptions), 1);
    }
}

/// Publishes until it works.
async fn published_again(node: &mut EngineNode) -> (fanfare::model::Epoch, u64) {
    let since = Instant::now();
    loop {
        if let Ok(Some(position)) = node.publish("chat", kept("b")).await {
            assert!(since.elapsed() < BACK_WITHIN, "took {:?}", since.elapsed());
            return (position.epoch, position.offset);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_restart_without_its_store_gives_another_epoch() {
    for release in Release::ALL {
        let (mut server, mut node) = server_and_node(release).await;
        node.listen("chat").await;
        let before = node.append("chat", "a").await;
        server.kill();
        server.forget_everything();
        server.start_again();
        assert_eq!(node.recheck().await.as_str(), "chat");
        let stream = node.read("chat", 1, Some(before)).await;
        assert_eq!((stream.position().offset, stream.position().epoch == before.epoch), (0, false));
        let after = node.append("chat", "b").await;
        assert_eq!((after.offset, after.epoch), (1, stream.position().epoch));
    }
}

/// As after a loss of power: what was confirmed last is gone. Whoever publishes next must not give its places again.
#[tokio::test]
async fn a_server_that_comes_back_with_an_old_copy_is_found_out() {
    for release in Release::ALL {
        let (mut server, mut node) = server_and_node(release).await;
        let first = node.append("chat", "a").await;
        server.kill();
        server.save_store();
        server.start_again();
        node.ready().await;
        let lost = published_again(&mut node).await;
        assert_eq!(lost, (first.epoch, 2), "nothing was lost so far");
        server.kill();
        wait_until("the loss is noticed", || !node.metrics.is_up()).await;
        server.restore_store();
        server.start_again();
        let (epoch, offset) = published_again(&mut node).await;
        assert_eq!((offset, epoch == first.epoch), (1, false));
        assert_eq!(node.metrics.get(EngineCounter::EpochsLost), 1);
        assert_eq!(texts(&node.read("chat", 0, None).await, 0), ["b"]);
    }
}

/// Publishers get their answers or an error; what was answered is there after any number of deaths.
#[tokio::test]
async fn what_was_confirmed_survives_kills_amid_publishing() {
    for release in Release::ALL {
        let (mut server, mut node) = server_and_node(release).await;
        let mut confirmed = Vec::new();
        for round in 0..5 {
            let publish = |n: u32| Operation::Publish(Box::new(kept(&format!("{round}-{n}"))));
            let ids: Vec<_> = (0..400).map(|n| (n, node.submit("chat", publish(n)))).collect();
            for (n, id) in ids {
                if n == 40 {
                    server.kill();
                }
                if node.answer_to(id).await.is_ok() {
                    confirmed.push(format!("{round}-{n}"));
                }
            }
            server.start_again();
            node.ready().await;
        }
        let stream = node.read("chat", 0, None).await;
        let kept = texts(&stream, stream.position().offset.saturating_sub(100));
        let newest: Vec<&String> = confirmed.iter().rev().take(50).collect();
        assert!(newest.iter().all(|text| kept.contains(text)), "{newest:?} in {kept:?}");
        let mut once = kept.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), kept.len(), "nothing is there twice");
    }
}

#[tokio::test]
async fn a_server_that_stands_still_is_noticed() {
    for release in Release::ALL {
        let (server, mut node) = server_and_node(release).await;
        node.listen("chat").await;
        server.stall();
        let asked = Instant::now();
        assert_eq!(node.publish("chat", kept("a")).await, Err(ErrorCode::Internal));
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        wait_until("the probe is missed", || !node.metrics.is_up()).await;
        assert!(!node.metrics.is_ready() && node.metrics.get(EngineCounter::ProbesLost) == 1);
        assert_eq!(node.publish("chat", passing("b")).await, Err(ErrorCode::Internal));
        server.go_on();
        published_again(&mut node).await;
        assert_eq!(node.recheck().await.as_str(), "chat");
        node.ready().await;
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_waited_for() {
    let mut node = {
        let url = format!("nats://127.0.0.1:{}", free_port());
        start(Options { urls: vec![url], ..Options::default() })
    };
    assert_eq!(node.publish("chat", passing("a")).await, Err(ErrorCode::Internal));
    assert_eq!(node.ask("chat", Operation::Listen).await.err(), Some(ErrorCode::Internal));
    let mut server = NatsServer::start(Release::Current);
    server.kill();
    let mut node = start(options(&server));
    assert_eq!(node.publish("chat", passing("a")).await, Err(ErrorCode::Internal));
    server.start_again();
    published_again(&mut node).await;
}

#[tokio::test]
async fn only_right_credentials_get_in() {
    const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    const USERS: &str = "users: [ { user: hub, password: right }, \
                         { nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4 } ]";
    for release in Release::ALL {
        let server = NatsServer::with(release, &format!("authorization {{ {USERS} }}"));
        let user = |password: &str| Credentials::User { name: "hub".into(), password: password.into() };
        for credentials in [user("right"), Credentials::NkeySeed(SEED.into())] {
            let mut node = start(Options { credentials, ..options(&server) });
            node.ready().await;
            node.publish("chat", passing("a")).await.expect("sent");
        }
        let in_url = server.url().replace("nats://", "nats://hub:right@");
        start(Options { urls: vec![in_url], ..Options::default() }).ready().await;
        let mut node = start(Options { credentials: user("wrong"), ..options(&server) });
        assert_eq!(node.publish("chat", passing("a")).await, Err(ErrorCode::Internal));
        let server = NatsServer::with(release, "authorization { token: secret }");
        let credentials = Credentials::Token("secret".into());
        start(Options { credentials, ..options(&server) }).ready().await;
    }
}

#[tokio::test]
async fn tls_is_spoken_to_whom_the_roots_trust() {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let made = std::process::Command::new("openssl")
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost".split(' '))
        .args("-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE".split(' '))
        .args([OsStr::new("-keyout"), key.as_os_str(), OsStr::new("-out"), certificate.as_os_str()])
        .output();
    assert!(made.expect("openssl runs").status.success());
    let files = format!("cert_file: \"{}\", key_file: \"{}\"", certificate.display(), key.display());
    for release in Release::ALL {
        let server = NatsServer::with(release, &format!("tls {{ {files} }}"));
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&certificate).expect("a certificate")).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider);
        let tls = tls.with_safe_default_protocol_versions().expect("versions");
        let tls = Some(tls.with_root_certificates(roots).with_no_client_auth());
        let mut trusting = start(Options { tls, ..options(&server) });
        trusting.ready().await;
        trusting.publish("chat", passing("a")).await.expect("sent");
        let mut others = start(options(&server));
        assert_eq!(others.publish("chat", passing("a")).await, Err(ErrorCode::Internal));
        assert!(!others.metrics.is_up());
    }
}

#[tokio::test]
async fn nodes_hear_one_another() {
    for release in Release::ALL {
        let mut server = NatsServer::with(release, "");
        let (one, mut of_one) = start_control(options(&server), "node.one", crate::metrics());
        let metrics = crate::metrics();
        let (two, mut of_two) = start_control(options(&server), "two", metrics.clone());
        for _ in 0..2 {
            // At most once: said again until it is heard.
            let mut heard = None;
            while heard.is_none() {
                one.broadcast("to all".into());
                heard = tokio::time::timeout(Duration::from_millis(50), of_two.recv()).await.ok().flatten();
            }
            assert_eq!(heard.as_deref(), Some(&b"to all"[..]));
            two.send("node.one", "to one".into());
            while of_one.recv().await.expect("a message") != "to one" {}
            server.kill();
            wait_until("the loss is noticed", || !metrics.is_up()).await;
            server.start_again();
            wait_until("it is back", || metrics.is_ready()).await;
        }
    }
}
