//! Where an issuer's keys are fetched: a URL with `{{name}}` for what a named group of `issuer_regex` or
//! `audience_regex` matched.
//!
//! The claims that fill it are not verified yet: it is their keys that are asked for. So whoever sends a
//! token chooses the values, and the patterns must leave nothing to choose but a name: no host, no other
//! path, no port (GHSA-j77h-rr39-c552 of Centrifugo).

use std::fmt;

use regex::Regex;
use regex_syntax::hir::{Class, Hir, HirKind, Look};

use super::TokenProblem;
use super::rules::{Expected, Parties, Rules};

/// The URL of a JWK Set, to be filled for each token.
#[derive(Clone, Debug)]
pub struct Endpoint {
    parts: Vec<Part>,
    safety: Safety,
}

#[derive(Clone, Debug)]
enum Part {
    Text(Box<str>),
    /// What the group of that name matched.
    Group {
        name: Box<str>,
        of: Source,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Issuer,
    Audience,
}

/// Whether the patterns are held to what makes them safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safety {
    Checked,
    /// `insecure_skip_jwks_endpoint_safety_check`.
    Skipped,
}

/// Why a text is no endpoint; each names what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointProblem {
    NotHttp,
    /// A user's name or a password, or characters that no URL has.
    NotPlain,
    Braces,
    UnknownGroup(Box<str>),
    /// In both patterns, so that it could be either's.
    TwoGroups(Box<str>),
    /// The pattern of that key may match only a part.
    NotAnchored(&'static str),
    /// It may match more than a name.
    TooPermissive(Box<str>),
    /// It stands in the host, and no fixed domain follows.
    ChoosesHost(Box<str>),
}

impl Endpoint {
    pub fn parse(url: &str, rules: &Rules, safety: Safety) -> Result<Endpoint, EndpointProblem> {
        let parts = split(url, rules)?;
        let endpoint = Endpoint { parts, safety };
        if safety == Safety::Checked {
            endpoint.check(rules)?;
        }
        Ok(endpoint)
    }

    /// The URL for a token of these parties, which the rules have let pass.
    pub fn fill(&self, rules: &Rules, parties: &Parties<'_>) -> Result<Box<str>, TokenProblem> {
        let mut url = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => url.push_str(text),
                Part::Group { name, of } => {
                    let value = matched(name, *of, rules, parties).ok_or(UNFIT)?;
                    // Said once more where it counts: a value is a name, whatever the pattern was.
                    if self.safety == Safety::Checked && !is_name(value) {
                        return Err(UNFIT);
                    }
                    url.push_str(value);
                }
            }
        }
        Ok(url.into())
    }

    fn check(&self, rules: &Rules) -> Result<(), EndpointProblem> {
        let url: String = self.parts.iter().map(Part::as_written).collect();
        let (_, rest) = url
            .split_once("://")
            .filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
            .ok_or(EndpointProblem::NotHttp)?;
        let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        if authority.is_empty() {
            return Err(EndpointProblem::NotHttp);
        }
        if authority.contains('@') || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(EndpointProblem::NotPlain);
        }
        let groups = self.parts.iter().filter_map(|part| match part {
            Part::Group { name, of } => Some((name, *of)),
            Part::Text(_) => None,
        });
        for (name, of) in groups {
            let pattern = pattern(rules, of).expect("the group was found in it");
            let hir = regex_syntax::parse(pattern.as_str()).expect("it is the pattern of a regex");
            if !is_anchored(&hir) {
                return Err(EndpointProblem::NotAnchored(of.key()));
            }
            let group = find_group(&hir, name).expect("the group was found in it");
            if !may_match_only(group, is_name_char) {
                return Err(EndpointProblem::TooPermissive(name.clone()));
            }
            let placeholder = format!("{{{{{name}}}}}");
            let chooses_host = authority.rfind(&placeholder).is_some_and(|at| {
                let behind = &authority[at + placeholder.len()..];
                !(is_list(group) || is_below_domain(behind) && may_match_only(group, |c| c != '.'))
            });
            if chooses_host {
                return Err(EndpointProblem::ChoosesHost(name.clone()));
            }
        }
        Ok(())
    }
}

const UNFIT: TokenProblem = TokenProblem::Invalid("its issuer or audience does not say where its keys are");

impl Part {
    fn as_written(&self) -> String {
        match self {
            Part::Text(text) => text.to_string(),
            Part::Group { name, .. } => format!("{{{{{name}}}}}"),
        }
    }
}

impl Source {
    fn key(self) -> &'static str {
        match self {
            Source::Issuer => "issuer_regex",
            Source::Audience => "audience_regex",
        }
    }
}

impl fmt::Display for EndpointProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndpointProblem::NotHttp => f.write_str("should begin with https:// or http:// and a host"),
            EndpointProblem::NotPlain => {
                f.write_str("may hold no user's name, no password and nothing but printable ASCII")
            }
            EndpointProblem::Braces => f.write_str("has a placeholder that is not {{name}}"),
            EndpointProblem::UnknownGroup(name) => {
                write!(f, "has {{{{{name}}}}}, which is no group (?P<{name}>...) of issuer_regex or audience_regex")
            }
            EndpointProblem::TwoGroups(name) => {
                write!(f, "has {{{{{name}}}}}, which is a group of both issuer_regex and audience_regex")
            }
            EndpointProblem::NotAnchored(key) => {
                write!(f, "is filled from {key}, which should begin with ^ and end with $: {SKIP}")
            }
            EndpointProblem::TooPermissive(name) => write!(
                f,
                "has {{{{{name}}}}}, whose group should match only letters, digits, `-`, `_`, `.` and `~`: {SKIP}"
            ),
            EndpointProblem::ChoosesHost(name) => write!(
                f,
                "lets {{{{{name}}}}} choose the host: let it match no dot, with a fixed domain behind it \
                 ({{{{{name}}}}}.example.com), or list its values (a|b): {SKIP}"
            ),
        }
    }
}

