//! Frames waiting for one socket.

use bytes::{Buf, Bytes};

use super::backlog::{Backlog, Droppable, Dropped};

/// Frames waiting for one socket, oldest first.
///
/// The usual outbox holds nothing, or one frame for part of a turn: so the first frame stands in
/// place, and a queue is allocated only behind it.
///
/// Invariant: `bytes` is the sum of the waiting frames' lengths. `push` refuses the frame that would
/// lift it above its bound; only frames that end a connection pass the bound (`push_last`). The first
/// frame is never dropped: the socket may have begun to send it.
#[derive(Debug, Default)]
pub struct Outbox {
    first: Bytes,
    // Boxed: 8 bytes in every idle connection where the queue itself would take 32.
    rest: Option<Box<Backlog>>,
    bytes: u32,
    /// A part of `first` is on the wire: it must be finished before anything else.
    is_partial: bool,
    /// The socket took less than it was given: its reader is slower than what comes.
    is_behind: bool,
}

/// The frame does not fit: its reader is a slow consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Outbox {
    /// Bytes waiting.
    pub fn bytes(&self) -> usize {
        self.bytes as usize
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Whether the socket took less than it was given, the last time.
    pub fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Adds a frame unless more than `bytes_max` would wait then.
    ///
    /// A frame larger than the bound is taken when nothing waits: it was allowed to exist, and
    /// its reader is not slow yet.
    pub fn push(&mut self, frame: Bytes, bytes_max: usize) -> Result<(), Full> {
        if !self.is_empty() && self.bytes() + frame.len() > bytes_max {
            return Err(Full);
        }
        self.push_last(frame);
        Ok(())
    }

    /// Adds a frame whatever waits: for the close frame.
    pub fn push_last(&mut self, frame: Bytes) {
        if frame.is_empty() {
            return;
        }
        self.bytes += frame.len() as u32;
        if self.first.is_empty() {
            self.first = frame;
        } else {
            self.rest.get_or_insert_default().push(frame);
        }
    }

    /// Puts a frame before all others, as far as they are not on the wire, and drops what may be dropped if there is
    /// no room for it.
    pub fn push_first(&mut self, frame: Bytes, bytes_max: usize, dropped: &mut Dropped) -> Result<(), Full> {
        self.make_room(frame.len(), bytes_max, dropped)?;
        self.bytes += frame.len() as u32;
        if self.is_partial {
            self.rest.get_or_insert_default().push_front(frame);
        } else {
            let second = std::mem::replace(&mut self.first, frame);
            if !second.is_empty() {
                self.rest.get_or_insert_default().push_front(second);
            }
        }
        Ok(())
    }

    /// Adds a frame, and drops what may be dropped if there is no room for it.
    pub fn push_dropping(&mut self, frame: Bytes, bytes_max: usize, dropped: &mut Dropped) -> Result<(), Full> {
        self.make_room(frame.len(), bytes_max, dropped)?;
        self.push_last(frame);
        Ok(())
    }

    /// Adds a publication that may be dropped later; what it outdates goes at once, if the socket is
    /// behind or there is no room.
    ///
    /// A positioned subscriber misses what is outdated, and so it is left for its recovery, together
    /// with all else that waits for it.
    pub fn push_droppable(
        &mut self,
        frame: Bytes,
        droppable: Droppable,
        bytes_max: usize,
        dropped: &mut Dropped,
    ) -> Result<(), Full> {
        let outdated = match &self.rest {
            Some(rest) if self.is_behind || self.bytes() + frame.len() > bytes_max => rest.outdated_bytes(&droppable),
            _ => 0,
        };
        if outdated > 0 && droppable.is_positioned {
            dropped.add_gap(&droppable);
            self.drop_channel(droppable.channel, dropped);
            return Ok(());
        }
        self.make_room(frame.len().saturating_sub(outdated), bytes_max, dropped)?;
        if self.first.is_empty() {
            self.push_last(frame);
            return Ok(());
        }
        self.bytes = (self.bytes() + frame.len() - outdated) as u32;
        let rest = self.rest.get_or_insert_default();
        match outdated {
            0 => rest.push_droppable(frame, droppable),
            _ => rest.replace(frame, &droppable, dropped),
        }
        Ok(())
    }

    /// Drops what waits of the subscription to `channel`, as far as it may be dropped.
    pub fn drop_channel(&mut self, channel: u32, dropped: &mut Dropped) {
        if let Some(rest) = &mut self.rest {
            self.bytes -= rest.drop_channel(channel, dropped) as u32;
        }
    }

    /// Drops what may be dropped until no more than `bytes_max` wait; an error if more do even then.
    pub fn shrink(&mut self, bytes_max: usize, dropped: &mut Dropped) -> Result<(), Full> {
        self.make_room(0, bytes_max, dropped)
    }

    /// The subscription to `channel` has ended: what waits of it is not dropped any more.
    pub fn keep_channel(&mut self, channel: u32) {
        if let Some(rest) = &mut self.rest {
            rest.keep_channel(channel);
        }
    }

    /// Drops all frames that the socket has not begun to send.
    pub fn drop_unsent(&mut self) {
        self.rest = None;
        if !self.is_partial {
            self.first = Bytes::new();
        }
        self.bytes = self.first.len() as u32;
    }

    /// The frame that waits, if it is the only one, whole, and no longer than `bytes_max`. It is not
    /// dropped any more: the socket has it from here on, and [`Outbox::took`] says how much it took.
    pub fn lend(&mut self, bytes_max: usize) -> Option<Bytes> {
        let is_lendable = self.rest.is_none() && !self.is_partial && (1..=bytes_max).contains(&self.first.len());
        is_lendable.then(|| {
            self.is_partial = true;
            self.first.clone()
        })
    }

    pub fn frames(&self) -> impl Iterator<Item = &Bytes> {
        let first = (!self.first.is_empty()).then_some(&self.first);
        first.into_iter().chain(self.rest.iter().flat_map(|rest| rest.frames()))
    }

    /// The socket took the first `count` bytes.
    pub fn took(&mut self, mut count: usize) {
        assert!(count <= self.bytes(), "a socket takes no more than it was given");
        self.bytes -= count as u32;
        while count > 0 {
            let from_first = count.min(self.first.len());
            self.first.advance(from_first);
            self.is_partial = !self.first.is_empty();
            count -= from_first;
            if self.first.is_empty() {
                self.first = self.rest.as_mut().and_then(|rest| rest.pop()).unwrap_or_default();
            }
        }
        if self.rest.as_ref().is_some_and(|rest| rest.is_empty()) {
            self.rest = None;
        }
        self.is_behind = !self.is_empty();
    }

    fn make_room(&mut self, bytes: usize, bytes_max: usize, dropped: &mut Dropped) -> Result<(), Full> {
        while !self.is_empty() && self.bytes() + bytes > bytes_max {
            let rest = self.rest.as_mut().ok_or(Full)?;
            self.bytes -= rest.drop_oldest(dropped).ok_or(Full)? as u32;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(outbox: &Outbox) -> String {
        outbox.frames().map(|frame| String::from_utf8_lossy(frame).into_owned()).collect::<Vec<_>>().join("|")
    }

    fn outbox(frames: &[&'static str]) -> Outbox {
        let mut outbox = Outbox::default();
        for frame in frames {
            outbox.push(Bytes::from_static(frame.as_bytes()), 100).expect("few bytes");
        }
        outbox
    }

    #[test]
    fn the_socket_takes_from_the_front() {
        let mut outbox = outbox(&["abc", "def", "ghi"]);
        outbox.took(4);
        assert_eq!((text(&outbox).as_str(), outbox.bytes()), ("ef|ghi", 5));
        outbox.took(5);
        assert_eq!((text(&outbox).as_str(), outbox.is_empty()), ("", true));
    }

    #[test]
    fn the_frame_that_would_pass_the_bound_is_refused() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.push(Bytes::from_static(b"larger than the bound"), 4), Ok(()));
        assert_eq!(outbox.push(Bytes::from_static(b"x"), 4), Err(Full));
        assert_eq!(outbox.bytes(), 21);
    }

    #[test]
    fn the_first_frame_stands_behind_what_is_on_the_wire() {
        let mut unsent = outbox(&[]);
        let mut dropped = Dropped::default();
        let mut push_first = |unsent: &mut Outbox, frame: &'static str| {
            unsent.push_first(Bytes::from_static(frame.as_bytes()), 12, &mut dropped)
        };
        assert_eq!(push_first(&mut unsent, "abc"), Ok(()));
        unsent.push_last(Bytes::from_static(b"ghi"));
        assert_eq!(push_first(&mut unsent, "123"), Ok(()));
        assert_eq!((text(&unsent).as_str(), unsent.bytes()), ("123|abc|ghi", 9));
        unsent.took(1);
        assert_eq!(push_first(&mut unsent, "def"), Ok(()));
        assert_eq!((text(&unsent).as_str(), unsent.bytes()), ("23|def|abc|ghi", 11));
        assert_eq!(push_first(&mut unsent, "jk"), Err(Full));
    }

    #[test]
    fn a_lent_frame_is_on_the_wire() {
        let mut lent = outbox(&["abc"]);
        assert_eq!(lent.lend(2), None, "too long");
        assert_eq!(lent.lend(3).as_deref(), Some(&b"abc"[..]));
        assert_eq!(lent.lend(3), None, "lent already");
        lent.drop_unsent();
        lent.push_last(Bytes::from_static(b"close"));
        lent.took(3);
        assert_eq!(text(&lent), "close");
        assert!(lent.lend(5).is_some(), "the next one is whole");
        assert_eq!(outbox(&["abc", "def"]).lend(9), None, "two go in one vectored write");
        assert_eq!(Outbox::default().lend(9), None);
    }

    #[test]
    fn a_cut_finishes_the_frame_on_the_wire() {
        let mut half_sent = outbox(&["abc", "def"]);
        half_sent.took(1);
        half_sent.drop_unsent();
        half_sent.push_last(Bytes::from_static(b"close"));
        assert_eq!(text(&half_sent), "bc|close");

        let mut unsent = outbox(&["abc", "def"]);
        unsent.drop_unsent();
        unsent.push_last(Bytes::from_static(b"close"));
        assert_eq!(text(&unsent), "close");
    }
}
