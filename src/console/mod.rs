//! The page of dev mode, embedded in the binary.
//!
//! Invariants: the page asks no foreign host for anything, and the browser is told not to let it; a
//! file is served as it was when the binary was built. Must never touch the inside of shard and
//! engine: the page is a client like any other. Read `files.rs` first.

mod files;

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use files::{FILES, File};

/// Everything from this host only; sockets too, but to whichever port they listen on.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; object-src 'none'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// Serves each file at its path, and the page itself at `/`.
pub fn router() -> Router {
    FILES.iter().fold(Router::new(), |router, file| {
        let etag = format!("\"{:016x}\"", hash(file.bytes));
        router.route(file.path, get(async move |headers: HeaderMap| serve(file, &etag, &headers)))
    })
}

/// The browser keeps a file but asks each time: another build has other files at the same paths.
fn serve(file: &'static File, etag: &str, headers: &HeaderMap) -> Response {
    let known = headers.get(IF_NONE_MATCH).and_then(|known| known.to_str().ok()).unwrap_or_default();
    let kept = [(ETAG, etag), (CACHE_CONTROL, "no-cache"), (CONTENT_SECURITY_POLICY, POLICY)];
    if known.split(',').any(|known| known.trim().trim_start_matches("W/") == etag) {
        return (StatusCode::NOT_MODIFIED, kept).into_response();
    }
    let content =
        [(CONTENT_TYPE, file.content_type), (X_CONTENT_TYPE_OPTIONS, "nosniff"), (REFERRER_POLICY, "no-referrer")];
    (kept, content, file.bytes).into_response()
}

/// FNV-1a of 64 bits: tells one build's file from another's, and is the same in every process.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    async fn fetch(path: &str, known: Option<&str>) -> Response {
        let mut request = Request::get(path);
        if let Some(known) = known {
            request = request.header(IF_NONE_MATCH, known);
        }
        let request = request.body(Body::empty()).expect("a request");
        router().oneshot(request).await.expect("the router answers everything")
    }

    #[tokio::test]
    async fn every_file_is_served_as_it_is_with_its_type() {
        for file in FILES {
            let response = fetch(file.path, None).await;
            assert_eq!(response.status(), 200, "{}", file.path);
            assert_eq!(response.headers()[CONTENT_TYPE], file.content_type);
            assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
            let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().expect("text").to_owned();
            assert!(policy.starts_with("default-src 'self';") && !policy.contains("http"), "{policy}");
            let body = to_bytes(response.into_body(), usize::MAX).await.expect("a whole body");
            assert!(body == file.bytes, "{}", file.path);
        }
    }

    #[tokio::test]
    async fn the_page_is_at_the_root() {
        let response = fetch("/", None).await;
        assert_eq!(response.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(fetch("/nothing.js", None).await.status(), 404);
    }

    #[tokio::test]
    async fn a_known_file_is_not_sent_again() {
        let etag = fetch("/", None).await.headers()[ETAG].to_str().expect("text").to_owned();
        for known in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}")] {
            let response = fetch("/", Some(&known)).await;
            assert_eq!(response.status(), 304, "{known}");
            assert_eq!(response.headers()[ETAG], etag);
        }
        assert_eq!(fetch("/", Some("\"other\"")).await.status(), 200);
    }

    /// What the page and its scripts name, they must find here: a forgotten file would only show in
    /// a browser.
    #[test]
    fn every_file_that_a_file_names_is_served() {
        for file in FILES.iter().filter(|file| !file.path.starts_with("/vendor/")) {
            let text = std::str::from_utf8(file.bytes).expect("text");
            let named = text.split(['"', '\'']).filter_map(|text| text.strip_prefix("./").or(text.strip_prefix('/')));
            for name in named.filter(|name| [".js", ".css", ".svg"].iter().any(|end| name.ends_with(end))) {
                let path = format!("/{name}");
                assert!(FILES.iter().any(|file| file.path == path), "{path}, named by {}, is not served", file.path);
            }
        }
    }

    /// Nothing in `page/` is forgotten.
    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/console/page");
        for part in ["", "vendor"] {
            for entry in std::fs::read_dir(folder.join(part)).expect("the folder is there") {
                let path = entry.expect("a readable folder").path();
                let bytes = || std::fs::read(&path).expect("a readable file");
                let is_note = path.ends_with("VERSION");
                let is_served = path.is_dir() || is_note || FILES.iter().any(|file| file.bytes == bytes());
                assert!(is_served, "{} is not in files.rs", path.display());
            }
        }
    }
}
