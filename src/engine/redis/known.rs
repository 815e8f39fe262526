//! Where streams stood when this node last published to them.
//!
//! A server that came back with an old copy would give offsets again that it gave before. Whoever publishes says what
//! it knows, so the first publish finds that out, and does not have to wait until somebody reads.

use ahash::AHashMap;

use crate::limits::REDIS_POSITIONS_MAX;
use crate::model::{ChannelName, Position};

/// Of the channels published to of late: all are forgotten when there are too many, which costs the check only.
#[derive(Default)]
pub struct Known {
    positions: AHashMap<ChannelName, Position>,
}

impl Known {
    pub fn find(&self, channel: &str) -> Option<Position> {
        self.positions.get(channel).copied()
    }

    pub fn learn(&mut self, channel: &ChannelName, position: Position) {
        if let Some(known) = self.positions.get_mut(channel) {
            // A repeated publish is answered with where the stream was then.
            if known.epoch != position.epoch || known.offset < position.offset {
                *known = position;
            }
            return;
        }
        if self.positions.len() >= REDIS_POSITIONS_MAX {
            self.positions.clear();
        }
        self.positions.insert(channel.clone(), position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Epoch;

    fn name(text: &str) -> ChannelName {
        ChannelName::parse(text, 255).expect("a short name")
    }

    #[test]
    fn the_newest_position_is_known_and_their_number_is_bounded() {
        let at = |epoch, offset| Position { epoch: Epoch::from_random(epoch), offset };
        let mut known = Known::default();
        for (position, expected) in [(at(1, 5), at(1, 5)), (at(1, 3), at(1, 5)), (at(2, 1), at(2, 1))] {
            known.learn(&name("a"), position);
            assert_eq!(known.find("a"), Some(expected));
        }
        for n in 0..REDIS_POSITIONS_MAX {
            known.learn(&name(&n.to_string()), at(1, 1));
        }
        assert!(known.positions.len() <= REDIS_POSITIONS_MAX && known.find("a").is_none());
    }
}
