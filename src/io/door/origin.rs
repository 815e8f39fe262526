//! Which pages' scripts may open a socket: `client.allowed_origins`.

use std::fmt;

use crate::limits;

/// Origins that may connect, as glob patterns over the whole `Origin` header in lower case.
///
/// `*` stands for any text, `?` for one character, `[a-c]` and `[!a-c]` for one of a class,
/// `{a,b}` for either; `\` takes the next character as it is. Requests without an `Origin` header
/// do not come from a page and pass. Source: protocol page, section 1.1.
#[derive(Clone, Debug, Default)]
pub struct AllowedOrigins {
    patterns: Box<[Pattern]>,
}

/// An entry of `allowed_origins` that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadOriginPattern {
    pub pattern: Box<str>,
    pub problem: &'static str,
}

impl AllowedOrigins {
    /// Reads the entries of the configuration.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<AllowedOrigins, BadOriginPattern> {
        let mut patterns = Vec::new();
        for entry in entries {
            let lower = entry.to_lowercase();
            let bad = |problem| BadOriginPattern { pattern: entry.into(), problem };
            for spelt in write_out(&lower).map_err(bad)? {
                patterns.push(parse_pattern(&spelt).map_err(bad)?);
            }
            if patterns.len() > limits::ORIGIN_PATTERNS_MAX {
                return Err(bad("is one pattern too many"));
            }
        }
        Ok(AllowedOrigins { patterns: patterns.into() })
    }

    /// Whether a page of this origin may connect. Without any pattern none may.
    pub fn allows(&self, origin: &str) -> bool {
        let origin: Vec<char> = origin.to_lowercase().chars().collect();
        self.patterns.iter().any(|pattern| matches(pattern, &origin))
    }
}

impl fmt::Display for BadOriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "allowed_origins: {:?} {}", self.pattern, self.problem)
    }
}

impl std::error::Error for BadOriginPattern {}

type Pattern = Box<[Piece]>;

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    AnyText,
    AnyOne,
    One(char),
    OneOf { ranges: Box<[(char, char)]>, negated: bool },
}

impl Piece {
    fn matches(&self, character: char) -> bool {
        match self {
            Piece::AnyText => false,
            Piece::AnyOne => true,
            Piece::One(expected) => *expected == character,
            Piece::OneOf { ranges, negated } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&character)) != *negated
            }
        }
    }
}

/// Matches with one point to come back to, the newest `*`: any earlier one has matched as little as
/// it can, so that more of it can't help. At most pattern length times text length steps.
fn matches(pattern: &[Piece], text: &[char]) -> bool {
    let (mut at_piece, mut at_text) = (0, 0);
    let mut come_back: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(at_piece), text.get(at_text)) {
            (None, None) => return true,
            (Some(Piece::AnyText), _) => {
                come_back = Some((at_piece, at_text));
                at_piece += 1;
            }
            (Some(piece), Some(character)) if piece.matches(*character) => {
                at_piece += 1;
                at_text += 1;
            }
            _ => match come_back {
                // The `*` takes one character more.
                Some((star, taken)) if taken < text.len() => {
                    come_back = Some((star, taken + 1));
                    (at_piece, at_text) = (star + 1, taken + 1);
                }
                _ => return false,
            },
        }
    }
}

/// Writes `{a,b}` out: one text for each choice, in the order given. Braces may be nested.
fn write_out(pattern: &str) -> Result<Vec<String>, &'static str> {
    let Some((before, choices, after)) = first_braces(pattern)? else { return Ok(vec![pattern.into()]) };
    let mut spelt = Vec::new();
    for choice in choices {
        for rest in write_out(&format!("{choice}{after}"))? {
            spelt.push(format!("{before}{rest}"));
            if spelt.len() > limits::ORIGIN_PATTERNS_MAX {
                return Err("stands for too many patterns");
            }
        }
    }
    Ok(spelt)
}

/// What stands before, in and behind the first pair of braces.
fn first_braces(pattern: &str) -> Result<Option<(&str, Vec<&str>, &str)>, &'static str> {
    let mut depth = 0;
    let (mut open, mut choice_start) = (0, 0);
    let mut choices = Vec::new();
    let mut escaped = false;
    for (at, character) in pattern.char_indices() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match character {
            '\\' => escaped = true,
            '{' => {
                depth += 1;
                if depth == 1 {
                    (open, choice_start) = (at, at + 1);
                }
            }
            ',' if depth == 1 => {
                choices.push(&pattern[choice_start..at]);
                choice_start = at + 1;
            }
            '}' if depth == 0 => return Err("closes a brace that is not open"),
            '}' => {
                depth -= 1;
                if depth == 0 {
                    choices.push(&pattern[choice_start..at]);
                    return Ok(Some((&pattern[..open], choices, &pattern[at + 1..])));
                }
            }
            _ => {}
        }
    }
    if depth > 0 { Err("has an open brace without its end") } else { Ok(None) }
}

