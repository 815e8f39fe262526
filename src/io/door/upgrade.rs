//! What becomes of one request: a socket, a refusal, or the control plane's business. Pure.

use axum::body::Body;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use tungstenite::error::{Error, ProtocolError};
use tungstenite::handshake::server::create_response_with_body;

use crate::io::Options;
use crate::model::{Format, WindowBits};
use crate::shard::{Opening, Speaks, format_of_subprotocol, subprotocol};
use crate::telemetry::Counter;
use crate::ws::accept_deflate;

/// What a head asks for.
pub(super) enum Asked {
    /// A socket, and it may have it: the answer that grants it.
    Socket(Response<Body>, Opening),
    /// A socket, and it may not.
    Refused(Refusal),
    /// Something else: the control plane knows.
    Other,
}

/// A request that gets no more than a reason, in words.
#[derive(Debug, PartialEq)]
pub(super) struct Refusal {
    pub status: StatusCode,
    /// Says what is wrong and what would be right.
    pub text: String,
    /// Tells a program what the text tells a person.
    pub hint: Option<(HeaderName, &'static str)>,
    /// Where it is counted.
    pub counter: Counter,
}

impl Refusal {
    fn new(status: StatusCode, text: impl Into<String>) -> Refusal {
        Refusal { status, text: text.into(), hint: None, counter: Counter::RefusedForHandshake }
    }

    /// It would be granted at another time.
    pub fn busy(text: &str, counter: Counter) -> Refusal {
        let hint = Some((header::RETRY_AFTER, "1"));
        Refusal { status: StatusCode::SERVICE_UNAVAILABLE, text: text.into(), hint, counter }
    }

    /// Not from this page.
    fn foreign(text: impl Into<String>) -> Refusal {
        Refusal { counter: Counter::RefusedForOrigin, ..Refusal::new(StatusCode::FORBIDDEN, text) }
    }

    pub fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.text + "\n"));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if let Some((name, value)) = self.hint {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// Decides by the head alone.
pub(super) fn decide<B: hyper::body::Body>(options: &Options, request: &Request<B>) -> Asked {
    let path = request.uri().path();
    let echo = options.echo_path.as_deref() == Some(path);
    if !echo && path != &*options.websocket_path {
        return Asked::Other;
    }
    let mut response = match create_response_with_body(request, Body::empty) {
        Ok(response) => response,
        Err(error) => return Asked::Refused(explain(&error)),
    };
    if !request.body().is_end_stream() {
        // Its bytes would be taken for frames by one side and for a body by the other.
        return Asked::Refused(Refusal::new(StatusCode::BAD_REQUEST, "an upgrade request has no body"));
    }
    if let Err(refusal) = check_origin(options, request) {
        return Asked::Refused(refusal);
    }
    let speaks = match echo {
        true => Speaks::Echo,
        false => {
            let offered = offered_format(request);
            if let Some(format) = offered {
                let name = HeaderValue::from_static(subprotocol(format));
                response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, name);
            }
            Speaks::Centrifugo(offered.unwrap_or_else(|| format_of_query(request)))
        }
    };
    let window = match echo || options.compression {
        true => agree_on_window(request, response.headers_mut()),
        false => None,
    };
    Asked::Socket(response, Opening { speaks, window })
}

/// Whom the header of a trusted proxy names. One that stands there twice was set by somebody else too, and
/// names nobody.
pub(super) fn user_of(options: &Options, headers: &HeaderMap) -> Option<Box<str>> {
    let mut values = headers.get_all(options.user_header.as_ref()?).iter();
    let user = values.next()?.to_str().ok()?;
    (!user.is_empty() && values.next().is_none()).then(|| user.into())
}

/// Source: protocol page, section 1.1.
fn check_origin<B>(options: &Options, request: &Request<B>) -> Result<(), Refusal> {
    for origin in request.headers().get_all(header::ORIGIN) {
        let Ok(origin) = origin.to_str() else {
            return Err(Refusal::foreign("the Origin header is not plain text"));
        };
        if !options.allowed_origins.allows(origin) {
            let text = format!("origin {origin:?} is not allowed: add it to client.allowed_origins");
            return Err(Refusal::foreign(text));
        }
    }
    Ok(())
}

/// Accepts permessage-deflate, if the client offers it in a way that we can keep, and says so.
fn agree_on_window<B>(request: &Request<B>, answer: &mut HeaderMap) -> Option<WindowBits> {
    let offers = request.headers().get_all(header::SEC_WEBSOCKET_EXTENSIONS);
    let terms = accept_deflate(offers.iter().filter_map(|offer| offer.to_str().ok()))?;
    let value = HeaderValue::try_from(terms.answer()).expect("tokens are plain text");
    answer.insert(header::SEC_WEBSOCKET_EXTENSIONS, value);
    WindowBits::new(terms.window_bits())
}

/// The first subprotocol of the client's list that we speak. Source: RFC 6455, section 4.2.2.
fn offered_format<B>(request: &Request<B>) -> Option<Format> {
    let lists = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let offered = lists.iter().filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(',')).map(str::trim);
    offered.filter_map(format_of_subprotocol).next()
}

fn format_of_query<B>(request: &Request<B>) -> Format {
    let mut parameters = request.uri().query().unwrap_or_default().split('&');
    match parameters.any(|parameter| matches!(parameter, "format=protobuf" | "cf_protocol=protobuf")) {
        true => Format::CentrifugoProtobuf,
        false => Format::CentrifugoJson,
    }
}

/// Source: RFC 6455, sections 4.2.1 and 4.4.
fn explain(error: &Error) -> Refusal {
    let Error::Protocol(problem) = error else {
        return Refusal::new(StatusCode::BAD_REQUEST, error.to_string());
    };
    match problem {
        ProtocolError::WrongHttpMethod => Refusal {
            hint: Some((header::ALLOW, "GET")),
            ..Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "a WebSocket is opened with GET")
        },
        ProtocolError::MissingConnectionUpgradeHeader | ProtocolError::MissingUpgradeWebSocketHeader => Refusal {
            hint: Some((header::UPGRADE, "websocket")),
            ..Refusal::new(
                StatusCode::UPGRADE_REQUIRED,
                "this is a WebSocket endpoint: it wants `Connection: Upgrade` and `Upgrade: websocket`",
            )
        },
        ProtocolError::MissingSecWebSocketVersionHeader => Refusal {
            hint: Some((header::SEC_WEBSOCKET_VERSION, "13")),
            ..Refusal::new(StatusCode::UPGRADE_REQUIRED, "the WebSocket version spoken here is 13")
        },
        ProtocolError::WrongHttpVersion => Refusal::new(StatusCode::BAD_REQUEST, "a WebSocket is opened with HTTP/1.1"),
        ProtocolError::MissingSecWebSocketKey | ProtocolError::InvalidSecWebSocketKey => {
            Refusal::new(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key must be 16 bytes in base64")
        }
        other => Refusal::new(StatusCode::BAD_REQUEST, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_header_names_the_user() {
        let options = Options { user_header: Some(HeaderName::from_static("x-user")), ..Options::default() };
        let user = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("X-User", HeaderValue::from_static(value));
            }
            user_of(&options, &headers).map(String::from)
        };
        assert_eq!(user(&["42"]).as_deref(), Some("42"));
        assert_eq!(user(&[]), None);
        assert_eq!(user(&[""]), None);
        assert_eq!(user(&["42", "admin"]), None, "a client that sets it too is nobody");
        assert_eq!(user_of(&Options::default(), &HeaderMap::new()), None);
    }
}
