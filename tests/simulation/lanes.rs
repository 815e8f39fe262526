//! The lanes between simulated shards: bounded, FIFO, and faulty when that is planted.

use std::collections::VecDeque;
use std::sync::Arc;

use fanfare::shard::LaneMessage;

/// A lane that does not do its job; what the checker has to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneFault {
    Drops,
    Repeats,
    /// Puts a message in front of the one before it.
    Swaps,
}

/// One in so many messages meets the planted fault.
const FAULT_RATE: u32 = 100;

pub struct Lane {
    messages: VecDeque<LaneMessage>,
    slots: usize,
    fault: Option<LaneFault>,
}

impl Lane {
    pub fn new(slots: usize, fault: Option<LaneFault>) -> Lane {
        Lane { messages: VecDeque::new(), slots, fault }
    }

    pub fn is_full(&self) -> bool {
        self.messages.len() >= self.slots
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Puts `message` at the end. The caller has seen that there is room.
    pub fn push(&mut self, message: LaneMessage, random: &mut fastrand::Rng) {
        match self.fault.filter(|_| random.u32(..FAULT_RATE) == 0) {
            None => self.messages.push_back(message),
            Some(LaneFault::Drops) => {}
            Some(LaneFault::Repeats) => {
                let copy = copy_of(&message);
                self.messages.push_back(message);
                self.messages.extend(copy);
            }
            Some(LaneFault::Swaps) => {
                let before_last = self.messages.len().saturating_sub(1);
                self.messages.insert(before_last, message);
            }
        }
    }

    pub fn pop(&mut self) -> Option<LaneMessage> {
        self.messages.pop_front()
    }
}

/// Questions and answers own what they carry, and are not repeated.
fn copy_of(message: &LaneMessage) -> Option<LaneMessage> {
    match message {
        LaneMessage::Deliver(delivery) => Some(LaneMessage::Deliver(Arc::clone(delivery))),
        LaneMessage::Left { channel, client } => Some(LaneMessage::Left { channel: channel.clone(), client: *client }),
        LaneMessage::Behind { channel } => Some(LaneMessage::Behind { channel: channel.clone() }),
        LaneMessage::Unlisten { channel } => Some(LaneMessage::Unlisten { channel: channel.clone() }),
        _ => None,
    }
}
