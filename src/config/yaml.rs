//! YAML to the tree of `document.rs`, event by event.
//!
//! The core schema of YAML 1.2: `yes` and `off` are texts there. Aliases are refused, because a few
//! lines of them can stand for more than a machine's memory.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::document::{DEPTH_MAX, Entry, Item, Table, Value};
use super::source::{Problems, Span};

/// Reads the tree. Broken syntax is added to `problems`, and the tree is empty then.
pub fn parse(text: &str, problems: &mut Problems<'_>) -> Table {
    let offsets = Offsets::of(text);
    let mut tree = Tree { open: Vec::new(), root: None, problems };
    for event in Parser::new_from_str(text) {
        let is_read = match event {
            Ok((event, span)) => tree.take(event, offsets.span(span.start, span.end)),
            Err(error) => tree.refuse(offsets.span(*error.marker(), *error.marker()), error.info()),
        };
        if is_read.is_none() {
            return Table::new();
        }
    }
    match tree.root {
        Some(Item { value: Value::Table(table), .. }) => table,
        None | Some(Item { value: Value::Null, .. }) => Table::new(),
        Some(Item { span, .. }) => {
            problems.add(Some(span), "a configuration is a mapping: key: value");
            Table::new()
        }
    }
}

/// The parser counts characters, and the rest of us bytes.
struct Offsets {
    of_characters: Vec<usize>,
    end: usize,
}

impl Offsets {
    fn of(text: &str) -> Offsets {
        Offsets { of_characters: text.char_indices().map(|(offset, _)| offset).collect(), end: text.len() }
    }

    fn span(&self, start: Marker, end: Marker) -> Span {
        let offset = |marker: Marker| self.of_characters.get(marker.index()).copied().unwrap_or(self.end);
        Span::File(offset(start), offset(end))
    }
}

/// What has been read, and the collections that have not ended.
struct Tree<'p, 's> {
    open: Vec<Open>,
    root: Option<Item>,
    problems: &'p mut Problems<'s>,
}

struct Open {
    start: Span,
    collection: Collection,
}

enum Collection {
    List(Vec<Item>),
    /// With the key whose value comes next.
    Table(Table, Option<(String, Span)>),
}

impl Tree<'_, '_> {
    /// `None` when what follows can't be read.
    fn take(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Some(()),
            Event::DocumentStart(_) if self.root.is_some() => self.refuse(span, "a configuration is one document"),
            Event::DocumentStart(_) => Some(()),
            Event::Alias(_) => self.refuse(span, "aliases are not read: write the value where it belongs"),
            Event::Scalar(text, style, _, tag) => {
                let value = scalar(&text, style, tag.as_deref());
                let Some(value) = value else { return self.refuse(span, "this tag is not read") };
                self.add(Item { span, value }, &text)
            }
            Event::SequenceStart(..) => self.begin(span, Collection::List(Vec::new())),
            Event::MappingStart(..) => self.begin(span, Collection::Table(Table::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => {
                let Open { start, collection } = self.open.pop().expect("what ends has begun");
                let value = match collection {
                    Collection::List(items) => Value::List(items),
                    Collection::Table(table, _) => Value::Table(table),
                };
                self.add(Item { span: start, value }, "")
            }
        }
    }

    fn begin(&mut self, start: Span, collection: Collection) -> Option<()> {
        if self.open.len() == DEPTH_MAX {
            return self.refuse(start, "this is nested too deeply");
        }
        self.open.push(Open { start, collection });
        Some(())
    }

    /// `text` is what a scalar is written as: numbers are keys too.
    fn add(&mut self, item: Item, text: &str) -> Option<()> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(item);
            return Some(());
        };
        match &mut open.collection {
            Collection::List(items) => items.push(item),
            Collection::Table(table, key) => match key.take() {
                Some((key, key_span)) => table.push(Entry { key, key_span, span: item.span, value: item.value }),
                None if matches!(item.value, Value::List(_) | Value::Table(_)) => {
                    return self.refuse(item.span, "a key is a text");
                }
                None => {
                    if table.iter().any(|entry| entry.key == text) {
                        self.problems.add(Some(item.span.clone()), format!("the key {text} stands here twice"));
                    }
                    *key = Some((text.into(), item.span));
                }
            },
        }
        Some(())
    }

    fn refuse(&mut self, span: Span, message: &str) -> Option<()> {
        self.problems.add(Some(span), message);
        None
    }
}

