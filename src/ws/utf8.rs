//! UTF-8 checked as it arrives. Source: RFC 6455 §8.1, RFC 3629 §4.

use std::str::from_utf8;

/// Some byte can not be part of any valid text, whatever may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotUtf8;

/// Checks what was appended to `text` since its first `checked` bytes were found to be whole
/// characters, and returns how many bytes are whole characters with it.
///
/// The rest, at most three bytes, is the start of a character that may still be completed; only
/// they are looked at again by the next call. At the end of a text nothing may be left over.
pub(super) fn check_appended(text: &[u8], checked: usize) -> Result<usize, NotUtf8> {
    let appended = text.get(checked..).unwrap_or_default();
    match from_utf8(appended) {
        Ok(_) => Ok(text.len()),
        // No length: the bytes from there on are a proper beginning, cut short.
        Err(error) if error.error_len().is_none() => Ok(checked + error.valid_up_to()),
        Err(_) => Err(NotUtf8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` one at a time; `failing_at` is the index of the byte that must be refused.
    fn check(bytes: &[u8], failing_at: Option<usize>) {
        let mut checked = 0;
        for end in 1..=bytes.len() {
            match check_appended(&bytes[..end], checked) {
                Ok(whole) => {
                    assert_ne!(failing_at, Some(end - 1), "{bytes:x?} must be refused here");
                    assert!(end - whole < 4, "at most three bytes are undecided");
                    checked = whole;
                }
                Err(NotUtf8) => return assert_eq!(Some(end - 1), failing_at, "{bytes:x?}"),
            }
        }
        assert_eq!(failing_at, None, "{bytes:x?} was accepted");
    }

    #[test]
    fn accepts_the_borders_of_every_length() {
        check("a\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}".as_bytes(), None);
    }

    #[test]
    fn refuses_at_the_first_byte_that_can_not_be_right() {
        check(b"ab\x80", Some(2));
        check(b"\xc0", Some(0));
        check(b"\xc1", Some(0));
        check(b"\xf5", Some(0));
        check(b"\xff", Some(0));
        check(b"\xc3\x28", Some(1));
        // Too long a form.
        check(b"\xe0\x9f", Some(1));
        check(b"\xf0\x8f", Some(1));
        // A surrogate, and past the last code point.
        check(b"\xed\xa0", Some(1));
        check(b"a\xf4\x90", Some(2));
        check(b"\xe2\x82\x41", Some(2));
        check(b"\xf0\x9f\x98\x41", Some(3));
    }

    #[test]
    fn leaves_a_character_cut_short_undecided() {
        assert_eq!(check_appended("aé".as_bytes(), 0), Ok(3));
        assert_eq!(check_appended(b"a\xc3", 0), Ok(1));
        assert_eq!(check_appended(b"a\xf0\x9f\x98", 0), Ok(1));
        assert_eq!(check_appended(b"a\xf0\x9f\x98\x80b", 1), Ok(6));
    }
}
