//! Many commands in one request: the method `batch`, and the route of old with a command on each line.
//!
//! In order: the next command starts when the one before is answered. Publications that follow one
//! another are the exception: they go out together, in their order, and each home takes its own in one
//! go. In parallel: the publications together, and beside them some of the others at a time.
//!
//! A command that fails says so in its place; the others run. All are read before the first one runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use tokio::task::JoinSet;

use super::Api;
use super::failure::Failure;
use super::method::{Method, Outcome};
use super::publish::publish_together;
use super::reply::{ErrorMode, Refusal, Reply};
use super::request::{null_as_default, refuse_json};
use crate::limits::{BATCH_COMMANDS_MAX, BATCH_PARALLEL_MAX};
use crate::model::ErrorCode;

#[derive(Deserialize)]
struct BatchRequest<'a> {
    /// Each with one field, the method's name, that holds its request.
    #[serde(borrow, default)]
    commands: Vec<BTreeMap<String, &'a RawValue>>,
    #[serde(default, deserialize_with = "null_as_default")]
    parallel: bool,
}

/// One line of the route of old.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default, deserialize_with = "null_as_default")]
    method: String,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

/// What `batch` answers, without the envelope `result`, as Centrifugo does.
#[derive(Serialize)]
struct BatchResult {
    replies: Vec<BatchReply>,
}

/// The result in a field named as the method, or the error.
struct BatchReply {
    method: Option<Method>,
    outcome: Outcome,
}

/// One command: what it calls, or why it can't be run.
struct Command<'a> {
    method: Result<Method, Failure>,
    params: &'a [u8],
}

/// Runs the commands of a batch.
pub async fn batch(api: &Arc<Api>, mode: ErrorMode, body: &Bytes) -> Result<Response, Refusal> {
    api.metrics.api.count_request("batch");
    let request: BatchRequest<'_> = serde_json::from_slice(body).map_err(|error| refuse_json(&error))?;
    if let Err(failure) = check_count(request.commands.len()) {
        api.metrics.api.count_error(failure.code().code());
        return Ok(mode.respond::<()>(Err(failure)));
    }
    let commands: Vec<Command<'_>> = request.commands.iter().map(Command::of_batch).collect();
    let methods: Vec<Option<Method>> = commands.iter().map(|command| command.method.as_ref().ok().copied()).collect();
    let outcomes = match request.parallel {
        true => run_in_parallel(api, body, commands).await,
        false => run_in_order(api, commands).await,
    };
    let replies = methods.into_iter().zip(outcomes).map(|(method, outcome)| BatchReply { method, outcome });
    Ok(axum::Json(BatchResult { replies: replies.collect() }).into_response())
}

/// Runs commands that stand behind one another, a line for each, and answers with a line for each.
pub async fn lines(api: &Arc<Api>, body: &Bytes) -> Result<Response, Refusal> {
    let lines: Result<Vec<Line<'_>>, _> =
        serde_json::Deserializer::from_slice(body).into_iter().take(BATCH_COMMANDS_MAX + 1).collect();
    let lines = lines.map_err(|error| refuse_json(&error))?;
    if let Err(failure) = check_count(lines.len()) {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, failure.detail().unwrap_or_default()));
    }
    let outcomes = run_in_order(api, lines.iter().map(Command::of_line).collect()).await;
    let mut text = Vec::new();
    for outcome in outcomes {
        if !text.is_empty() {
            text.push(b'\n');
        }
        serde_json::to_writer(&mut text, &Reply::from(outcome)).expect("a reply is plain data, and memory takes it");
    }
    Ok(([(CONTENT_TYPE, "application/json")], text).into_response())
}

fn check_count(commands: usize) -> Result<(), Failure> {
    match commands {
        0 => Err(Failure::field("commands", "must not be empty")),
        1..=BATCH_COMMANDS_MAX => Ok(()),
        _ => Err(Failure::field("commands", format!("there are more than {BATCH_COMMANDS_MAX}"))),
    }
}

