//! The control plane's HTTP: server API, health, metrics.
//!
//! - `request`: one API request from its head to its answer. `auth`: who may ask. `method`: what there
//!   is to ask, by name. `batch`: many of them in one request. `reply`, `failure`: how it is answered.
//! - `publish`, `subscribe`, `users`, `presence`, `history`, `history_remove`, `channels`, `info`: the methods,
//!   with their wire types.
//! - `operation`: `/metrics`, `/livez`, `/readyz`, `/health`.
//! - `server`: runs a router for an own listener, and for requests that the shards pass on.
//!
//! Invariants: wire types live here and nowhere deeper; a request is refused before its body is
//! read, and its body before it is buffered past its bound; every question to a channel goes
//! through `handle`, and what is asked of all nodes through `nodes`. Must never touch the inside of shard and engine. Read `request.rs` first.

mod auth;
mod batch;
mod channels;
mod failure;
mod history;
mod history_remove;
mod info;
mod method;
mod missing;
mod operation;
mod presence;
mod publish;
mod reply;
mod request;
mod server;
mod subscribe;
mod users;

#[cfg(test)]
mod documented;
#[cfg(test)]
mod fixture;

use std::sync::Arc;

use axum::Router;
use axum::routing::any;

pub use auth::Admission;
pub use operation::{Operation, router as operation_router};
pub use reply::ErrorMode;
pub use server::{Forwarded, serve_forwarded, serve_listener};

use crate::handle::Handle;
use crate::nodes::Cluster;
use crate::telemetry::NodeMetrics;

/// What operators decide about the server API.
#[derive(Debug)]
pub struct Options {
    pub admission: Admission,
    /// Of requests that do not say otherwise.
    pub error_mode: ErrorMode,
    /// What stands before `/publish`: begins with `/` and does not end with one.
    pub prefix: String,
    pub channel_bytes_max: usize,
    /// Data of one publication. A larger one would fill every subscriber's outbox at once.
    pub publication_bytes_max: usize,
}

/// What the methods of the API work with.
pub struct Api {
    pub options: Options,
    pub handle: Handle,
    /// What is asked of all nodes.
    pub cluster: Cluster,
    pub metrics: Arc<NodeMetrics>,
}

/// The server API under its prefix, and the route of old at the prefix itself. A prefix of "/" has no
/// such route: it is another page's path.
pub fn router(api: Arc<Api>) -> Router {
    let prefix = literal_path(api.options.prefix.trim_end_matches('/'));
    let methods = Router::new().without_v07_checks().route(&format!("{prefix}/{{method}}"), any(request::answer));
    let router = match prefix.is_empty() {
        true => methods,
        false => methods.route(&prefix, any(request::answer_lines)),
    };
    router.with_state(api)
}

/// A configured path is taken as it is: braces would name parameters in a route.
fn literal_path(path: &str) -> String {
    path.replace('{', "{{").replace('}', "}}")
}
