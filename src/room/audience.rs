//! One shard's subscribers of a channel, and the walk that hands deliveries to them.

mod cut;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::joined::{Counts, JoinFrames, Joined, Reader, joined, joined_for};
use super::{Delivery, Slice};
use crate::limits;
use crate::model::Encoding;
use cut::Cut;

/// The members of one channel on one shard, with the deliveries that they still have to be given.
///
/// A **walk** takes all deliveries that are released, joins their frames once for each encoding, and
/// visits the members in slices. What comes meanwhile waits for the next walk. So a delivery costs a
/// send for each member when rooms are quiet, and a fraction of one when they are not.
///
/// Walks survive change. Deliveries are counted by `next_sequence`, and a member is given only those
/// that came after it joined. A member that leaves during a walk leaves a tombstone, so that nobody
/// is moved before or behind the cursor; the tombstones are cleared when the walk ends.
///
/// A publication's **base** is the one before it, which it may be said as the difference from. A
/// member has it when it joined before the base came, or was given it with the answer to its
/// subscribe; after [`Audience::break_chain`] nobody has.
///
/// Invariants: at most `AUDIENCE_PENDING_MAX` deliveries of `AUDIENCE_PENDING_BYTES_MAX` bytes
/// wait; `len` counts the members without tombstones.
#[derive(Debug, Default)]
pub struct Audience {
    members: Vec<Member>,
    len: usize,
    /// Sequence of the next delivery to come.
    next_sequence: u64,
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    /// So many of `pending` may be given, the oldest; the others are held back.
    released: usize,
    /// Sequence of the newest publication, unless one was lost behind it.
    newest: Option<u64>,
    walk: Option<Walk>,
    cut: Cut,
}

#[derive(Debug)]
struct Pending {
    delivery: Arc<Delivery>,
    sequence: u64,
    /// Sequence of a publication's base, if all that is between them is here.
    base: Option<u64>,
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
    /// It was given the base of the first publication that comes for it.
    has_base: bool,
    /// Only deliveries from this sequence on are for it.
    joined_at: u64,
}

const TOMBSTONE: u32 = u32::MAX;

