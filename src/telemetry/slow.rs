//! What was done about slow consumers, by namespace.

use std::sync::atomic::{AtomicU64, Ordering};

use super::histogram::add_alone;

/// What is done when publications come faster than a subscriber takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Remedy {
    /// A publication was dropped to make room.
    DropOldest,
    /// A publication was dropped for a newer one that waits.
    Conflate,
    /// A publication was dropped for a newer one within `max_rate`.
    MaxRate,
    /// A connection was closed: a publication found no room.
    Disconnect,
}

impl Remedy {
    pub const ALL: [Remedy; 4] = [Remedy::DropOldest, Remedy::Conflate, Remedy::MaxRate, Remedy::Disconnect];

    /// As the configuration calls it.
    pub fn name(self) -> &'static str {
        match self {
            Remedy::DropOldest => "drop_oldest",
            Remedy::Conflate => "conflate",
            Remedy::MaxRate => "max_rate",
            Remedy::Disconnect => "disconnect",
        }
    }
}

/// Counts of one shard, with a place for each namespace of the node: 0 for channels without one.
#[derive(Debug)]
pub struct RemedyCounts(Box<[[AtomicU64; Remedy::ALL.len()]]>);

impl RemedyCounts {
    pub fn new(namespaces: usize) -> RemedyCounts {
        RemedyCounts((0..namespaces.max(1)).map(|_| Default::default()).collect())
    }

    pub fn add(&self, namespace: usize, remedy: Remedy, count: u64) {
        add_alone(&self.0[namespace][remedy as usize], count);
    }

    /// What was done, by namespace and remedy.
    pub fn occurred(&self) -> impl Iterator<Item = (usize, Remedy, u64)> {
        let of_namespace = |(namespace, counts): (usize, &[AtomicU64; Remedy::ALL.len()])| {
            let counts = Remedy::ALL.map(|remedy| (namespace, remedy, counts[remedy as usize].load(Ordering::Relaxed)));
            counts.into_iter().filter(|(_, _, count)| *count > 0)
        };
        self.0.iter().enumerate().flat_map(of_namespace)
    }

    /// Over all namespaces.
    pub fn total(&self, remedy: Remedy) -> u64 {
        self.occurred().filter(|(_, occurred, _)| *occurred == remedy).map(|(_, _, count)| count).sum()
    }
}
