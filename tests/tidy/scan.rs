//! Reads Rust text just well enough to check it: blanks comments and literals, finds paths.

/// One source file, split in lines.
pub struct Source {
    /// From the root of the repository, with `/`.
    pub path: String,
    pub text: String,
    /// The text with comments and the insides of literals blanked; lines as in `text`.
    pub code: String,
    /// For each line, whether it belongs to test code.
    test_lines: Vec<bool>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let code = blank_comments_and_literals(text);
        let whole = path.starts_with("tests/") || path.ends_with("/tests.rs") || path.ends_with("_tests.rs");
        let whole = whole || path.contains("/tests/");
        let test_lines = if whole { vec![true; code.lines().count()] } else { find_test_lines(&code) };
        Source { path: path.to_owned(), text: text.to_owned(), code, test_lines }
    }

    /// Lines of code, numbered from 1.
    pub fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    pub fn is_test_line(&self, line: usize) -> bool {
        self.test_lines.get(line - 1).copied().unwrap_or(false)
    }

    /// The line of a byte of `code`, from 1.
    fn line_of(&self, byte: usize) -> usize {
        self.code[..byte].bytes().filter(|byte| *byte == b'\n').count() + 1
    }

    /// Every path that starts with `root::`, with nested groups taken apart:
    /// `use crate::{model::{Now, Push}, ws}` gives `model::Now`, `model::Push` and `ws`.
    pub fn paths_from(&self, root: &str) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for start in word_starts(&self.code, root) {
            let after = start + root.len();
            if !self.code[after..].starts_with("::") || self.code[..start].ends_with("::") {
                continue;
            }
            let line = self.line_of(start);
            let mut rest = &self.code[after + 2..];
            found.extend(take_path(&mut rest, "").into_iter().map(|path| (line, path)));
        }
        found
    }

    /// Lines that name the outside crate `name` at the start of a path.
    pub fn uses_of_crate(&self, name: &str) -> Vec<usize> {
        let starts = word_starts(&self.code, name).into_iter();
        let uses = starts.filter(|&start| {
            let before = self.code[..start].trim_end();
            let after = self.code[start + name.len()..].trim_start();
            let is_path = after.starts_with("::");
            let is_import = before.ends_with("use") && (after.starts_with(';') || after.starts_with("as "));
            let follows_path = before.ends_with("::") && !before.ends_with(" ::");
            (is_path || is_import) && !follows_path
        });
        uses.map(|start| self.line_of(start)).collect()
    }
}

/// Where `word` stands on its own, not inside a longer identifier.
fn word_starts(code: &str, word: &str) -> Vec<usize> {
    let is_inside = |c: char| c.is_alphanumeric() || c == '_';
    let alone = |&(start, _): &(usize, &str)| {
        !code[..start].ends_with(is_inside) && !code[start + word.len()..].starts_with(is_inside)
    };
    code.match_indices(word).filter(alone).map(|(start, _)| start).collect()
}

/// Whether `line` holds `needle` and not as the part of a longer identifier.
pub fn has_word(line: &str, needle: &str) -> bool {
    let is_inside = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(needle).any(|(start, _)| {
        let before = !needle.starts_with(is_inside) || !line[..start].ends_with(is_inside);
        let end = start + needle.len();
        let after = !needle.ends_with(|c: char| c.is_alphanumeric()) || !line[end..].starts_with(is_inside);
        before && after
    })
}

/// Reads the path or the `{group}` at the start of `rest`, and moves past it.
fn take_path(rest: &mut &str, prefix: &str) -> Vec<String> {
    *rest = rest.trim_start();
    if let Some(inner) = rest.strip_prefix('{') {
        *rest = inner;
        let mut found = Vec::new();
        loop {
            *rest = rest.trim_start();
            match rest.chars().next() {
                None => return found,
                Some('}') => {
                    *rest = &rest[1..];
                    return found;
                }
                Some(',') => *rest = &rest[1..],
                Some(_) => {
                    let before = rest.len();
                    found.extend(take_path(rest, prefix));
                    // `as name`, a lone `*`: step over what is no path.
                    if rest.len() == before {
                        *rest = &rest[rest.chars().next().map_or(0, char::len_utf8)..];
                    }
                }
            }
        }
    }
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    let segment = &rest[..end];
    if segment.is_empty() {
        return Vec::new();
    }
    let path = if prefix.is_empty() { segment.to_owned() } else { format!("{prefix}::{segment}") };
    *rest = &rest[end..];
    match rest.trim_start().strip_prefix("::") {
        Some(deeper) => {
            *rest = deeper;
            let found = take_path(rest, &path);
            if found.is_empty() { vec![path] } else { found }
        }
        None => vec![path],
    }
}

/// Marks the items that follow `#[cfg(test)]` (or `#[cfg(all(test, …))]`), to their closing brace
/// in the first column or their `;`.
fn find_test_lines(code: &str) -> Vec<bool> {
    let mut marks = Vec::new();
    let mut inside = false;
    for line in code.lines() {
        let opens = line.trim_start().starts_with("#[cfg(") && has_word(line, "test");
        inside |= opens;
        marks.push(inside);
        let ends_item = line == "}" || line.starts_with("};") || (line.ends_with(';') && !line.starts_with(' '));
        if inside && !opens && ends_item {
            inside = false;
        }
    }
    marks
}

/// Blanks comments and what stands inside string and character literals, keeping every newline.
fn blank_comments_and_literals(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let length = match next {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment_length(rest),
            '"' => quoted_length(rest),
            'r' if !out.ends_with(|c: char| c.is_alphanumeric() || c == '_') => raw_string_length(rest),
            '\'' => char_literal_length(rest),
            _ => 0,
        };
        if length == 0 {
            out.push(next);
            rest = &rest[next.len_utf8()..];
        } else {
            out.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    out
}

fn block_comment_length(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn quoted_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of `r"…"` or `r#"…"#`; 0 when `text` starts an identifier instead.
fn raw_string_length(text: &str) -> usize {
    let hashes = text[1..].bytes().take_while(|byte| *byte == b'#').count();
    if !text[1 + hashes..].starts_with('"') {
        return 0;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    text[body..].find(&close).map_or(text.len(), |at| body + at + close.len())
}

/// Length of `'x'` or `'\n'`; 0 for a lifetime.
fn char_literal_length(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            chars.next();
            chars.find(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1)
        }
        Some((_, c)) if c != '\'' => chars.next().filter(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1),
        _ => 0,
    }
}