fn parse_pattern(text: &str) -> Result<Pattern, &'static str> {
    let mut pieces = Vec::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let piece = match character {
            '*' => Piece::AnyText,
            '?' => Piece::AnyOne,
            '[' => parse_class(&mut characters)?,
            '\\' => Piece::One(characters.next().ok_or("ends with a lone backslash")?),
            other => Piece::One(other),
        };
        if piece != Piece::AnyText || pieces.last() != Some(&Piece::AnyText) {
            pieces.push(piece);
        }
    }
    Ok(pieces.into())
}

/// Reads the rest of `[abc]`, `[a-z]` or `[!abc]`.
fn parse_class(characters: &mut std::str::Chars<'_>) -> Result<Piece, &'static str> {
    const OPEN: &str = "has an open bracket without its end";
    let mut ranges: Vec<(char, char)> = Vec::new();
    let mut character = characters.next().ok_or(OPEN)?;
    let negated = character == '!';
    if negated {
        character = characters.next().ok_or(OPEN)?;
    }
    while character != ']' {
        let next = characters.next().ok_or(OPEN)?;
        if next == '-' {
            let last = characters.next().ok_or(OPEN)?;
            if last < character {
                return Err("has a range that goes backwards");
            }
            ranges.push((character, last));
            character = characters.next().ok_or(OPEN)?;
        } else {
            ranges.push((character, character));
            character = next;
        }
    }
    if ranges.is_empty() {
        return Err("has empty brackets");
    }
    Ok(Piece::OneOf { ranges: ranges.into(), negated })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(patterns: &[&str], origin: &str, expected: bool) {
        let allowed = AllowedOrigins::parse(patterns.iter().copied()).unwrap();
        assert_eq!(allowed.allows(origin), expected, "{origin} against {patterns:?}");
    }

    #[test]
    fn without_a_pattern_no_page_may_connect() {
        check(&[], "https://example.com", false);
        check(&[], "null", false);
        check(&[], "", false);
    }

    #[test]
    fn a_star_alone_allows_all() {
        check(&["*"], "https://example.com", true);
        check(&["*"], "null", true);
    }

    #[test]
    fn an_origin_is_compared_whole_and_in_lower_case() {
        check(&["https://example.com"], "https://example.com", true);
        check(&["https://Example.com"], "HTTPS://eXample.COM", true);
        check(&["https://example.com"], "https://example.com.evil.org", false);
        check(&["https://example.com"], "https://evil.org/https://example.com", false);
        check(&["https://example.com"], "http://example.com", false);
        check(&["https://example.com"], "https://example.com:8443", false);
        check(&["http://localhost:3000", "https://example.com"], "https://example.com", true);
    }

    #[test]
    fn stars_stand_for_any_text() {
        check(&["https://*.example.com"], "https://chat.example.com", true);
        check(&["https://*.example.com"], "https://a.b.example.com", true);
        check(&["https://*.example.com"], "https://example.com", false);
        check(&["https://*.example.com"], "https://evilexample.com", false);
        check(&["https://*.example.com"], "https://chat.example.com.evil.org", false);
        check(&["http://localhost:*"], "http://localhost:5173", true);
        check(&["*://*.com*"], "https://aa.com.comet", true);
        check(&["a*b*c"], "abcbc", true);
        check(&["a*b*c"], "abcbd", false);
    }

    #[test]
    fn single_characters_classes_and_choices() {
        check(&["https://app?.com"], "https://app1.com", true);
        check(&["https://app?.com"], "https://app.com", false);
        check(&["https://app[1-3x].com"], "https://app2.com", true);
        check(&["https://app[1-3x].com"], "https://appx.com", true);
        check(&["https://app[!1-3].com"], "https://app2.com", false);
        check(&["https://app[!1-3].com"], "https://app4.com", true);
        check(&["http{,s}://{a,b{1,2}}.com"], "https://b2.com", true);
        check(&["http{,s}://{a,b{1,2}}.com"], "http://a.com", true);
        check(&["http{,s}://{a,b{1,2}}.com"], "http://b.com", false);
        check(&[r"https://\*.com"], "https://x.com", false);
        check(&[r"https://\*.com"], "https://*.com", true);
    }

    #[test]
    fn many_stars_do_not_take_long() {
        let origin = "a".repeat(10_000);
        check(&["*a*a*a*a*a*a*a*a*a*a*b"], &origin, false);
    }

    #[test]
    fn a_bad_pattern_says_what_is_wrong() {
        let bad = |pattern: &str| AllowedOrigins::parse([pattern]).expect_err(pattern).problem;
        assert_eq!(bad("https://{a,b.com"), "has an open brace without its end");
        assert_eq!(bad("https://a}.com"), "closes a brace that is not open");
        assert_eq!(bad("https://[a.com"), "has an open bracket without its end");
        assert_eq!(bad("https://[].com"), "has empty brackets");
        assert_eq!(bad("https://[z-a].com"), "has a range that goes backwards");
        assert_eq!(bad(r"https://a\"), "ends with a lone backslash");
        assert_eq!(bad(&"{a,b}".repeat(20)), "stands for too many patterns");
    }
}
