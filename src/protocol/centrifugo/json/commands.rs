//! Commands from JSON: one on each line of a message.

use super::reader::Object;
use super::requests::Envelope;
use crate::protocol::centrifugo::envelope::Requests;
use crate::protocol::{DecodeLimits, Incoming, Malformed};

/// The lines of one message that are still to be read.
#[derive(Debug)]
pub struct Commands<'a> {
    /// `None` after the last line and after an error.
    rest: Option<&'a [u8]>,
    command_bytes_max: usize,
}

impl<'a> Commands<'a> {
    pub fn new(message: &'a [u8], limits: DecodeLimits) -> Commands<'a> {
        Commands { rest: Some(message), command_bytes_max: limits.command_bytes_max }
    }

    fn read(&self, line: &[u8]) -> Result<Incoming, Malformed> {
        if line.is_empty() {
            return Err(Malformed::bad_request("a line without a command"));
        }
        if line.len() > self.command_bytes_max {
            return Err(Malformed::bad_request("a command over the size limit"));
        }
        let line = str::from_utf8(line).map_err(|_| Malformed::bad_request("a command that is not UTF-8"))?;
        let Object(envelope) = serde_json::from_str::<Object<Envelope>>(line)
            .map_err(|_| Malformed::bad_request("a line that is not one command"))?;
        let id = envelope.id;
        Requests::from(envelope).with_id(id)
    }
}

impl Iterator for Commands<'_> {
    type Item = Result<Incoming, Malformed>;

    fn next(&mut self) -> Option<Result<Incoming, Malformed>> {
        let rest = self.rest.take()?;
        let (line, after) = match memchr::memchr(b'\n', rest) {
            Some(at) => (rest.get(..at)?, rest.get(at + 1..)?),
            None => (rest, [].as_slice()),
        };
        let incoming = self.read(line);
        if incoming.is_ok() {
            // One newline may end the message; a second one would be a blank line.
            self.rest = Some(after).filter(|rest| !rest.is_empty());
        }
        Some(incoming)
    }
}
