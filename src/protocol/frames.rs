//! Whole WebSocket messages of a push, for everybody who reads it.

use bytes::Bytes;

use super::{Inappropriate, append_push, is_text};
use crate::delta;
use crate::limits;
use crate::model::{Encoding, EncodingSet, Format, Frames, Push, Variant, WindowBits};
use crate::ws::{self, DeflateTally, Deflater, FrameKind};

/// What operators decide about compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// 1 (fast) to 9 (small).
    pub level: u8,
    /// Larger messages are compressed. Never those below `limits::DEFLATE_BYTES_MIN`.
    pub above_bytes: usize,
}

/// Builds frames. Each thread that does has one, for it holds the compressor.
#[derive(Debug)]
pub struct FrameBuilder {
    deflater: Deflater,
    above_bytes: usize,
    bytes_max: usize,
    patches: PatchTally,
}

/// What was made since somebody last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameTally {
    pub deflated: DeflateTally,
    pub patched: PatchTally,
}

/// What was said as a difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PatchTally {
    pub patches: u64,
    /// Of the data, and of the patches.
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// A frame as it is before it is compressed.
struct Plain {
    full: Bytes,
    /// For readers of deltas who have the base.
    patch: Option<Bytes>,
}

impl FrameBuilder {
    /// Messages over `bytes_max` are not compressed: they would take the thread for too long.
    pub fn new(compression: Compression, bytes_max: usize) -> FrameBuilder {
        FrameBuilder {
            deflater: Deflater::new(compression.level),
            above_bytes: compression.above_bytes.max(limits::DEFLATE_BYTES_MIN - 1),
            bytes_max,
            patches: PatchTally::default(),
        }
    }

    /// Encodes `push` once for each format that occurs in `encodings`, with delta and without, and
    /// compresses that once for each window. What is not compressed shares the plain frame.
    ///
    /// `base` is the data of the publication before, if `push` is one that may be said as the difference
    /// from it. The difference is made once, and used where it makes a smaller frame.
    pub fn build(&mut self, push: &Push<'_>, encodings: EncodingSet, base: Option<&[u8]>) -> Frames {
        let mut frames = Frames::with_capacity(encodings.len());
        let patch = base.filter(|_| encodings.has_delta()).and_then(|base| self.patch(push, base));
        for format in Format::ALL {
            // Without delta, and with it.
            let mut plain = [None, None];
            for encoding in encodings.iter().filter(|encoding| encoding.format() == format) {
                let [without, with] = &mut plain;
                let plain = match encoding.has_delta() {
                    false => without.get_or_insert_with(|| build_plain(push, format)),
                    true => with.get_or_insert_with(|| build_plain_delta(push, format, patch.as_deref())),
                };
                let variant = match plain {
                    Ok(plain) => self.variant(encoding, plain),
                    Err(Inappropriate) => Variant::Inappropriate,
                };
                frames.push(encoding, variant);
            }
        }
        frames
    }

    /// The message that says `payload` to one connection.
    pub fn build_message(&mut self, format: Format, window: Option<WindowBits>, payload: &[u8]) -> Bytes {
        let kind = frame_kind(format);
        let deflated =
            window.filter(|_| self.compresses(payload)).and_then(|window| self.deflate(kind, window, payload));
        deflated.unwrap_or_else(|| ws::build_frame(kind, payload.len(), |out| out.extend_from_slice(payload)))
    }

    /// The frame of `payload` compressed, whatever its size; `None` when it becomes no smaller.
    pub fn deflate(&mut self, kind: FrameKind, window: WindowBits, payload: &[u8]) -> Option<Bytes> {
        self.deflater.build_frame(kind, payload, window.as_bits())
    }

    /// What was made since the last call.
    pub fn take_tally(&mut self) -> FrameTally {
        FrameTally { deflated: self.deflater.take_tally(), patched: std::mem::take(&mut self.patches) }
    }

    fn patch(&mut self, push: &Push<'_>, base: &[u8]) -> Option<Vec<u8>> {
        let Push::Publication { publication, .. } = push else { return None };
        let patch = delta::create(base, &publication.data)?;
        self.patches.patches += 1;
        self.patches.bytes_before += publication.data.len() as u64;
        self.patches.bytes_after += patch.len() as u64;
        Some(patch)
    }

    fn variant(&mut self, encoding: Encoding, plain: &Plain) -> Variant {
        let full = self.compress(encoding, &plain.full);
        let patch = plain.patch.as_ref().map(|patch| self.compress(encoding, patch));
        match patch.filter(|patch| patch.len() < full.len()) {
            Some(patch) => Variant::Delta { full, patch },
            None => Variant::Ready(full),
        }
    }

    /// What readers of `encoding` are given for the plain `frame`, which may be itself.
    fn compress(&mut self, encoding: Encoding, frame: &Bytes) -> Bytes {
        let Some(window) = encoding.window() else { return frame.clone() };
        let payload = ws::frame_payload(frame);
        let wanted = self.compresses(payload);
        let deflated = wanted.then(|| self.deflate(frame_kind(encoding.format()), window, payload)).flatten();
        deflated.unwrap_or_else(|| frame.clone())
    }

