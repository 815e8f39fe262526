//! Which wire variant a connection reads.

/// One wire variant of a push: protocol and format together.
///
/// A publication is encoded once for each Encoding that its room needs, whatever the number of
/// members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// Centrifugo's protocol, JSON in text messages.
    CentrifugoJson = 0,
    /// Centrifugo's protocol, length-delimited Protobuf in binary messages.
    CentrifugoProtobuf = 1,
}

impl Encoding {
    pub const COUNT: usize = 2;
    pub const ALL: [Encoding; Encoding::COUNT] = [Encoding::CentrifugoJson, Encoding::CentrifugoProtobuf];

    pub fn as_index(self) -> usize {
        self as usize
    }
}

/// The encodings that somebody in a room reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncodingSet(u8);

impl EncodingSet {
    pub const EMPTY: EncodingSet = EncodingSet(0);

    pub fn with(self, encoding: Encoding) -> EncodingSet {
        EncodingSet(self.0 | 1 << encoding as u8)
    }

    pub fn union(self, other: EncodingSet) -> EncodingSet {
        EncodingSet(self.0 | other.0)
    }

    pub fn contains(self, encoding: Encoding) -> bool {
        self.0 & (1 << encoding as u8) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}
