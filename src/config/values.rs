//! What may stand at a key, and how it is read.

use std::time::Duration;

use super::document::Value;
use super::duration;

/// What may stand at a key.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Flag,
    Count {
        min: u64,
        max: u64,
    },
    /// One of the names, or a count within the bounds.
    CountOr {
        names: &'static [&'static str],
        min: u64,
        max: u64,
    },
    /// At least this long.
    Duration {
        min: &'static str,
    },
    /// One of the names, or a duration within the bounds.
    DurationOr {
        names: &'static [&'static str],
        min: &'static str,
        max: &'static str,
    },
    Text,
    /// A text that no error quotes.
    Secret,
    OneOf(&'static [&'static str]),
    /// A list of some of these.
    SomeOf(&'static [&'static str]),
    Texts,
    /// A list of addresses, which may hold passwords.
    Urls,
    /// A table of texts.
    Pairs,
    /// Empty, an IP address, or "localhost".
    Address,
    /// 0 is a free one; the empty text, where it is `optional`, none.
    Port {
        optional: bool,
    },
    /// The path of a URL.
    Path,
}

/// A value as its kind reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    Flag(bool),
    Count(u64),
    Duration(Duration),
    Text(String),
    Texts(Vec<String>),
    Pairs(Vec<(String, String)>),
}

