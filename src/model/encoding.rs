//! Which wire variant a connection reads.

use std::fmt;

/// A client protocol and the format of its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Format {
    /// Centrifugo's protocol, JSON in text messages.
    CentrifugoJson = 0,
    /// Centrifugo's protocol, length-delimited Protobuf in binary messages.
    CentrifugoProtobuf = 1,
}

impl Format {
    pub const COUNT: usize = 2;
    pub const ALL: [Format; Format::COUNT] = [Format::CentrifugoJson, Format::CentrifugoProtobuf];
}

/// The LZ77 window that a compressed message may refer back into: 2^9 to 2^15 bytes.
/// Source: RFC 7692 §7.1.2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowBits(u8);

impl WindowBits {
    pub const MIN: WindowBits = WindowBits(9);
    pub const MAX: WindowBits = WindowBits(15);

    /// `None` outside of 9 to 15.
    pub fn new(bits: u8) -> Option<WindowBits> {
        (WindowBits::MIN.0..=WindowBits::MAX.0).contains(&bits).then_some(WindowBits(bits))
    }

    pub fn as_bits(self) -> u8 {
        self.0
    }
}

/// One wire variant of a push: format, with or without delta, plain or deflated for a window.
///
/// A publication is encoded once for each Encoding that its room needs, whatever the number of
/// members. It is one byte: bit 0 the format, bit 1 delta, bits 2 to 4 the window (0: plain).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Encoding(u8);

impl Encoding {
    pub const COUNT: usize = 1 << 5;

    pub fn new(format: Format, has_delta: bool, window: Option<WindowBits>) -> Encoding {
        let window = window.map_or(0, |window| window.0 - WindowBits::MIN.0 + 1);
        Encoding(format as u8 | u8::from(has_delta) << 1 | window << 2)
    }

    pub fn plain(format: Format) -> Encoding {
        Encoding::new(format, false, None)
    }

    pub fn format(self) -> Format {
        match self.0 & 1 {
            0 => Format::CentrifugoJson,
            _ => Format::CentrifugoProtobuf,
        }
    }

    /// Whether publications may come as the difference from the one before.
    pub fn has_delta(self) -> bool {
        self.0 & 1 << 1 != 0
    }

    /// `None`: not compressed.
    pub fn window(self) -> Option<WindowBits> {
        match self.0 >> 2 {
            0 => None,
            window => Some(WindowBits(window - 1 + WindowBits::MIN.0)),
        }
    }
}

impl fmt::Debug for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.format())?;
        if self.has_delta() {
            f.write_str("+delta")?;
        }
        self.window().map_or(Ok(()), |window| write!(f, "+deflate{}", window.0))
    }
}

/// The encodings that somebody in a room reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncodingSet(u32);

impl EncodingSet {
    pub const EMPTY: EncodingSet = EncodingSet(0);

    pub fn with(self, encoding: Encoding) -> EncodingSet {
        EncodingSet(self.0 | 1 << encoding.0)
    }

    pub fn union(self, other: EncodingSet) -> EncodingSet {
        EncodingSet(self.0 | other.0)
    }

    pub fn contains(self, encoding: Encoding) -> bool {
        self.0 & (1 << encoding.0) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether somebody reads deltas.
    pub fn has_delta(self) -> bool {
        self.iter().any(Encoding::has_delta)
    }

    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// All of them, those that are not compressed first.
    pub fn iter(self) -> impl Iterator<Item = Encoding> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let next = left.checked_ilog2().map(|_| left.trailing_zeros() as u8)?;
            left &= left - 1;
            Some(Encoding(next))
        })
    }
}

const _: () = assert!(Encoding::COUNT <= u32::BITS as usize, "an EncodingSet has a bit for each");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_is_what_it_was_made_of() {
        let mut all = EncodingSet::EMPTY;
        for format in Format::ALL {
            for has_delta in [false, true] {
                for window in std::iter::once(None).chain((9..=15).map(WindowBits::new)) {
                    let encoding = Encoding::new(format, has_delta, window);
                    assert_eq!(
                        (encoding.format(), encoding.has_delta(), encoding.window()),
                        (format, has_delta, window)
                    );
                    assert!(!all.contains(encoding), "{encoding:?} is an encoding of its own");
                    all = all.with(encoding);
                }
            }
        }
        assert_eq!((all.len(), all.iter().count()), (Encoding::COUNT, Encoding::COUNT));
        assert!(all.iter().all(|encoding| all.contains(encoding)));
        assert_eq!(EncodingSet::EMPTY.iter().next(), None);
    }

    #[test]
    fn a_window_has_9_to_15_bits() {
        assert_eq!(
            [8, 9, 15, 16].map(|bits| WindowBits::new(bits).map(WindowBits::as_bits)),
            [None, Some(9), Some(15), None]
        );
    }
}
