//! Members that missed something: given nothing more, and named one by one until they are gone.

use super::{Audience, Member, TOMBSTONE};
use crate::room::Slice;

/// Which members are cut off, and which of them the shard has not been told of.
///
/// Invariant: every cut member that is left stands before `unseen`. The search goes from the newest
/// member down, and members only ever move down, so none is passed over.
#[derive(Debug, Default)]
pub(super) struct Cut {
    /// Members with a position that joined before this sequence are cut off.
    before: u64,
    unseen: usize,
}

impl Cut {
    pub fn holds(&self, member: &Member) -> bool {
        member.is_positioned && member.joined_at < self.before
    }
}

impl Audience {
    /// Something is lost for the members there are now: those with a position are given nothing from
    /// here on, and `next_cut` names them.
    pub fn cut(&mut self) {
        // A sequence of its own: whoever joins from here on is told apart by it.
        self.next_sequence += 1;
        self.cut = Cut { before: self.next_sequence, unseen: self.members.len() };
    }

    /// Slot of the next member to be told, which the caller takes out before it asks again; `None`
    /// when all are told or `slice` is used up.
    pub fn next_cut(&mut self, slice: &mut Slice) -> Option<u32> {
        self.cut.unseen = self.cut.unseen.min(self.members.len());
        while self.cut.unseen > 0 && !slice.is_used_up() {
            slice.visits -= 1;
            self.cut.unseen -= 1;
            let member = self.members[self.cut.unseen];
            if member.slot != TOMBSTONE && self.cut.holds(&member) {
                slice.sends -= 1;
                return Some(member.slot);
            }
        }
        None
    }

    /// Whether `next_cut` has members to look at.
    pub fn has_cut(&self) -> bool {
        self.cut.unseen > 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::model::{ChannelName, Encoding, Format, Frames, Variant};
    use crate::room::{Delivery, DeliveryKind, MemberIndex, Step};

    fn json() -> Encoding {
        Encoding::plain(Format::CentrifugoJson)
    }

    fn slice(visits: usize) -> Slice {
        Slice { sends: 100, bytes: 1 << 20, visits }
    }

    fn publish(audience: &mut Audience) {
        let channel = ChannelName::parse("c", 255).expect("a short name");
        let mut frames = Frames::default();
        frames.push(json(), Variant::Ready(Bytes::from_static(b"p")));
        let kind = DeliveryKind::Publication(None);
        audience.push(Arc::new(Delivery { channel, kind, tag: None, frames })).expect("few are pending");
    }

    fn given(audience: &mut Audience, visits: usize, indexes: &mut BTreeMap<u32, MemberIndex>) -> Vec<u32> {
        let mut given = Vec::new();
        let join = |_, frames: &[&Bytes]| frames[0].clone();
        audience.walk(&mut slice(visits), join, |step| match step {
            Step::Give { member, .. } => given.push(member.slot),
            Step::Moved { slot, to, .. } => drop(indexes.insert(slot, to)),
            Step::Inappropriate { .. } => panic!("all is text"),
        });
        given
    }

    #[test]
    fn who_is_cut_is_given_nothing_and_who_joins_later_is() {
        let mut audience = Audience::default();
        audience.join(0, json(), false, true);
        audience.join(1, json(), false, false);
        publish(&mut audience);
        audience.cut();
        audience.join(2, json(), false, true);
        publish(&mut audience);
        assert_eq!(given(&mut audience, 100, &mut BTreeMap::new()), [1, 2]);
        assert!(!audience.is_positioned(0) && audience.is_positioned(2));
    }

    #[test]
    fn each_cut_member_is_named_once_whoever_leaves_meanwhile() {
        let mut audience = Audience::default();
        let mut indexes: BTreeMap<u32, MemberIndex> =
            (0..20).map(|slot| (slot, audience.join(slot, json(), false, slot % 2 == 0))).collect();
        let leave = |audience: &mut Audience, indexes: &mut BTreeMap<u32, MemberIndex>, slot: u32| {
            let index = indexes.remove(&slot).expect("a member");
            if let Some(Step::Moved { slot, to, .. }) = audience.leave(index) {
                indexes.insert(slot, to);
            }
        };
        publish(&mut audience);
        audience.cut();
        let mut named = Vec::new();
        for n in 0.. {
            // A walk begins, goes on and ends meanwhile, so members leave with and without tombstones.
            given(&mut audience, 4, &mut indexes);
            if let Some(slot) = audience.next_cut(&mut slice(3)) {
                leave(&mut audience, &mut indexes, slot);
                named.push(slot);
            }
            match n {
                1 => leave(&mut audience, &mut indexes, 0),
                2 => leave(&mut audience, &mut indexes, 17),
                3 => drop(indexes.insert(20, audience.join(20, json(), false, true))),
                _ => {}
            }
            if !audience.has_cut() {
                break;
            }
        }
        named.sort();
        assert_eq!(named, [2, 4, 6, 8, 10, 12, 14, 16, 18]);
        assert_eq!(indexes.into_keys().collect::<Vec<_>>(), [1, 3, 5, 7, 9, 11, 13, 15, 19, 20]);
    }
}
