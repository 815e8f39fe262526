//! The frames of an outbox behind its first one, and which of them may be dropped.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::telemetry::Remedy;

/// Frames behind the first, oldest first. Only publications of namespaces with a policy for slow
/// consumers may be dropped, and only while their subscription lasts: so nothing is mistaken for a
/// part of a later subscription, even if that is to the same channel.
///
/// Bound: that of the outbox. Looking for what to drop takes time in proportion to what waits.
#[derive(Debug, Default)]
pub struct Backlog {
    frames: VecDeque<Queued>,
}

#[derive(Debug)]
struct Queued {
    frame: Bytes,
    // Boxed: 8 bytes where the policy is to disconnect.
    droppable: Option<Box<Droppable>>,
}

/// A publication that may be dropped.
#[derive(Debug)]
pub struct Droppable {
    /// Slot of its channel in the shard's table of audiences.
    pub channel: u32,
    /// Place of its namespace in the metrics.
    pub namespace: usize,
    pub rule: DropRule,
    /// Its subscriber is told when it misses something.
    pub is_positioned: bool,
}

/// When a publication is dropped.
#[derive(Debug, PartialEq, Eq)]
pub enum DropRule {
    /// When there is no room for what comes: the oldest go first.
    Oldest,
    /// When a newer one of the same channel and tag comes, and takes its place.
    Conflate { tag: Option<Arc<str>> },
}

/// What was dropped and is still to be counted and told.
#[derive(Debug, Default)]
pub struct Dropped {
    /// Publications by namespace and by why they went; some few entries.
    pub counts: Vec<(usize, Remedy, u64)>,
    /// Slots of connection and channel of the positioned subscriptions that miss something.
    pub gaps: Vec<(u32, u32)>,
    slot: u32,
}

impl Dropped {
    /// What follows is dropped from the outbox of the connection at `slot`.
    pub fn of(&mut self, slot: u32) -> &mut Dropped {
        self.slot = slot;
        self
    }

    /// A publication of a positioned subscription was dropped.
    pub fn add_gap(&mut self, droppable: &Droppable) {
        self.gaps.push((self.slot, droppable.channel));
        self.count(droppable);
    }

    fn count(&mut self, droppable: &Droppable) {
        let remedy = match droppable.rule {
            DropRule::Oldest => Remedy::DropOldest,
            DropRule::Conflate { .. } => Remedy::Conflate,
        };
        let of_same = |(namespace, counted, _): &&mut (usize, Remedy, u64)| {
            (*namespace, *counted) == (droppable.namespace, remedy)
        };
        match self.counts.iter_mut().find(of_same) {
            Some((_, _, count)) => *count += 1,
            None => self.counts.push((droppable.namespace, remedy, 1)),
        }
    }
}

impl Backlog {
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub fn push(&mut self, frame: Bytes) {
        self.frames.push_back(Queued { frame, droppable: None });
    }

    pub fn push_front(&mut self, frame: Bytes) {
        self.frames.push_front(Queued { frame, droppable: None });
    }

    pub fn push_droppable(&mut self, frame: Bytes, droppable: Droppable) {
        self.frames.push_back(Queued { frame, droppable: Some(Box::new(droppable)) });
    }

    pub fn pop(&mut self) -> Option<Bytes> {
        self.frames.pop_front().map(|queued| queued.frame)
    }

    pub fn frames(&self) -> impl Iterator<Item = &Bytes> {
        self.frames.iter().map(|queued| &queued.frame)
    }

    /// Drops the oldest publication whose rule is to go when there is no room. Returns how many bytes
    /// are free now, `None` if there is no such publication.
    ///
    /// After a positioned one all that waits of its channel goes: its subscriber has to come back for
    /// it anyway, and must not come back from behind the gap.
    pub fn drop_oldest(&mut self, dropped: &mut Dropped) -> Option<usize> {
        let at = self
            .frames
            .iter()
            .position(|queued| queued.droppable.as_ref().is_some_and(|droppable| droppable.rule == DropRule::Oldest))?;
        let queued = self.frames.remove(at)?;
        let droppable = queued.droppable?;
        let bytes = queued.frame.len();
        if !droppable.is_positioned {
            dropped.count(&droppable);
            return Some(bytes);
        }
        dropped.add_gap(&droppable);
        Some(bytes + self.drop_channel(droppable.channel, dropped))
    }

    /// Drops every publication of the subscription to `channel`. Returns their bytes.
    pub fn drop_channel(&mut self, channel: u32, dropped: &mut Dropped) -> usize {
        let mut bytes = 0;
        self.frames.retain(|queued| {
            let Some(droppable) = queued.droppable.as_ref().filter(|droppable| droppable.channel == channel) else {
                return true;
            };
            dropped.count(droppable);
            bytes += queued.frame.len();
            false
        });
        bytes
    }

    /// Bytes that wait and that a new publication would take the place of.
    pub fn outdated_bytes(&self, new: &Droppable) -> usize {
        let outdated = self.frames.iter().filter(|queued| queued.is_outdated_by(new));
        outdated.map(|queued| queued.frame.len()).sum()
    }

    /// Puts a publication in the place of the oldest that it outdates, and drops the others.
    ///
    /// In its place, not behind all others: what changes often would never be sent otherwise.
    pub fn replace(&mut self, frame: Bytes, new: &Droppable, dropped: &mut Dropped) {
        let mut frame = Some(frame);
        self.frames.retain_mut(|queued| {
            if !queued.is_outdated_by(new) {
                return true;
            }
            dropped.count(new);
            match frame.take() {
                Some(frame) => {
                    queued.frame = frame;
                    true
                }
                None => false,
            }
        });
    }

    /// The subscription to `channel` has ended: what waits of it is sent.
    pub fn keep_channel(&mut self, channel: u32) {
        for queued in &mut self.frames {
            queued.droppable.take_if(|droppable| droppable.channel == channel);
        }
    }
}

impl Queued {
    fn is_outdated_by(&self, new: &Droppable) -> bool {
        self.droppable
            .as_ref()
            .is_some_and(|old| old.channel == new.channel && old.rule == new.rule && new.rule != DropRule::Oldest)
    }
}

#[cfg(test)]
#[path = "backlog_tests.rs"]
mod tests;