/// The value of a scalar by the core schema; `None` for tags of others.
///
/// Source: YAML 1.2.2, section 10.3.2.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Option<Value> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => return Some(Value::Text(text.into())),
        // `!` alone says that it is a text, too.
        Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => return Some(Value::Text(text.into())),
        Some(_) => return None,
        None if style != ScalarStyle::Plain => return Some(Value::Text(text.into())),
        None => {}
    }
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Flag(true),
        "false" | "False" | "FALSE" => Value::Flag(false),
        _ => number(text).unwrap_or_else(|| Value::Text(text.into())),
    })
}

fn number(text: &str) -> Option<Value> {
    let whole = |digits: &str, radix| {
        let is_whole = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
        is_whole
            .then(|| i64::from_str_radix(digits, radix).map_or(Value::Other("a number beyond 64 bits"), Value::Whole))
    };
    if let Some(digits) = text.strip_prefix("0x") {
        return whole(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return whole(digits, 8);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    match whole(unsigned, 10) {
        // With its sign: the least number has no positive counterpart.
        Some(_) => Some(text.parse().map_or(Value::Other("a number beyond 64 bits"), Value::Whole)),
        None => is_fraction(unsigned).then_some(Value::Other("a number with a fraction")),
    }
}

/// `1.5`, `.5`, `1e3`, `.inf`, `.nan`; not `1.2.3` or `25s`.
fn is_fraction(unsigned: &str) -> bool {
    let of_digits = unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    let is_named = matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN");
    is_named || (of_digits && unsigned.parse::<f64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::super::document::find;
    use super::super::source::{Format, Source};
    use super::*;

    fn read(text: &str) -> Result<Table, String> {
        let source = Source { name: "a.yaml".into(), text: text.into(), format: Format::Yaml };
        let mut problems = Problems::new(&source);
        let table = parse(text, &mut problems);
        problems.into_result().map(|_| table).map_err(|error| error.to_string())
    }

    fn check(value: &str, expected: Value) {
        let table = read(&format!("a: {value}\n")).expect("the text is right");
        assert_eq!(find(&table, "a").expect("the key is there").value, expected, "{value}");
    }

    #[test]
    fn scalars_are_of_the_core_schema() {
        let text = |text: &str| Value::Text(text.into());
        check("true", Value::Flag(true));
        check("yes", text("yes"));
        check("off", text("off"));
        check("8000", Value::Whole(8000));
        check("-1", Value::Whole(-1));
        check("0x10", Value::Whole(16));
        check("9223372036854775808", Value::Other("a number beyond 64 bits"));
        check("1.5", Value::Other("a number with a fraction"));
        check("25s", text("25s"));
        check("1.2.3", text("1.2.3"));
        check("\"8000\"", text("8000"));
        check("!!str 8000", text("8000"));
        check("", Value::Null);
        check("~", Value::Null);
        check("|\n  one\n  two\n", text("one\ntwo\n"));
        check("[]", Value::List(Vec::new()));
        check("{}", Value::Table(Table::new()));
    }

    #[test]
    fn keys_and_values_know_their_places() {
        let table = read("# å\nclient:\n  token: {hmac_secret_key: abc}\n").expect("the text is right");
        let client = find(&table, "client").expect("it is there");
        assert_eq!(client.key_span, Span::File(5, 11), "bytes, not characters");
        let Value::Table(client) = &client.value else { panic!("a table") };
        let Value::Table(token) = &client[0].value else { panic!("a table") };
        assert_eq!((&token[0].key_span, &token[0].span), (&Span::File(23, 38), &Span::File(40, 43)));
    }

    #[test]
    fn what_can_not_be_read_is_refused() {
        let refused = |text: &str, expected: &str| {
            let error = read(text).expect_err(text);
            assert_eq!(error.lines().next(), Some(expected), "{text}");
        };
        refused("a: &x 1\nb: *x\n", "a.yaml:2:4: aliases are not read: write the value where it belongs");
        refused("a: 1\n---\nb: 2\n", "a.yaml:2:1: a configuration is one document");
        refused("a: 1\na: 2\n", "a.yaml:2:1: the key a stands here twice");
        refused("[a]: 1\n", "a.yaml:1:1: a key is a text");
        refused("- 1\n", "a.yaml:1:1: a configuration is a mapping: key: value");
        refused("a: !mine 1\n", "a.yaml:1:4: this tag is not read");
        refused(&format!("a: {}", "[".repeat(100)), "a.yaml:1:35: this is nested too deeply");
        for broken in ["a: [1\n", "a: \"\n", "a: 1\n b: 2\n"] {
            assert!(read(broken).is_err(), "{broken}");
        }
    }
}
