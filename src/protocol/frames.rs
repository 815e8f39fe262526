//! Whole WebSocket messages of a push, for everybody who reads it.

use super::{Inappropriate, append_push, is_text};
use crate::model::{Encoding, EncodingSet, Format, Frames, Push, Variant};
use crate::ws::{self, FrameKind};

/// Encodes `push` once for each of `encodings`.
pub fn build_frames(push: &Push<'_>, encodings: EncodingSet) -> Frames {
    let mut frames = Frames::with_capacity(encodings.len());
    for encoding in encodings.iter() {
        frames.push(encoding, build_variant(push, encoding));
    }
    frames
}

/// The kind of WebSocket message that a format travels in.
pub fn frame_kind(format: Format) -> FrameKind {
    match is_text(format) {
        true => FrameKind::Text,
        false => FrameKind::Binary,
    }
}

fn build_variant(push: &Push<'_>, encoding: Encoding) -> Variant {
    let mut outcome = Ok(());
    let frame = ws::build_frame(frame_kind(encoding.format()), capacity_for(push), |payload| {
        let starts_at = payload.len();
        outcome = append_push(encoding.format(), push, payload, starts_at);
    });
    match outcome {
        Ok(()) => Variant::Ready(frame),
        Err(Inappropriate) => Variant::Inappropriate,
    }
}

/// Bytes that `push` will take, about.
fn capacity_for(push: &Push<'_>) -> usize {
    match push {
        Push::Publication { channel, publication, .. } => channel.len() + publication.data.len() + 256,
        Push::Join { channel, .. } | Push::Leave { channel, .. } => channel.len() + 256,
        Push::Unsubscribe { .. } | Push::Disconnect { .. } => 128,
    }
}
