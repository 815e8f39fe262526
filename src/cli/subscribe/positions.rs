//! Where a reader stands in its channels, to go on from there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

#[derive(Default)]
pub struct Positions {
    /// Of channels that can be recovered.
    by_channel: BTreeMap<String, Position>,
    /// Channels that the server has put the reader into.
    served: BTreeSet<String>,
}

struct Position {
    epoch: String,
    offset: u64,
}

impl Positions {
    /// The server has subscribed the reader to `channel`.
    pub fn serve(&mut self, channel: &str) {
        self.served.insert(channel.to_owned());
    }

    /// A subscription begins as `result` says.
    pub fn stand(&mut self, channel: &str, result: &Value) {
        if result["recoverable"] != true {
            self.by_channel.remove(channel);
            return;
        }
        let epoch = result["epoch"].as_str().unwrap_or_default().to_owned();
        let offset = result["offset"].as_u64().unwrap_or_default();
        self.by_channel.insert(channel.to_owned(), Position { epoch, offset });
    }

    /// The publication at `offset` has come.
    pub fn step(&mut self, channel: &str, offset: u64) {
        if let Some(position) = self.by_channel.get_mut(channel) {
            position.offset = offset;
        }
    }

    /// The reader is in `channel` no more.
    pub fn forget(&mut self, channel: &str) {
        self.by_channel.remove(channel);
        self.served.remove(channel);
    }

    /// Fields of a request to go on in `channel`; none where nothing is known.
    pub fn recovery(&self, channel: &str) -> Map<String, Value> {
        let mut fields = Map::new();
        if let Some(Position { epoch, offset }) = self.by_channel.get(channel) {
            fields.insert("recover".into(), json!(true));
            fields.insert("epoch".into(), json!(epoch));
            fields.insert("offset".into(), json!(offset));
        }
        fields
    }

    /// The same for all channels of the server, as a connect command has them.
    pub fn served(&self) -> Map<String, Value> {
        self.served.iter().map(|channel| (channel.clone(), Value::Object(self.recovery(channel)))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_goes_on_where_it_was() {
        let mut positions = Positions::default();
        assert!(positions.recovery("a").is_empty());
        positions.stand("a", &json!({ "recoverable": true, "epoch": "e" }));
        positions.stand("b", &json!({ "positioned": true, "epoch": "e", "offset": 3 }));
        positions.step("a", 7);
        positions.step("b", 4);
        let expected = json!({ "recover": true, "epoch": "e", "offset": 7 });
        assert_eq!(Value::Object(positions.recovery("a")), expected);
        assert!(positions.recovery("b").is_empty(), "it keeps no position to go on from");
        positions.serve("a");
        assert_eq!(Value::Object(positions.served()), json!({ "a": expected }));
        positions.forget("a");
        assert!(positions.served().is_empty() && positions.recovery("a").is_empty());
    }
}
