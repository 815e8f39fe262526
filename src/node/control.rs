//! The control plane: its runtime, and which routes are served at which port.

use std::future::ready;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use axum::{Json, Router};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use crate::api::{self, Admission, Api, Operation};
use crate::config::Options;
use crate::console;
use crate::io::{ControlSender, Newest, accept_tls};
use crate::limits::CONTROL_REQUESTS_MAX;
use crate::nodes::Cluster;
use crate::telemetry::NodeMetrics;

/// Runs beside the shards, on threads of its own that are pinned nowhere.
pub struct ControlPlane {
    pub runtime: Runtime,
    /// For the shards' doors.
    pub sender: ControlSender,
    /// Where the internal port is, if there is one.
    pub address: Option<SocketAddr>,
}

impl ControlPlane {
    pub fn start(
        options: &Options,
        cluster: Cluster,
        metrics: Arc<NodeMetrics>,
        internal: Option<TcpListener>,
        internal_tls: Option<Newest>,
    ) -> io::Result<ControlPlane> {
        let runtime =
            Builder::new_multi_thread().worker_threads(THREADS).thread_name("fanfare-control").enable_all().build()?;
        let address = internal.as_ref().map(TcpListener::local_addr).transpose()?;
        let Routes { at_clients_port, at_internal_port } = routes(options, cluster, metrics, internal.is_some());
        if let Some(listener) = internal {
            listener.set_nonblocking(true)?;
            let _inside = runtime.enter();
            let listener = tokio::net::TcpListener::from_std(listener)?;
            match internal_tls {
                None => runtime.spawn(api::serve_listener(at_internal_port, listener, |socket| ready(Ok(socket)))),
                Some(newest) => runtime.spawn(api::serve_listener(at_internal_port, listener, move |socket| {
                    let config = newest.borrow().config.clone();
                    accept_tls(socket, config)
                })),
            };
        }
        let (sender, requests) = mpsc::channel(CONTROL_REQUESTS_MAX);
        runtime.spawn(api::serve_forwarded(at_clients_port, requests));
        Ok(ControlPlane { runtime, sender, address })
    }
}

struct Routes {
    at_clients_port: Router,
    at_internal_port: Router,
}

/// Without an internal port everything is served at the clients' one; with it, only the API stays
/// there, and only if it is `external`.
fn routes(options: &Options, cluster: Cluster, metrics: Arc<NodeMetrics>, has_internal_port: bool) -> Routes {
    let http = &options.http;
    let api = (!options.api.disabled).then(|| api::router(build_api(options, cluster, Arc::clone(&metrics))));
    let operation = api::operation_router(Operation {
        metrics,
        metrics_path: http.metrics_path.clone(),
        health_path: http.health_path.clone(),
    });
    let page = http.page.then(console::router).unwrap_or_default();
    let everything = with_fallback(operation.merge(api.clone().unwrap_or_default()).merge(page), options);
    let at_clients_port = match has_internal_port {
        false => everything.clone(),
        true => with_fallback(api.filter(|_| options.api.external).unwrap_or_default(), options),
    };
    Routes { at_clients_port, at_internal_port: everything }
}

fn build_api(options: &Options, cluster: Cluster, metrics: Arc<NodeMetrics>) -> Arc<Api> {
    let admission = match &options.api.key {
        _ if options.api.insecure => Admission::Everybody,
        Some(key) if !key.reveal().is_empty() => Admission::Key(key.reveal().into()),
        _ => Admission::Nobody,
    };
    let options = api::Options {
        admission,
        error_mode: options.api.error_mode,
        prefix: options.http.api_prefix.clone(),
        channel_bytes_max: options.shard.channel_bytes_max,
        // Two of them fit an empty outbox, whatever the encoding adds.
        publication_bytes_max: options.shard.outbox_bytes_max / 2,
    };
    Arc::new(Api { options, handle: cluster.handle().clone(), cluster, metrics })
}

/// What no route takes is told what there is.
fn with_fallback(router: Router, options: &Options) -> Router {
    let websocket_path = options.http.websocket_path.clone();
    router.fallback(async move |uri: Uri| {
        let message = format!("nothing is served at {}; clients connect to {websocket_path}", uri.path());
        let body = serde_json::json!({ "error": { "code": 404, "message": message } });
        (StatusCode::NOT_FOUND, Json(body)).into_response()
    })
}

