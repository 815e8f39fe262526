//! Instructions of ours for one member and one unbatched delivery.
//!
//! Drives the pure shard as io does, without sockets: 1,000 members of one room, 128 bytes, one
//! publication a turn. CPU time moves with whatever else the machine does; the count of executed
//! instructions hardly does, so a rise is a change of the code. It runs itself under callgrind
//! (Debian package `valgrind`), which counts inside [`measured_publications`] alone, and fails above
//! [`INSTRUCTIONS_MAX`].
//!
//! `cargo bench --bench delivery`

use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use fanfare::access::{ChannelOptions, Namespaces, TokenKeys};
use fanfare::model::{ConnectionId, Format, Homes, Now, ShardId};
use fanfare::shard::{Opening, Options, Shard, Speaks};
use fanfare::telemetry::ShardMetrics;

const MEMBERS: u64 = 1_000;
const PUBLICATIONS: u64 = 50;
const PAYLOAD_BYTES: usize = 128;

/// 0.3 us of a core that executes about 3.3 instructions a nanosecond.
const INSTRUCTIONS_MAX: f64 = 1_000.0;

/// Tells the process that it is the one being counted.
const COUNTED: &str = "--counted";

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == COUNTED) {
        let mut room = FullRoom::open();
        let deliveries = measured_publications(&mut room);
        assert_eq!(deliveries, MEMBERS * PUBLICATIONS, "each member gets each publication by one write");
        return ExitCode::SUCCESS;
    }
    let instructions = count_instructions() as f64 / (MEMBERS * PUBLICATIONS) as f64;
    println!("{instructions:.0} instructions for each delivery (at most {INSTRUCTIONS_MAX})");
    if instructions > INSTRUCTIONS_MAX { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs this program under callgrind and reads how much it executed in `measured_publications`.
fn count_instructions() -> u64 {
    let own = std::env::current_exe().expect("this program has a path");
    let counts = Path::new(env!("CARGO_TARGET_TMPDIR")).join("delivery.callgrind");
    let status = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind", "--toggle-collect=*measured_publications*"])
        .arg(format!("--callgrind-out-file={}", counts.display()))
        .arg(own)
        .arg(COUNTED)
        .status()
        .expect("valgrind starts: install Debian's package `valgrind`");
    assert!(status.success(), "the counted run failed: {status}");
    let counts = std::fs::read_to_string(&counts).expect("callgrind wrote its counts");
    let totals = counts.lines().find_map(|line| line.strip_prefix("totals: ")).expect("callgrind wrote its totals");
    totals.trim().parse().expect("the total is a number")
}

/// What callgrind counts: publish commands arrive, one a turn, and go out to every member.
///
/// Returns the number of writes to members.
#[inline(never)]
fn measured_publications(room: &mut FullRoom) -> u64 {
    (0..PUBLICATIONS).map(|_| room.publish()).sum()
}

/// A shard with one publisher, and all members subscribed to one channel.
struct FullRoom {
    shard: Shard,
    publisher: ConnectionId,
    now: Now,
}

impl FullRoom {
    fn open() -> FullRoom {
        let channel = ChannelOptions {
            allow_subscribe_for_client: true,
            allow_subscribe_for_anonymous: true,
            allow_publish_for_client: true,
            allow_publish_for_anonymous: true,
            ..ChannelOptions::default()
        };
        let namespaces = Namespaces {
            without: Arc::new(channel),
            by_name: Default::default(),
            private_prefix: "$".into(),
            boundary: ":".into(),
        };
        let options = Options {
            homes: Homes::new(1, 0),
            namespaces: Arc::new(namespaces),
            token_keys: Arc::new(TokenKeys::default()),
            allow_anonymous_connect: true,
            ..Options::default()
        };
        let shard = Shard::new(ShardId(0), Arc::new(options), Arc::new(ShardMetrics::default()), 0);
        let now = Now { monotonic: Duration::from_secs(1), unix_seconds: 1_800_000_000 };
        let mut room = FullRoom { shard, publisher: ConnectionId { slot: 0, generation: 0 }, now };
        room.publisher = room.connect();
        for _ in 0..MEMBERS {
            let member = room.connect();
            room.say(member, r#"{"id":2,"subscribe":{"channel":"room"}}"#);
        }
        // The first publication touches memory that later ones find ready.
        assert_eq!(room.publish(), MEMBERS, "every member is subscribed");
        room
    }

    fn connect(&mut self) -> ConnectionId {
        let id = self.shard.opened(self.now, Opening { speaks: Speaks::Centrifugo(Format::CentrifugoJson) });
        self.say(id, r#"{"id":1,"connect":{}}"#);
        id
    }

    /// One command, and one turn.
    fn say(&mut self, id: ConnectionId, command: &str) -> u64 {
        self.shard.received(self.now, id, &mut masked_text(command));
        self.turn()
    }

    fn publish(&mut self) -> u64 {
        let data = "x".repeat(PAYLOAD_BYTES - 2);
        self.say(self.publisher, &format!(r#"{{"id":3,"publish":{{"channel":"room","data":"{data}"}}}}"#))
    }

    /// Walks every slice and empties every outbox, as io does. Returns the number of writes to
    /// others than the publisher.
    fn turn(&mut self) -> u64 {
        let mut writes = 0;
        loop {
            let has_more = self.shard.walk(self.now);
            while let Some(id) = self.shard.next_dirty() {
                let bytes = self.shard.unsent(id).map(|frame| frame.len()).sum();
                self.shard.sent(self.now, id, bytes);
                writes += u64::from(id != self.publisher);
            }
            assert_eq!(self.shard.next_finished(), None, "nobody is closed");
            if !has_more {
                return writes;
            }
        }
    }
}

/// A client's text message of up to 65,535 bytes. Source: RFC 6455 §5.2.
fn masked_text(text: &str) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![0x81];
    match u8::try_from(text.len()) {
        Ok(short @ ..126) => frame.push(0x80 | short),
        _ => {
            let length = u16::try_from(text.len()).expect("commands of the bench are short");
            frame.push(0x80 | 126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(text.bytes().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
