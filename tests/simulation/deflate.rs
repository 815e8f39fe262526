//! Compression as a client does it, by another library than the hub's. Source: RFC 7692 §7.2.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// One compressor and one expander for all clients: nobody takes a context over.
pub struct SharedDeflate {
    compressor: Compress,
    expander: Decompress,
}

impl Default for SharedDeflate {
    fn default() -> SharedDeflate {
        SharedDeflate { compressor: Compress::new(Compression::fast(), false), expander: Decompress::new(false) }
    }
}

impl SharedDeflate {
    pub fn compress(&mut self, message: &[u8]) -> Vec<u8> {
        self.compressor.reset();
        let mut out = Vec::with_capacity(message.len() + 64);
        let compressed = self.compressor.compress_vec(message, &mut out, FlushCompress::Sync);
        compressed.expect("a compressor takes anything");
        assert_eq!(self.compressor.total_in(), message.len() as u64, "there was room for all of it");
        assert!(out.ends_with(&TAIL), "a flush ends like this");
        out.truncate(out.len() - TAIL.len());
        out
    }

    pub fn expand(&mut self, deflated: &[u8]) -> Result<Vec<u8>, String> {
        self.expander.reset(false);
        let input = [deflated, &TAIL].concat();
        let mut message = Vec::new();
        loop {
            message.reserve(4096.max(input.len() * 4));
            let rest = &input[self.expander.total_in() as usize..];
            let expanded = self.expander.decompress_vec(rest, &mut message, FlushDecompress::Sync);
            expanded.map_err(|error| format!("a compressed message of the hub: {error}"))?;
            if self.expander.total_in() == input.len() as u64 && message.len() < message.capacity() {
                return Ok(message);
            }
        }
    }
}

const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
