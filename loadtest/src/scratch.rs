//! What all connections share while one of them is read.

use std::ops::Range;

use flate2::{Decompress, FlushDecompress, Status};

use crate::failure::{Doing, Failure};

/// How much is read from one socket at a time, and in one turn: beside large messages a small one
/// waits no longer than a few such reads.
pub const SCRATCH_BYTES: usize = 256 * 1024;

/// What a message may be once it is inflated.
const INFLATED_BYTES_MAX: usize = 1024 * 1024;

/// RFC 7692 §7.2.2: what the sender took off the end.
const TAIL: &[u8] = &[0, 0, 0xff, 0xff];

/// The read buffer and the inflater.
pub struct Scratch {
    pub bytes: Box<[u8]>,
    pub inflater: Inflater,
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch { bytes: vec![0; SCRATCH_BYTES].into_boxed_slice(), inflater: Inflater::default() }
    }
}

/// Expands messages of permessage-deflate without context takeover.
///
/// A thousand members get the same bytes: they are expanded once and then only compared, so that
/// the generator measures the server and not itself.
pub struct Inflater {
    inflate: Decompress,
    last: Vec<u8>,
    text: Vec<u8>,
}

impl Default for Inflater {
    fn default() -> Inflater {
        Inflater { inflate: Decompress::new(false), last: Vec::new(), text: Vec::new() }
    }
}

impl Inflater {
    pub fn expand(&mut self, compressed: &[u8]) -> Result<&[u8], Failure> {
        if self.last != compressed || self.text.is_empty() {
            self.last.clear();
            self.last.extend_from_slice(compressed);
            self.expand_anew()?;
        }
        Ok(&self.text)
    }

    fn expand_anew(&mut self) -> Result<(), Failure> {
        self.inflate.reset(false);
        self.text.clear();
        let whole = [&self.last[..], TAIL].concat();
        loop {
            let Range { start, end } = self.inflate.total_in() as usize..whole.len();
            self.text.reserve(4096);
            let before = self.text.len();
            let status = self
                .inflate
                .decompress_vec(&whole[start..end], &mut self.text, FlushDecompress::Sync)
                .map_err(std::io::Error::other)
                .doing("expanding a compressed message")?;
            if self.text.len() > INFLATED_BYTES_MAX {
                return Err(Failure::new(format!("a compressed message of more than {INFLATED_BYTES_MAX} bytes")));
            }
            let is_all_in = self.inflate.total_in() as usize == whole.len();
            if status == Status::StreamEnd || (is_all_in && self.text.len() < self.text.capacity()) {
                return Ok(());
            }
            if self.text.len() == before && status == Status::BufError {
                return Err(Failure::new("a compressed message that has no end"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    #[test]
    fn compressed_messages_are_expanded_whole() {
        let mut inflater = Inflater::default();
        for bytes in [1, 100, 4096, 8192, 100_000] {
            let text: Vec<u8> = (0..bytes).map(|n| (n * n % 251) as u8).collect();
            let mut compressed = Vec::with_capacity(2 * bytes + 64);
            let mut compress = Compress::new(Compression::fast(), false);
            compress.compress_vec(&text, &mut compressed, FlushCompress::Sync).expect("room for all");
            compressed.truncate(compressed.len() - TAIL.len());
            for _ in 0..2 {
                assert_eq!(inflater.expand(&compressed).expect("a good message"), text);
            }
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Inflater::default().expand(&[0xff; 20]).is_err());
    }
}
