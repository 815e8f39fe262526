//! Who is connected here, told in a sketch that can be joined with those of other shards and nodes.

use super::connections::Connections;
use super::events::{Answered, Answerer};
use crate::limits::SURVEY_LOOKS_PER_TURN;
use crate::model::UserSketch;

/// One look at every connection of the shard.
pub struct UserSurvey {
    /// Slot to look at next.
    next: u32,
    sketch: UserSketch,
    answerer: Answerer,
}

impl UserSurvey {
    pub fn new(answerer: Answerer) -> UserSurvey {
        UserSurvey { next: 0, sketch: UserSketch::default(), answerer }
    }

    /// Looks at the next connections. Returns whether there are no further ones.
    pub fn look(&mut self, connections: &Connections) -> bool {
        let until = connections.slots().min(self.next.saturating_add(SURVEY_LOOKS_PER_TURN as u32));
        for slot in self.next..until {
            // Those without an id are not listed.
            if let Some(connection) = connections.look_at(slot).filter(|connection| connection.is_listed)
                && let Some(client) = &connection.client
            {
                self.sketch.add(&client.user);
            }
        }
        self.next = until;
        until >= connections.slots()
    }

    pub fn answer(self) {
        (self.answerer.0)(Ok(Answered::UserSketch(self.sketch)));
    }
}
