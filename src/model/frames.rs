//! The ready frames of one push, one for each Encoding that somebody reads.

use bytes::Bytes;

use super::Encoding;

/// Few: a room's members speak one or two formats, and most browsers ask for the same window.
#[derive(Clone, Debug, Default)]
pub struct Frames(Vec<(Encoding, Variant)>);

/// One Encoding's frame. Frames are whole WebSocket messages, header included.
#[derive(Clone, Debug)]
pub enum Variant {
    Ready(Bytes),
    /// For readers of deltas: all of the data, and the difference from the publication before, for
    /// those who were given that.
    Delta {
        full: Bytes,
        patch: Bytes,
    },
    /// The data can't be said in this encoding: its readers are disconnected (3506).
    Inappropriate,
}

/// What one member is given of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given<'a> {
    Frame(&'a Bytes),
    Inappropriate,
    /// Encoded before the first reader of this encoding subscribed, so for none of them.
    Nothing,
}

impl Frames {
    pub fn with_capacity(encodings: usize) -> Frames {
        Frames(Vec::with_capacity(encodings))
    }

    /// Adds the variant of an encoding that has none yet.
    pub fn push(&mut self, encoding: Encoding, variant: Variant) {
        debug_assert!(self.find(encoding).is_none(), "{encoding:?} is encoded once");
        self.0.push((encoding, variant));
    }

    pub fn find(&self, encoding: Encoding) -> Option<&Variant> {
        self.0.iter().find(|(of, _)| *of == encoding).map(|(_, variant)| variant)
    }

    /// What a reader of `encoding` is given; `has_base` when it was given the publication before.
    pub fn given(&self, encoding: Encoding, has_base: bool) -> Given<'_> {
        match self.find(encoding) {
            None => Given::Nothing,
            Some(Variant::Ready(frame)) => Given::Frame(frame),
            Some(Variant::Delta { patch, .. }) if has_base => Given::Frame(patch),
            Some(Variant::Delta { full, .. }) => Given::Frame(full),
            Some(Variant::Inappropriate) => Given::Inappropriate,
        }
    }

    /// Wire bytes of the largest frame.
    pub fn bytes_max(&self) -> usize {
        let size = |(_, variant): &(Encoding, Variant)| match variant {
            Variant::Ready(frame) | Variant::Delta { full: frame, .. } => frame.len(),
            Variant::Inappropriate => 0,
        };
        self.0.iter().map(size).max().unwrap_or(0)
    }
}
