//! How channels are called on NATS.

use std::fmt::Write as _;

use super::options::{Options, RawMode};

/// Maps channel names to subjects, each to one of its own.
///
/// A byte that a subject can't hold, or that would mean something in one, is written as `%XX`; so is `%`. With
/// wildcards allowed `.` parts a channel's name into tokens, of which `*` and a last `>` stand for others.
#[derive(Clone, Debug)]
pub struct Subjects {
    prefix: String,
    allows_wildcards: bool,
    raw: Option<RawMode>,
}

impl Subjects {
    pub fn new(options: &Options) -> Subjects {
        let raw = Some(options.raw_mode.clone()).filter(|raw| raw.enabled);
        Subjects { prefix: options.prefix.clone(), allows_wildcards: options.allow_wildcards, raw }
    }

    /// Whether bare payloads of others are published and heard.
    pub fn is_raw(&self) -> bool {
        self.raw.is_some()
    }

    /// Where nodes hear what is published to the channel.
    pub fn of_channel(&self, channel: &str) -> String {
        match &self.raw {
            Some(raw) => format!("{}{}", raw.prefix, replace(channel, raw)),
            None => format!("{}.ch.{}", self.prefix, self.tokens_of(channel)),
        }
    }

    /// Where all channels of this engine are heard, as a pattern.
    pub fn of_all_channels(&self) -> String {
        format!("{}.ch.>", self.prefix)
    }

    /// The channel's name as the end of a subject.
    pub fn tokens_of(&self, channel: &str) -> String {
        if !self.allows_wildcards {
            return escape(channel);
        }
        let tokens: Vec<&str> = channel.split('.').collect();
        let last = tokens.len() - 1;
        let token = |(index, token): (usize, &&str)| match *token {
            "" => "%".to_owned(),
            "*" => "*".to_owned(),
            ">" if index == last => ">".to_owned(),
            token => escape(token),
        };
        tokens.iter().enumerate().map(token).collect::<Vec<_>>().join(".")
    }

    /// Whether the channel stands for others: it can be heard, but has no stream and takes no publications.
    pub fn is_wildcard(&self, channel: &str) -> bool {
        if self.is_escaped() {
            return false;
        }
        let subject = self.of_channel(channel);
        subject.split('.').any(|token| token == "*" || token == ">")
    }

    /// Whether NATS takes the channel's subject: a raw one may be anything.
    pub fn is_valid(&self, channel: &str) -> bool {
        if self.is_escaped() {
            return true;
        }
        let subject = self.of_channel(channel);
        let is_text = !subject.contains(|c: char| c.is_whitespace() || c.is_control());
        let tokens_are_whole = subject.split('.').all(|token| !token.is_empty());
        is_text && tokens_are_whole && (self.allows_wildcards || !self.is_wildcard(channel))
    }

    /// Whether each channel is one token, in which nothing means anything.
    fn is_escaped(&self) -> bool {
        self.raw.is_none() && !self.allows_wildcards
    }

    /// Something of this engine beside its channels.
    pub fn of(&self, what: &str) -> String {
        format!("{}.{what}", self.prefix)
    }

    /// Name of a stream or bucket of this engine: no dots in it.
    pub fn stream_name(&self, what: &str) -> String {
        let mut name = String::new();
        for byte in self.prefix.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => name.push(char::from(byte)),
                _ => write_hex(&mut name, '-', byte),
            }
        }
        name.push('_');
        name.push_str(what);
        name
    }
}

/// `text` as one token of a subject.
pub fn escape(text: &str) -> String {
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' | b'.' | b'*' | b'>' | 0..=b' ' | 0x7f.. => write_hex(&mut token, '%', byte),
            _ => token.push(char::from(byte)),
        }
    }
    token
}

fn write_hex(text: &mut String, mark: char, byte: u8) {
    let _ = write!(text, "{mark}{byte:02X}");
}

/// The longest replacements first, so that one never destroys what another looks for.
fn replace(channel: &str, raw: &RawMode) -> String {
    let mut replacements: Vec<_> = raw.channel_replacements.iter().filter(|(from, _)| !from.is_empty()).collect();
    replacements.sort_by(|(one, _), (other, _)| other.len().cmp(&one.len()).then(one.cmp(other)));
    let mut subject = String::with_capacity(channel.len());
    let mut rest = channel;
    while let Some(next) = rest.chars().next() {
        match replacements.iter().find(|(from, _)| rest.starts_with(from.as_str())) {
            Some((from, to)) => {
                subject.push_str(to);
                rest = &rest[from.len()..];
            }
            None => {
                subject.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    subject
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects(allow_wildcards: bool) -> Subjects {
        Subjects::new(&Options { allow_wildcards, ..Options::default() })
    }

    #[test]
    fn channels_have_subjects_of_their_own() {
        let subjects = subjects(false);
        let names = ["a", "a.b", "a%2Eb", "a b", "a*", ">", "*", "ä", "chat:1", "a..b", ".", "user#1,2", "$private"];
        let mapped: Vec<String> = names.iter().map(|name| subjects.of_channel(name)).collect();
        for (name, subject) in names.iter().zip(&mapped) {
            assert!(subjects.is_valid(name) && !subjects.is_wildcard(name), "{subject}");
            assert_eq!(subject.split('.').count(), 3, "{subject}");
            assert_eq!(mapped.iter().filter(|other| *other == subject).count(), 1, "{subject}");
        }
        assert_eq!(subjects.of_channel("a.b"), "fanfare.ch.a%2Eb");
    }

    #[test]
    fn wildcards_stand_for_tokens() {
        let subjects = subjects(true);
        assert_eq!(subjects.of_channel("news.*.de"), "fanfare.ch.news.*.de");
        assert!(subjects.is_wildcard("news.>") && !subjects.is_wildcard("news.a*"));
        assert!(!subjects.is_wildcard(">.news"), "only the last token stands for many");
        let names = ["a.b", "a..b", "a.%.b", "a%.b", "a.", "a", "a.>x", "a.*x"];
        let mapped: Vec<String> = names.iter().map(|name| subjects.of_channel(name)).collect();
        for (name, subject) in names.iter().zip(&mapped) {
            assert!(subjects.is_valid(name), "{subject}");
            assert_eq!(mapped.iter().filter(|other| *other == subject).count(), 1, "{subject}");
        }
    }

    #[test]
    fn raw_subjects_are_those_of_others() {
        let channel_replacements = [(":".to_owned(), ".".to_owned()), ("::".to_owned(), "-".to_owned())].into();
        let raw_mode = RawMode { enabled: true, channel_replacements, prefix: "app.".to_owned() };
        let raw = Subjects::new(&Options { raw_mode, ..Options::default() });
        assert_eq!(raw.of_channel("chat:room::1"), "app.chat.room-1");
        assert!(raw.is_valid("chat:room"));
        for name in ["a b", "a:", "a.*", "*"] {
            assert!(!raw.is_valid(name), "{name:?}");
        }
    }

    #[test]
    fn names_of_streams_have_no_dots() {
        let options = Options { prefix: "my.app-1".to_owned(), ..Options::default() };
        assert_eq!(Subjects::new(&options).stream_name("log"), "my-2Eapp-2D1_log");
        assert_eq!(escape("a.b"), "a%2Eb");
    }
}
