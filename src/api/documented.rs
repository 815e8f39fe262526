//! Runs the examples of docs/api.md: each request gets the answer that stands below it.

use std::sync::Arc;

use serde_json::{Deserializer, Value};

use super::fixture::{Fixture, KEY, channel, position};
use super::method::Method;
use crate::handle::{Answer, Answered, ChannelsFound, Question, ServerPublication, ShardUsers};
use crate::model::{ClientId, ClientInfo, ErrorCode, HistoryResult, PresenceStats, Publication};

const PAGE: &str = include_str!("../../docs/api.md");

/// A request and its answer, as the page shows them.
struct Example<'a> {
    path: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    body: &'a str,
    answer: Vec<Value>,
}

#[tokio::test]
async fn examples_are_answered_as_the_page_says() {
    let examples: Vec<Example<'_>> = PAGE.split("```sh\n").skip(1).map(Example::read).collect();
    for example in &examples {
        let fixture = Fixture::answering(answer);
        let text = fixture.send_with(example.path, &example.headers, example.body).await.1;
        let answers: Vec<Value> = values(&text);
        assert!(is_like(&answers.into(), &example.answer.clone().into()), "{} answers {text}", example.path);
    }
    for method in Method::ALL.iter().map(|method| method.name()).chain(["batch"]) {
        let path = format!("/api/{method}");
        assert!(examples.iter().any(|example| example.path == path), "{method} has an example");
    }
}

impl<'a> Example<'a> {
    /// Reads from the begin of one example's code to the next one.
    fn read(text: &'a str) -> Example<'a> {
        let (request, rest) = text.split_once("```").expect("the code ends");
        let answer = rest.split_once("```json\n").and_then(|(_, rest)| rest.split_once("```")).expect("an answer").0;
        let (head, body) = request.split_once("-d '").expect("a body");
        let path = head.split_once("localhost:8000").and_then(|(_, rest)| rest.split_once(' ')).expect("an address").0;
        let headers = head.split("-H ").skip(1).map(|header| {
            let header = header.trim().trim_matches(['"', '\'']);
            let (name, value) = header.split_once(": ").expect("a header");
            (name, if value == "$KEY" { KEY } else { value })
        });
        let body = body.rsplit_once('\'').expect("the body ends").0;
        Example { path, headers: headers.collect(), body, answer: values(answer) }
    }
}

fn values(text: &str) -> Vec<Value> {
    Deserializer::from_str(text).into_iter().collect::<Result<_, _>>().expect("JSON")
}

/// Whether `value` is as `expected`, where "*" stands for anything.
fn is_like(value: &Value, expected: &Value) -> bool {
    match (value, expected) {
        (_, Value::String(any)) if any == "*" => true,
        (Value::Array(values), Value::Array(expected)) => {
            values.len() == expected.len()
                && values.iter().zip(expected).all(|(value, expected)| is_like(value, expected))
        }
        (Value::Object(fields), Value::Object(expected)) => {
            fields.len() == expected.len()
                && expected
                    .iter()
                    .all(|(name, expected)| fields.get(name).is_some_and(|value| is_like(value, expected)))
        }
        (value, expected) => value == expected,
    }
}

/// The node of the examples: one room, `news`, with one publication at offset 7.
fn answer(question: &Question) -> Answer {
    let published = |publication: &ServerPublication| match publication.channel.as_str() {
        "news" => Ok(Some(position(7))),
        _ => Err(ErrorCode::UnknownChannel),
    };
    let client = ClientId::parse("6d8f9a1e-0d9b-4c1c-8a53-0a3b2c1d4e5f").expect("a UUID");
    match question {
        Question::Publish(publication) => published(publication).map(Answered::Published),
        Question::PublishAll(publications) => Ok(Answered::PublishedAll(publications.iter().map(published).collect())),
        Question::Presence { channel } if channel.as_str() == "news" => {
            let conn_info = Some(r#"{"name": "Ann"}"#.into());
            let info = ClientInfo { user: "42".into(), client, conn_info, chan_info: None };
            Ok(Answered::Presence(vec![Arc::new(info)]))
        }
        Question::PresenceStats { .. } => Ok(Answered::PresenceStats(PresenceStats { clients: 3, users: 2 })),
        Question::History { .. } => {
            let data = r#"{"text": "hello"}"#.into();
            let publications = vec![Arc::new(Publication { data, offset: 7, ..Publication::default() })];
            Ok(Answered::History(HistoryResult { publications, epoch: position(7).epoch, offset: 7 }))
        }
        Question::Channels(_) => {
            let channels = vec![(channel("chat:lobby"), 2), (channel("chat:kitchen"), 1)];
            Ok(Answered::Channels(ChannelsFound { channels, has_more: true }))
        }
        Question::HistoryRemove { .. } => Ok(Answered::HistoryRemoved),
        Question::Reach(_) => Ok(Answered::Reached(1)),
        Question::Users => Ok(Answered::Users(ShardUsers { count: 3, keys: vec![1, 2, 3] })),
        _ => Err(ErrorCode::UnknownChannel),
    }
}
