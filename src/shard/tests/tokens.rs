//! Tokens that keys have to be fetched for, and those that say nothing of a user.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::access::{Claims, Endpoint, KeySet, Rules, Safety, TokenKeys};
use crate::workers::{Job, WorkOutcome};

fn with_published_keys(options: &mut Options) {
    let rules = Rules::default();
    let endpoint = Endpoint::parse("https://id/jwks", &rules, Safety::Checked).expect("it is safe");
    options.token_keys = Arc::new(TokenKeys::default().with_rules(rules).with_endpoint(endpoint));
}

fn keys() -> Arc<KeySet> {
    // The key of RFC 8037, appendix A.
    let key = r#"{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    Arc::new(KeySet::parse(format!(r#"{{"keys":[{key}]}}"#).as_bytes()).expect("a set of keys"))
}

fn token() -> String {
    format!("{}.e30.AAAA", URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"k"}"#))
}

impl Bench {
    fn connect_with(&mut self, token: &str) -> Client {
        let client = self.open(0);
        self.say(client, &format!(r#"{{"id":1,"connect":{{"token":"{token}"}}}}"#));
        client
    }

    fn deliver(&mut self, done: crate::workers::Done) {
        let now = self.now();
        self.shards[0].tray_message(now, TrayMessage::Done(done));
    }

    fn next_job(&mut self) -> Job {
        self.shards[0].next_job().expect("a job was made")
    }
}

#[test]
fn a_token_is_verified_once_its_keys_are_there() {
    let mut bench = Bench::with(1, with_published_keys);
    let client = bench.connect_with(&token());
    let job = bench.next_job();
    assert!(job.work.awaits_keys().is_some_and(|(_, asked)| asked == token()));
    assert_eq!(job.cost, 0, "it waits, and takes no worker's place");
    bench.deliver(job.end_with_keys(keys()));
    let job = bench.next_job();
    assert!(job.work.awaits_keys().is_none() && job.cost > 0);
    assert_eq!(bench.told(client), [""; 0]);
    let claims = Claims { user: "42".into(), ..Claims::default() };
    bench.deliver(job.end(WorkOutcome::TokenVerified(Box::new(Ok(claims)))));
    assert_eq!(ids(&bench.told(client)), [1]);
}

#[test]
fn keys_that_are_not_to_be_had_refuse_for_now() {
    let mut bench = Bench::with(1, with_published_keys);
    let client = bench.connect_with(&token());
    let job = bench.next_job();
    bench.deliver(job.end(WorkOutcome::TooLate));
    let error = r#"{"id":1,"error":{"code":100,"message":"internal server error","temporary":true}}"#;
    assert_eq!(bench.told(client), [error]);
}

#[test]
fn others_are_served_while_many_wait_for_keys() {
    let mut bench = Bench::with(1, with_published_keys);
    let waiting: Vec<Client> = (0..200).map(|_| bench.connect_with(&token())).collect();
    let jobs: Vec<Job> = waiting.iter().map(|_| bench.next_job()).collect();
    let gone = waiting[0];
    bench.cut(gone);
    assert!(jobs[0].cancellation.is_cancelled());
    // A job of another kind finds its place.
    let late = bench.connect_with(&token());
    let job = bench.next_job();
    bench.deliver(job.end_with_keys(keys()));
    assert!(bench.next_job().cost > 0);
    assert!(bench.is_known(late));
}

#[test]
fn a_token_of_no_known_issuer_causes_no_job() {
    let mut bench = Bench::with(1, with_published_keys);
    let client = bench.connect_with(&format!("{}.e30.AAAA", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","kid":"k"}"#)));
    assert!(bench.shards[0].next_job().is_none());
    assert_eq!(bench.told(client), ["close 3500"]);
}

#[test]
fn tokens_without_a_user_can_be_refused() {
    let anonymous = format!("{}.e30.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#));
    for (is_refused, expected) in [(false, "connect"), (true, "close 3507")] {
        let mut bench = Bench::with(1, |options| {
            options.token_keys = Arc::new(TokenKeys::default().without_signatures());
            options.disallow_anonymous_tokens = is_refused;
        });
        let client = bench.connect_with(&anonymous);
        let told = bench.told(client).join("\n");
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn a_proxy_says_who_it_is_unless_a_token_does() {
    let mut bench = Bench::with(1, |options| {
        options.allow_anonymous_connect = false;
        options.token_keys = Arc::new(TokenKeys::default().without_signatures());
    });
    let user_of = |bench: &mut Bench, token: &str, vouched: Option<&str>| {
        let client = bench.open(0);
        bench.shards[0].vouched_for(client.id, vouched.map(Into::into));
        bench.say(client, &format!(r#"{{"id":1,"connect":{{"token":"{token}"}}}}"#));
        let connection = bench.shards[0].connections.find(client.id);
        let waits = connection.is_some_and(|it| it.waiting.as_ref().is_some_and(|waiting| !waiting.is_idle()));
        assert!(!waits, "nothing is left behind");
        connection.and_then(|it| it.client.as_ref()).map(|client| client.user.to_string())
    };
    let token = format!("e30.{}.", URL_SAFE_NO_PAD.encode(r#"{"sub":"ann"}"#));
    assert_eq!(user_of(&mut bench, "", Some("bob")).as_deref(), Some("bob"));
    assert_eq!(user_of(&mut bench, &token, Some("bob")).as_deref(), Some("ann"));
    assert_eq!(user_of(&mut bench, "", None), None);
}
