//! What is expected against what came: JSON with placeholders.

use std::collections::BTreeMap;

use serde_json::Value;

/// Values that names stand for.
#[derive(Default)]
pub struct Names {
    values: BTreeMap<String, Value>,
    /// Seconds that may have passed in the world since a token was made: its `ttl` is less by them.
    pub passed_max: u64,
}

impl Names {
    pub fn set(&mut self, name: &str, value: Value) {
        self.values.insert(name.into(), value);
    }

    /// Puts the values of known names into a line that is sent: texts in place, others without the
    /// quotes around their name.
    pub fn fill(&self, line: &str) -> String {
        // Longer names first: `$alice` is not `$al` and "ice".
        let mut names: Vec<_> = self.values.iter().collect();
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        names.into_iter().fold(line.to_owned(), |line, (name, value)| match value {
            Value::String(text) => line.replace(&format!("${name}"), text),
            value => line.replace(&format!("\"${name}\""), &value.to_string()),
        })
    }

    /// Whether `came` is what `expected` says. A name that stands for nothing yet stands for what came
    /// in its place from now on.
    pub fn accept(&mut self, expected: &Value, came: &Value) -> bool {
        match (expected, came) {
            (Value::String(pattern), _) if pattern == "*" => true,
            (Value::String(pattern), _) if pattern.starts_with('$') => {
                let known = self.values.entry(pattern[1..].into()).or_insert_with(|| came.clone());
                known == came
            }
            (Value::Object(expected), Value::Object(came)) => {
                expected.len() == came.len()
                    && expected.iter().all(|(key, expected)| {
                        came.get(&self.fill(key)).is_some_and(|came| match (expected.as_u64(), came.as_u64()) {
                            (Some(expected), Some(came)) if key == "ttl" => {
                                (expected.saturating_sub(self.passed_max)..=expected).contains(&came)
                            }
                            _ => self.accept(expected, came),
                        })
                    })
            }
            (Value::Array(expected), Value::Array(came)) => {
                expected.len() == came.len()
                    && expected.iter().zip(came).all(|(expected, came)| self.accept(expected, came))
            }
            _ => expected == came,
        }
    }
}
