//! One shard's subscribers of a channel, and the walk that hands deliveries to them.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{Delivery, DeliveryKind, Variant};
use crate::limits;
use crate::model::Encoding;

/// The members of one channel on one shard, with the deliveries that they still have to be given.
///
/// A **walk** takes all deliveries that are pending, joins their frames once for each encoding, and
/// visits the members in slices. What comes meanwhile waits for the next walk. So a delivery costs a
/// send for each member when rooms are quiet, and a fraction of one when they are not.
///
/// Walks survive change. Deliveries are counted by `next_sequence`, and a member is given only those
/// that came after it joined. A member that leaves during a walk leaves a tombstone, so that nobody
/// is moved before or behind the cursor; the tombstones are cleared when the walk ends.
///
/// Invariants: at most `AUDIENCE_PENDING_MAX` deliveries of `AUDIENCE_PENDING_BYTES_MAX` bytes
/// wait; `len` counts the members without tombstones.
#[derive(Debug, Default)]
pub struct Audience {
    members: Vec<Member>,
    len: usize,
    /// Sequence of the next delivery to come.
    next_sequence: u64,
    pending: VecDeque<Arc<Delivery>>,
    pending_bytes: usize,
    walk: Option<Walk>,
}

/// Place of a member in its audience; told anew by [`Step::Moved`].
pub type MemberIndex = u32;

/// One subscriber.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Its connection's slot in the slab; [`TOMBSTONE`] when it left during a walk.
    pub slot: u32,
    pub encoding: Encoding,
    pub wants_joins: bool,
    /// Told when it would miss something.
    pub is_positioned: bool,
    /// Only deliveries from this sequence on are for it.
    joined_at: u64,
}

const TOMBSTONE: u32 = u32::MAX;

#[derive(Debug)]
struct Walk {
    batch: Vec<Arc<Delivery>>,
    /// Sequence of the batch's first delivery.
    first: u64,
    cursor: usize,
    /// The batch's frames, joined, by encoding and by whether joins are wanted; made when the first
    /// member needs them.
    joined: JoinedBatch,
    tombstones: usize,
}

type JoinedBatch = [[Option<Joined>; 2]; Encoding::COUNT];

#[derive(Clone, Debug)]
struct Joined {
    frames: Bytes,
    counts: Counts,
    is_inappropriate: bool,
}

/// What is left of a turn's share of fan-out, in sends, bytes and members looked at.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    pub sends: usize,
    pub bytes: usize,
    pub visits: usize,
}

impl Slice {
    pub fn is_used_up(&self) -> bool {
        self.sends == 0 || self.bytes == 0 || self.visits == 0
    }

    fn spend(&mut self, bytes: usize) {
        self.sends -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// What a walk asks its shard to do.
pub enum Step<'a> {
    /// Put `frames`, which are those of `deliveries` that the member reads, into its outbox.
    Give { member: Member, frames: &'a Bytes, counts: Counts, deliveries: &'a [Arc<Delivery>] },
    /// The connection at `slot` can't be told in its encoding.
    Inappropriate { slot: u32 },
    /// The member of the connection at `slot` has another index.
    Moved { slot: u32, from: MemberIndex, to: MemberIndex },
}

/// What a piece of joined frames holds, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub publications: u32,
    pub joins: u32,
    pub leaves: u32,
}

