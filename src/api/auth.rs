//! Who may call the server API.
//!
//! Source: protocol page, section 1.12: `X-API-Key`, `Authorization: apikey <key>`, `?api_key=`.

use std::fmt;

use axum::extract::Query;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Uri};
use serde::Deserialize;
use subtle::ConstantTimeEq;

/// Who is let in.
pub enum Admission {
    /// Everybody: `http_api.insecure`.
    Everybody,
    /// Whoever knows the key.
    Key(Box<str>),
    /// Nobody: no key is configured.
    Nobody,
}

#[derive(Deserialize)]
struct Parameters {
    api_key: Option<String>,
}

impl Admission {
    /// Whether a request with this head is let in. Any one of the three places will do.
    pub fn admits(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        let key = match self {
            Admission::Everybody => return true,
            Admission::Nobody => return false,
            Admission::Key(key) => key.as_bytes(),
        };
        let is_key = |given: &[u8]| bool::from(given.ct_eq(key));
        headers.get("x-api-key").is_some_and(|given| is_key(given.as_bytes()))
            || find_authorization(headers).is_some_and(is_key)
            || find_parameter(uri).is_some_and(|given| is_key(given.as_bytes()))
    }
}

/// The key does not get into logs.
impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Admission::Everybody => "Everybody",
            Admission::Key(_) => "Key(...)",
            Admission::Nobody => "Nobody",
        })
    }
}

/// The key behind the scheme `apikey`, whose case does not matter (RFC 9110, section 11.1).
fn find_authorization(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("apikey").then(|| key.trim().as_bytes())
}

fn find_parameter(uri: &Uri) -> Option<String> {
    Query::<Parameters>::try_from_uri(uri).ok()?.0.api_key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: Option<(&'static str, &str)>, uri: &str, expected: bool) {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            headers.insert(name, value.parse().expect("a header value"));
        }
        let admission = Admission::Key("s3cret&".into());
        let uri = uri.parse().expect("a URI");
        assert_eq!(admission.admits(&headers, &uri), expected, "{header:?} {uri}");
    }

    #[test]
    fn the_key_is_taken_from_three_places() {
        check(Some(("x-api-key", "s3cret&")), "/api/info", true);
        check(Some(("authorization", "apikey s3cret&")), "/api/info", true);
        check(Some(("authorization", "ApiKey  s3cret& ")), "/api/info", true);
        check(None, "/api/info?api_key=s3cret%26", true);
        check(None, "/api/info?a=b&api_key=s3cret%26", true);
    }

    #[test]
    fn anything_else_is_refused() {
        check(None, "/api/info", false);
        check(Some(("x-api-key", "")), "/api/info", false);
        check(Some(("x-api-key", "s3cret")), "/api/info", false);
        check(Some(("x-api-key", "s3cret&&")), "/api/info", false);
        check(Some(("authorization", "s3cret&")), "/api/info", false);
        check(Some(("authorization", "bearer s3cret&")), "/api/info", false);
        check(None, "/api/info?api_key=s3cret", false);
    }

    #[test]
    fn without_a_key_nobody_is_let_in() {
        let uri = Uri::from_static("/api/info?api_key=");
        assert!(!Admission::Nobody.admits(&HeaderMap::new(), &uri));
        assert!(Admission::Everybody.admits(&HeaderMap::new(), &uri));
    }
}
