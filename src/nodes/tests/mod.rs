//! Several registries on one bus that loses, delays and reorders, under a clock that tests move.

pub mod bus;
mod joining;
mod requests;

use std::collections::BTreeMap;
use std::time::Duration;

use super::report::{NodeName, Report};

/// A node that does nothing.
pub fn report(uid: &str, name: &str) -> Report {
    Report {
        node: NodeName { uid: uid.to_owned(), name: name.to_owned() },
        version: "1.0.0".to_owned(),
        uptime: Duration::ZERO,
        clients: 0,
        users: 0,
        subscriptions: 0,
        channels: 0,
        counters: BTreeMap::from([("publications_total".to_owned(), 7)]),
        cpu: 0.5,
        resident_bytes: 1,
        is_draining: false,
        users_sketch: None,
    }
}