/// Too much is pending: the delivery was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Audience {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a member for everything that comes from now on.
    pub fn join(&mut self, slot: u32, encoding: Encoding, wants_joins: bool, is_positioned: bool) -> MemberIndex {
        debug_assert_ne!(slot, TOMBSTONE, "the slab is smaller than that");
        self.members.push(Member { slot, encoding, wants_joins, is_positioned, joined_at: self.next_sequence });
        self.len += 1;
        (self.members.len() - 1) as MemberIndex
    }

    /// Removes a member. Returns who took its place, if somebody did.
    pub fn leave(&mut self, index: MemberIndex) -> Option<Step<'static>> {
        let at = index as usize;
        self.len -= 1;
        if let Some(walk) = &mut self.walk {
            self.members[at].slot = TOMBSTONE;
            walk.tombstones += 1;
            return None;
        }
        self.members.swap_remove(at);
        let moved = self.members.get(at)?;
        Some(Step::Moved { slot: moved.slot, from: self.members.len() as MemberIndex, to: index })
    }

    /// Whether the member is told when it would miss something.
    pub fn is_positioned(&self, index: MemberIndex) -> bool {
        self.members.get(index as usize).is_some_and(|member| member.is_positioned)
    }

    /// Members with their indexes, tombstones left out.
    pub fn members(&self) -> impl Iterator<Item = (MemberIndex, &Member)> {
        self.members
            .iter()
            .enumerate()
            .filter(|(_, member)| member.slot != TOMBSTONE)
            .map(|(at, member)| (at as u32, member))
    }

    /// Takes a delivery for all members there are now.
    pub fn push(&mut self, delivery: Arc<Delivery>) -> Result<(), Full> {
        let bytes = delivery.bytes();
        if self.pending.len() >= limits::AUDIENCE_PENDING_MAX
            || (!self.pending.is_empty() && self.pending_bytes + bytes > limits::AUDIENCE_PENDING_BYTES_MAX)
        {
            return Err(Full);
        }
        self.pending_bytes += bytes;
        self.pending.push_back(delivery);
        self.next_sequence += 1;
        Ok(())
    }

    /// Whether members wait for something.
    pub fn is_pending(&self) -> bool {
        self.walk.is_some() || !self.pending.is_empty()
    }

    /// Gives members what is pending until that is done or `slice` is used up.
    pub fn walk(&mut self, slice: &mut Slice, mut take: impl FnMut(Step<'_>)) {
        while !slice.is_used_up() {
            let mut walk = match self.walk.take() {
                Some(walk) => walk,
                None => match self.begin() {
                    Some(walk) => walk,
                    None => return,
                },
            };
            self.visit(&mut walk, slice, &mut take);
            if walk.cursor < self.members.len() {
                self.walk = Some(walk);
            } else if walk.tombstones > 0 {
                self.clear_tombstones(&mut take);
            }
        }
    }

    /// Starts a walk with what is pending, up to a batch.
    fn begin(&mut self) -> Option<Walk> {
        let first = self.next_sequence - self.pending.len() as u64;
        let mut bytes = 0;
        let mut count = 0;
        for delivery in self.pending.iter().take(limits::BATCH_DELIVERIES_MAX) {
            bytes += delivery.bytes();
            if count > 0 && bytes > limits::BATCH_BYTES_MAX {
                break;
            }
            count += 1;
        }
        if count == 0 {
            return None;
        }
        let batch: Vec<_> = self.pending.drain(..count).collect();
        self.pending_bytes -= batch.iter().map(|delivery| delivery.bytes()).sum::<usize>();
        Some(Walk { batch, first, cursor: 0, joined: Default::default(), tombstones: 0 })
    }

    fn visit(&self, walk: &mut Walk, slice: &mut Slice, take: &mut impl FnMut(Step<'_>)) {
        while walk.cursor < self.members.len() && !slice.is_used_up() {
            let member = self.members[walk.cursor];
            walk.cursor += 1;
            slice.visits -= 1;
            if member.slot == TOMBSTONE {
                continue;
            }
            if member.joined_at <= walk.first {
                give(member, joined_for(member, &mut walk.joined, &walk.batch), &walk.batch, slice, take);
            } else {
                // It joined while the batch was pending: its part is its own.
                let skipped = (member.joined_at - walk.first).min(walk.batch.len() as u64) as usize;
                let batch = &walk.batch[skipped..];
                give(member, &join(batch, member.encoding, member.wants_joins), batch, slice, take);
            }
        }
    }

    /// Closes the gaps that members left behind, back to front.
    fn clear_tombstones(&mut self, take: &mut impl FnMut(Step<'_>)) {
        let mut at = self.members.len();
        while at > 0 {
            at -= 1;
            if self.members[at].slot != TOMBSTONE {
                continue;
            }
            let from = (self.members.len() - 1) as MemberIndex;
            self.members.swap_remove(at);
            if let Some(moved) = self.members.get(at) {
                take(Step::Moved { slot: moved.slot, from, to: at as MemberIndex });
            }
        }
        debug_assert_eq!(self.members.len(), self.len, "every tombstone was counted");
    }
}

fn joined_for<'a>(member: Member, joined: &'a mut JoinedBatch, batch: &[Arc<Delivery>]) -> &'a Joined {
    joined[member.encoding.as_index()][usize::from(member.wants_joins)]
        .get_or_insert_with(|| join(batch, member.encoding, member.wants_joins))
}

fn give(
    member: Member,
    joined: &Joined,
    deliveries: &[Arc<Delivery>],
    slice: &mut Slice,
    take: &mut impl FnMut(Step<'_>),
) {
    if joined.is_inappropriate {
        take(Step::Inappropriate { slot: member.slot });
    } else if !joined.frames.is_empty() {
        slice.spend(joined.frames.len());
        take(Step::Give { member, frames: &joined.frames, counts: joined.counts, deliveries });
    }
}

/// The frames of `batch` that a member reads, as one piece; shared, not copied, when it is one frame.
fn join(batch: &[Arc<Delivery>], encoding: Encoding, wants_joins: bool) -> Joined {
    let mut joined = Joined { frames: Bytes::new(), counts: Counts::default(), is_inappropriate: false };
    let mut several = BytesMut::new();
    for delivery in batch {
        if !delivery.is_publication() && !wants_joins {
            continue;
        }
        match delivery.frame(encoding) {
            Variant::Ready(frame) if joined.frames.is_empty() => joined.frames = frame.clone(),
            Variant::Ready(frame) => {
                if several.is_empty() {
                    several.extend_from_slice(&joined.frames);
                }
                several.extend_from_slice(frame);
            }
            Variant::Inappropriate => joined.is_inappropriate = true,
            // Encoded before the first reader of this encoding subscribed, so for none of them.
            Variant::NotNeeded => continue,
        }
        match delivery.kind {
            DeliveryKind::Publication(_) => joined.counts.publications += 1,
            DeliveryKind::Join => joined.counts.joins += 1,
            DeliveryKind::Leave => joined.counts.leaves += 1,
        }
    }
    if !several.is_empty() {
        joined.frames = several.freeze();
    }
    joined
}

#[cfg(test)]
#[path = "audience_tests.rs"]
mod tests;
