//! Connections that negotiated permessage-deflate.

use bytes::Bytes;

use super::*;
use crate::limits;
use crate::model::WindowBits;
use crate::protocol::Compression;
use crate::shard::{Answerer, Question, ServerPublication};
use crate::ws::{self, Deflater, FrameKind, Inflater, MessageKind};

/// A client that negotiated a window, connected and, in `channel`, subscribed.
fn subscribe(bench: &mut Bench, shard: usize, channel: &str, window_bits: u8) -> Client {
    let opening = Opening { speaks: Speaks::Centrifugo(Format::CentrifugoJson), window: WindowBits::new(window_bits) };
    let now = bench.now();
    let client = Client { shard, id: bench.shards[shard].opened(now, opening) };
    bench.say(client, r#"{"id":1,"connect":{}}"#);
    bench.say(client, &format!(r#"{{"id":2,"subscribe":{{"channel":"{channel}"}}}}"#));
    bench.settle();
    frames(bench, client);
    client
}

/// The frames that wait for the client, each whole.
fn frames(bench: &mut Bench, client: Client) -> Vec<Bytes> {
    let now = bench.now();
    let shard = &mut bench.shards[client.shard];
    while shard.walk(now) {}
    while shard.next_dirty().is_some() {}
    let frames: Vec<Bytes> = shard.unsent(client.id).cloned().collect();
    shard.sent(now, client.id, frames.iter().map(Bytes::len).sum());
    frames
}

/// What a frame says, and whether it was compressed.
fn read(frame: &[u8]) -> (bool, String) {
    let payload = ws::frame_payload(frame);
    let is_compressed = frame[0] & 0x40 != 0;
    let mut inflater = Inflater::default();
    let payload = match is_compressed {
        true => inflater.inflate(MessageKind::Text, payload, 1 << 24).expect("it can be inflated"),
        false => payload,
    };
    (is_compressed, String::from_utf8(payload.to_vec()).expect("text"))
}

fn publish(bench: &mut Bench, channel: &str, data: &str) {
    let home = bench.homes.home_of(channel).as_index();
    let channel = crate::model::ChannelName::parse(channel, 255).expect("a name");
    let publication = ServerPublication::new(channel, data.to_owned());
    let question = Question::Publish(publication);
    let now = bench.now();
    let answerer = Answerer(Box::new(|answer| assert!(answer.is_ok())));
    bench.shards[home].tray_message(now, TrayMessage::Ask { question, answerer });
    bench.settle();
}

/// A client's frame with that first byte and that payload. The mask is four zeros.
fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = match payload.len() {
        length @ ..=125 => vec![0x80 | length as u8],
        length => [&[0x80 | 126][..], &(length as u16).to_be_bytes()].concat(),
    };
    [&[first][..], &length, &[0; 4], payload].concat()
}

fn deflated(text: &str) -> Vec<u8> {
    let frame = Deflater::new(6).build_frame(FrameKind::Text, text.as_bytes(), 15).expect("it becomes smaller");
    ws::frame_payload(&frame).to_vec()
}

fn receive(bench: &mut Bench, client: Client, mut bytes: Vec<u8>) {
    let now = bench.now();
    bench.shards[client.shard].received(now, client.id, &mut bytes);
}

/// JSON of that many bytes.
fn json(bytes: usize) -> String {
    format!("\"{}\"", "tick tock ".repeat(bytes).get(..bytes - 2).expect("ASCII"))
}

#[test]
fn a_publication_is_compressed_once_for_each_window_of_the_node() {
    let mut bench = Bench::new(2);
    let channel = bench.channel_at(0);
    let plain: Vec<Client> = (0..4).map(|n| bench.subscribe(n % 2, &channel, "")).collect();
    let wide: Vec<Client> = (0..6).map(|n| subscribe(&mut bench, n % 2, &channel, 15)).collect();
    let narrow: Vec<Client> = (0..6).map(|n| subscribe(&mut bench, n % 2, &channel, 9)).collect();
    for client in plain.iter().chain(&wide).chain(&narrow) {
        frames(&mut bench, *client);
    }
    let before = [0, 1].map(|shard| bench.count(shard, Counter::MessagesDeflated));
    publish(&mut bench, &channel, &json(1000));

    let mut given = Vec::new();
    for (clients, is_compressed) in [(&plain, false), (&wide, true), (&narrow, true)] {
        let mut of_kind: Vec<Bytes> = Vec::new();
        for client in clients {
            let [frame] = frames(&mut bench, *client).try_into().expect("one frame");
            let (compressed, text) = read(&frame);
            assert_eq!(compressed, is_compressed);
            assert!(text.contains(&json(1000)), "{text}");
            of_kind.push(frame);
        }
        assert!(of_kind.iter().all(|frame| frame.as_ptr() == of_kind[0].as_ptr()), "shared, also by both shards");
        given.push(of_kind[0].clone());
    }
    let after = [0, 1].map(|shard| bench.count(shard, Counter::MessagesDeflated));
    assert_eq!([after[0] - before[0], after[1] - before[1]], [2, 0], "at the home, for two windows");
    assert!(given[1].len() < 200 && given[2].len() < 200);
}

#[test]
fn small_messages_and_those_below_the_option_go_plain() {
    let mut bench = Bench::with(1, |options| {
        options.compression = Compression { above_bytes: 600, ..Compression::default() };
    });
    let client = subscribe(&mut bench, 0, "c", 15);
    for (bytes, expected) in [(10, false), (400, false), (700, true)] {
        publish(&mut bench, "c", &json(bytes));
        let [frame] = frames(&mut bench, client).try_into().expect("one frame");
        assert_eq!(read(&frame).0, expected, "{bytes} bytes");
    }
}

#[test]
fn replies_are_compressed_too() {
    let mut bench = Bench::with(1, |options| options.insecure = true);
    let client = subscribe(&mut bench, 0, "c", 12);
    for _ in 0..20 {
        publish(&mut bench, "c", &json(50));
    }
    frames(&mut bench, client);
    bench.say(client, r#"{"id":3,"history":{"channel":"c","limit":20}}"#);
    let [frame] = frames(&mut bench, client).try_into().expect("one frame");
    let (is_compressed, text) = read(&frame);
    assert!(is_compressed && text.starts_with(r#"{"id":3,"history":"#), "{text}");
    // A large page is compressed by the workers.
    for _ in 0..20 {
        publish(&mut bench, "c", &json(limits::ANSWER_INLINE_COST_MAX / 10));
    }
    frames(&mut bench, client);
    bench.say(client, r#"{"id":4,"history":{"channel":"c","limit":40}}"#);
    assert!(frames(&mut bench, client).is_empty());
    bench.run_all();
    let [frame] = frames(&mut bench, client).try_into().expect("one frame");
    assert!(read(&frame).0, "{} bytes", frame.len());
}

#[test]
fn compressed_commands_are_read() {
    let mut bench = Bench::new(1);
    let client = subscribe(&mut bench, 0, "c", 15);
    let publish = format!(r#"{{"id":3,"publish":{{"channel":"c","data":{}}}}}"#, json(300));
    let payload = deflated(&publish);
    receive(&mut bench, client, client_frame(0xc1, &payload));
    let told: String = frames(&mut bench, client).iter().map(|frame| read(frame).1).collect();
    assert!(told.contains(r#"{"id":3,"publish":{}}"#) && told.contains(&json(300)), "{told}");
    assert_eq!(bench.count(0, Counter::MessagesInflated), 1);
    assert_eq!(bench.count(0, Counter::InflateBytesBefore), payload.len() as u64);
    assert_eq!(bench.count(0, Counter::InflateBytesAfter), publish.len() as u64);

    // In fragments, with a ping between them; and plain, which stays allowed.
    let (first, second) = payload.split_at(payload.len() / 2);
    receive(&mut bench, client, client_frame(0x41, first));
    receive(&mut bench, client, client_frame(0x89, b"here?"));
    receive(&mut bench, client, client_frame(0x80, second));
    bench.say(client, r#"{"id":4,"presence_stats":{"channel":"c"}}"#);
    let told = frames(&mut bench, client);
    assert_eq!(told[0], b"\x8a\x05here?"[..]);
    let told: String = told[1..].iter().map(|frame| read(frame).1).collect();
    assert!(told.contains(r#"{"id":3,"publish":{}}"#) && told.contains(r#"{"id":4,"presence_stats""#), "{told}");
}

/// The bytes close a new connection with this code, and another goes on as before.
fn check_closed(window_bits: u8, bytes: Vec<u8>, code: u16) {
    let mut bench = Bench::with(1, |options| options.decompressed_bytes_max = 10_000);
    let other = subscribe(&mut bench, 0, "c", 15);
    let client = subscribe(&mut bench, 0, "c", window_bits);
    frames(&mut bench, other);
    receive(&mut bench, client, bytes);
    let told = frames(&mut bench, client);
    let close = told.last().expect("a close frame");
    assert_eq!((close[0], u16::from_be_bytes([close[2], close[3]])), (0x88, code), "{told:?}");
    let question = format!(r#"{{"id":9,"presence_stats":{{"channel":"c"}}}}{}"#, " ".repeat(99));
    receive(&mut bench, other, client_frame(0xc1, &deflated(&question)));
    let told: String = frames(&mut bench, other).iter().map(|frame| read(frame).1).collect();
    assert!(told.contains(r#"{"id":9,"presence_stats""#), "{told}");
}

#[test]
fn what_breaks_the_rules_of_compression_is_closed() {
    const NOT_NEGOTIATED: u8 = 0;
    let command = deflated(&format!(r#"{{"id":3,"publish":{{"channel":"c","data":{}}}}}"#, json(300)));
    check_closed(NOT_NEGOTIATED, client_frame(0xc1, &command), 1002);
    check_closed(15, client_frame(0xa1, &command), 1002);
    check_closed(15, client_frame(0xd1, &command), 1002);
    check_closed(15, client_frame(0xc9, b""), 1002);
    check_closed(15, [client_frame(0x41, &command), client_frame(0xc0, b"")].concat(), 1002);
    check_closed(15, client_frame(0xc1, b"\xff\xff\xff"), 1007);
    check_closed(15, client_frame(0xc1, &command[..command.len() - 3]), 1007);
    // Well below the limit of what arrives, and a byte above that of what it becomes.
    check_closed(15, client_frame(0xc1, &deflated(&" ".repeat(10_001))), 1009);
}
