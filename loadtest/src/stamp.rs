//! The sequence number that a publication carries at a known place.

use clap::ValueEnum;
use memchr::memmem;

/// Stands before the digits in every payload.
const MARKER: &[u8] = br#"{"seq":""#;
const DIGITS: usize = 16;
/// Between the digits and the padding, and behind the padding.
const MIDDLE: &str = r#"","pad":""#;
const END: &str = r#""}"#;

/// The smallest payload that holds a stamp.
pub const PAYLOAD_BYTES_MIN: usize = MARKER.len() + DIGITS + MIDDLE.len() + END.len();

/// What a payload is filled with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Filling {
    /// One letter, again and again
    #[default]
    Plain,
    /// Words, so that compression finds what it finds in a chat
    Text,
}

const WORDS: [&str; 16] = [
    "the", "room", "is", "open", "again", "and", "somebody", "wrote", "about", "seven", "new", "messages", "which",
    "nobody", "has", "read",
];

/// A JSON payload of exactly `bytes` bytes with `sequence` in it.
///
/// `bytes` is at least [`PAYLOAD_BYTES_MIN`].
pub fn payload(sequence: u64, bytes: usize, filling: Filling) -> String {
    let pad = bytes - PAYLOAD_BYTES_MIN;
    let head = format!(r#"{{"seq":"{sequence:016}{MIDDLE}"#);
    match filling {
        Filling::Plain => format!("{head}{}{END}", "x".repeat(pad)),
        Filling::Text => format!("{head}{}{END}", words(sequence, pad)),
    }
}

/// `bytes` bytes of words, others for each sequence number.
fn words(sequence: u64, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 12);
    let mut state = sequence;
    while text.len() < bytes {
        // Knuth's linear congruential generator: its high bits are as random as words need.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(WORDS[(state >> 60) as usize]);
        text.push(if state >> 50 & 7 == 0 { ',' } else { ' ' });
        if state >> 40 & 3 == 0 {
            text.push_str(&format!("{} ", state >> 48));
        }
    }
    text.truncate(bytes);
    text
}

/// Finds the sequence number in publications.
///
/// All publications of a run differ only in the digits, so the place of the last stamp is tried
/// first: nothing else of a message is looked at.
#[derive(Debug, Default)]
pub struct StampReader {
    place: usize,
}

impl StampReader {
    /// The sequence number in `line`, `None` when it is no stamped publication.
    pub fn read(&mut self, line: &[u8]) -> Option<u64> {
        if let Some(sequence) = read_at(line, self.place) {
            return Some(sequence);
        }
        self.place = memmem::find(line, MARKER)?;
        read_at(line, self.place)
    }
}

/// All sequence numbers in a line that may hold several publications.
pub fn all_in(line: &[u8]) -> impl Iterator<Item = u64> {
    memmem::find_iter(line, MARKER).filter_map(|place| read_at(line, place))
}

fn read_at(line: &[u8], place: usize) -> Option<u64> {
    let stamp = line.get(place..place + MARKER.len() + DIGITS)?;
    let (marker, digits) = stamp.split_at(MARKER.len());
    if marker != MARKER {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| digit.is_ascii_digit().then(|| value * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_json_of_the_asked_size() {
        for bytes in [PAYLOAD_BYTES_MIN, 128, 2_048, 1_048_576] {
            let payload = payload(42, bytes, Filling::Text);
            assert_eq!(payload.len(), bytes);
            serde_json::from_str::<serde_json::Value>(&payload).expect("valid JSON");
        }
    }

    #[test]
    fn a_stamp_is_found_wherever_it_stands() {
        let mut reader = StampReader::default();
        for (channel, sequence) in [("a", 1), ("a", 2), ("longer", 3), ("b", 9_999_999_999_999_999)] {
            let data = payload(sequence, 128, Filling::Plain);
            let line = format!(r#"{{"push":{{"channel":"{channel}","pub":{{"data":{data}}}}}}}"#);
            assert_eq!(reader.read(line.as_bytes()), Some(sequence));
        }
    }

    #[test]
    fn other_lines_have_no_stamp() {
        let mut reader = StampReader::default();
        assert_eq!(reader.read(br#"{"id":2,"subscribe":{}}"#), None);
        assert_eq!(reader.read(br#"{"push":{"pub":{"data":{"seq":"12"}}}}"#), None);
        assert_eq!(reader.read(b""), None);
    }
}
