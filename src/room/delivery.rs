//! A publication, join or leave with its ready frames.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::{ChannelName, Encoding, Position};

/// What a home sends to each shard that listens: encoded once, shared by all members.
#[derive(Debug)]
pub struct Delivery {
    pub channel: ChannelName,
    pub kind: DeliveryKind,
    /// The value by which publications of its namespace are conflated.
    pub tag: Option<Arc<str>>,
    pub frames: [Variant; Encoding::COUNT],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryKind {
    /// With its position in channels that keep history.
    Publication(Option<Position>),
    /// Joins and leaves go only to members that want them.
    Join,
    Leave,
}

/// One Encoding's frame of a delivery.
#[derive(Clone, Debug)]
pub enum Variant {
    /// Nobody in the room reads this encoding.
    NotNeeded,
    /// A whole WebSocket frame, header included.
    Ready(Bytes),
    /// The data can't be said in this encoding: its readers are disconnected (3506).
    Inappropriate,
}

impl Delivery {
    pub fn is_publication(&self) -> bool {
        matches!(self.kind, DeliveryKind::Publication(_))
    }

    pub fn frame(&self, encoding: Encoding) -> &Variant {
        &self.frames[encoding.as_index()]
    }

    /// Memory and wire bytes of the largest frame.
    pub fn bytes(&self) -> usize {
        let size = |variant: &Variant| match variant {
            Variant::Ready(frame) => frame.len(),
            Variant::NotNeeded | Variant::Inappropriate => 0,
        };
        self.frames.iter().map(size).max().unwrap_or(0)
    }
}