#[derive(Debug)]
struct Walk {
    batch: Vec<Arc<Delivery>>,
    /// Sequence of the batch's first delivery.
    first: u64,
    /// Of each, where some are missing between them.
    sequences: Vec<u64>,
    /// That of the base of its first publication.
    base: Option<u64>,
    cursor: usize,
    /// The batch's frames, joined, for each kind of reader; made when the first member needs them.
    joined: Vec<(Reader, Joined)>,
    tombstones: usize,
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
        let joined_at = self.next_sequence;
        self.members.push(Member { slot, encoding, wants_joins, is_positioned, has_base: false, joined_at });
        self.len += 1;
        (self.members.len() - 1) as MemberIndex
    }

    /// The member has just joined, and has the base of what comes next.
    pub fn give_base(&mut self, index: MemberIndex) {
        if let Some(member) = self.members.get_mut(index as usize) {
            member.has_base = true;
        }
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

    /// Whether the member would be told if it missed something now.
    pub fn is_positioned(&self, index: MemberIndex) -> bool {
        self.members.get(index as usize).is_some_and(|member| member.is_positioned && !self.cut.holds(member))
    }

    /// Takes a delivery for all members there are now, to be given as soon as they are walked.
    pub fn push(&mut self, delivery: Arc<Delivery>) -> Result<(), Full> {
        self.hold(delivery)?;
        self.release();
        Ok(())
    }

    /// Takes a delivery for all members there are now, and keeps it back until `release`.
    pub fn hold(&mut self, delivery: Arc<Delivery>) -> Result<(), Full> {
        let bytes = delivery.bytes();
        if self.pending.len() >= limits::AUDIENCE_PENDING_MAX
            || (!self.pending.is_empty() && self.pending_bytes + bytes > limits::AUDIENCE_PENDING_BYTES_MAX)
        {
            return Err(Full);
        }
        self.pending_bytes += bytes;
        let mut base = None;
        if delivery.is_publication() {
            base = self.newest.replace(self.next_sequence);
        }
        self.pending.push_back(Pending { delivery, sequence: self.next_sequence, base });
        self.next_sequence += 1;
        Ok(())
    }

    /// As `hold`, for a publication that takes the place of the one with its tag that nobody was given
    /// yet. Returns whether there was one.
    pub fn hold_newest(&mut self, delivery: Arc<Delivery>) -> Result<bool, Full> {
        let outdated = self
            .pending
            .iter()
            .position(|pending| pending.delivery.is_publication() && pending.delivery.tag == delivery.tag);
        let mut was_released = false;
        if let Some(old) = outdated.and_then(|at| self.pending.remove(at)) {
            self.pending_bytes -= old.delivery.bytes();
            was_released = outdated.is_some_and(|at| at < self.released);
            self.released -= usize::from(was_released);
        }
        self.hold(delivery)?;
        if was_released {
            self.release();
        }
        Ok(outdated.is_some())
    }

    /// Nothing that came by now is held back any more.
    pub fn release(&mut self) {
        self.released = self.pending.len();
    }

    /// A publication was lost: the next one is no difference from what members have.
    pub fn break_chain(&mut self) {
        self.newest = None;
        self.members.iter_mut().for_each(|member| member.has_base = false);
    }

    /// Whether members wait for something that is not held back.
    pub fn is_pending(&self) -> bool {
        self.walk.is_some() || self.released > 0
    }

    /// Gives members what is released until that is done or `slice` is used up.
    pub fn walk(&mut self, slice: &mut Slice, join: JoinFrames, mut take: impl FnMut(Step<'_>)) {
        while !slice.is_used_up() {
            let mut walk = match self.walk.take() {
                Some(walk) => walk,
                None => match self.begin() {
                    Some(walk) => walk,
                    None => return,
                },
            };
            self.visit(&mut walk, slice, join, &mut take);
            if walk.cursor < self.members.len() {
                self.walk = Some(walk);
            } else if walk.tombstones > 0 {
                self.clear_tombstones(&mut take);
            }
        }
    }

    /// Starts a walk with what is released, up to a batch.
    fn begin(&mut self) -> Option<Walk> {
        let first = self.pending.front()?.sequence;
        let (mut bytes, mut count, mut base, mut has_publication) = (0, 0, None, false);
        for pending in self.pending.iter().take(self.released.min(limits::BATCH_DELIVERIES_MAX)) {
            let next = bytes + pending.delivery.bytes();
            if pending.delivery.is_publication() {
                let is_broken = has_publication && pending.base.is_none();
                if is_broken {
                    break;
                }
                if !std::mem::replace(&mut has_publication, true) {
                    base = pending.base;
                }
            }
            if count > 0 && next > limits::BATCH_BYTES_MAX {
                break;
            }
            bytes = next;
            count += 1;
        }
        if count == 0 {
            return None;
        }
        let mut sequences = Vec::new();
        if self.pending[count - 1].sequence != first + count as u64 - 1 {
            sequences.extend(self.pending.iter().take(count).map(|pending| pending.sequence));
        }
        let batch: Vec<_> = self.pending.drain(..count).map(|pending| pending.delivery).collect();
        self.pending_bytes -= bytes;
        self.released -= count;
        Some(Walk { batch, first, sequences, base, cursor: 0, joined: Vec::new(), tombstones: 0 })
    }

    fn visit(&self, walk: &mut Walk, slice: &mut Slice, join: JoinFrames, take: &mut impl FnMut(Step<'_>)) {
        let has_cut = self.has_cut();
        while walk.cursor < self.members.len() && !slice.is_used_up() {
            let member = self.members[walk.cursor];
            walk.cursor += 1;
            slice.visits -= 1;
            if member.slot == TOMBSTONE || (has_cut && self.cut.holds(&member)) {
                continue;
            }
            let Member { encoding, wants_joins, joined_at, .. } = member;
            if joined_at <= walk.first {
                let has_base = encoding.has_delta()
                    && walk.base.filter(|base| joined_at <= *base).map_or(member.has_base, |_| true);
                let reader = Reader { encoding, wants_joins, has_base };
                give(member, joined_for(reader, &mut walk.joined, &walk.batch, join), &walk.batch, slice, take);
            } else {
                // It joined while the batch was pending: its part is its own.
                let skipped = match walk.sequences.is_empty() {
                    true => (joined_at - walk.first).min(walk.batch.len() as u64) as usize,
                    false => walk.sequences.partition_point(|sequence| *sequence < joined_at),
                };
                let batch = &walk.batch[skipped..];
                let reader = Reader { encoding, wants_joins, has_base: member.has_base };
                give(member, &joined(batch, reader, join), batch, slice, take);
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

#[cfg(test)]
#[path = "audience_tests.rs"]
mod tests;
