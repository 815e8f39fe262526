//! The wire of Redis, RESP2: commands into a buffer, replies out of one.
//!
//! Source: redis.io, "Redis serialization protocol specification". Version 2 is what every server speaks, and all
//! that is needed where pub/sub has a connection of its own.

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

/// What a server answers, or says unasked. Texts share the buffer that they came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Nil,
    Number(i64),
    /// A bulk string, or a status such as `OK`.
    Text(Bytes),
    /// The server's words, its code first.
    Error(Bytes),
    Array(Vec<Reply>),
}

impl Reply {
    pub fn as_text(&self) -> Option<&Bytes> {
        match self {
            Reply::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        str::from_utf8(self.as_text()?).ok()
    }

    pub fn as_number(&self) -> Option<u64> {
        match self {
            Reply::Number(number) => u64::try_from(*number).ok(),
            _ => self.as_str()?.parse().ok(),
        }
    }

    pub fn as_array(&self) -> Option<&[Reply]> {
        match self {
            Reply::Array(items) => Some(items),
            _ => None,
        }
    }
}

/// What came is no RESP: the connection can't be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoResp;

/// Takes the next reply out of `input`; `None` as long as it is not whole.
pub fn next_reply(input: &mut BytesMut) -> Result<Option<Reply>, NoResp> {
    let Some(end) = end_of(input, 0, 0)? else { return Ok(None) };
    let whole = input.split_to(end).freeze();
    Ok(Some(build(&whole, &mut 0)))
}

/// Where the reply that begins at `at` ends. Looks at each part's head only, and allocates nothing: a long reply
/// comes in many pieces.
fn end_of(input: &[u8], at: usize, depth: usize) -> Result<Option<usize>, NoResp> {
    let Some(line) = line_at(input, at)? else { return Ok(None) };
    let after_line = line.end + LINE_END;
    match input[at] {
        b'+' | b'-' | b':' => Ok(Some(after_line)),
        b'$' => Ok(match length_of(&input[line])? {
            None => Some(after_line),
            Some(length) => Some(after_line + length + LINE_END).filter(|end| *end <= input.len()),
        }),
        b'*' if depth < DEPTH_MAX => {
            let mut end = after_line;
            for _ in 0..length_of(&input[line])?.unwrap_or(0) {
                match end_of(input, end, depth + 1)? {
                    Some(next) => end = next,
                    None => return Ok(None),
                }
            }
            Ok(Some(end))
        }
        _ => Err(NoResp),
    }
}

/// The text behind the type of the part at `at`, without its end.
fn line_at(input: &[u8], at: usize) -> Result<Option<Range<usize>>, NoResp> {
    let Some(rest) = input.get(at + 1..) else { return Ok(None) };
    match memchr::memchr(b'\r', rest) {
        Some(length) if rest.len() > length + 1 => Ok(Some(at + 1..at + 1 + length)),
        None if rest.len() > LINE_BYTES_MAX => Err(NoResp),
        _ => Ok(None),
    }
}

fn length_of(line: &[u8]) -> Result<Option<usize>, NoResp> {
    match number_of(line)? {
        -1 => Ok(None),
        length => Ok(Some(usize::try_from(length).ok().filter(|length| *length <= LENGTH_MAX).ok_or(NoResp)?)),
    }
}

fn number_of(line: &[u8]) -> Result<i64, NoResp> {
    str::from_utf8(line).ok().and_then(|text| text.parse().ok()).ok_or(NoResp)
}

/// Builds what [`end_of`] has found whole and right.
fn build(whole: &Bytes, at: &mut usize) -> Reply {
    let line = line_at(whole, *at).ok().flatten().expect("it was found whole");
    let kind = whole[*at];
    *at = line.end + LINE_END;
    match kind {
        b'+' => Reply::Text(whole.slice(line)),
        b'-' => Reply::Error(whole.slice(line)),
        b':' => number_of(&whole[line]).map_or(Reply::Nil, Reply::Number),
        _ => match (kind, length_of(&whole[line]).expect("it was found right")) {
            (_, None) => Reply::Nil,
            (b'$', Some(length)) => {
                let from = *at;
                *at += length + LINE_END;
                Reply::Text(whole.slice(from..from + length))
            }
            (_, Some(count)) => Reply::Array((0..count).map(|_| build(whole, at)).collect()),
        },
    }
}

/// Commands on their way to a server.
#[derive(Debug, Default)]
pub struct Commands {
    bytes: BytesMut,
}

impl Commands {
    /// Begins a command of so many arguments, its name among them.
    pub fn begin(&mut self, arguments: usize) {
        self.head(b'*', arguments as u64);
    }

    pub fn text(&mut self, argument: &[u8]) {
        self.texts(&[argument]);
    }

