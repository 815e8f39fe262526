//! Writes JSON straight into a payload: no tree of values in between.

use std::fmt::Display;
use std::io::Write;

use serde::de::IgnoredAny;

use crate::protocol::Inappropriate;

/// One JSON object that is being written.
///
/// Fields with a zero value are left out, as the protocol wants it; the few that are always there
/// are written by the methods that begin with `always_`. Field names are the schema's and need no
/// escaping.
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl Object<'_> {
    /// Appends an object that has the fields which `fill` writes.
    pub fn write<R>(out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>) -> R) -> R {
        out.push(b'{');
        let result = fill(&mut Object { out, is_empty: true });
        out.push(b'}');
        result
    }

    /// A field that is an object itself, be it empty.
    pub fn object<R>(&mut self, field: &'static str, fill: impl FnOnce(&mut Object<'_>) -> R) -> R {
        self.field(field);
        Object::write(self.out, fill)
    }

    /// The same under a name that is not the schema's.
    pub fn object_at<R>(&mut self, name: impl Display, fill: impl FnOnce(&mut Object<'_>) -> R) -> R {
        self.comma();
        write_string(self.out, &name.to_string());
        self.out.push(b':');
        Object::write(self.out, fill)
    }

    /// A list of objects, be it empty; `fill` writes one of them. Ends at the first error.
    pub fn always_list<T, E>(
        &mut self,
        field: &'static str,
        items: impl IntoIterator<Item = T>,
        mut fill: impl FnMut(&mut Object<'_>, T) -> Result<(), E>,
    ) -> Result<(), E> {
        self.field(field);
        self.out.push(b'[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            Object::write(self.out, |object| fill(object, item))?;
        }
        self.out.push(b']');
        Ok(())
    }

    pub fn text(&mut self, field: &'static str, text: &str) {
        if !text.is_empty() {
            self.always_text(field, text);
        }
    }

    pub fn always_text(&mut self, field: &'static str, text: &str) {
        self.field(field);
        write_string(self.out, text);
    }

    /// A text under a name that is not the schema's.
    pub fn text_at(&mut self, name: &str, text: &str) {
        self.comma();
        write_string(self.out, name);
        self.out.push(b':');
        write_string(self.out, text);
    }

    pub fn number(&mut self, field: &'static str, number: u64) {
        if number != 0 {
            self.always_number(field, number);
        }
    }

    pub fn always_number(&mut self, field: &'static str, number: u64) {
        self.field(field);
        write!(self.out, "{number}").expect("a Vec takes every write");
    }

    pub fn truth(&mut self, field: &'static str, is_so: bool) {
        if is_so {
            self.field(field);
            self.out.extend_from_slice(b"true");
        }
    }

    /// A payload, embedded as the JSON value that it must be.
    pub fn data(&mut self, field: &'static str, data: &[u8]) -> Result<(), Inappropriate> {
        if data.is_empty() { Ok(()) } else { self.always_data(field, data) }
    }

    /// As `data`, but an empty payload is written as `null`.
    pub fn always_data(&mut self, field: &'static str, data: &[u8]) -> Result<(), Inappropriate> {
        self.field(field);
        if data.is_empty() {
            self.out.extend_from_slice(b"null");
            return Ok(());
        }
        embed(self.out, data)
    }

    /// A text that came as bytes, as a JSON string.
    pub fn always_quoted(&mut self, field: &'static str, text: &[u8]) -> Result<(), Inappropriate> {
        let text = str::from_utf8(text).map_err(|_| Inappropriate)?;
        self.field(field);
        quote(self.out, text);
        Ok(())
    }

    fn field(&mut self, field: &'static str) {
        self.comma();
        self.out.push(b'"');
        self.out.extend_from_slice(field.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn comma(&mut self) {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
    }
}

/// Appends `data` if it is one JSON value, without its line breaks: a line break would end the
/// reply. In valid JSON they stand between tokens only (RFC 8259 §7), so none is missed.
fn embed(out: &mut Vec<u8>, data: &[u8]) -> Result<(), Inappropriate> {
    check_value(data)?;
    let mut rest = data;
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
        let (piece, after) = rest.split_at(at);
        out.extend_from_slice(piece);
        rest = after.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// Whether `data` is one JSON value.
pub fn check_value(data: &[u8]) -> Result<(), Inappropriate> {
    let text = str::from_utf8(data).map_err(|_| Inappropriate)?;
    // Walks over the value without recursion, keeping nothing of it.
    serde_json::from_str::<IgnoredAny>(text).map(|_| ()).map_err(|_| Inappropriate)
}

/// Appends `text` as a JSON string, with the escapes that JSON asks for and no others: it is a payload,
/// and long. Source: RFC 8259 §7.
fn quote(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + text.len() / 8);
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, 0..=0x1f | b'"' | b'\\')) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        match special.first() {
            Some(b'\n') => out.extend_from_slice(b"\\n"),
            Some(byte @ (b'"' | b'\\')) => out.extend([b'\\', *byte]),
            Some(byte) => write!(out, "\\u{byte:04x}").expect("a Vec takes every write"),
            None => {}
        }
        rest = special.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Appends `text` as a JSON string. Besides what JSON asks for, it escapes what would mean
/// something to HTML or to old JavaScript: `<`, `>`, `&`, U+2028, U+2029.
fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text;
    while let Some((plain, special, after)) = split_at_special(rest) {
        out.extend_from_slice(plain.as_bytes());
        match special {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            other => write!(out, "\\u{:04x}", u32::from(other)).expect("a Vec takes every write"),
        }
        rest = after;
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

/// What stands before the first character that needs an escape, that character, and what follows.
fn split_at_special(text: &str) -> Option<(&str, char, &str)> {
    let mut from = 0;
    let at = loop {
        // By bytes: no byte of a longer character is one of these, but for the first of U+2028 and
        // U+2029, which has to be looked at.
        let suspect = |byte: &u8| matches!(byte, 0..=0x1f | b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2);
        let at = from + text.as_bytes().get(from..)?.iter().position(suspect)?;
        match text.get(at..)?.chars().next()? {
            '\0'..='\u{7f}' | '\u{2028}' | '\u{2029}' => break at,
            harmless => from = at + harmless.len_utf8(),
        }
    };
    let (plain, rest) = text.split_at(at);
    let mut characters = rest.chars();
    let special = characters.next()?;
    Some((plain, special, characters.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_string(text: &str, expected: &str) {
        let mut out = Vec::new();
        write_string(&mut out, text);
        assert_eq!(str::from_utf8(&out), Ok(expected));
        assert_eq!(serde_json::from_slice::<String>(&out).expect("a JSON string"), text);
    }

    #[test]
    fn strings_are_escaped() {
        check_string("", r#""""#);
        check_string("news:été 🎈", r#""news:été 🎈""#);
        check_string("a\"b\\c", r#""a\"b\\c""#);
        check_string("\n\r\t\u{0}\u{8}\u{1f}\u{7f}", "\"\\n\\r\\t\\u0000\\u0008\\u001f\u{7f}\"");
        check_string("<b>&</b>", r#""\u003cb\u003e\u0026\u003c/b\u003e""#);
        check_string("\u{2028}x\u{2029}", r#""\u2028x\u2029""#);
        check_string("“quoted” – \u{2027}\u{202a}\u{2028}", "\"“quoted” – \u{2027}\u{202a}\\u2028\"");
    }

    #[test]
    fn payloads_are_quoted_with_few_escapes() {
        let cases = [
            ("", r#""""#),
            ("{\"a\":\"b\\<é>\"}\n", r#""{\"a\":\"b\\<é>\"}\n""#),
            ("[\r\t\u{0}\u{1f}\u{7f}\u{2028}]", "\"[\\u000d\\u0009\\u0000\\u001f\u{7f}\u{2028}]\""),
        ];
        for (text, expected) in cases {
            let mut out = Vec::new();
            quote(&mut out, text);
            assert_eq!(str::from_utf8(&out), Ok(expected));
            assert_eq!(serde_json::from_slice::<String>(&out).expect("a JSON string"), text);
        }
    }

    fn check_embed(data: &[u8], expected: Result<&str, Inappropriate>) {
        let mut out = Vec::new();
        let result = embed(&mut out, data).map(|()| str::from_utf8(&out).expect("JSON is UTF-8"));
        assert_eq!(result, expected, "{:?}", String::from_utf8_lossy(data));
    }

    #[test]
    fn payloads_lose_their_line_breaks_only() {
        check_embed(b"{\r\n  \"a\": [1,\n 2]\n}\n", Ok(r#"{  "a": [1, 2]}"#));
        check_embed(br#" "two\nlines" "#, Ok(r#" "two\nlines" "#));
        check_embed(b"1e999", Ok("1e999"));
    }

    #[test]
    fn payloads_that_are_not_json_are_refused() {
        for data in [b"".as_slice(), b" ", b"{", b"tru", b"1 2", b"\"a\nb\"", b"\"\xff\"", b"\xef\xbb\xbf1", b"{'a':1}"]
        {
            check_embed(data, Err(Inappropriate));
        }
    }
}
