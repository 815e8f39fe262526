//! Messages between nodes as bytes, and back: `proto/node.proto`.

mod acts;

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;

use super::report::{NodeName, Report};
use crate::handle::{ChannelsAsked, Reach};
use crate::limits::NODE_MESSAGE_BYTES_MAX;
use crate::model::{ChannelName, ErrorCode, UserSketch};

mod proto {
    include!(concat!(env!("OUT_DIR"), "/fanfare.node.rs"));
}

use proto::answer::Outcome;
use proto::envelope;

/// Number of the protocol as this program speaks it.
pub const PROTOCOL: u32 = 1;

/// One message, with who sent it.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub protocol: u32,
    /// Uid of the sender.
    pub from: String,
    /// Uid of the node it is for; empty: every node.
    pub to: String,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    Report {
        report: Report,
        /// The sender wants to hear who is there.
        asks: bool,
    },
    Goodbye,
    Request(u64, Command),
    Answer(u64, Part),
}

impl What {
    /// As metrics name it.
    pub fn kind(&self) -> &'static str {
        match self {
            What::Report { .. } => "report",
            What::Goodbye => "goodbye",
            What::Request(..) => "request",
            What::Answer(..) => "answer",
        }
    }
}

/// What a node is asked to do or to say.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Reach(Reach),
    Channels {
        asked: ChannelsAsked,
        /// Of the whole answer.
        bytes_max: usize,
    },
    Describe,
    /// Something that a newer node asks.
    NotKnown,
}

/// An answer, or a piece of one.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// The outcome follows.
    Working,
    /// The node does not know the command, or this node not the answer.
    NotKnown,
    Failed(ErrorCode),
    Reached(u64),
    Channels(ChannelsPiece),
    Report(Report),
}

/// Some of the names that a node answers, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelsPiece {
    /// From 0 on.
    pub piece: u32,
    /// How many there are.
    pub pieces: u32,
    pub channels: Vec<(ChannelName, u64)>,
    /// More names come after the last piece.
    pub has_more: bool,
}

/// Why bytes were passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    TooLarge,
    /// Nobody of ours wrote them, or they are damaged.
    Foreign,
    /// A newer node says something that this one does not know, and that nobody waits for.
    NotKnown,
}

impl Skipped {
    /// As metrics name it.
    pub fn reason(self) -> &'static str {
        match self {
            Skipped::TooLarge => "too_large",
            Skipped::Foreign => "foreign",
            Skipped::NotKnown => "not_known",
        }
    }
}

/// The bytes would not fit a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

impl Message {
    pub fn new(from: &str, to: &str, what: What) -> Message {
        Message { protocol: PROTOCOL, from: from.to_owned(), to: to.to_owned(), what }
    }

    pub fn encode(self) -> Result<Bytes, TooLarge> {
        let what = match self.what {
            What::Report { report, asks } => envelope::What::Report(proto::Report { asks, ..write_report(report) }),
            What::Goodbye => envelope::What::Goodbye(proto::Goodbye {}),
            What::Request(id, command) => {
                envelope::What::Request(proto::Request { id, command: write_command(command) })
            }
            What::Answer(id, part) => envelope::What::Answer(proto::Answer { id, outcome: Some(write_part(part)) }),
        };
        let envelope = proto::Envelope { protocol: self.protocol, from: self.from, to: self.to, what: Some(what) };
        match envelope.encoded_len() <= NODE_MESSAGE_BYTES_MAX {
            true => Ok(envelope.encode_to_vec().into()),
            false => Err(TooLarge),
        }
    }

    pub fn decode(bytes: Bytes) -> Result<Message, Skipped> {
        if bytes.len() > NODE_MESSAGE_BYTES_MAX {
            return Err(Skipped::TooLarge);
        }
        let proto::Envelope { protocol, from, to, what } =
            proto::Envelope::decode(bytes).map_err(|_| Skipped::Foreign)?;
        // Another program's bytes may be Protobuf too.
        if protocol == 0 || from.is_empty() || from.len() > NAME_BYTES_MAX {
            return Err(Skipped::Foreign);
        }
        let what = match what.ok_or(Skipped::NotKnown)? {
            envelope::What::Report(report) => {
                let asks = report.asks;
                What::Report { report: read_report(&from, report)?, asks }
            }
            envelope::What::Goodbye(proto::Goodbye {}) => What::Goodbye,
            envelope::What::Request(proto::Request { id, command }) => What::Request(id, read_command(command)?),
            envelope::What::Answer(proto::Answer { id, outcome }) => What::Answer(id, read_part(&from, outcome)?),
        };
        Ok(Message { protocol, from, to, what })
    }
}

fn write_report(report: Report) -> proto::Report {
    proto::Report {
        name: report.node.name,
        version: report.version,
        uptime_ms: u64::try_from(report.uptime.as_millis()).unwrap_or(u64::MAX),
        clients: report.clients,
        users: report.users,
        subscriptions: report.subscriptions,
        channels: report.channels,
        counters: report.counters,
        cpu: report.cpu,
        resident_bytes: report.resident_bytes,
        is_draining: report.is_draining,
        asks: false,
        users_sketch: report.users_sketch.map(|sketch| Bytes::copy_from_slice(sketch.as_bytes())),
    }
}