    fn compresses(&self, payload: &[u8]) -> bool {
        payload.len() > self.above_bytes && payload.len() <= self.bytes_max
    }
}

impl Default for Compression {
    /// Centrifugo's.
    fn default() -> Compression {
        Compression { level: 1, above_bytes: 0 }
    }
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
            payload.extend_from_slice(ws::frame_payload(frame));
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

fn build_plain(push: &Push<'_>, format: Format) -> Result<Plain, Inappropriate> {
    Ok(Plain { full: build_frame(push, format)?, patch: None })
}

/// The same for readers of deltas, who are given publications in another way.
fn build_plain_delta(push: &Push<'_>, format: Format, patch: Option<&[u8]>) -> Result<Plain, Inappropriate> {
    let Push::Publication { channel, publication, epoch } = *push else { return build_plain(push, format) };
    let said = |patch| build_frame(&Push::DeltaPublication { channel, publication, epoch, patch }, format);
    Ok(Plain { full: said(None)?, patch: patch.map(|patch| said(Some(patch))).transpose()? })
}

fn build_frame(push: &Push<'_>, format: Format) -> Result<Bytes, Inappropriate> {
    let mut outcome = Ok(());
    let frame = ws::build_frame(frame_kind(format), capacity_for(push), |payload| {
        let starts_at = payload.len();
        outcome = append_push(format, push, payload, starts_at);
    });
    outcome.map(|()| frame)
}

/// Bytes that `push` will take, about.
fn capacity_for(push: &Push<'_>) -> usize {
    match push {
        Push::Publication { channel, publication, .. } => channel.len() + publication.data.len() + 256,
        Push::DeltaPublication { channel, publication, patch, .. } => {
            channel.len() + patch.map_or(publication.data.len(), <[u8]>::len) + 256
        }
        Push::Join { channel, .. } | Push::Leave { channel, .. } => channel.len() + 256,
        Push::Subscribe { channel, result } => channel.len() + result.data.len() + 256,
        Push::Unsubscribe { .. } | Push::Refresh { .. } | Push::Disconnect { .. } => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Publication;
    use crate::ws::{Inflater, MessageKind};

    const JSON: Format = Format::CentrifugoJson;
    const PROTOBUF: Format = Format::CentrifugoProtobuf;
    const NO_CAP: usize = usize::MAX;

    fn window(bits: u8) -> Option<WindowBits> {
        Some(WindowBits::new(bits).expect("9 to 15"))
    }

    /// The frames of a publication of `data`, for all of `windows` in both formats.
    fn build(builder: &mut FrameBuilder, data: &[u8], windows: &[Option<WindowBits>]) -> Frames {
        let publication = Publication { data: Bytes::copy_from_slice(data), offset: 1, ..Publication::default() };
        let push = Push::Publication { channel: "room", publication: &publication, epoch: None };
        let all = Format::ALL.iter().flat_map(|format| windows.iter().map(|w| Encoding::new(*format, false, *w)));
        builder.build(&push, all.fold(EncodingSet::EMPTY, EncodingSet::with), None)
    }

    fn frame(frames: &Frames, format: Format, window: Option<WindowBits>) -> Bytes {
        frame_of(frames, Encoding::new(format, false, window))
    }

    fn frame_of(frames: &Frames, encoding: Encoding) -> Bytes {
        match frames.find(encoding) {
            Some(Variant::Ready(frame)) => frame.clone(),
            other => panic!("{encoding:?} has {other:?}"),
        }
    }

    fn builder(above_bytes: usize, bytes_max: usize) -> FrameBuilder {
        FrameBuilder::new(Compression { above_bytes, ..Compression::default() }, bytes_max)
    }

    /// JSON of that many bytes in which much repeats.
    fn json(bytes: usize) -> Vec<u8> {
        let mut text = vec![b'"'];
        text.extend(b"tick tock ".iter().cycle().take(bytes - 2));
        text.push(b'"');
        text
    }

    #[test]
    fn each_window_has_one_compressed_frame_that_says_the_same() {
        let mut builder = builder(0, NO_CAP);
        let windows = [None, window(9), window(12), window(15)];
        let frames = build(&mut builder, &json(2000), &windows);
        let mut inflater = Inflater::default();
        for (format, kind) in [(JSON, MessageKind::Text), (PROTOBUF, MessageKind::Binary)] {
            let plain = frame(&frames, format, None);
            for window in &windows[1..] {
                let deflated = frame(&frames, format, *window);
                assert_eq!(deflated[0], plain[0] | 0x40);
                let inflated = inflater.inflate(kind, ws::frame_payload(&deflated), 10_000);
                assert_eq!(inflated, Ok(ws::frame_payload(&plain)), "{format:?} {window:?}");
            }
        }
        assert_eq!(builder.take_tally().deflated.messages, 6, "once for each format and window");
    }

    #[test]
    fn what_is_not_compressed_shares_the_plain_frame() {
        let is_plain = |builder: &mut FrameBuilder, data: &[u8]| {
            let frames = build(builder, data, &[None, window(15)]);
            let (plain, other) = (frame(&frames, JSON, None), frame(&frames, JSON, window(15)));
            assert_eq!(plain == other, plain.as_ptr() == other.as_ptr(), "equal frames are one");
            plain == other
        };
        let push_bytes = br#"{"push":{"channel":"room","pub":{"data":,"offset":1}}}"#.len();
        let least = limits::DEFLATE_BYTES_MIN - push_bytes;
        assert!(is_plain(&mut builder(0, NO_CAP), &json(least - 1)), "too small to gain");
        assert!(!is_plain(&mut builder(0, NO_CAP), &json(least)));
        assert!(is_plain(&mut builder(1000 + push_bytes, NO_CAP), &json(1000)), "the option's size itself");
        assert!(!is_plain(&mut builder(1000 + push_bytes, NO_CAP), &json(1001)), "strictly greater");
        assert!(!is_plain(&mut builder(0, 1000 + push_bytes), &json(1000)));
        assert!(is_plain(&mut builder(0, 1000 + push_bytes), &json(1001)), "over the cap");
    }

    #[test]
    fn data_that_is_no_json_stays_inappropriate_in_every_window() {
        let frames = build(&mut builder(0, NO_CAP), &[0xff; 1000], &[None, window(15)]);
        for window in [None, window(15)] {
            let variant = frames.find(Encoding::new(JSON, false, window));
            assert!(matches!(variant, Some(Variant::Inappropriate)), "{variant:?}");
            frame(&frames, PROTOBUF, window);
        }
    }

    /// The frames of a publication of `data` behind one of `base`, for readers of deltas in both formats.
    fn build_delta(builder: &mut FrameBuilder, base: &[u8], data: &[u8], window: Option<WindowBits>) -> Frames {
        let publication = Publication { data: Bytes::copy_from_slice(data), offset: 2, ..Publication::default() };
        let push = Push::Publication { channel: "room", publication: &publication, epoch: None };
        let all = Format::ALL.iter().map(|format| Encoding::new(*format, true, window));
        builder.build(&push, all.fold(EncodingSet::EMPTY, EncodingSet::with), Some(base))
    }

    #[test]
    fn a_patch_is_made_once_and_given_to_those_who_have_its_base() {
        let mut builder = builder(0, NO_CAP);
        let mut random = fastrand::Rng::with_seed(1);
        let base: String = std::iter::repeat_with(|| random.alphanumeric()).take(2000).collect();
        let data = format!("\"{}\"", base.replacen('7', "8", 1));
        let base = format!("\"{base}\"");
        for window in [None, window(15), window(9)] {
            let frames = build_delta(&mut builder, base.as_bytes(), data.as_bytes(), window);
            for format in Format::ALL {
                let Some(Variant::Delta { full, patch }) = frames.find(Encoding::new(format, true, window)) else {
                    panic!("{frames:?} has no delta");
                };
                assert_eq!(patch[0] & 0x40, 0, "a patch is too short to be compressed");
                assert!(patch.len() < full.len().min(128), "{} of {}", patch.len(), full.len());
            }
        }
        let PatchTally { patches, bytes_before, bytes_after } = builder.take_tally().patched;
        assert_eq!((patches, bytes_before), (3, 3 * 2002));
        assert!(bytes_after < 3 * 30);
    }

    #[test]
    fn what_a_patch_makes_no_smaller_is_said_whole() {
        let compressible = build_delta(&mut builder(0, NO_CAP), &json(2000), &json(2010), window(15));
        assert_eq!(frame_of(&compressible, Encoding::new(JSON, true, window(15)))[0], 0xc1);
        let data = json(20);
        let frames = build_delta(&mut builder(0, NO_CAP), b"\"something else\"", &data, None);
        for format in Format::ALL {
            let variant = frames.find(Encoding::new(format, true, None));
            assert!(matches!(variant, Some(Variant::Ready(_))), "{variant:?}");
        }
        let text = frame_of(&frames, Encoding::new(JSON, true, None));
        assert!(String::from_utf8_lossy(&text).contains(r#"{"data":"\"tick tock tick toc\"","offset":2}"#));
    }

    #[test]
    fn one_connection_is_told_by_the_same_rules() {
        let mut builder = builder(200, 1000);
        for (bytes, expected) in [(200, 0x81), (201, 0xc1), (1000, 0xc1), (1001, 0x81)] {
            assert_eq!(builder.build_message(JSON, window(15), &json(bytes))[0], expected, "{bytes} bytes");
        }
        assert_eq!(builder.build_message(JSON, None, &json(500))[0], 0x81);
        assert_eq!(builder.build_message(PROTOBUF, window(9), &json(500))[0], 0xc2);
    }

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
