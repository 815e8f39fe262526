//! The control plane: its runtime, and which routes are served at which port.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use axum::{Json, Router};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use crate::api::{self, Admission, Api, NodeName, Operation};
use crate::config::Options;
use crate::console;
use crate::handle::Handle;
use crate::io::ControlSender;
use crate::limits::CONTROL_REQUESTS_MAX;
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
    /// Without an internal port everything is served at the clients' one; with it, only the API
    /// stays there, and only if it is `external`.
    pub fn start(
        options: &Options,
        handle: Handle,
        metrics: Arc<NodeMetrics>,
        internal: Option<TcpListener>,
    ) -> io::Result<ControlPlane> {
        let runtime =
            Builder::new_multi_thread().worker_threads(THREADS).thread_name("fanfare-control").enable_all().build()?;
        let api = (!options.api.disabled).then(|| api::router(build_api(options, handle, Arc::clone(&metrics))));
        let all = everything(options, api.clone(), metrics);
        let address = internal.as_ref().map(TcpListener::local_addr).transpose()?;
        let outside = match internal {
            None => all,
            Some(listener) => {
                listener.set_nonblocking(true)?;
                let _inside = runtime.enter();
                runtime.spawn(api::serve_listener(all, tokio::net::TcpListener::from_std(listener)?));
                with_fallback(api.filter(|_| options.api.external).unwrap_or_default(), options)
            }
        };
        let (sender, requests) = mpsc::channel(CONTROL_REQUESTS_MAX);
        runtime.spawn(api::serve_forwarded(outside, requests));
        Ok(ControlPlane { runtime, sender, address })
    }
}

fn everything(options: &Options, api: Option<Router>, metrics: Arc<NodeMetrics>) -> Router {
    let operation = api::operation_router(Operation {
        metrics,
        metrics_path: options.http.metrics_path.clone(),
        health_path: options.http.health_path.clone(),
    });
    let page = options.http.page.then(console::router);
    with_fallback(operation.merge(api.unwrap_or_default()).merge(page.unwrap_or_default()), options)
}

fn build_api(options: &Options, handle: Handle, metrics: Arc<NodeMetrics>) -> Arc<Api> {
    let admission = match &options.api.key {
        _ if options.api.insecure => Admission::Everybody,
        Some(key) if !key.reveal().is_empty() => Admission::Key(key.reveal().into()),
        _ => Admission::Nobody,
    };
    let node = NodeName { uid: uuid::Uuid::new_v4().to_string(), name: options.node_name.clone() };
    let options = api::Options {
        admission,
        prefix: options.http.api_prefix.clone(),
        channel_bytes_max: options.shard.channel_bytes_max,
        // Two of them fit an empty outbox, whatever the encoding adds.
        publication_bytes_max: options.shard.outbox_bytes_max / 2,
    };
    Arc::new(Api { options, handle, metrics, node })
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