fn read_report(from: &str, report: proto::Report) -> Result<Report, Skipped> {
    let is_long = |text: &String| text.len() > NAME_BYTES_MAX;
    if is_long(&report.name)
        || is_long(&report.version)
        || report.counters.len() > COUNTERS_MAX
        || report.counters.keys().any(is_long)
        || !report.cpu.is_finite()
    {
        return Err(Skipped::Foreign);
    }
    Ok(Report {
        node: NodeName { uid: from.to_owned(), name: report.name },
        version: report.version,
        uptime: Duration::from_millis(report.uptime_ms),
        clients: report.clients,
        users: report.users,
        subscriptions: report.subscriptions,
        channels: report.channels,
        counters: report.counters,
        cpu: report.cpu,
        resident_bytes: report.resident_bytes,
        is_draining: report.is_draining,
        // One of another size is of a node that counts otherwise: it has none for us.
        users_sketch: report.users_sketch.and_then(|bytes| UserSketch::from_bytes(&bytes)),
    })
}

fn write_command(command: Command) -> Option<proto::request::Command> {
    Some(match command {
        Command::Reach(reach) => proto::request::Command::Reach(acts::write(reach)),
        Command::Channels { asked, bytes_max } => proto::request::Command::Channels(proto::Channels {
            pattern: asked.pattern.into(),
            after: asked.after.into(),
            count_max: u32::try_from(asked.count_max).unwrap_or(u32::MAX),
            bytes_max: bytes_max as u64,
        }),
        Command::Describe => proto::request::Command::Describe(proto::Describe {}),
        Command::NotKnown => return None,
    })
}

fn read_command(command: Option<proto::request::Command>) -> Result<Command, Skipped> {
    Ok(match command {
        None => Command::NotKnown,
        Some(proto::request::Command::Reach(reach)) => acts::read(reach)?.map_or(Command::NotKnown, Command::Reach),
        Some(proto::request::Command::Channels(channels)) => Command::Channels {
            asked: ChannelsAsked {
                pattern: channels.pattern.into(),
                after: channels.after.into(),
                count_max: channels.count_max as usize,
            },
            bytes_max: usize::try_from(channels.bytes_max).unwrap_or(usize::MAX),
        },
        Some(proto::request::Command::Describe(proto::Describe {})) => Command::Describe,
    })
}

fn write_part(part: Part) -> Outcome {
    match part {
        Part::Working => Outcome::Working(proto::Working {}),
        Part::NotKnown => Outcome::NotKnown(proto::NotKnown {}),
        Part::Failed(code) => Outcome::Error(code.code().into()),
        Part::Reached(count) => Outcome::Reached(count),
        Part::Report(report) => Outcome::Report(write_report(report)),
        Part::Channels(piece) => Outcome::Channels(proto::ChannelsPiece {
            piece: piece.piece,
            pieces: piece.pieces,
            channels: piece.channels.into_iter().map(write_occupied).collect(),
            has_more: piece.has_more,
        }),
    }
}

fn read_part(from: &str, outcome: Option<Outcome>) -> Result<Part, Skipped> {
    Ok(match outcome {
        None | Some(Outcome::NotKnown(proto::NotKnown {})) => Part::NotKnown,
        Some(Outcome::Working(proto::Working {})) => Part::Working,
        Some(Outcome::Error(code)) => Part::Failed(read_error(code)),
        Some(Outcome::Reached(count)) => Part::Reached(count),
        Some(Outcome::Report(report)) => Part::Report(read_report(from, report)?),
        Some(Outcome::Channels(piece)) => Part::Channels(ChannelsPiece {
            piece: piece.piece,
            pieces: piece.pieces,
            channels: piece.channels.into_iter().map(read_occupied).collect::<Result<_, _>>()?,
            has_more: piece.has_more,
        }),
    })
}

/// A code that only newer nodes know is an error all the same.
fn read_error(code: u32) -> ErrorCode {
    let known = ErrorCode::ALL.iter().copied().find(|known| u32::from(known.code()) == code);
    known.unwrap_or(ErrorCode::Internal)
}

fn write_occupied((channel, subscribers): (ChannelName, u64)) -> proto::Occupied {
    proto::Occupied { channel: channel.as_str().to_owned(), subscribers }
}

fn read_occupied(occupied: proto::Occupied) -> Result<(ChannelName, u64), Skipped> {
    Ok((read_channel(&occupied.channel)?, occupied.subscribers))
}

/// Nodes may differ in how long names may be; whoever does something with it checks it.
fn read_channel(name: &str) -> Result<ChannelName, Skipped> {
    ChannelName::parse(name, NODE_MESSAGE_BYTES_MAX).map_err(|_| Skipped::Foreign)
}

/// Bytes of a node's name and of its version. Chosen: a host name has at most 253.
const NAME_BYTES_MAX: usize = 512;

