//! Whole WebSocket messages of a push, for everybody who reads it.

use bytes::Bytes;

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

/// Puts several of these frames, all of `encoding`, into one piece for a socket.
///
/// Plain ones become one message, which spares their readers an event for each; compressed ones stay
/// messages of their own. Source: protocol page, section 2.1 (several replies in a frame).
pub fn join_frames(encoding: Encoding, frames: &[&Bytes]) -> Bytes {
    if encoding.window().is_some() {
        return frames.iter().map(|frame| &***frame).collect::<Vec<&[u8]>>().concat().into();
    }
    let bytes = frames.iter().map(|frame| frame.len()).sum();
    ws::build_frame(frame_kind(encoding.format()), bytes, |payload| {
        for (at, frame) in frames.iter().enumerate() {
            if at > 0 && is_text(encoding.format()) {
                payload.push(b'\n');
            }
            payload.extend_from_slice(ws::payload_of(frame));
        }
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WindowBits;

    fn text(payload: &[u8]) -> Bytes {
        ws::build_frame(FrameKind::Text, 0, |out| out.extend_from_slice(payload))
    }

    fn binary(payload: &[u8]) -> Bytes {
        ws::build_frame(FrameKind::Binary, 0, |out| out.extend_from_slice(payload))
    }

    #[test]
    fn plain_frames_become_one_message() {
        let (short, long) = ([b'a'; 3], [b'b'; 70_000]);
        let json = join_frames(Encoding::plain(Format::CentrifugoJson), &[&text(&short), &text(&long), &text(&short)]);
        assert_eq!(json, text(&[&short[..], b"\n", &long, b"\n", &short].concat()));
        let protobuf = join_frames(Encoding::plain(Format::CentrifugoProtobuf), &[&binary(&short), &binary(&long)]);
        assert_eq!(protobuf, binary(&[&short[..], &long].concat()), "each begins with its length");
    }

    #[test]
    fn compressed_frames_stay_messages() {
        let encoding = Encoding::new(Format::CentrifugoJson, false, WindowBits::new(12));
        let frames = [text(b"one"), text(b"two")];
        assert_eq!(join_frames(encoding, &[&frames[0], &frames[1]]), frames.concat());
    }
}