/// Chosen: API calls are light, and one that computes should not hold up a health check.
const THREADS: usize = 2;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;
    use crate::config::{Flags, load};
    use crate::handle::Handle;
    use crate::nodes::NodeName;

    /// A node whose shards take nothing.
    fn cluster(options: &Options) -> (Cluster, Arc<NodeMetrics>) {
        let handle = Handle::new(options.shard.homes.clone(), Arc::new(|_, message| Err(message)));
        let metrics = Arc::new(NodeMetrics::new(1, 1, Instant::now()));
        let node = NodeName { uid: "uid".to_owned(), name: "node".to_owned() };
        (Cluster::alone(node, handle, Arc::clone(&metrics)), metrics)
    }

    /// Whether each path is there, at the clients' port and at the internal one.
    async fn check(options: &Options, has_internal_port: bool, expected: &[(&str, bool, bool)]) {
        let (cluster, metrics) = cluster(options);
        let routes = routes(options, cluster, metrics, has_internal_port);
        for &(path, at_clients_port, at_internal_port) in expected {
            for (router, is_there) in
                [(&routes.at_clients_port, at_clients_port), (&routes.at_internal_port, at_internal_port)]
            {
                let request = Request::get(path).body(Body::empty()).expect("a request");
                let response = router.clone().oneshot(request).await.expect("the router answers everything");
                assert_eq!(response.status() != StatusCode::NOT_FOUND, is_there, "{path}");
            }
        }
    }

    #[tokio::test]
    async fn dev_mode_serves_everything_at_one_port() {
        let (options, _) = load(&Flags::default()).expect("dev mode needs no file");
        let paths = ["/", "/page.js", "/metrics", "/livez", "/readyz", "/health", "/api/info"];
        let expected = paths.map(|path| (path, true, true));
        check(&options, false, &expected).await;
        check(&options, false, &[("/nothing", false, false), ("/api/nothing", false, false)]).await;
    }

    #[tokio::test]
    async fn an_internal_port_takes_everything_but_an_external_api() {
        let (mut options, _) = load(&Flags::default()).expect("dev mode needs no file");
        for is_external in [false, true] {
            options.api.external = is_external;
            let expected = [
                ("/", false, true),
                ("/metrics", false, true),
                ("/livez", false, true),
                ("/api/info", is_external, true),
            ];
            check(&options, true, &expected).await;
        }
    }

    #[tokio::test]
    async fn the_api_stands_where_it_is_configured() {
        let (mut options, _) = load(&Flags::default()).expect("dev mode needs no file");
        options.http.api_prefix = "/v1/hub".to_owned();
        let there = ["/v1/hub", "/v1/hub/info"].map(|path| (path, true, true));
        check(&options, false, &there).await;
        check(&options, false, &[("/api", false, false), ("/api/info", false, false)]).await;
        // At the root the page stays, and there is no route of old.
        options.http.api_prefix = "/".to_owned();
        check(&options, false, &["/", "/info", "/livez"].map(|path| (path, true, true))).await;
    }

    #[tokio::test]
    async fn an_insecure_api_asks_for_no_key() {
        let (mut options, _) = load(&Flags::default()).expect("dev mode needs no file");
        for (is_insecure, status) in [(false, StatusCode::UNAUTHORIZED), (true, StatusCode::BAD_REQUEST)] {
            options.api.insecure = is_insecure;
            let (cluster, metrics) = cluster(&options);
            let router = routes(&options, cluster, metrics, false).at_clients_port;
            for path in ["/api", "/api/publish", "/api/batch"] {
                let request = Request::post(path).body(Body::from("no JSON")).expect("a request");
                let response = router.clone().oneshot(request).await.expect("the router answers everything");
                assert_eq!(response.status(), status, "{path}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_switched_off_is_not_there() {
        let (mut options, _) = load(&Flags::default()).expect("dev mode needs no file");
        options.api.disabled = true;
        options.http.page = false;
        options.http.metrics_path = None;
        options.http.health_path = None;
        let paths = ["/", "/page.js", "/metrics", "/health", "/api", "/api/info"];
        check(&options, false, &paths.map(|path| (path, false, false))).await;
    }
}