    /// One argument out of several pieces.
    pub fn texts(&mut self, pieces: &[&[u8]]) {
        self.head(b'$', pieces.iter().map(|piece| piece.len() as u64).sum());
        pieces.iter().for_each(|piece| self.bytes.extend_from_slice(piece));
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub fn number(&mut self, argument: u64) {
        let mut digits = [0; DIGITS_MAX];
        let from = decimal(argument, &mut digits);
        self.text(&digits[from..]);
    }

    /// A whole command of texts.
    pub fn command(&mut self, arguments: &[&[u8]]) {
        self.begin(arguments.len());
        arguments.iter().for_each(|argument| self.text(argument));
    }

    fn head(&mut self, kind: u8, length: u64) {
        let mut digits = [0; DIGITS_MAX];
        let from = decimal(length, &mut digits);
        self.bytes.extend_from_slice(&[kind]);
        self.bytes.extend_from_slice(&digits[from..]);
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// What is left to be written; `advance` drops what was.
impl Buf for Commands {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

/// Writes a number to the end of `digits`; returns where it begins.
fn decimal(mut number: u64, digits: &mut [u8; DIGITS_MAX]) -> usize {
    let mut at = DIGITS_MAX;
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return at;
        }
    }
}

/// Of a `u64`.
const DIGITS_MAX: usize = 20;
const LINE_END: usize = b"\r\n".len();
/// Chosen: errors of servers are shorter than a line on a screen.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// Of a text in bytes, and of an array. Source: a server's own bound, `proto-max-bulk-len`.
const LENGTH_MAX: usize = 512 * 1024 * 1024;
/// Chosen: what we ask for has four levels (a slot map).
const DEPTH_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::proptest;

    use super::*;

    fn text(text: &'static str) -> Reply {
        Reply::Text(Bytes::from_static(text.as_bytes()))
    }

    #[track_caller]
    fn check(wire: &[u8], expected: &Reply) {
        for cut in 0..wire.len() {
            let mut part = BytesMut::from(&wire[..cut]);
            assert_eq!(next_reply(&mut part), Ok(None), "{cut} bytes of it");
            assert_eq!(part.len(), cut, "nothing is taken");
        }
        let mut two = BytesMut::from([wire, wire].concat().as_slice());
        assert_eq!(next_reply(&mut two).expect("RESP").as_ref(), Some(expected));
        assert_eq!(next_reply(&mut two).expect("RESP").as_ref(), Some(expected));
        assert!(two.is_empty());
    }

    #[test]
    fn replies_are_read_once_they_are_whole() {
        check(b"+OK\r\n", &text("OK"));
        check(b"$5\r\na\r\nbc\r\n", &text("a\r\nbc"));
        check(b"$0\r\n\r\n", &text(""));
        check(b":-3\r\n", &Reply::Number(-3));
        check(b"$-1\r\n", &Reply::Nil);
        check(b"*-1\r\n", &Reply::Nil);
        check(b"-ERR no\r\n", &Reply::Error(Bytes::from_static(b"ERR no")));
        let inner = Reply::Array(vec![Reply::Number(1), Reply::Nil]);
        check(
            b"*3\r\n$1\r\na\r\n*2\r\n:1\r\n$-1\r\n*0\r\n",
            &Reply::Array(vec![text("a"), inner, Reply::Array(vec![])]),
        );
    }

    #[test]
    fn what_is_no_resp_is_refused() {
        let endless = [b'+'; LINE_BYTES_MAX + 2];
        for wire in [&b"HTTP/1.1 200 OK\r\n"[..], b"$x\r\n", b"$-2\r\n", b"*9999999999\r\n", b"$\r\n", &endless] {
            assert_eq!(next_reply(&mut BytesMut::from(wire)), Err(NoResp), "{wire:?}");
        }
        let deep = "*1\r\n".repeat(DEPTH_MAX + 1);
        assert_eq!(next_reply(&mut BytesMut::from(deep.as_bytes())), Err(NoResp));
    }

    proptest! {
        /// Made of what RESP is made of, so that it gets further than to the first byte.
        #[test]
        fn anything_may_come(text in r"([*$:+-]-?[0-9]{0,3}\r?\n?|[a-z\r\n]{0,4}){0,20}") {
            let mut input = BytesMut::from(text.as_bytes());
            while let Ok(Some(_)) = next_reply(&mut input) {}
        }
    }

    #[test]
    fn commands_are_written_with_their_lengths() {
        let mut commands = Commands::default();
        commands.begin(3);
        commands.texts(&[b"G", b"ET"]);
        commands.number(0);
        commands.number(u64::MAX);
        assert_eq!(commands.chunk(), b"*3\r\n$3\r\nGET\r\n$1\r\n0\r\n$20\r\n18446744073709551615\r\n");
        commands.advance(4);
        assert_eq!(commands.len(), commands.chunk().len());
    }
}