/// Chosen: far more than there are, so that newer nodes can add some.
const COUNTERS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::tests::report;

    fn check(what: What) {
        let message = Message::new("me", "you", what);
        let bytes = message.clone().encode().expect("it fits");
        assert_eq!(Message::decode(bytes), Ok(message));
    }

    #[test]
    fn messages_come_back_as_they_were() {
        check(What::Report { report: report("me", "name"), asks: true });
        check(What::Goodbye);
        let asked = ChannelsAsked { pattern: "a*".into(), after: "ab".into(), count_max: 7 };
        check(What::Request(1, Command::Channels { asked, bytes_max: 9 }));
        check(What::Request(2, Command::Describe));
        check(What::Request(3, Command::NotKnown));
        for part in [Part::Working, Part::NotKnown, Part::Failed(ErrorCode::BadRequest), Part::Reached(0)] {
            check(What::Answer(4, part));
        }
        let mut sketch = UserSketch::default();
        sketch.add("u");
        check(What::Answer(5, Part::Report(Report { users_sketch: Some(sketch), ..report("me", "name") })));
        let channels = vec![(read_channel("a").expect("a name"), 3)];
        check(What::Answer(6, Part::Channels(ChannelsPiece { piece: 1, pieces: 2, channels, has_more: true })));
    }

    #[test]
    fn what_no_node_wrote_is_passed_over() {
        let skipped = |bytes: &'static [u8]| Message::decode(Bytes::from_static(bytes)).expect_err("no message");
        for bytes in [&b""[..], b"hello", b"{\"a\":1}", b"\xff\xff\xff", b"\x08\x01", b"\x12\x02me"] {
            assert_eq!(skipped(bytes), Skipped::Foreign, "{bytes:?}");
        }
        assert_eq!(skipped(b"\x08\x01\x12\x02me"), Skipped::NotKnown, "a message of a kind to come");
        let large = vec![0; NODE_MESSAGE_BYTES_MAX + 1];
        assert_eq!(Message::decode(large.into()), Err(Skipped::TooLarge));
        let whole = Message::new("me", "", What::Report { report: report("me", "n"), asks: false }).encode();
        let whole = whole.expect("it fits");
        for length in 0..whole.len() {
            // A torn one is never taken for more than it says; a panic would fail here.
            drop(Message::decode(whole.slice(..length)));
        }
        let nameless = Report { node: NodeName { uid: "me".into(), name: "n".repeat(600) }, ..report("me", "n") };
        let long = Message::new("me", "", What::Report { report: nameless, asks: false }).encode().expect("it fits");
        assert_eq!(Message::decode(long), Err(Skipped::Foreign));
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let asked =
            ChannelsAsked { pattern: "a".repeat(NODE_MESSAGE_BYTES_MAX).into(), after: "".into(), count_max: 1 };
        let command = Command::Channels { asked, bytes_max: 1 };
        assert_eq!(Message::new("me", "", What::Request(1, command)).encode(), Err(TooLarge));
    }

    proptest::proptest! {
        /// Whatever the bus brings: bytes of anybody, and messages with damage.
        #[test]
        fn no_bytes_make_a_node_panic(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
            at in 0..100_usize,
            flipped in 1..=255_u8,
        ) {
            let _ = Message::decode(bytes.into());
            let channels = vec![(read_channel("a").expect("a name"), 3)];
            let piece = ChannelsPiece { piece: 1, pieces: 2, channels, has_more: true };
            for what in [
                What::Report { report: report("me", "name"), asks: true },
                What::Answer(6, Part::Channels(piece)),
                What::Request(3, Command::Reach(acts::tests::disconnect())),
            ] {
                let mut damaged = Message::new("me", "you", what).encode().expect("it fits").to_vec();
                let at = at % damaged.len();
                damaged[at] ^= flipped;
                let _ = Message::decode(damaged.into());
            }
        }
    }

    /// As a node of version N+1 writes it: fields and kinds that this one does not know.
    #[test]
    fn a_newer_node_is_understood_as_far_as_it_goes() {
        let asked = |bytes: &'static [u8]| Message::decode(Bytes::from_static(bytes)).expect("a message").what;
        // Envelope { protocol: 2, from: "me", request { id: 5, <field 15> {} } }.
        assert_eq!(asked(b"\x08\x02\x12\x02me\x32\x04\x08\x05\x7a\x00"), What::Request(5, Command::NotKnown));
        // The same with reach { user: "u", <field 15> {} }: an act to come.
        assert_eq!(
            asked(b"\x08\x02\x12\x02me\x32\x09\x08\x05\x12\x05\x0a\x01u\x7a\x00"),
            What::Request(5, Command::NotKnown)
        );
        // Answer { id: 5, <field 15> {} }, and Goodbye { <field 9>: 1 }.
        assert_eq!(asked(b"\x08\x02\x12\x02me\x3a\x04\x08\x05\x7a\x00"), What::Answer(5, Part::NotKnown));
        assert_eq!(asked(b"\x08\x02\x12\x02me\x2a\x02\x48\x01"), What::Goodbye);
        assert_eq!(read_error(4242), ErrorCode::Internal);
    }
}
