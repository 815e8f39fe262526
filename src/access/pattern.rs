//! `channel_regex`: which names a namespace allows.

use regex::{Regex, RegexBuilder};

/// Memory of one compiled pattern. Chosen: a hundred times what patterns of names take.
const COMPILED_BYTES_MAX: usize = 1024 * 1024;

/// A pattern of names, as Go's `regexp` reads it: it may match anywhere in the name unless it is anchored,
/// and `\d`, `\s`, `\w` and `\b` are about ASCII. Matching takes time linear in the name.
///
/// Its scratch is kept by threads; one that finds it taken makes another, so that nobody waits.
#[derive(Clone, Debug)]
pub struct NamePattern {
    text: Box<str>,
    regex: Regex,
}

/// What is wrong with a pattern; reads on after the name of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternProblem(String);

impl NamePattern {
    pub fn parse(text: &str) -> Result<NamePattern, PatternProblem> {
        // As it is written: what is said about it is to be found in the file.
        build(text)?;
        let regex = build(&with_ascii_classes(text))?;
        Ok(NamePattern { text: text.into(), regex })
    }

    pub fn is_match(&self, name: &str) -> bool {
        self.regex.is_match(name)
    }
}

impl PartialEq for NamePattern {
    fn eq(&self, other: &NamePattern) -> bool {
        self.text == other.text
    }
}

impl Eq for NamePattern {}

impl std::fmt::Display for PatternProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn build(text: &str) -> Result<Regex, PatternProblem> {
    RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => PatternProblem("is too large once it is compiled: repeat less".into()),
        error => PatternProblem(format!("is no regular expression: {}", reason_of(&error))),
    })
}

/// The last line of the crate's drawing, which says what is wrong.
fn reason_of(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

/// The pattern with Perl's classes as Go means them. Nested brackets are good in a class and outside.
fn with_ascii_classes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            out.push(char);
            continue;
        }
        match chars.next() {
            Some('d') => out.push_str("[0-9]"),
            Some('D') => out.push_str("[^0-9]"),
            Some('w') => out.push_str("[0-9A-Za-z_]"),
            Some('W') => out.push_str("[^0-9A-Za-z_]"),
            Some('s') => out.push_str(r"[\t\n\f\r ]"),
            Some('S') => out.push_str(r"[^\t\n\f\r ]"),
            Some('b') => out.push_str(r"(?-u:\b)"),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let pattern = NamePattern::parse(pattern).expect("a pattern");
        matching.iter().for_each(|name| assert!(pattern.is_match(name), "{pattern:?} {name}"));
        others.iter().for_each(|name| assert!(!pattern.is_match(name), "{pattern:?} {name}"));
    }

    #[test]
    fn patterns_match_anywhere_unless_they_are_anchored() {
        check("[0-9]", &["a1b"], &["ab", ""]);
        check("^[0-9]+$", &["12"], &["a12", "12a", "12\n"]);
        check("^(room|hall)-[a-z]{1,3}$", &["room-abc"], &["room-abcd", "cellar-a"]);
    }

    #[test]
    fn classes_are_those_of_go() {
        check(r"^\w+$", &["a_9"], &["é", "a-b"]);
        check(r"^[\w-]+$", &["a-b"], &["a.b", "é"]);
        check(r"^\d+$", &["12"], &["\u{661}"]);
        check(r"^\D+$", &["é"], &["a1"]);
        check(r"^[^\W]$", &["a"], &["é"]);
        check(r"\bé", &[], &["é"]);
        check(r"^a\.b\\d$", &[r"a.b\d"], &["a.b1"]);
        check(r"^\p{L}+$", &["é"], &["1"]);
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        let problem = |text: &str| NamePattern::parse(text).expect_err("not a pattern").to_string();
        assert_eq!(problem("a("), "is no regular expression: unclosed group");
        assert!(problem(r"(?=a)").starts_with("is no regular expression: look-around"), "{}", problem("(?=a)"));
        assert_eq!(problem("(a{1000}){1000}"), "is too large once it is compiled: repeat less");
        assert_eq!(NamePattern::parse("^a$"), NamePattern::parse("^a$"));
    }
}
