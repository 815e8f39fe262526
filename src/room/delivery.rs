//! A publication, join or leave with its ready frames.

use std::sync::Arc;

use crate::model::{ChannelName, Frames, Position};

/// What a home sends to each shard that listens: encoded once, shared by all members.
#[derive(Debug)]
pub struct Delivery {
    pub channel: ChannelName,
    pub kind: DeliveryKind,
    /// The value by which publications of its namespace are conflated.
    pub tag: Option<Arc<str>>,
    pub frames: Frames,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryKind {
    /// With its position in channels that keep history.
    Publication(Option<Position>),
    /// Joins and leaves go only to members that want them.
    Join,
    Leave,
}

impl Delivery {
    pub fn is_publication(&self) -> bool {
        matches!(self.kind, DeliveryKind::Publication(_))
    }

    /// Memory and wire bytes of the largest frame.
    pub fn bytes(&self) -> usize {
        self.frames.bytes_max()
    }
}
