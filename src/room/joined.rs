//! The frames of several deliveries as one piece, for each kind of reader.

use std::sync::Arc;

use bytes::Bytes;

use super::{Delivery, DeliveryKind};
use crate::model::{Encoding, Given};

/// Members that are given the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    pub encoding: Encoding,
    pub wants_joins: bool,
    /// Of encodings with delta only.
    pub has_base: bool,
}

#[derive(Clone, Debug)]
pub struct Joined {
    pub frames: Bytes,
    pub counts: Counts,
    pub is_inappropriate: bool,
}

/// What a piece of joined frames holds, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub publications: u32,
    pub joins: u32,
    pub leaves: u32,
}

/// Makes one piece for a socket of several frames of one encoding.
pub type JoinFrames = fn(Encoding, &[&Bytes]) -> Bytes;

/// The frames of `batch` for one kind of reader, as one piece; shared, not copied, when it is one frame.
pub fn joined(batch: &[Arc<Delivery>], reader: Reader, join: JoinFrames) -> Joined {
    let Reader { encoding, wants_joins, mut has_base } = reader;
    let mut joined = Joined { frames: Bytes::new(), counts: Counts::default(), is_inappropriate: false };
    // Empty while there is no more than one.
    let mut several: Vec<&Bytes> = Vec::new();
    let mut first = None;
    for delivery in batch {
        if !delivery.is_publication() && !wants_joins {
            continue;
        }
        match delivery.frames.given(encoding, has_base) {
            Given::Frame(frame) => match first {
                None => first = Some(frame),
                Some(first) => {
                    if several.is_empty() {
                        several.push(first);
                    }
                    several.push(frame);
                }
            },
            Given::Inappropriate => joined.is_inappropriate = true,
            Given::Nothing => continue,
        }
        match delivery.kind {
            DeliveryKind::Publication(_) => {
                joined.counts.publications += 1;
                has_base = true;
            }
            DeliveryKind::Join => joined.counts.joins += 1,
            DeliveryKind::Leave => joined.counts.leaves += 1,
        }
    }
    joined.frames = match first {
        Some(first) if several.is_empty() => first.clone(),
        Some(_) => join(encoding, &several),
        None => Bytes::new(),
    };
    joined
}

/// The same, made when it is first asked for.
pub fn joined_for<'a>(
    reader: Reader,
    known: &'a mut Vec<(Reader, Joined)>,
    batch: &[Arc<Delivery>],
    join: JoinFrames,
) -> &'a Joined {
    let found = known.iter().position(|(of, _)| *of == reader);
    let at = found.unwrap_or_else(|| {
        known.push((reader, joined(batch, reader, join)));
        known.len() - 1
    });
    &known[at].1
}
