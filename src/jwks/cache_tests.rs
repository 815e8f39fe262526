use serde_json::json;

use super::*;

const URL: &str = "https://id/jwks";

/// Names of keys whose askers were told: the issuer's keys have it, have it not, or are not known.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Has(&'static str),
    Lacks(&'static str),
    Unavailable(&'static str),
}

struct Askers {
    cache: Cache<&'static str>,
    now: Duration,
}

impl Askers {
    fn new() -> Askers {
        Askers { cache: Cache::default(), now: Duration::from_secs(1) }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// Whether keys are asked for, and what the asker is told at once.
    fn ask(&mut self, url: &str, kid: &'static str) -> (bool, Option<Told>) {
        let question = KeyQuestion { url: url.into(), kid: kid.into() };
        let asked = self.cache.ask(self.now, &question, kid);
        (asked.fetch, asked.answer.map(told))
    }

    fn fetched(&mut self, url: &str, kids: &[&str]) -> Vec<Told> {
        let told = self.cache.fetched(self.now, url, Some(keys(kids))).into_iter().map(told).collect();
        self.check();
        told
    }

    fn failed(&mut self, url: &str) -> Vec<Told> {
        let told = self.cache.fetched(self.now, url, None).into_iter().map(told).collect();
        self.check();
        told
    }

    fn check(&self) {
        let waiting: usize = self.cache.places.values().map(|place| place.waiting.len()).sum();
        assert_eq!(self.cache.waiting, waiting);
    }
}

fn told((kid, answer): (&'static str, Answer)) -> Told {
    match answer {
        Answer::Keys(keys) if keys.has(kid) => Told::Has(kid),
        Answer::Keys(_) => Told::Lacks(kid),
        Answer::Unavailable => Told::Unavailable(kid),
    }
}

fn keys(kids: &[&str]) -> KeySet {
    // The key of RFC 8037, appendix A.
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let keys: Vec<_> = kids.iter().map(|kid| json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x})).collect();
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("a set of keys")
}

#[test]
fn many_askers_cause_one_request() {
    let mut askers = Askers::new();
    assert_eq!(askers.ask(URL, "a"), (true, None));
    assert_eq!(askers.ask(URL, "a"), (false, None));
    assert_eq!(askers.ask(URL, "b"), (false, None));
    assert_eq!(askers.fetched(URL, &["a"]), [Told::Has("a"), Told::Has("a"), Told::Lacks("b")]);
    assert_eq!(askers.ask(URL, "a"), (false, Some(Told::Has("a"))));
    assert_eq!(askers.fetched(URL, &["a"]), [], "nobody waits any more");
}

#[test]
fn old_keys_are_served_while_they_are_asked_for_again() {
    let mut askers = Askers::new();
    askers.ask(URL, "a");
    askers.fetched(URL, &["a"]);
    askers.wait(limits::JWKS_REFRESH_AFTER - Duration::from_millis(1));
    assert_eq!(askers.ask(URL, "a"), (false, Some(Told::Has("a"))));
    askers.wait(Duration::from_millis(1));
    assert_eq!(askers.ask(URL, "a"), (true, Some(Told::Has("a"))));
    assert_eq!(askers.ask(URL, "a"), (false, Some(Told::Has("a"))), "one request at a time");
    askers.fetched(URL, &["b"]);
    assert_eq!(askers.ask(URL, "a"), (false, Some(Told::Lacks("a"))), "it was withdrawn");
    assert_eq!(askers.ask(URL, "b"), (false, Some(Told::Has("b"))));
}

#[test]
fn known_keys_outlive_an_outage_for_a_while() {
    let mut askers = Askers::new();
    askers.ask(URL, "a");
    askers.fetched(URL, &["a"]);
    askers.wait(limits::JWKS_REFRESH_AFTER);
    let begun = askers.now;
    while askers.now < begun + limits::JWKS_SERVED_MAX - limits::JWKS_REFRESH_AFTER {
        assert_eq!(askers.ask(URL, "a"), (true, Some(Told::Has("a"))), "{:?}", askers.now);
        assert_eq!(askers.ask(URL, "new"), (false, None));
        assert_eq!(askers.failed(URL), [Told::Unavailable("new")], "it may be a key that could not be fetched");
        assert_eq!(askers.ask(URL, "a"), (false, Some(Told::Has("a"))));
        assert_eq!(askers.ask(URL, "new"), (false, Some(Told::Unavailable("new"))));
        askers.wait(limits::JWKS_RETRY_MIN * 60);
    }
    assert_eq!(askers.ask(URL, "a"), (true, None), "they are too old to be believed");
    assert_eq!(askers.failed(URL), [Told::Unavailable("a")]);
    askers.wait(limits::JWKS_RETRY_MIN);
    assert_eq!(askers.ask(URL, "a"), (true, None));
    assert_eq!(askers.fetched(URL, &["a"]), [Told::Has("a")]);
}

#[test]
fn names_of_keys_that_do_not_exist_cause_few_requests() {
    let mut askers = Askers::new();
    askers.ask(URL, "a");
    askers.fetched(URL, &["a"]);
    let mut requests = 0;
    for _ in 0..600 {
        askers.wait(Duration::from_millis(100));
        let (fetch, told) = askers.ask(URL, "made up");
        requests += u32::from(fetch);
        match fetch {
            true => assert_eq!(askers.fetched(URL, &["a"]), [Told::Lacks("made up")]),
            false => assert_eq!(told, Some(Told::Lacks("made up"))),
        }
        assert_eq!(askers.ask(URL, "a"), (false, Some(Told::Has("a"))), "others do not notice");
    }
    assert_eq!(requests, 6, "one in {:?}", limits::JWKS_UNKNOWN_KID_MIN);
}

#[test]
fn a_new_key_is_found_at_once() {
    let mut askers = Askers::new();
    askers.ask(URL, "a");
    askers.fetched(URL, &["a"]);
    askers.wait(limits::JWKS_UNKNOWN_KID_MIN);
    assert_eq!(askers.ask(URL, "b"), (true, None));
    assert_eq!(askers.ask(URL, "a"), (false, Some(Told::Has("a"))));
    assert_eq!(askers.fetched(URL, &["a", "b"]), [Told::Has("b")]);
}

#[test]
fn one_issuers_keys_are_not_anothers() {
    let (one, other) = ("https://id/one", "https://id/other");
    let mut askers = Askers::new();
    assert_eq!(askers.ask(one, "k"), (true, None));
    assert_eq!(askers.ask(other, "k"), (true, None));
    assert_eq!(askers.fetched(one, &["k"]), [Told::Has("k")]);
    assert_eq!(askers.fetched(other, &["x"]), [Told::Lacks("k")]);
    assert_eq!(askers.ask(other, "k"), (false, Some(Told::Lacks("k"))));
}

#[test]
fn a_place_that_is_down_is_asked_once_in_a_while() {
    let mut askers = Askers::new();
    assert_eq!(askers.ask(URL, "a"), (true, None));
    assert_eq!(askers.failed(URL), [Told::Unavailable("a")]);
    assert_eq!(askers.ask(URL, "a"), (false, Some(Told::Unavailable("a"))));
    askers.wait(limits::JWKS_RETRY_MIN);
    assert_eq!(askers.ask(URL, "a"), (true, None));
}

#[test]
fn made_up_issuers_cause_few_requests_and_displace_nobody() {
    let mut askers = Askers::new();
    askers.ask(URL, "a");
    askers.fetched(URL, &["a"]);
    let mut requests = 0;
    for index in 0..10_000 {
        let url = format!("https://id/{index}");
        let (fetch, told) = askers.ask(&url, "a");
        if fetch {
            requests += 1;
            askers.failed(&url);
        } else {
            assert_eq!(told, Some(Told::Unavailable("a")));
        }
        assert!(askers.cache.places.len() <= limits::JWKS_PLACES_MAX);
    }
    assert_eq!(requests, limits::JWKS_STRANGERS_PER_MINUTE - 1);
    assert_eq!(askers.ask(URL, "a"), (false, Some(Told::Has("a"))));
    askers.wait(limits::JWKS_REFRESH_AFTER);
    assert_eq!(askers.ask(URL, "a"), (true, Some(Told::Has("a"))), "who is known needs no leave");
}

#[test]
fn few_wait() {
    let mut askers = Askers::new();
    for _ in 0..limits::JWKS_WAITING_MAX {
        assert_eq!(askers.ask(URL, "a").1, None);
    }
    assert_eq!(askers.ask(URL, "a"), (false, Some(Told::Unavailable("a"))));
    let under_way: Vec<String> = (1..limits::JWKS_PLACES_MAX).map(|index| format!("https://id/{index}")).collect();
    for url in &under_way {
        assert_eq!(askers.ask(url, "a"), (true, Some(Told::Unavailable("a"))));
    }
    assert_eq!(askers.ask("https://id/more", "a"), (false, Some(Told::Unavailable("a"))), "all are under way");
    assert_eq!(askers.fetched(URL, &["a"]).len(), limits::JWKS_WAITING_MAX);
}