impl<'a> Command<'a> {
    fn of_batch(fields: &BTreeMap<String, &'a RawValue>) -> Command<'a> {
        let mut calls = fields.iter().filter_map(|(name, params)| Some((Method::find(name)?, params.get().as_bytes())));
        match (calls.next(), calls.next()) {
            (Some((method, params)), None) => Command { method: Ok(method), params },
            (Some(_), Some(_)) => {
                let two = Failure::field("commands", "this one has two methods: make it two commands");
                Command { method: Err(two), params: &[] }
            }
            (None, _) => Command { method: Err(ErrorCode::MethodNotFound.into()), params: &[] },
        }
    }

    fn of_line(line: &Line<'a>) -> Command<'a> {
        let method = Method::find(&line.method).ok_or(ErrorCode::MethodNotFound.into());
        Command { method, params: line.params.map_or(b"{}", |params| params.get().as_bytes()) }
    }

    /// What it publishes with, if that is what it does.
    fn publishes(&self) -> Option<(Method, &'a [u8])> {
        let method = *self.method.as_ref().ok()?;
        method.publishes().then_some((method, self.params))
    }
}

async fn run_in_order(api: &Api, commands: Vec<Command<'_>>) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(commands.len());
    let mut commands = commands.into_iter().peekable();
    while let Some(command) = commands.next() {
        match command.publishes() {
            None => outcomes.push(run(api, command).await),
            Some(first) => {
                let mut together = vec![first];
                while let Some(next) = commands.peek().and_then(Command::publishes) {
                    together.push(next);
                    commands.next();
                }
                outcomes.extend(publish_together(api, &together).await);
            }
        }
    }
    outcomes.iter().for_each(|outcome| count_error(api, outcome));
    outcomes
}

async fn run_in_parallel(api: &Arc<Api>, body: &Bytes, commands: Vec<Command<'_>>) -> Vec<Outcome> {
    let mut outcomes: Vec<Option<Outcome>> = commands.iter().map(|_| None).collect();
    let mut together = (Vec::new(), Vec::new());
    let mut others = JoinSet::new();
    for (place, command) in commands.into_iter().enumerate() {
        if let Some(publishes) = command.publishes() {
            together.0.push(place);
            together.1.push(publishes);
            continue;
        }
        while others.len() >= BATCH_PARALLEL_MAX {
            keep(&mut outcomes, others.join_next().await);
        }
        match command.method {
            Err(failure) => outcomes[place] = Some(Err(failure)),
            Ok(method) => {
                let (api, params) = (Arc::clone(api), body.slice_ref(command.params));
                others.spawn(async move { (place, method.call(&api, &params).await) });
            }
        }
    }
    let published = publish_together(api, &together.1).await;
    together.0.into_iter().zip(published).for_each(|(place, outcome)| outcomes[place] = Some(outcome));
    while !others.is_empty() {
        keep(&mut outcomes, others.join_next().await);
    }
    // What panicked left its place empty.
    let outcomes = outcomes.into_iter().map(|outcome| outcome.unwrap_or(Err(ErrorCode::Internal.into())));
    outcomes.inspect(|outcome| count_error(api, outcome)).collect()
}

fn keep(outcomes: &mut [Option<Outcome>], ended: Option<Result<(usize, Outcome), tokio::task::JoinError>>) {
    if let Some(Ok((place, outcome))) = ended {
        outcomes[place] = Some(outcome);
    }
}

async fn run(api: &Api, command: Command<'_>) -> Outcome {
    command.method?.call(api, command.params).await
}

fn count_error(api: &Api, outcome: &Outcome) {
    if let Err(failure) = outcome {
        api.metrics.api.count_error(failure.code().code());
    }
}

impl Serialize for BatchReply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut reply = serializer.serialize_map(Some(1))?;
        match (&self.outcome, self.method) {
            (Ok(result), Some(method)) => reply.serialize_entry(method.name(), result)?,
            (Err(failure), _) => reply.serialize_entry("error", &failure.body())?,
            (Ok(_), None) => unreachable!("only a method has a result"),
        }
        reply.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::fixture::{Fixture, KEY};
    use crate::handle::Question;
    use crate::limits::CHANNEL_GLOB_BYTES_MAX;

    async fn send(fixture: &Fixture, path: &str, body: &str) -> (u16, String) {
        fixture.send("POST", path, KEY, body.to_owned()).await
    }

    /// Every method once, well and badly: its request, and the answer without its envelope.
    fn table() -> Vec<(&'static str, Value, Value)> {
        let bad = |detail: &str| json!({"error": {"code": 107, "message": "bad request", "detail": detail}});
        let done = || json!({"result": {}});
        let published = || json!({"result": {"offset": 1, "epoch": "aaaaaaaa"}});
        let unknown = || json!({"error": {"code": 102, "message": "unknown channel"}});
        let not_available = || json!({"error": {"code": 108, "message": "not available"}});
        let nobody = "user: must not be empty, unless client names one connection";
        let long_pattern =
            format!("pattern: has {} bytes, at most {CHANNEL_GLOB_BYTES_MAX} are allowed", CHANNEL_GLOB_BYTES_MAX + 1);
        let two_channels = json!({"result": {"responses": [published(), unknown()]}});
        vec![
            ("publish", json!({"channel": "a", "data": 1}), published()),
            ("publish", json!({"channel": "no:a", "data": 1}), unknown()),
            ("publish", json!({"data": 1}), bad("channel: must not be empty")),
            ("broadcast", json!({"channels": ["b", "no:b"], "data": 1}), two_channels),
            ("broadcast", json!({"data": 1}), bad("channels: must not be empty")),
            ("disconnect", json!({"user": "u"}), done()),
            ("disconnect", json!({}), bad(nobody)),
            ("subscribe", json!({"user": "u", "channel": "a"}), done()),
            ("subscribe", json!({"channel": "a"}), bad(nobody)),
            ("unsubscribe", json!({"user": "u", "channel": "a"}), done()),
            ("unsubscribe", json!({}), bad(nobody)),
            ("refresh", json!({"user": "u", "expired": true}), done()),
            ("refresh", json!({}), bad(nobody)),
            ("presence", json!({"channel": "a"}), not_available()),
            ("presence_stats", json!({"channel": "a"}), not_available()),
            ("history", json!({"channel": "a"}), not_available()),
            ("history", json!({}), bad("channel: must not be empty")),
            ("history_remove", json!({"channel": "a"}), not_available()),
            ("history_remove", json!({}), bad("channel: must not be empty")),
            ("channels", json!({"pattern": "p".repeat(CHANNEL_GLOB_BYTES_MAX + 1)}), bad(&long_pattern)),
        ]
    }

    #[tokio::test]
    async fn alone_each_method_answers_with_its_envelope() {
        for (method, params, expected) in table() {
            let (status, text) = send(&Fixture::publishing(), &format!("/api/{method}"), &params.to_string()).await;
            let answer: Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!((status, answer), (200, expected), "{method} {params}");
        }
        let named = table().into_iter().map(|(method, _, _)| method).chain(["info"]);
        let named: std::collections::BTreeSet<_> = named.collect();
        assert_eq!(named, Method::ALL.iter().map(|method| method.name()).collect(), "each is in the table");
    }

    #[tokio::test]
    async fn in_transport_mode_an_error_is_bare_and_has_a_status() {
        for (method, params, expected) in table() {
            let fixture = Fixture::publishing();
            let (status, text) = fixture.send_for_transport(&format!("/api/{method}"), &params.to_string()).await;
            let answer: Value = serde_json::from_str(&text).expect("JSON");
            match expected.get("error") {
                None => assert_eq!((status, answer), (200, expected), "{method} {params}"),
                Some(error) => {
                    let expected_status = if error["code"] == 102 { 404 } else { 400 };
                    assert_eq!((status, &answer), (expected_status, error), "{method} {params}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_batch_answers_as_each_method_alone() {
        for parallel in [false, true] {
            let commands: Vec<Value> = table().into_iter().map(|(method, params, _)| json!({method: params})).collect();
            let request = json!({"commands": commands, "parallel": parallel});
            let (status, text) = send(&Fixture::publishing(), "/api/batch", &request.to_string()).await;
            let answer: Value = serde_json::from_str(&text).expect("JSON");
            let expected: Vec<Value> = table()
                .into_iter()
                .map(|(method, _, expected)| match expected.get("result") {
                    Some(result) => json!({method: result}),
                    None => expected,
                })
                .collect();
            assert_eq!((status, answer), (200, json!({"replies": expected})), "parallel: {parallel}");
        }
    }

    #[tokio::test]
    async fn the_route_of_old_answers_with_a_line_for_each() {
        let lines: Vec<String> = table()
            .into_iter()
            .map(|(method, params, _)| json!({"method": method, "params": params}).to_string())
            .collect();
        for separator in ["\n", "\r\n\n", ""] {
            let (status, text) = send(&Fixture::publishing(), "/api", &lines.join(separator)).await;
            let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
            let expected: Vec<Value> = table().into_iter().map(|(_, _, expected)| expected).collect();
            assert_eq!((status, answers), (200, expected));
        }
    }

    #[tokio::test]
    async fn publications_that_follow_one_another_are_one_question_for_each_home() {
        let publish = |channel: &str, n: u32| json!({"publish": {"channel": channel, "data": n}});
        let many: Vec<Value> = (0..40).map(|n| publish(&format!("c{}", n % 10), n)).collect();
        for parallel in [false, true] {
            let fixture = Fixture::publishing();
            let request = json!({"commands": many, "parallel": parallel});
            assert_eq!(send(&fixture, "/api/batch", &request.to_string()).await.0, 200);
            assert_eq!(fixture.asked().len(), 2, "there are two homes");
            let of_channel = fixture.published().into_iter().filter(|publication| publication.channel.as_str() == "c3");
            let data: Vec<String> = of_channel.map(|p| String::from_utf8_lossy(&p.data).into_owned()).collect();
            assert_eq!(data, ["3", "13", "23", "33"], "in the order given");
        }
        // What stands between them is answered first.
        let fixture = Fixture::publishing();
        let request = json!({"commands": [publish("a", 1), {"presence": {"channel": "a"}}, publish("a", 2)]});
        send(&fixture, "/api/batch", &request.to_string()).await;
        let kinds: Vec<bool> = fixture.asked().iter().map(|asked| matches!(asked, Question::Publish(_))).collect();
        assert_eq!(kinds, [true, false, true]);
    }

    #[tokio::test]
    async fn what_is_no_command_says_so_in_its_place() {
        let request = json!({"commands": [
            {}, {"dance": {}}, {"batch": {"commands": []}}, {"presence": {}, "info": {}}, {"publish": {"channel": 7}},
            {"id": 3, "publish": {"channel": "a", "data": 1}},
        ]});
        let (_, text) = send(&Fixture::publishing(), "/api/batch", &request.to_string()).await;
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        let replies = answer["replies"].as_array().expect("a list");
        let codes: Vec<_> = replies.iter().map(|reply| reply["error"]["code"].as_u64()).collect();
        assert_eq!(codes, [Some(104), Some(104), Some(104), Some(107), Some(107), None], "{text}");
        assert!(replies[4]["error"]["detail"].as_str().expect("a text").contains("expected a string"), "{text}");

        let lines =
            "{\"method\":\"dance\"}\n{\"method\":\"publish\",\"params\":{\"channel\":7}}\n{\"method\":\"presence\"}";
        let (_, text) = send(&Fixture::publishing(), "/api", lines).await;
        let codes: Vec<_> = text.lines().map(|line| line.split([':', ',']).nth(2).expect("a code")).collect();
        assert_eq!(codes, ["104", "107", "107"], "{text}");
    }

    #[tokio::test]
    async fn bounds_are_checked_before_anything_runs() {
        let publish = r#"{"publish":{"channel":"a","data":1}}"#;
        let fixture = Fixture::publishing();
        let many = format!(r#"{{"commands":[{}]}}"#, vec![publish; BATCH_COMMANDS_MAX + 1].join(","));
        for body in [r#"{"commands":[]}"#, "{}", many.as_str()] {
            let (status, text) = send(&fixture, "/api/batch", body).await;
            assert!(status == 200 && text.contains(r#""code":107"#) && text.contains("commands: "), "{text}");
            let (status, text) = fixture.send_for_transport("/api/batch", body).await;
            assert!(status == 400 && text.starts_with(r#"{"code":107"#), "{text}");
        }
        let line = "{\"method\":\"publish\",\"params\":{\"channel\":\"a\",\"data\":1}}\n";
        let many = line.repeat(BATCH_COMMANDS_MAX + 1);
        for body in ["", " \n", many.as_str(), "{\"method\":\"publish\"", &format!("{line}nonsense")] {
            let (status, text) = send(&fixture, "/api", body).await;
            assert!(status == 400 && text.starts_with(r#"{"error":{"code":400"#), "{text}");
        }
        assert_eq!(send(&fixture, "/api/batch", "nonsense").await.0, 400);
        assert_eq!(fixture.asked(), []);
    }

    #[tokio::test]
    async fn the_route_of_old_is_guarded_too() {
        let fixture = Fixture::publishing();
        let line = r#"{"method":"info"}"#.to_owned();
        assert_eq!(fixture.send("GET", "/api", KEY, String::new()).await.0, 405);
        assert_eq!(fixture.send("POST", "/api", "wrong", line.clone()).await.0, 401);
        assert_eq!(fixture.send("POST", "/api", KEY, line).await.0, 200);
    }

    #[tokio::test]
    async fn the_mode_is_for_refusals_too() {
        let fixture = Fixture::publishing();
        let (status, text) = fixture.send_for_transport("/api/publish", "nonsense").await;
        assert!(status == 400 && text.starts_with(r#"{"code":400,"message":"#), "{text}");
    }
}
