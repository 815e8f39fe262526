//! XOR with the masking key. Source: RFC 6455 §5.3.

/// Unmasks (or masks: it is the same) `bytes` in place; `mask` starts at its first byte.
///
/// Eight bytes at a time, a shape that the compiler turns into vector instructions.
pub(super) fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let mask_word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = bytes.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ mask_word).to_ne_bytes();
    }
    for (byte, mask_byte) in tail.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= mask_byte;
    }
}

/// The mask of the byte that follows `bytes_done` bytes under `mask`.
pub(super) fn continue_mask(mut mask: [u8; 4], bytes_done: usize) -> [u8; 4] {
    mask.rotate_left(bytes_done % 4);
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formula of the RFC, byte by byte.
    fn unmask_by_definition(bytes: &[u8], mask: [u8; 4]) -> Vec<u8> {
        bytes.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]).collect()
    }

    #[test]
    fn agrees_with_the_definition_at_every_length_and_cut() {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        for length in 0..70 {
            let masked: Vec<u8> = (0..length).map(|i| (i * 7 + 3) as u8).collect();
            let expected = unmask_by_definition(&masked, mask);
            for cut in 0..=length {
                let mut bytes = masked.clone();
                let (left, right) = bytes.split_at_mut(cut);
                unmask(left, mask);
                unmask(right, continue_mask(mask, cut));
                assert_eq!(bytes, expected, "{length} bytes cut at {cut}");
            }
        }
    }
}
