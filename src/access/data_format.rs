//! `publication_data_format`: what may be published in a namespace.

use serde::de::IgnoredAny;

use crate::model::DataShape;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataFormat {
    /// Anything but nothing.
    #[default]
    NotEmpty,
    /// A JSON value.
    Json,
    JsonObject,
    /// Anything, also nothing.
    Binary,
}

impl DataFormat {
    /// The values of the option; the empty one stands for the node's.
    pub const NAMES: &[&str] = &["", "json", "json_object", "binary"];

    /// `None` for the empty name.
    pub fn parse(name: &str) -> Option<DataFormat> {
        Some(match name {
            "json" => DataFormat::Json,
            "json_object" => DataFormat::JsonObject,
            "binary" => DataFormat::Binary,
            _ => return None,
        })
    }

    /// Whether data has to be read to know whether it may be published.
    pub fn is_json(self) -> bool {
        matches!(self, DataFormat::Json | DataFormat::JsonObject)
    }

    /// Whether `data` may be published; looks at it if nobody has and it matters.
    pub fn admits(self, data: &[u8], shape: DataShape) -> bool {
        let shape = || if shape == DataShape::Unknown { shape_of(data) } else { shape };
        match self {
            DataFormat::NotEmpty => !data.is_empty(),
            DataFormat::Binary => true,
            DataFormat::Json => shape() != DataShape::Bytes,
            DataFormat::JsonObject => shape() == DataShape::Object,
        }
    }
}

/// Reads all of `data`: 1 ns a byte.
pub fn shape_of(data: &[u8]) -> DataShape {
    let text = str::from_utf8(data).ok();
    match text.is_some_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok()) {
        true => DataShape::of_json(data),
        false => DataShape::Bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(data: &[u8], shape: DataShape, admitted: [bool; 4]) {
        assert_eq!(shape_of(data), shape);
        let formats = [DataFormat::NotEmpty, DataFormat::Json, DataFormat::JsonObject, DataFormat::Binary];
        for shape in [DataShape::Unknown, shape] {
            assert_eq!(formats.map(|format| format.admits(data, shape)), admitted, "{data:?} {shape:?}");
        }
    }

    #[test]
    fn formats_admit_what_they_say() {
        check(b"", DataShape::Bytes, [false, false, false, true]);
        check(b" ", DataShape::Bytes, [true, false, false, true]);
        check(b"{\"a\":[1,{}]}", DataShape::Object, [true, true, true, true]);
        check(b" \n{}", DataShape::Object, [true, true, true, true]);
        check(b"null", DataShape::Value, [true, true, false, true]);
        check(b"[1]", DataShape::Value, [true, true, false, true]);
        check(b"{\"a\":1} x", DataShape::Bytes, [true, false, false, true]);
        check(b"{", DataShape::Bytes, [true, false, false, true]);
        check(b"\"\xff\"", DataShape::Bytes, [true, false, false, true]);
        check(b"\x00\x01", DataShape::Bytes, [true, false, false, true]);
    }

    #[test]
    fn names_are_centrifugos() {
        assert_eq!(DataFormat::parse(""), None);
        let parsed: Vec<_> = DataFormat::NAMES.iter().filter_map(|name| DataFormat::parse(name)).collect();
        assert_eq!(parsed, [DataFormat::Json, DataFormat::JsonObject, DataFormat::Binary]);
    }

    #[test]
    fn deep_nesting_is_read_without_recursion() {
        let deep = [vec![b'['; 1 << 20], vec![b']'; 1 << 20]].concat();
        assert_eq!(shape_of(&deep), DataShape::Value);
    }
}