/// Why, and the way out.
const SKIP: &str = "otherwise whoever sends a token chooses where the hub asks for keys \
                    (insecure_skip_jwks_endpoint_safety_check accepts that)";

fn split(url: &str, rules: &Rules) -> Result<Vec<Part>, EndpointProblem> {
    let mut parts = Vec::new();
    let mut rest = url;
    while let Some((text, behind)) = rest.split_once("{{") {
        let (name, behind) = behind.split_once("}}").ok_or(EndpointProblem::Braces)?;
        let name = name.trim();
        let has = |of| pattern(rules, of).is_some_and(|it| it.capture_names().flatten().any(|it| it == name));
        let of = match (has(Source::Issuer), has(Source::Audience)) {
            (true, false) => Source::Issuer,
            (false, true) => Source::Audience,
            (true, true) => return Err(EndpointProblem::TwoGroups(name.into())),
            (false, false) => return Err(EndpointProblem::UnknownGroup(name.into())),
        };
        parts.push(Part::Text(text.into()));
        parts.push(Part::Group { name: name.into(), of });
        rest = behind;
    }
    if rest.contains("}}") {
        return Err(EndpointProblem::Braces);
    }
    parts.push(Part::Text(rest.into()));
    Ok(parts)
}

fn pattern(rules: &Rules, of: Source) -> Option<&Regex> {
    let expected = match of {
        Source::Issuer => &rules.issuer,
        Source::Audience => &rules.audience,
    };
    match expected {
        Some(Expected::Matching(pattern)) => Some(pattern),
        _ => None,
    }
}

/// What the group matched in the issuer, or in the first audience that fits.
fn matched<'a>(name: &str, of: Source, rules: &Rules, parties: &'a Parties<'_>) -> Option<&'a str> {
    let pattern = pattern(rules, of)?;
    let captures = match of {
        Source::Issuer => pattern.captures(&parties.issuer),
        Source::Audience => parties.audience.iter().find_map(|audience| pattern.captures(audience)),
    };
    Some(captures?.name(name)?.as_str())
}

/// Neither a separator of URLs, nor a way up.
fn is_name(value: &str) -> bool {
    !matches!(value, "" | "." | "..") && value.chars().all(is_name_char)
}

/// Stands for itself in a URL (RFC 3986 §2.3).
fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~')
}

/// Whether a fixed domain follows, of two names at least: anybody can have a name below `.com`.
fn is_below_domain(behind: &str) -> bool {
    let host = behind.split(':').next().unwrap_or_default();
    let mut names = host.split('.');
    let follows_at_once = names.next() == Some("");
    let names: Vec<_> = names.filter(|name| !name.is_empty() && !name.contains("{{")).collect();
    follows_at_once && names.len() >= 2
}

fn is_anchored(hir: &Hir) -> bool {
    let properties = hir.properties();
    properties.look_set_prefix().contains(Look::Start) && properties.look_set_suffix().contains(Look::End)
}

fn find_group<'a>(hir: &'a Hir, name: &str) -> Option<&'a Hir> {
    match hir.kind() {
        HirKind::Capture(capture) if capture.name.as_deref() == Some(name) => Some(&capture.sub),
        HirKind::Capture(capture) => find_group(&capture.sub, name),
        HirKind::Repetition(repetition) => find_group(&repetition.sub, name),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().find_map(|it| find_group(it, name)),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => None,
    }
}

/// Whether every character of every match is one that `allows` lets pass.
fn may_match_only(hir: &Hir, allows: fn(char) -> bool) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(literal) => std::str::from_utf8(&literal.0).is_ok_and(|text| text.chars().all(allows)),
        HirKind::Class(class) => class_chars(class).is_some_and(|chars| chars.into_iter().all(allows)),
        HirKind::Repetition(repetition) => may_match_only(&repetition.sub, allows),
        HirKind::Capture(capture) => may_match_only(&capture.sub, allows),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().all(|it| may_match_only(it, allows)),
    }
}

/// Whether it is a list of texts that the operator has written out.
fn is_list(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Literal(_) => true,
        // `a|b` is read as a class.
        HirKind::Class(class) => class_chars(class).is_some_and(|chars| chars.len() <= LETTERS_LISTED_MAX),
        HirKind::Capture(capture) => is_list(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().all(is_list),
        HirKind::Empty | HirKind::Look(_) | HirKind::Repetition(_) => false,
    }
}

/// Chosen: no host is found by trying so few letters in each place.
const LETTERS_LISTED_MAX: usize = 4;

/// `None` beyond ASCII, without counting it out.
fn class_chars(class: &Class) -> Option<Vec<char>> {
    let ranges: Vec<(u32, u32)> = match class {
        Class::Unicode(class) => class.iter().map(|it| (it.start().into(), it.end().into())).collect(),
        Class::Bytes(class) => class.iter().map(|it| (it.start().into(), it.end().into())).collect(),
    };
    let is_ascii = ranges.iter().all(|(_, end)| *end < 128);
    is_ascii.then(|| ranges.into_iter().flat_map(|(start, end)| start..=end).filter_map(char::from_u32).collect())
}
