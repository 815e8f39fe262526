//! What commands cost, so that a turn gives each connection its share and no more.

use super::Shard;
use crate::model::{ConnectionId, Now};

/// Work done since it was asked for, in bytes as `COMMAND_WORK_BYTES` has it, and how much of it one
/// connection may do at a go.
#[derive(Debug)]
pub struct Work {
    done: usize,
    share: usize,
    left: usize,
}

impl Work {
    pub fn new(share: usize) -> Work {
        Work { done: 0, share, left: share }
    }

    /// From here on it is for one connection.
    pub fn begin_share(&mut self) {
        self.left = self.share;
    }

    pub fn add(&mut self, bytes: usize) {
        self.done += bytes;
        self.left = self.left.saturating_sub(bytes);
    }

    /// Whether the connection has to let others go first.
    pub fn is_used_up(&self) -> bool {
        self.left == 0
    }
}

impl Shard {
    /// What was done since the last call, in bytes: those of replies, and some for each command.
    pub fn take_work(&mut self) -> usize {
        std::mem::take(&mut self.work.done)
    }

    /// Whether commands of the connection wait for `go_on`.
    pub fn has_yielded(&self, id: ConnectionId) -> bool {
        self.connections.find(id).is_some_and(|connection| connection.has_yielded())
    }

    /// Goes on with the commands of a connection that has yielded, as far as one more share goes.
    pub fn go_on(&mut self, now: Now, id: ConnectionId) {
        self.tell_time(now);
        if self.has_yielded(id) {
            self.work.begin_share();
            self.decided(id);
            self.flush_replies();
        }
    }
}
