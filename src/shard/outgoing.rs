//! What this shard has to say to the others, and the rule of the full lane.

use std::collections::VecDeque;

use super::events::LaneMessage;
use crate::limits;
use crate::model::ShardId;

/// Messages waiting for each lane, in order; io moves them on while the lane has room.
///
/// A lane never blocks a shard. When it is full, publishes of clients are refused first, then
/// deliveries are lost and the room is *behind*, and what holds the system together (subscribes and
/// their answers) always goes in. Leaves, which nobody waits for, wait themselves long before anything
/// is refused or lost: whoever goes with ten thousand subscriptions costs the others nothing.
///
/// Bound: publishes and deliveries stop at `slots`. Control messages may pass it, but a connection
/// has at most one question under way.
#[derive(Debug)]
pub struct Outgoing {
    lanes: Vec<VecDeque<LaneMessage>>,
    slots: usize,
}

/// What has to leave the last slots to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Publish,
    Delivery,
}

impl Outgoing {
    pub fn new(shards: u16, slots: usize) -> Outgoing {
        Outgoing { lanes: (0..shards).map(|_| VecDeque::new()).collect(), slots }
    }

    pub fn has_room(&self, to: ShardId, class: Class) -> bool {
        self.lanes[to.as_index()].len() < self.slots_of(class)
    }

    /// Whether every lane has room for leaves: half of what publishes may use.
    pub fn has_room_for_leaves(&self) -> bool {
        let publishes = self.slots_of(Class::Publish);
        self.lanes.iter().all(|lane| lane.len() < publishes.div_ceil(2))
    }

    fn slots_of(&self, class: Class) -> usize {
        let control = self.slots * limits::LANE_SLOTS_CONTROL / limits::LANE_SLOTS;
        let delivery = self.slots * limits::LANE_SLOTS_DELIVERY / limits::LANE_SLOTS;
        match class {
            Class::Publish => self.slots - control - delivery,
            Class::Delivery => self.slots - control,
        }
    }

    pub fn push(&mut self, to: ShardId, message: LaneMessage) {
        self.lanes[to.as_index()].push_back(message);
    }

    pub fn pop(&mut self, to: ShardId) -> Option<LaneMessage> {
        self.lanes[to.as_index()].pop_front()
    }

    /// Messages waiting, over all lanes.
    pub fn len(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }
}
