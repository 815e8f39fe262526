//! The codec from outside: text and bytes in, facts out, and back.

mod client;
mod commands_json;
mod commands_protobuf;
mod properties;
mod replies_json;
mod replies_protobuf;
mod samples;

use crate::model::{DisconnectCode, Format};
use crate::protocol::{DecodeLimits, Incoming, Malformed, decode};

const LIMITS: DecodeLimits = DecodeLimits { command_bytes_max: 64 * 1024 };

/// Everything that a message says, up to the first error, as one value.
fn decode_all(format: Format, message: &[u8]) -> (Vec<Incoming>, Option<Malformed>) {
    let mut incoming = Vec::new();
    let mut commands = decode(format, message, LIMITS);
    for result in commands.by_ref() {
        match result {
            Ok(one) => incoming.push(one),
            Err(malformed) => {
                assert!(commands.next().is_none(), "nothing follows an error");
                assert_eq!(malformed.code, DisconnectCode::BadRequest);
                return (incoming, Some(malformed));
            }
        }
    }
    assert!(commands.next().is_none(), "nothing follows the end");
    (incoming, None)
}
