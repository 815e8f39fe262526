//! What operators and orchestrators look at: `/metrics`, `/livez`, `/readyz`, `/health`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::literal_path;
use crate::limits::HEARTBEAT_AGE_MAX;
use crate::telemetry::{CONTENT_TYPE as METRICS_CONTENT_TYPE, NamedEngine, NodeMetrics, Scrape};

/// What is served, and where.
pub struct Operation {
    pub metrics: Arc<NodeMetrics>,
    /// `None`: switched off.
    pub metrics_path: Option<String>,
    /// Centrifugo's health check, which only says that somebody answers. `None`: switched off.
    pub health_path: Option<String>,
}

/// `/livez` and `/readyz` are always there.
pub fn router(operation: Operation) -> Router {
    let Operation { metrics, metrics_path, health_path } = operation;
    let mut router =
        Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).with_state(Arc::clone(&metrics));
    if let Some(path) = metrics_path {
        router = router.route(&literal_path(&path), get(scrape).with_state(Scrape::new(metrics)));
    }
    if let Some(path) = health_path {
        router = router.route(&literal_path(&path), get(health));
    }
    router
}

async fn scrape(State(scrape): State<Scrape>) -> Response {
    ([(CONTENT_TYPE, METRICS_CONTENT_TYPE)], scrape.write()).into_response()
}

async fn health() -> Json<serde_json::Value> {
    Json(serde_json::json!({}))
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    /// Only when asked for by `?verbose`, and when something is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shards: Vec<ShardHealth>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    engines: Vec<EngineHealth>,
}

#[derive(Serialize)]
struct EngineHealth {
    engine: String,
    kind: &'static str,
    is_ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

#[derive(Serialize)]
struct ShardHealth {
    shard: usize,
    is_alive: bool,
    heartbeat_age_ms: u64,
}

/// Whether every shard took a turn lately. An orchestrator restarts the process when not.
async fn livez(State(metrics): State<Arc<NodeMetrics>>, RawQuery(query): RawQuery) -> Response {
    let shards: Vec<_> =
        metrics.heartbeat_ages().enumerate().map(|(shard, age)| ShardHealth::new(shard, age)).collect();
    let is_alive = shards.iter().all(|shard| shard.is_alive);
    let shards = if !is_alive || is_verbose(query.as_deref()) { shards } else { Vec::new() };
    answer(Health { shards, ..Health::new(is_alive, "a shard stands still") })
}

/// Whether new clients are welcome. A balancer sends them elsewhere when not: while the node drains, and while an
/// engine does not answer, or does not bring back what is sent through it.
async fn readyz(State(metrics): State<Arc<NodeMetrics>>, RawQuery(query): RawQuery) -> Response {
    let engines: Vec<EngineHealth> = metrics.engines.iter().map(EngineHealth::new).collect();
    let is_ready = engines.iter().all(|engine| engine.is_ready);
    let engines = if !is_ready || is_verbose(query.as_deref()) { engines } else { Vec::new() };
    let health = match metrics.is_draining() {
        true => Health::new(false, "draining"),
        false => Health::new(is_ready, "an engine is not ready"),
    };
    answer(Health { engines, ..health })
}

fn is_verbose(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.starts_with("verbose"))
}

fn answer(health: Health) -> Response {
    let code = if health.status == WELL { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, [(CACHE_CONTROL, "no-store")], Json(health)).into_response()
}

const WELL: &str = "ok";

impl Health {
    fn new(is_well: bool, trouble: &'static str) -> Health {
        Health { status: if is_well { WELL } else { trouble }, shards: Vec::new(), engines: Vec::new() }
    }
}

impl EngineHealth {
    fn new(named: &NamedEngine) -> EngineHealth {
        let reason = named.metrics.trouble();
        EngineHealth { engine: named.name.to_string(), kind: named.kind, is_ready: reason.is_none(), reason }
    }
}

