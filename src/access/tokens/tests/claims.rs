use serde_json::{Value, json};

use super::super::claims::{read_connection, read_subscription};
use super::super::*;
use crate::access::Overrides;

const NOW: i64 = 1_800_000_000;

fn connection(claims: Value) -> Result<Claims, TokenProblem> {
    read_connection(claims.to_string().as_bytes(), &Rules::default(), NOW)
}

fn subscription(claims: Value) -> Result<SubscriptionClaims, TokenProblem> {
    read_subscription(claims.to_string().as_bytes(), &Rules::default(), NOW)
}

fn invalid<T>(reason: &'static str) -> Result<T, TokenProblem> {
    Err(TokenProblem::Invalid(reason))
}

fn subs(claims: Value) -> Vec<(Box<str>, Grant)> {
    connection(claims).expect("the claims are right").subs
}

#[test]
fn channels_are_granted_by_name() {
    let named = |names: &[&str]| names.iter().map(|name| ((*name).into(), Grant::default())).collect::<Vec<_>>();
    assert_eq!(subs(json!({})), []);
    assert_eq!(subs(json!({"channels": null})), []);
    assert_eq!(subs(json!({"channels": ["b", "a"]})), named(&["b", "a"]));
    assert_eq!(subs(json!({"channels": ["a", "b", "a"]})), named(&["a", "b"]), "each once");
    assert_eq!(subs(json!({"channels": ["a"], "subs": {}})), named(&["a"]));
    assert_eq!(subs(json!({"channels": ["a"], "subs": {"b": {}}})), named(&["b"]), "`subs` wins");
}

#[test]
fn subs_say_what_is_granted_in_each_channel() {
    let claims = json!({"subs": {
        "text": {"info": {"role": "x"}, "data": [1]},
        "binary": {"b64info": "AP8=", "b64data": "AQI=", "info": 1, "data": 1},
        "flags": {"override": {"presence": {"value": false}, "join_leave": {"value": true},
            "force_push_join_leave": {"value": true}, "force_recovery": {}, "force_positioning": null}},
    }});
    let overrides = Overrides {
        presence: Some(false),
        join_leave: Some(true),
        force_push_join_leave: Some(true),
        force_recovery: Some(false),
        force_positioning: None,
    };
    let expected = [
        ("binary".into(), Grant { info: Some(vec![0, 255].into()), data: vec![1, 2].into(), ..Grant::default() }),
        ("flags".into(), Grant { overrides, ..Grant::default() }),
        ("text".into(), Grant { info: Some(r#"{"role":"x"}"#.into()), data: "[1]".into(), ..Grant::default() }),
    ];
    assert_eq!(subs(claims), expected);
}

#[test]
fn subs_of_the_wrong_shape_are_refused() {
    let unreadable = "the claims can't be read";
    for claims in [
        json!({"subs": []}),
        json!({"subs": {"a": 1}}),
        json!({"subs": {"a": {"override": {"presence": true}}}}),
        json!({"subs": {"a": {"override": {"presence": {"value": 1}}}}}),
        json!({"channels": "a"}),
        json!({"channels": [1]}),
    ] {
        assert_eq!(connection(claims), invalid(unreadable));
    }
    assert_eq!(connection(json!({"subs": {"a": {"b64info": "?"}}})), invalid("the claim b64info is no base64"));
    assert_eq!(connection(json!({"subs": {"a": {"b64data": "?"}}})), invalid("the claim b64data is no base64"));
}

#[test]
fn meta_is_kept_as_it_is() {
    let meta = |claims| connection(claims).expect("the claims are right").meta;
    assert_eq!(meta(json!({"meta": {"plan": "pro"}})), Some(r#"{"plan":"pro"}"#.into()));
    assert_eq!(meta(json!({"meta": null})), None);
    assert_eq!(meta(json!({})), None);
}

#[test]
fn a_subscription_token_names_user_channel_and_client() {
    let claims = json!({"sub": "42", "channel": "$news", "client": "c1", "info": {"a": 1}, "data": 2,
        "override": {"force_recovery": {"value": true}}, "exp": NOW + 5});
    let overrides = Overrides { force_recovery: Some(true), ..Overrides::default() };
    let grant = Grant { info: Some(r#"{"a":1}"#.into()), data: "2".into(), expires_at: Some(NOW + 5), overrides };
    let expected = SubscriptionClaims { user: "42".into(), channel: "$news".into(), client: Some("c1".into()), grant };
    assert_eq!(subscription(claims), Ok(expected));
    let least = SubscriptionClaims { channel: "news".into(), ..SubscriptionClaims::default() };
    assert_eq!(subscription(json!({"channel": "news"})), Ok(least.clone()));
    assert_eq!(subscription(json!({"channel": "news", "client": ""})), Ok(least));
}

#[test]
fn a_connection_token_is_no_subscription_token() {
    let problem = "it is a connection token, not a subscription token";
    assert_eq!(subscription(json!({"sub": "42"})), invalid(problem));
    assert_eq!(subscription(json!({"sub": "42", "channel": ""})), invalid(problem));
    assert_eq!(subscription(json!({"sub": "42", "channels": ["news"], "exp": NOW})), invalid(problem));
    assert_eq!(subscription(json!({"channel": ["news"]})), invalid("the claims can't be read"));
}

#[test]
fn a_subscription_expires_by_expire_at_or_exp() {
    let expires = |mut claims: Value| {
        claims["channel"] = json!("news");
        subscription(claims).map(|claims| claims.grant.expires_at)
    };
    assert_eq!(expires(json!({})), Ok(None));
    assert_eq!(expires(json!({"exp": NOW + 1})), Ok(Some(NOW + 1)));
    assert_eq!(expires(json!({"exp": NOW + 1, "expire_at": NOW + 9})), Ok(Some(NOW + 9)));
    assert_eq!(expires(json!({"exp": NOW + 1, "expire_at": 0})), Ok(None));
    assert_eq!(expires(json!({"exp": NOW, "expire_at": 0})), Err(TokenProblem::Expired));
    assert_eq!(expires(json!({"nbf": NOW + 1})), Err(TokenProblem::Expired));
}
