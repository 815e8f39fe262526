//! What benches of the pure shard have in common: its options, and the frames of its clients.

use std::sync::Arc;

use fanfare::access::{ChannelOptions, Namespaces};
use fanfare::model::Homes;
use fanfare::shard::Options;

/// Bytes of one publication's data, as in the load tests.
pub const PAYLOAD_BYTES: usize = 128;

/// The key of the channels' hash: benches are repeatable.
const HOMES_KEY: u64 = 0;

/// Everybody may connect, subscribe and publish.
pub fn open_channel() -> ChannelOptions {
    ChannelOptions {
        allow_subscribe_for_client: true,
        allow_subscribe_for_anonymous: true,
        allow_publish_for_client: true,
        allow_publish_for_anonymous: true,
        ..ChannelOptions::default()
    }
}

/// Options of a node of `shards`: `without` for channels without a namespace, `named` for those of
/// the namespace `named`.
pub fn open_node(shards: u16, without: ChannelOptions, named: ChannelOptions) -> Options {
    let namespaces = Namespaces {
        without: Arc::new(without),
        by_name: [("named".into(), Arc::new(named))].into_iter().collect(),
        ..Namespaces::default()
    };
    Options {
        homes: Homes::new(shards, HOMES_KEY),
        namespaces: Arc::new(namespaces),
        allow_anonymous_connect: true,
        ..Options::default()
    }
}

/// A payload of [`PAYLOAD_BYTES`]: a JSON string.
pub fn payload() -> String {
    format!("\"{}\"", "x".repeat(PAYLOAD_BYTES - 2))
}

/// A client's publish to `channel`, as JSON.
pub fn publish_command(channel: &str) -> String {
    format!(r#"{{"id":3,"publish":{{"channel":"{channel}","data":{}}}}}"#, payload())
}

/// A client's text message in one frame, of up to 65,535 bytes. Source: RFC 6455 §5.2.
pub fn masked_text(text: &str) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![0x81];
    match u8::try_from(text.len()) {
        Ok(short @ ..126) => frame.push(0x80 | short),
        _ => {
            let length = u16::try_from(text.len()).expect("messages of the benches are short");
            frame.push(0x80 | 126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(text.bytes().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