impl ShardHealth {
    fn new(shard: usize, age: Duration) -> ShardHealth {
        let heartbeat_age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        ShardHealth { shard, is_alive: age <= HEARTBEAT_AGE_MAX, heartbeat_age_ms }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::telemetry::Gauge;

    /// A node of two shards that is up for a minute; both had a turn this moment.
    fn node() -> Arc<NodeMetrics> {
        let started = Instant::now().checked_sub(Duration::from_secs(60)).expect("the machine is up for a minute");
        let metrics = NodeMetrics::new(2, 1, started);
        metrics.shards.iter().for_each(|shard| shard.set(Gauge::HeartbeatMs, 60_000));
        Arc::new(metrics)
    }

    async fn fetch(metrics: &Arc<NodeMetrics>, path: &str) -> (u16, String) {
        let router = router(Operation {
            metrics: Arc::clone(metrics),
            metrics_path: Some("/metrics".to_owned()),
            health_path: Some("/health".to_owned()),
        });
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = router.oneshot(request).await.expect("the router answers everything");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("a whole body").to_bytes();
        (status, String::from_utf8(body.to_vec()).expect("an answer is text"))
    }

    #[tokio::test]
    async fn a_node_lives_while_all_its_shards_take_turns() {
        let metrics = node();
        assert_eq!(fetch(&metrics, "/livez").await, (200, r#"{"status":"ok"}"#.to_owned()));
        let (status, text) = fetch(&metrics, "/livez?verbose").await;
        assert!(status == 200 && text.contains(r#""shard":1,"is_alive":true"#), "{text}");

        metrics.shards[1].set(Gauge::HeartbeatMs, 54_000);
        let (status, text) = fetch(&metrics, "/livez").await;
        assert_eq!(status, 503);
        assert!(text.contains(r#"{"shard":1,"is_alive":false,"heartbeat_age_ms":6"#), "{text}");
    }

    #[tokio::test]
    async fn a_draining_node_is_alive_and_not_ready() {
        let metrics = node();
        assert_eq!(fetch(&metrics, "/readyz").await.0, 200);
        metrics.set_draining();
        assert_eq!(fetch(&metrics, "/readyz").await, (503, r#"{"status":"draining"}"#.to_owned()));
        assert_eq!(fetch(&metrics, "/livez").await.0, 200);
        assert_eq!(fetch(&metrics, "/health").await, (200, "{}".to_owned()));
    }

    #[tokio::test]
    async fn a_node_is_ready_when_its_engines_are() {
        let engines = vec![NamedEngine::new("engine", "redis"), NamedEngine::new("ticks", "nats")];
        let metrics = NodeMetrics::new(1, 1, Instant::now()).with_engines(engines);
        let metrics = Arc::new(metrics);
        let check = async |expected: &str| {
            let (status, text) = fetch(&metrics, "/readyz").await;
            assert!(status == 503 && text.contains(expected), "{status} {text}");
        };
        check(r#"{"engine":"engine","kind":"redis","is_ready":false,"reason":"does not answer"}"#).await;
        for engine in &metrics.engines {
            engine.metrics.set_up(true);
            engine.metrics.probed(Some(Duration::from_millis(1)));
        }
        assert_eq!(fetch(&metrics, "/readyz").await, (200, r#"{"status":"ok"}"#.to_owned()));
        let (status, text) = fetch(&metrics, "/readyz?verbose").await;
        assert!(status == 200 && text.contains(r#"{"engine":"ticks","kind":"nats","is_ready":true}"#), "{text}");

        metrics.engines[1].metrics.probed(None);
        check(r#"{"status":"an engine is not ready","#).await;
        check(r#""is_ready":false,"reason":"does not bring back what is sent through it"}"#).await;
        metrics.set_draining();
        check(r#"{"status":"draining","#).await;
        assert_eq!(fetch(&metrics, "/livez").await.0, 200, "its broker is no reason to be restarted");
    }

    #[tokio::test]
    async fn metrics_are_text() {
        let (status, text) = fetch(&node(), "/metrics").await;
        assert_eq!(status, 200);
        assert!(text.contains("\nfanfare_connections{shard=\"1\"} 0\n"), "{text}");
    }
}
