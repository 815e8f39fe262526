//! The text of a configuration file, and how problems in it are shown.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Where a key or a value was set. In the order in which problems are told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Span {
    /// Bytes of the file, the first one and the one behind the last.
    File(usize, usize),
    /// A variable of the environment, by its name.
    Variable(Arc<str>),
    /// A flag of the command line.
    Flag(&'static str),
}

impl Span {
    pub fn of(bytes: Range<usize>) -> Span {
        Span::File(bytes.start, bytes.end)
    }
}

/// One configuration file as it was read.
#[derive(Clone, Debug)]
pub struct Source {
    /// As the operator named it; [`NO_FILE`] without one.
    pub name: String,
    pub text: String,
    pub format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Toml,
    Yaml,
    Json,
}

impl Format {
    /// The format that the ending of a file's name says.
    pub fn of(name: &str) -> Option<Format> {
        match name.rsplit_once('.')?.1 {
            "toml" => Some(Format::Toml),
            "yaml" | "yml" => Some(Format::Yaml),
            "json" => Some(Format::Json),
            _ => None,
        }
    }
}

impl Source {
    /// No file: flags and the environment alone.
    pub fn none() -> Source {
        Source { name: NO_FILE.into(), text: String::new(), format: Format::Toml }
    }

    /// Line and column of a byte, both counted from 1, the column in characters.
    pub fn place(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..self.floor(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The name of what sets the value at `span`, with the line if it is the file.
    pub fn name_of(&self, span: &Span) -> String {
        match span {
            Span::File(start, _) => format!("{}:{}", self.name, self.place(*start).0),
            Span::Variable(name) => name.to_string(),
            Span::Flag(name) => (*name).into(),
        }
    }

    /// The line of the bytes from `start` to `end` with carets under it; empty when the line is long, or when it may hold a
    /// secret: errors end in logs.
    fn excerpt(&self, start: usize, end: usize) -> String {
        let (number, column) = self.place(start);
        let line = self.text.lines().nth(number - 1).unwrap_or_default();
        if line.chars().count() > EXCERPT_CHARACTERS_MAX || may_hold_a_secret(line) {
            return String::new();
        }
        let start = self.floor(start);
        let marked = self.text[start..self.floor(end).max(start)].lines().next().unwrap_or_default();
        let gutter = " ".repeat(number.to_string().len());
        let indent = " ".repeat(column - 1);
        let carets = "^".repeat(marked.chars().count().max(1));
        format!("\n{gutter} |\n{number} | {line}\n{gutter} | {indent}{carets}")
    }

    /// The nearest start of a character at or before `offset`.
    fn floor(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

fn may_hold_a_secret(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    ["key", "secret", "pass", "token", "dsn", "credential", "://"].iter().any(|word| line.contains(word))
}

/// What stands for a file's name where there is none.
const NO_FILE: &str = "the environment";

/// Longer lines would wrap in a terminal, and carets then point at nothing.
const EXCERPT_CHARACTERS_MAX: usize = 120;

/// Everything that is wrong with one configuration, and what is only odd.
pub struct Problems<'a> {
    source: &'a Source,
    found: Vec<Problem>,
    warnings: Vec<Warning>,
}

struct Problem {
    span: Option<Span>,
    message: String,
    help: String,
}

impl<'a> Problems<'a> {
    pub fn new(source: &'a Source) -> Problems<'a> {
        Problems { source, found: Vec::new(), warnings: Vec::new() }
    }

    /// `span` is `None` for what is wrong because it is missing.
    pub fn add(&mut self, span: Option<Span>, message: impl Into<String>) {
        self.add_with_help(span, message, "");
    }

    /// `help` is shown on lines of its own: what to do.
    pub fn add_with_help(&mut self, span: Option<Span>, message: impl Into<String>, help: impl Into<String>) {
        self.found.push(Problem { span, message: message.into(), help: help.into() });
    }

    /// Takes the problems of a text that stands at `place`.
    pub fn take_over(&mut self, other: Problems<'_>, place: &Span) {
        let found = other.found.into_iter();
        self.found.extend(found.map(|problem| Problem { span: Some(place.clone()), ..problem }));
    }

    /// Something that the operator should know and that stops nothing.
    pub fn warn(&mut self, span: Option<Span>, message: impl Into<String>) {
        let place = span.map_or_else(|| self.source.name.clone(), |span| self.source.name_of(&span));
        self.warnings.push(Warning(format!("{place}: {}", message.into())));
    }

    /// Where `span` begins, beside the name of the file: `line 3`, or what else sets it.
    pub fn place_of(&self, span: &Span) -> String {
        match span {
            Span::File(start, _) => format!("line {}", self.source.place(*start).0),
            Span::Variable(name) => name.to_string(),
            Span::Flag(name) => (*name).into(),
        }
    }

    /// The lines that make the node listen on this machine only; `key` is one of `http_server`.
    pub fn listen_on_loopback(&self, key: &str) -> String {
        let lines = match self.source.format {
            _ if self.source.name == NO_FILE => format!("    FANFARE_HTTP_SERVER_{}=127.0.0.1", key.to_uppercase()),
            Format::Toml => format!("    [http_server]\n    {key} = \"127.0.0.1\""),
            Format::Yaml => format!("    http_server:\n      {key}: \"127.0.0.1\""),
            Format::Json => format!("    \"http_server\": {{ \"{key}\": \"127.0.0.1\" }}"),
        };
        format!("listen on this machine only:\n{lines}\nor start with --allow-insecure")
    }

    /// The warnings, or all problems in the order of the file if there are any.
    pub fn into_result(mut self) -> Result<Vec<Warning>, ConfigError> {
        if self.found.is_empty() {
            return Ok(self.warnings);
        }
        // What is missing has no place, and comes last.
        self.found.sort_by(|one, other| (one.span.is_none(), &one.span).cmp(&(other.span.is_none(), &other.span)));
        Err(ConfigError { problems: self.found.iter().map(|problem| self.render(problem)).collect() })
    }

    fn render(&self, problem: &Problem) -> String {
        let Source { name, .. } = self.source;
        let Problem { span, message, help } = problem;
        let mut text = match span {
            Some(Span::File(start, end)) => {
                let (line, column) = self.source.place(*start);
                format!("{name}:{line}:{column}: {message}{}", self.source.excerpt(*start, *end))
            }
            Some(span) => format!("{}: {message}", self.source.name_of(span)),
            None => format!("{name}: {message}"),
        };
        if !help.is_empty() {
            text = format!("{text}\n{help}");
        }
        text
    }
}

/// Why there are no options. Shows every problem with its place and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<String>,
}

impl ConfigError {
    /// A problem outside of any file.
    pub fn new(problem: impl Into<String>) -> ConfigError {
        ConfigError { problems: vec![problem.into()] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// What an operator should know about a configuration that is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(pub String);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { name: "a.toml".into(), text: text.into(), format: Format::Toml }
    }

    fn check_excerpt(text: &str, marked: &str, expected: &str) {
        let start = text.find(marked).expect("the marked part is in the text");
        assert_eq!(source(text).excerpt(start, start + marked.len()), expected, "{text}");
    }

    #[test]
    fn columns_are_counted_in_characters() {
        let text = "a\nåß = 1\r\n";
        assert_eq!(source(text).place(0), (1, 1));
        assert_eq!(source(text).place(text.find('1').expect("it is there")), (2, 6));
        assert_eq!(source(text).place(3), (2, 1), "inside of a character");
        assert_eq!(source(text).place(99), (3, 1), "behind the end");
        check_excerpt(text, "ß = 1", "\n  |\n2 | åß = 1\n  |  ^^^^^");
    }

    #[test]
    fn what_spans_lines_is_marked_in_its_first() {
        check_excerpt("a = [1,\n2]", "[1,\n2]", "\n  |\n1 | a = [1,\n  |     ^^^");
    }

    #[test]
    fn long_lines_and_secrets_are_not_shown() {
        check_excerpt(&format!("a = \"{}\"", "x".repeat(120)), "a", "");
        check_excerpt("Password = 1", "1", "");
        check_excerpt("dns = \"postgres://user:word@host\"", "dns", "");
    }

    #[test]
    fn formats_go_by_the_end_of_the_name() {
        assert_eq!(Format::of("/etc/fanfare.d/hub.toml"), Some(Format::Toml));
        assert_eq!(Format::of("config.json"), Some(Format::Json));
        assert_eq!(Format::of("toml"), None);
        assert_eq!(Format::of("config.yaml"), Some(Format::Yaml));
        assert_eq!(Format::of("config.yml"), Some(Format::Yaml));
        assert_eq!(Format::of("config.ini"), None);
    }
}
