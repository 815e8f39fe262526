//! What tests of running hubs share: real processes, clients that behave as the SDKs do, a publisher that
//! retries, a proxy with faults, and the checker of what they all sent and received.
//!
//! Read `journal` (all that happened) and `checker` (what must hold of it) first; `reader` and `publisher` write
//! the journal, `process`, `hub` and `servers` are what they talk to, `proxy` and `namespace` stand between. The tests of all this
//! (`*_tests.rs`) run with `tests/engines.rs`.
//!
//! Nothing here sleeps to let something happen: whoever waits, waits for an event, with a deadline.
#![allow(dead_code, reason = "each test target uses its part")]

pub mod api;
pub mod balancer;
pub mod checker;
pub mod client;
pub mod engine;
pub mod hub;
pub mod journal;
pub mod namespace;
pub mod process;
pub mod proxy;
pub mod publisher;
pub mod reader;
pub mod servers;

use std::future::Future;
use std::time::{Duration, Instant};

/// For what should come at once; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at what tells nobody when it changes.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// What `future` gives, or a panic that names what was waited for.
pub async fn within<T>(what: &str, limit: Duration, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {limit:?} for {what}"),
    }
}

/// Looks until `look` finds something; gives it and how long that took.
pub async fn until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> (T, Duration) {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return (found, began.elapsed());
        }
        assert!(began.elapsed() < limit, "waited {limit:?} for {what}");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
