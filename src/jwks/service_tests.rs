//! The service against issuers that are well, down, slow, large, and mad.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use regex::Regex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::access::{Claims, Endpoint, Expected, Rules, Safety, TokenKeys, TokenProblem};
use crate::model::ConnectionId;
use crate::workers::{CancelOnDrop, Owner, Work};

const NOW: i64 = 1_800_000_000;

/// An issuer with its HTTP server.
struct Issuer {
    url: String,
    answers: Arc<Mutex<VecDeque<Reply>>>,
    requests: Arc<AtomicUsize>,
    key: EncodingKey,
    jwk: Value,
}

/// What the server does with one request; the last of them stays.
#[derive(Clone)]
enum Reply {
    Body(&'static str, String),
    /// Never a word.
    Silence,
    /// A body without an end.
    Endless,
    Reset,
}

impl Issuer {
    async fn start() -> Issuer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let answers: Arc<Mutex<VecDeque<Reply>>> = Arc::default();
        let requests: Arc<AtomicUsize> = Arc::default();
        let (queue, counter) = (Arc::clone(&answers), Arc::clone(&requests));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let mut queue = queue.lock().expect("no test panics with it");
                let reply = if queue.len() > 1 { queue.pop_front() } else { queue.front().cloned() };
                drop(queue);
                tokio::spawn(async move { reply.expect("the test says what to answer").send(&mut socket).await });
            }
        });
        let pair = Ed25519KeyPair::generate().expect("a key pair");
        let key = EncodingKey::from_ed_der(pair.to_pkcs8v1().expect("it has a PKCS#8").as_ref());
        let x = URL_SAFE_NO_PAD.encode(pair.public_key());
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
        Issuer { url, answers, requests, key, jwk }
    }

    fn answer(&self, replies: impl IntoIterator<Item = Reply>) {
        *self.answers.lock().expect("no test panics with it") = replies.into_iter().collect();
    }

    fn set(&self, kids: &[&str]) -> Reply {
        let named = kids.iter().map(|kid| {
            let mut jwk = self.jwk.clone();
            jwk["kid"] = json!(kid);
            jwk
        });
        Reply::Body("200 OK", json!({"keys": named.collect::<Vec<_>>()}).to_string())
    }

    fn token(&self, kid: &str, claims: Value) -> String {
        let header = Header { kid: Some(kid.into()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, &claims, &self.key).expect("a token")
    }

    fn keys(&self) -> Arc<TokenKeys> {
        let rules = Rules::default();
        let endpoint = Endpoint::parse(&format!("{}/jwks", self.url), &rules, Safety::Checked).expect("it is safe");
        Arc::new(TokenKeys::default().with_rules(rules).with_endpoint(endpoint))
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Reply {
    async fn send(self, socket: &mut tokio::net::TcpStream) {
        let mut head = [0; 1024];
        if matches!(self, Reply::Reset) || socket.read(&mut head).await.is_err() {
            return;
        }
        // The client may have gone.
        let _ = match self {
            Reply::Body(status, body) => {
                let head = format!(
                    "HTTP/1.1 {status}\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                socket.write_all(format!("{head}{body}").as_bytes()).await
            }
            Reply::Endless => {
                let mut sent = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                while sent.is_ok() {
                    sent = socket.write_all(&[b' '; 4096]).await;
                }
                sent
            }
            Reply::Silence | Reply::Reset => std::future::pending().await,
        };
    }
}

/// The service with a shard that asks it.
struct Shard {
    jwks: Jwks,
    ended: mpsc::UnboundedReceiver<Done>,
    metrics: Arc<JwksMetrics>,
    held: Vec<CancelOnDrop>,
}

impl Shard {
    fn start() -> Shard {
        let (sender, ended) = mpsc::unbounded_channel();
        let metrics: Arc<JwksMetrics> = Arc::default();
        let deliver = move |_, done| {
            let _ = sender.send(done);
            Ok(())
        };
        let (jwks, service) = Jwks::new(Arc::clone(&metrics), Arc::new(deliver));
        tokio::spawn(service);
        Shard { jwks, ended, metrics, held: Vec::new() }
    }

    fn ask(&mut self, keys: &Arc<TokenKeys>, token: &str) {
        let (held, cancellation) = CancelOnDrop::new();
        self.held.push(held);
        let owner = Owner::Connection(ConnectionId { slot: 0, generation: 0 });
        let work = Work::VerifyToken { token: token.into(), keys: Arc::clone(keys), unix_seconds: NOW };
        let job = Job { shard: ShardId(0), owner, cost: 0, patience: None, cancellation, work: Box::new(work) };
        assert!(self.jwks.submit(job).is_ok(), "there is room");
    }

    /// What the next token to come back is, once a worker has looked at it; `None`: keys are not to be had.
    async fn next(&mut self) -> Option<Result<Claims, TokenProblem>> {
        let done = timeout(limits::JWKS_FETCH_TIMEOUT * 3, self.ended.recv()).await;
        match done.expect("an end in time").expect("the service runs").outcome {
            WorkOutcome::Ready(work) => Some(verify(*work)),
            WorkOutcome::TooLate => None,
            other => panic!("{other:?}"),
        }
    }

    async fn verify(&mut self, keys: &Arc<TokenKeys>, token: &str) -> Option<Result<Claims, TokenProblem>> {
        self.ask(keys, token);
        self.next().await
    }
}

/// As a worker does.
fn verify(work: Work) -> Result<Claims, TokenProblem> {
    assert!(work.awaits_keys().is_none(), "its keys are with it");
    match work {
        Work::VerifyToken { token, keys, unix_seconds } => keys.verify(&token, unix_seconds),
        other => panic!("{other:?}"),
    }
}

fn user(name: &str) -> Option<Result<Claims, TokenProblem>> {
    Some(Ok(Claims { user: name.into(), ..Claims::default() }))
}

const NO_SUCH_KEY: Option<Result<Claims, TokenProblem>> =
    Some(Err(TokenProblem::Invalid("its issuer publishes no key of its name (kid)")));

#[tokio::test]
async fn many_tokens_cause_one_request() {
    let (issuer, mut shard) = (Issuer::start().await, Shard::start());
    issuer.answer([issuer.set(&["k"])]);
    let (keys, token) = (issuer.keys(), issuer.token("k", json!({"sub": "42"})));
    for _ in 0..200 {
        shard.ask(&keys, &token);
    }
    for _ in 0..200 {
        assert_eq!(shard.next().await, user("42"));
    }
    assert_eq!(issuer.requests(), 1);
    assert_eq!(shard.metrics.fetches(), (1, 0));
}

#[tokio::test]
async fn keys_are_rotated() {
    let (issuer, mut shard) = (Issuer::start().await, Shard::start());
    issuer.answer([issuer.set(&["old"]), issuer.set(&["old", "new"])]);
    let keys = issuer.keys();
    assert_eq!(shard.verify(&keys, &issuer.token("old", json!({"sub": "1"}))).await, user("1"));
    tokio::time::pause();
    tokio::time::advance(limits::JWKS_UNKNOWN_KID_MIN).await;
    tokio::time::resume();
    assert_eq!(shard.verify(&keys, &issuer.token("new", json!({"sub": "2"}))).await, user("2"));
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test]
async fn names_that_nobody_has_are_not_asked_for_each() {
    let (issuer, mut shard) = (Issuer::start().await, Shard::start());
    issuer.answer([issuer.set(&["k"])]);
    let keys = issuer.keys();
    for kid in ["made-up", "../../etc/passwd", "k' OR '1'='1", "k\r\nhost: evil", "%6b", "K"] {
        assert_eq!(shard.verify(&keys, &issuer.token(kid, json!({"sub": "admin"}))).await, NO_SUCH_KEY, "{kid}");
    }
    assert_eq!(shard.verify(&keys, &issuer.token("k", json!({"sub": "42"}))).await, user("42"));
    assert_eq!(issuer.requests(), 1);
}

#[tokio::test]
async fn what_is_no_answer_is_no_key() {
    for (reply, name) in [
        (Reply::Reset, "reset"),
        (Reply::Body("500 Internal Server Error", "{}".into()), "an error"),
        (Reply::Body("302 Found", String::new()), "a redirect, which is not followed"),
        (Reply::Body("200 OK", "<html>".into()), "a page"),
        (Reply::Body("200 OK", r#"{"keys":[]}"#.into()), "no keys"),
        (Reply::Body("200 OK", "x".repeat(limits::JWKS_BYTES_MAX + 1)), "too much"),
        (Reply::Endless, "without an end"),
    ] {
        let (issuer, mut shard) = (Issuer::start().await, Shard::start());
        issuer.answer([reply]);
        let token = issuer.token("k", json!({"sub": "42"}));
        shard.ask(&issuer.keys(), &token);
        shard.ask(&issuer.keys(), &token);
        assert_eq!((shard.next().await, shard.next().await), (None, None), "{name}");
        assert_eq!((issuer.requests(), shard.metrics.fetches()), (1, (0, 1)), "{name}");
    }
}

#[tokio::test]
async fn a_silent_issuer_is_given_up_and_others_do_not_wait() {
    let (silent, well, mut shard) = (Issuer::start().await, Issuer::start().await, Shard::start());
    silent.answer([Reply::Silence]);
    well.answer([well.set(&["k"])]);
    shard.ask(&silent.keys(), &silent.token("k", json!({"sub": "1"})));
    assert_eq!(shard.verify(&well.keys(), &well.token("k", json!({"sub": "2"}))).await, user("2"));
    assert_eq!(shard.next().await, None, "in {:?}", limits::JWKS_FETCH_TIMEOUT);
    assert_eq!(silent.requests(), 1);
}

#[tokio::test]
async fn known_keys_serve_while_their_issuer_is_down() {
    let (issuer, mut shard) = (Issuer::start().await, Shard::start());
    issuer.answer([issuer.set(&["k"]), Reply::Reset]);
    let (keys, token) = (issuer.keys(), issuer.token("k", json!({"sub": "42"})));
    assert_eq!(shard.verify(&keys, &token).await, user("42"));
    tokio::time::pause();
    tokio::time::advance(limits::JWKS_REFRESH_AFTER).await;
    tokio::time::resume();
    assert_eq!(shard.verify(&keys, &token).await, user("42"));
    assert_eq!(shard.verify(&keys, &token).await, user("42"));
}

#[tokio::test]
async fn who_has_gone_is_not_waited_for() {
    let (issuer, mut shard) = (Issuer::start().await, Shard::start());
    issuer.answer([issuer.set(&["k"])]);
    let (keys, token) = (issuer.keys(), issuer.token("k", json!({})));
    shard.ask(&keys, &token);
    shard.held.clear();
    let done = timeout(limits::JWKS_FETCH_TIMEOUT * 3, shard.ended.recv()).await.expect("an end in time");
    assert!(done.is_some_and(|done| matches!(done.outcome, WorkOutcome::Cancelled)));
}

#[tokio::test]
async fn one_issuers_key_signs_nothing_of_anothers() {
    // GHSA-g6vg-wj8f-48cj of Centrifugo: a cache by `kid` alone.
    let (issuer, mut shard) = (Issuer::start().await, Shard::start());
    let pattern = Regex::new("^(?P<tenant>[a-z]+)$").expect("a pattern");
    let rules = Rules { issuer: Some(Expected::Matching(pattern)), ..Rules::default() };
    let url = format!("{}/{{{{tenant}}}}/jwks", issuer.url);
    let endpoint = Endpoint::parse(&url, &rules, Safety::Checked).expect("it is safe");
    let keys = Arc::new(TokenKeys::default().with_rules(rules).with_endpoint(endpoint));
    let other = Issuer::start().await;
    // Both have a key of that name, each its own.
    issuer.answer([issuer.set(&["k"]), other.set(&["k"])]);
    assert_eq!(shard.verify(&keys, &issuer.token("k", json!({"iss": "one", "sub": "1"}))).await, user("1"));
    let forged = issuer.token("k", json!({"iss": "other", "sub": "admin"}));
    let mismatch = Some(Err(TokenProblem::Invalid("the signature does not match")));
    assert_eq!(shard.verify(&keys, &forged).await, mismatch);
    assert_eq!(shard.verify(&keys, &other.token("k", json!({"iss": "other", "sub": "2"}))).await, user("2"));
    let unlisted = issuer.token("k", json!({"iss": "evil.example/", "sub": "admin"}));
    assert_eq!(shard.verify(&keys, &unlisted).await, NO_SUCH_KEY);
    assert_eq!(issuer.requests(), 2, "nobody is asked for an issuer that is not on the list");
}
