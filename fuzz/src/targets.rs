//! What is fuzzed, and what must hold for every input.
//!
//! `make fuzz` runs each of these under libFuzzer for a minute; `tests/corpus.rs` runs the inputs that
//! were kept, in every `cargo test`.

use std::fmt::Debug;
use std::sync::LazyLock;

use fanfare::access::TokenKeys;
use fanfare::config::{self, Flags};
use fanfare::io::{AllowedOrigins, Options, rehearse};
use fanfare::model::Format;
use fanfare::protocol::{DecodeLimits, decode};
use fanfare::ws::{Deflate, Inflater, MessageKind, Reader, ReaderLimits};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};

/// A target, and the folder of its corpus.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: &[Target] = &[
    ("head", head),
    ("frames", frames),
    ("json", json),
    ("protobuf", protobuf),
    ("inflate", inflate),
    ("token", token),
    ("config", config),
];

/// Bytes at the clients' port, before they are a WebSocket: answered in HTTP, or not at all.
pub fn head(bytes: &[u8]) {
    static OPTIONS: LazyLock<Options> = LazyLock::new(|| Options {
        allowed_origins: AllowedOrigins::parse(["https://*.our.example"]).expect("a pattern"),
        compression: true,
        ..Options::default()
    });
    let answer = rehearse(&OPTIONS, bytes);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{:?}", String::from_utf8_lossy(&answer));
    let upgrades = answer.windows(13).filter(|window| window.starts_with(b"HTTP/1.1 101 ")).count();
    assert!(upgrades <= 1, "behind an upgrade there are frames");
}

/// Frames of a client: read in one piece or in many, they say the same.
pub fn frames(bytes: &[u8]) {
    let [setting, size, frames @ ..] = bytes else { return };
    let deflate = if setting & 1 == 0 { Deflate::Refused } else { Deflate::Negotiated };
    let limits = ReaderLimits { message_bytes_max: 4096, fragments_max: 64, deflate };
    let whole = read_frames(&limits, frames, usize::MAX);
    let in_pieces = read_frames(&limits, frames, usize::from(*size).max(1));
    assert_eq!(whole, in_pieces, "in pieces of {size}");
}

/// What the reader makes of `bytes`, given to it in pieces; a violation is the last.
fn read_frames(limits: &ReaderLimits, bytes: &[u8], size: usize) -> Vec<String> {
    let mut reader = Reader::new();
    let mut told = Vec::new();
    for piece in bytes.chunks(size) {
        let mut piece = piece.to_vec();
        let mut at = 0;
        loop {
            match reader.read(limits, &mut piece[at..]) {
                Ok((used, Some(incoming))) => {
                    told.push(show(&incoming));
                    assert!(used > 0, "a message is some bytes long");
                    at += used;
                }
                Ok((_, None)) => break,
                Err(violation) => {
                    told.push(show(&violation));
                    return told;
                }
            }
        }
        reader.release();
        assert!(reader.buffered_bytes() <= limits.message_bytes_max + 14, "no more is kept than a message");
    }
    told
}

/// One message of JSON commands.
pub fn json(bytes: &[u8]) {
    commands(Format::CentrifugoJson, bytes);
}

/// One message of Protobuf commands.
pub fn protobuf(bytes: &[u8]) {
    commands(Format::CentrifugoProtobuf, bytes);
}

fn commands(format: Format, bytes: &[u8]) {
    let mut count = 0;
    for command in decode(format, bytes, DecodeLimits { command_bytes_max: 4096 }) {
        count += 1;
        show(&command.map_err(|malformed| malformed.code));
    }
    assert!(count <= bytes.len() + 1, "a command is some bytes long");
}

/// A compressed message.
pub fn inflate(bytes: &[u8]) {
    const MAX: usize = 64 * 1024;
    let [setting, payload @ ..] = bytes else { return };
    let kind = if setting & 1 == 0 { MessageKind::Text } else { MessageKind::Binary };
    let mut inflater = Inflater::default();
    if let Ok(message) = inflater.inflate(kind, payload, MAX) {
        assert!(message.len() <= MAX);
        assert!(kind == MessageKind::Binary || std::str::from_utf8(message).is_ok(), "text is UTF-8");
    }
    inflater.release();
    assert!(inflater.inflate(kind, &HELLO, MAX) == Ok(b"Hello"), "what came before is forgotten");
}

/// RFC 7692, section 7.2.3.1.
const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

/// A token as it comes, or header and claims (at the first line break apart) that are signed as they are.
pub fn token(bytes: &[u8]) {
    const NOW: i64 = 1_800_000_000;
    static KEYS: LazyLock<TokenKeys> = LazyLock::new(|| TokenKeys::default().with_hmac_secret(SECRET));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    show(&KEYS.weigh(text));
    assert!(KEYS.verify(text, NOW).is_err(), "nobody but us knows the secret");
    if let Some((header, claims)) = text.split_once('\n') {
        show(&KEYS.verify(&sign(header, claims), NOW));
    }
}

const SECRET: &str = "a secret that only this file knows";

fn sign(header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", base64url(header), base64url(claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).expect("a secret fits HS256");
    format!("{signed}.{signature}")
}

fn base64url(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for three in text.as_bytes().chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        out.extend((0..=three.len()).map(|place| ALPHABET[(bits >> (18 - 6 * place) & 63) as usize] as char));
    }
    out
}

/// A configuration file: its first byte chooses the format. Problems are shown, with their places.
pub fn config(bytes: &[u8]) {
    let [format, text @ ..] = bytes else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let name = if format & 1 == 0 { "a.toml" } else { "a.json" };
    match config::read(name, text, &Flags::default()) {
        Ok((options, warnings)) => {
            show(&options);
            warnings.iter().for_each(|warning| assert!(!warning.to_string().is_empty()));
        }
        Err(error) => assert!(error.to_string().contains(name), "{error}"),
    }
}

/// Everything can be shown, in logs, say.
fn show(value: &impl Debug) -> String {
    format!("{value:?}")
}
