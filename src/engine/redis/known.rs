//! Where streams stood when this node last published to them.
//!
//! A server that came back with an old copy, or a replica that became the master and was behind, would give offsets
//! again that were given before. Whoever publishes says what its node knows, from its own publishes and from what the
//! channel's room was sent, so the first publish finds that out, and does not have to wait until somebody reads.

use ahash::AHashMap;

use crate::limits::REDIS_POSITIONS_MAX;
use crate::model::{ChannelName, Position};

/// Of the channels published to of late: all are forgotten when there are too many, which costs the check only.
#[derive(Default)]
pub struct Known {
    positions: AHashMap<ChannelName, Position>,
}

impl Known {
    fn find(&self, channel: &str) -> Option<Position> {
        self.positions.get(channel).copied()
    }

    /// The newest position that the node knows of, when its room was sent what is up to `sent_until`.
    pub fn newest_of(&self, channel: &str, sent_until: Option<Position>) -> Option<Position> {
        match (self.find(channel), sent_until) {
            (Some(known), Some(sent)) if known.epoch == sent.epoch && known.offset > sent.offset => Some(known),
            (known, sent) => sent.or(known),
        }
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
        let newest = |sent| known.newest_of("a", sent);
        assert_eq!(newest(None), Some(at(2, 1)));
        assert_eq!(newest(Some(at(2, 7))), Some(at(2, 7)), "others publish too");
        assert_eq!(newest(Some(at(2, 0))), Some(at(2, 1)), "what it published itself has not come yet");
        assert_eq!(newest(Some(at(3, 1))), Some(at(3, 1)));
        assert_eq!(known.newest_of("b", Some(at(1, 1))), Some(at(1, 1)));
        for n in 0..REDIS_POSITIONS_MAX {
            known.learn(&name(&n.to_string()), at(1, 1));
        }
        assert!(known.positions.len() <= REDIS_POSITIONS_MAX && known.find("a").is_none());
    }
}