impl Kind {
    /// Centrifugo reads types weakly, and so must we: "8000" is a number, "true" a flag, and one
    /// text a list of it.
    pub fn read(self, value: &Value) -> Option<Setting> {
        let number = || match value {
            Value::Whole(number) => u64::try_from(*number).ok(),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        };
        let text = || match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        };
        match self {
            Kind::Flag => match value {
                Value::Flag(flag) => Some(Setting::Flag(*flag)),
                Value::Text(text) => flag(text).map(Setting::Flag),
                _ => None,
            },
            Kind::Count { min, max } => number().filter(|number| (min..=max).contains(number)).map(Setting::Count),
            Kind::CountOr { names, min, max } => {
                let count = number().filter(|number| (min..=max).contains(number)).map(|number| number.to_string());
                count.or_else(|| text().filter(|text| names.contains(&text.as_str()))).map(Setting::Text)
            }
            Kind::Duration { min } => {
                // 0 needs no unit, other numbers do: 25 would be nanoseconds to Centrifugo.
                let text = if *value == Value::Whole(0) { "0".into() } else { text()? };
                let min = duration::parse(min).expect("the table's durations can be read");
                duration::parse(&text).filter(|duration| *duration >= min).map(Setting::Duration)
            }
            Kind::DurationOr { names, min, max } => {
                let [min, max] =
                    [min, max].map(|bound| duration::parse(bound).expect("the table's durations can be read"));
                let is_within = |text: &str| duration::parse(text).is_some_and(|length| (min..=max).contains(&length));
                text().filter(|text| names.contains(&text.as_str()) || is_within(text)).map(Setting::Text)
            }
            Kind::Text | Kind::Secret => text().map(Setting::Text),
            Kind::OneOf(names) => text().filter(|text| names.contains(&text.as_str())).map(Setting::Text),
            Kind::SomeOf(names) => match Kind::Texts.read(value) {
                Some(Setting::Texts(texts)) if texts.iter().all(|text| names.contains(&text.as_str())) => {
                    Some(Setting::Texts(texts))
                }
                _ => None,
            },
            Kind::Texts | Kind::Urls => match value {
                Value::Text(text) if text.is_empty() => Some(Setting::Texts(Vec::new())),
                Value::Text(text) => Some(Setting::Texts(vec![text.clone()])),
                Value::List(items) => {
                    let texts = items.iter().map(|item| match &item.value {
                        Value::Text(text) => Some(text.clone()),
                        _ => None,
                    });
                    texts.collect::<Option<_>>().map(Setting::Texts)
                }
                _ => None,
            },
            Kind::Pairs => match value {
                Value::Table(table) => {
                    let pairs = table.iter().map(|entry| match &entry.value {
                        Value::Text(text) => Some((entry.key.clone(), text.clone())),
                        _ => None,
                    });
                    pairs.collect::<Option<_>>().map(Setting::Pairs)
                }
                _ => None,
            },
            Kind::Address => text().filter(|text| text.is_empty() || parse_address(text).is_some()).map(Setting::Text),
            Kind::Port { optional } => match value {
                Value::Text(text) if text.is_empty() && optional => Some(Setting::Text(String::new())),
                _ => number().and_then(|number| u16::try_from(number).ok()).map(|port| Setting::Text(port.to_string())),
            },
            Kind::Path => text().filter(|text| text.starts_with('/')).map(|text| match text.trim_end_matches('/') {
                "" => Setting::Text("/".into()),
                path => Setting::Text(path.into()),
            }),
        }
    }

    /// Whether errors do not quote it.
    pub fn is_secret(self) -> bool {
        matches!(self, Kind::Secret | Kind::Urls)
    }

    /// Whether it is a list of texts.
    pub fn is_list(self) -> bool {
        matches!(self, Kind::Texts | Kind::SomeOf(_) | Kind::Urls)
    }

    /// What an error asks for.
    pub fn describe(self) -> String {
        match self {
            Kind::Flag => "true or false".into(),
            Kind::Count { min, max } => format!("a whole number from {min} to {max}"),
            Kind::CountOr { names, min, max } => {
                let names: String = names.iter().map(|name| format!("{name:?}, or ")).collect();
                format!("{names}a whole number from {min} to {max}")
            }
            Kind::Duration { min: "0s" } => "a duration with its unit, such as \"25s\" or \"1m30s\"".into(),
            Kind::Duration { min } => {
                format!("a duration with its unit, such as \"25s\" or \"1m30s\", at least \"{min}\"")
            }
            Kind::DurationOr { names, min, max } => {
                let names: String = names.iter().map(|name| format!("{name:?}, or ")).collect();
                format!("{names}a duration with its unit, from \"{min}\" to \"{max}\"")
            }
            Kind::Text | Kind::Secret => "a text".into(),
            Kind::OneOf(names) => format!("one of {names:?}").replace(['[', ']'], ""),
            Kind::SomeOf(names) => format!("a list of {names:?}").replace(['[', ']'], ""),
            Kind::Texts => "a list of texts".into(),
            Kind::Urls => "an address, or a list of them".into(),
            Kind::Pairs => "a table of texts".into(),
            Kind::Address => "an IP address".into(),
            Kind::Port { .. } => "a port, a whole number up to 65535".into(),
            Kind::Path => "a path that begins with \"/\"".into(),
        }
    }
}

/// A flag as Go's `strconv.ParseBool` reads it, for the environment's sake.
fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// An address to listen on: a literal, or "localhost".
pub fn parse_address(text: &str) -> Option<std::net::IpAddr> {
    match text {
        "localhost" => Some(std::net::Ipv4Addr::LOCALHOST.into()),
        text => text.trim_start_matches('[').trim_end_matches(']').parse().ok(),
    }
}

/// Whether `value` says the same as the default, however it is written.
pub fn is_default(value: &Value, default: &str) -> bool {
    let same = |text: &str| {
        let as_durations = || duration::parse(text).zip(duration::parse(default));
        text == default
            || (text.is_empty() && default == "\"\"")
            || as_durations().is_some_and(|(one, other)| one == other)
    };
    match value {
        Value::Null => true,
        Value::Flag(flag) => same(&flag.to_string()),
        Value::Whole(number) => same(&number.to_string()),
        Value::Text(text) => same(text),
        Value::Other(_) => false,
        Value::List(items) => items.is_empty() && default == "[]",
        Value::Table(table) => table.is_empty() && default == "{}",
    }
}
