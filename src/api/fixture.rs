//! The API in front of two homes that a test plays.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::{Admission, Api, ErrorMode, Options};
use crate::handle::{Answer, Answered, Handle, Question, ServerPublication, ShardUsers, TrayMessage};
use crate::model::{ChannelName, Epoch, ErrorCode, Homes, Position};
use crate::nodes::{Cluster, NodeName};
use crate::telemetry::NodeMetrics;

pub const KEY: &str = "the-key";

pub struct Fixture {
    router: Router,
    pub metrics: Arc<NodeMetrics>,
    pub cluster: Cluster,
    asked: Arc<Mutex<Vec<Question>>>,
}

impl Fixture {
    /// Homes that nobody should ask.
    pub fn new() -> Fixture {
        Fixture::answering(|_| Err(ErrorCode::Internal))
    }

    /// Homes that answer at once, by `answer`.
    pub fn answering(answer: impl Fn(&Question) -> Answer + Send + Sync + 'static) -> Fixture {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        let post = move |_, message| {
            let TrayMessage::Ask { question, answerer } = message else { panic!("the API only asks") };
            (answerer.0)(answer(&question));
            kept.lock().expect("no test panics while it holds this").push(question);
            Ok(())
        };
        let metrics = Arc::new(NodeMetrics::new(2, 1, Instant::now()));
        let options = Options {
            admission: Admission::Key(KEY.into()),
            error_mode: ErrorMode::Body,
            prefix: "/api".to_owned(),
            channel_bytes_max: 255,
            publication_bytes_max: 1000,
        };
        let handle = Handle::new(Homes::new(2, 1), Arc::new(post));
        let node = NodeName { uid: "uid".to_owned(), name: "node-1".to_owned() };
        let cluster = Cluster::alone(node, handle.clone(), Arc::clone(&metrics));
        let api = Api { options, handle, cluster: cluster.clone(), metrics: Arc::clone(&metrics) };
        Fixture { router: super::router(Arc::new(api)), metrics, cluster, asked }
    }

    /// Homes that publish to every channel but those of the namespace `no`.
    pub fn publishing() -> Fixture {
        let publish = |publication: &ServerPublication| match publication.channel.as_str().starts_with("no:") {
            true => Err(ErrorCode::UnknownChannel),
            false => Ok(Some(position(1))),
        };
        Fixture::answering(move |question| match question {
            Question::Publish(publication) => publish(publication).map(Answered::Published),
            Question::PublishAll(publications) => {
                Ok(Answered::PublishedAll(publications.iter().map(publish).collect()))
            }
            Question::Users => Ok(Answered::Users(ShardUsers { count: 3, keys: vec![1, 2, 3] })),
            Question::Reach(_) => Ok(Answered::Reached(1)),
            _ => Err(ErrorCode::NotAvailable),
        })
    }

    /// What the homes were asked to publish, by channel.
    pub fn published(&self) -> Vec<ServerPublication> {
        let publications = |question| match question {
            Question::Publish(publication) => vec![publication],
            Question::PublishAll(publications) => publications,
            other => panic!("asked {other:?}"),
        };
        let mut published: Vec<_> = self.asked().into_iter().flat_map(publications).collect();
        published.sort_by(|one, other| one.channel.cmp(&other.channel));
        published
    }

    pub async fn respond(&self, verb: &str, path: &str, key: &str, body: String) -> Response {
        let request = Request::builder().method(verb).uri(path).header("x-api-key", key);
        let request = request.body(Body::from(body)).expect("a request");
        self.router.clone().oneshot(request).await.expect("the router answers everything")
    }

    /// The status and the text of the answer.
    pub async fn send(&self, verb: &str, path: &str, key: &str, body: String) -> (u16, String) {
        read(self.respond(verb, path, key, body).await).await
    }

    /// The same for a request that asks for errors by status.
    pub async fn send_for_transport(&self, path: &str, body: &str) -> (u16, String) {
        self.send_with(path, &[("x-api-key", KEY), ("X-Centrifugo-Error-Mode", "transport")], body).await
    }

    /// The same with any headers.
    pub async fn send_with(&self, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let request = headers.iter().fold(Request::post(path), |request, (name, value)| request.header(*name, *value));
        let request = request.body(Body::from(body.to_owned())).expect("a request");
        read(self.router.clone().oneshot(request).await.expect("the router answers everything")).await
    }

    /// What the homes were asked.
    pub fn asked(&self) -> Vec<Question> {
        self.asked.lock().expect("no test panics while it holds this").clone()
    }
}

async fn read(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("an answer is text"))
}

/// Calls `method` with `body` and compares the answer.
pub async fn check(fixture: &Fixture, method: &str, body: &str, expected: &str) {
    let (status, text) = fixture.send("POST", &format!("/api/{method}"), KEY, body.to_owned()).await;
    assert_eq!((status, text.as_str()), (200, expected), "{method} {body}");
}

pub fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name, 255).expect("a short name")
}

pub fn position(offset: u64) -> Position {
    Position { epoch: Epoch::from_random(0), offset }
}
