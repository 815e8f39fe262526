//! What is called how on a server: keys, topics of pub/sub, slots of a cluster.

use std::borrow::Cow;

use super::resp::Commands;

/// The names of one cluster of nodes: all begin with its prefix, so that two on one server don't meet.
///
/// What belongs to one channel has the channel in braces, so a Redis Cluster keeps it in one slot.
#[derive(Clone, Debug)]
pub struct Names {
    prefix: Box<str>,
}

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Epoch, newest offset and version of a stream.
    Meta,
    Stream,
    /// What a publish with an idempotency key came to.
    Result,
    PresenceClients,
    PresenceExpiries,
    PresenceUsers,
    /// Clients and users whose fields the server ends by itself.
    PresenceFields,
    PresenceUserFields,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Meta => "meta",
            Kind::Stream => "stream",
            Kind::Result => "result",
            Kind::PresenceClients => "presence.clients",
            Kind::PresenceExpiries => "presence.expiries",
            Kind::PresenceUsers => "presence.users",
            Kind::PresenceFields => "presence.fields",
            Kind::PresenceUserFields => "presence.user_fields",
        }
    }
}

impl Names {
    pub fn new(prefix: &str) -> Names {
        Names { prefix: prefix.into() }
    }

    /// Writes the key as an argument; `rest` is what follows the channel.
    pub fn write_key(&self, commands: &mut Commands, kind: Kind, channel: &str, rest: &str) {
        let pieces = [&*self.prefix, ".", kind.as_str(), ".{", dot_of(channel), channel, "}", rest];
        commands.texts(&pieces.map(str::as_bytes));
    }

    /// Writes the topic that a channel's publications are sent to.
    pub fn write_topic(&self, commands: &mut Commands, channel: &str) {
        let pieces = [&*self.prefix, ".channel.{", dot_of(channel), channel, "}"];
        commands.texts(&pieces.map(str::as_bytes));
    }

    /// The channel of such a topic.
    pub fn channel_of<'a>(&self, topic: &'a str) -> Option<&'a str> {
        let name = topic.strip_prefix(&*self.prefix)?.strip_prefix(".channel.{")?.strip_suffix('}')?;
        Some(name.strip_prefix('.').unwrap_or(name))
    }

    /// Where all nodes hear what is said to all of them.
    pub fn control(&self) -> String {
        format!("{}.control", self.prefix)
    }

    /// Where the node of this name hears what is said to it.
    pub fn node(&self, node: &str) -> String {
        format!("{}.node.{node}", self.prefix)
    }

    /// Where a listener hears itself.
    pub fn probe(&self, listener: u64) -> String {
        format!("{}.probe.{listener:016x}", self.prefix)
    }

    /// The slot of a cluster that everything of the channel is in.
    pub fn slot_of_channel(&self, channel: &str) -> u16 {
        match self.prefix.contains('{') {
            true => slot_of(format!("{}.channel.{{{}{channel}}}", self.prefix, dot_of(channel)).as_bytes()),
            false if dot_of(channel).is_empty() => crc16(until_brace(channel).as_bytes()) % SLOTS,
            false => crc16(until_brace(&dotted(channel)).as_bytes()) % SLOTS,
        }
    }
}

/// A dot stands before names that begin with a closing brace, since empty braces would keep nothing together; and
/// before those that begin with a dot, to tell the two apart.
fn dot_of(channel: &str) -> &'static str {
    match channel.starts_with(['}', '.']) {
        true => ".",
        false => "",
    }
}

fn dotted(channel: &str) -> Cow<'_, str> {
    [".", channel].concat().into()
}

fn until_brace(text: &str) -> &str {
    text.split('}').next().unwrap_or(text)
}

/// The slot of a key. Source: Redis Cluster specification, "Hash tags".
pub fn slot_of(key: &[u8]) -> u16 {
    let tag = memchr::memchr(b'{', key).and_then(|open| {
        let rest = &key[open + 1..];
        memchr::memchr(b'}', rest).filter(|length| *length > 0).map(|length| &rest[..length])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM. Source: Redis Cluster specification, appendix A.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        let mut crc = crc ^ (u16::from(*byte) << 8);
        for _ in 0..8 {
            crc = (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 };
        }
        crc
    })
}

/// Which of `count` independent servers has the channel. When a server is added at the end, only the channels that
/// it takes over move. Source: Lamping and Veach, "A fast, minimal memory, consistent hash algorithm".
pub fn share_of(channel: &str, count: usize) -> usize {
    let mut key = channel.bytes().fold(FNV_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
    let (mut share, mut next) = (0, 0);
    while next < count as u64 {
        share = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = ((share + 1) as f64 * ((1_u64 << 31) as f64 / ((key >> 33) + 1) as f64)) as u64;
    }
    share as usize
}

/// Source: Redis Cluster specification.
pub const SLOTS: u16 = 16_384;
/// FNV-1a of 64 bits.
const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;

    fn topic(names: &Names, channel: &str) -> String {
        let mut commands = Commands::default();
        names.write_topic(&mut commands, channel);
        let text = str::from_utf8(commands.chunk()).expect("text").to_owned();
        text.split("\r\n").nth(1).expect("a length and a text").to_owned()
    }

    #[test]
    fn a_topic_leads_back_to_its_channel() {
        let names = Names::new("fanfare");
        for channel in ["chat:index", "}", "}x", ".}x", ".", "..a", "a}b", "{", "a{b}c"] {
            let topic = topic(&names, channel);
            assert_eq!(names.channel_of(&topic), Some(channel), "{topic}");
            assert_eq!(names.slot_of_channel(channel), slot_of(topic.as_bytes()), "{topic}");
        }
        assert_eq!(topic(&names, "chat:index"), "fanfare.channel.{chat:index}");
        assert_eq!(names.channel_of("other.channel.{a}"), None);
        assert_eq!(names.channel_of("fanfare.control"), None);
    }

    #[test]
    fn all_keys_of_a_channel_are_in_its_slot() {
        for prefix in ["fanfare", "a{b}c"] {
            let names = Names::new(prefix);
            for channel in ["chat", "}x", ".", "a}b"] {
                let mut commands = Commands::default();
                names.write_key(&mut commands, Kind::Result, channel, "{key}");
                let text = str::from_utf8(commands.chunk()).expect("text").to_owned();
                let key = text.split("\r\n").nth(1).expect("a length and a text");
                assert_eq!(slot_of(key.as_bytes()), names.slot_of_channel(channel), "{key}");
            }
        }
    }

    /// Source: Redis Cluster specification.
    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"foo"), 12182);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
        assert_eq!(slot_of(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
    }

    #[test]
    fn a_further_server_takes_its_share_and_moves_nothing_else() {
        let channels: Vec<String> = (0..3000).map(|n| format!("room:{n}")).collect();
        let mut counts = [0; 3];
        for channel in &channels {
            let (before, after) = (share_of(channel, 2), share_of(channel, 3));
            assert!(after == before || after == 2, "{channel} moved from {before} to {after}");
            counts[after] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        assert_eq!(share_of("room:1", 1), 0);
    }
}
