//! What compression costs: `cargo bench --bench deflate` prints microseconds and sizes for each
//! message length, level and window. CPU time of one thread; nothing is sent.

#[path = "support/clock.rs"]
mod clock;

use std::hint::black_box;

use clock::microseconds;
use fanfare::ws::{Deflater, FrameKind, Inflater, MessageKind, frame_payload};

/// Publications as chats have them: fields that repeat, ids and words that do not.
fn publications(bytes: usize) -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(bytes as u64);
    let words = ["the", "quick", "update", "order", "price", "level", "status", "open", "moved", "hello", "again"];
    let publication = |number: usize| {
        let (room, user, id) = (random.u8(..50), random.u16(..1000), random.u64(..));
        let head = format!(
            r#"{{"push":{{"channel":"chat:room-{room}","pub":{{"data":{{"user":"user-{user}","id":"{id:016x}","text":""#
        );
        let tail = format!(r#""}},"offset":{number}}}}}}}"#);
        let mut text = head;
        while text.len() + tail.len() < bytes {
            text.push_str(words[random.usize(..words.len())]);
            text.push(' ');
        }
        (text + &tail).into_bytes()
    };
    (1..=200).map(publication).collect()
}

fn main() {
    println!("{:>7} {:>5} {:>6} {:>11} {:>11} {:>7}", "bytes", "level", "window", "deflate us", "inflate us", "size");
    for bytes in [150, 256, 512, 1024, 4096, 16_384, 65_536] {
        let messages = publications(bytes);
        for (level, window_bits) in [(1, 15), (1, 9), (3, 15), (6, 15), (9, 15)] {
            let mut deflater = Deflater::new(level);
            let deflate = microseconds(|n| {
                black_box(deflater.build_frame(FrameKind::Text, &messages[n % messages.len()], window_bits));
            });
            let tally = deflater.take_tally();
            let frame = deflater.build_frame(FrameKind::Text, &messages[0], window_bits);
            let mut inflater = Inflater::default();
            let inflate = frame.map(|frame| {
                microseconds(|_| {
                    black_box(inflater.inflate(MessageKind::Text, frame_payload(&frame), 1 << 20)).expect("our own");
                })
            });
            let size = 100.0 * tally.bytes_after as f64 / tally.bytes_before as f64;
            let inflate = inflate.unwrap_or_default();
            println!("{bytes:>7} {level:>5} {window_bits:>6} {deflate:>11.1} {inflate:>11.1} {size:>6.0}%");
        }
    }
}
