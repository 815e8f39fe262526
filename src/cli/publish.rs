//! `fanfare pub CHANNEL DATA`.

use serde_json::{Value, json};

use crate::config::{Output, PublishArguments};
use crate::limits::ANSWER_TIMEOUT;

use super::server::Server;
use super::{Failure, block_on, http, print_json, read_argument};

pub fn run(arguments: &PublishArguments) -> Result<(), Failure> {
    let PublishArguments { channel, data, server, key, output } = arguments;
    let server = Server::find_with_key(server, key)?;
    let request = json!({ "channel": channel, "data": read_data(data)? });
    // As long as the server itself waits for a shard, and then some for the way.
    let result = block_on(http::call(&server, "publish", &request, 2 * ANSWER_TIMEOUT))?;
    match (output.output, result.get("offset").and_then(Value::as_u64)) {
        (Output::Json, _) => print_json(&result),
        (Output::Text, Some(offset)) => println!("published to {channel}, offset {offset}"),
        (Output::Text, None) => println!("published to {channel}"),
    }
    Ok(())
}

fn read_data(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(&read_argument(text)?).map_err(|error| {
        Failure::usage(format!("DATA should be JSON ({error}): a text is written '\"text\"', an object '{{\"a\": 1}}'"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_json() {
        assert_eq!(read_data("{\"a\": 1}"), Ok(json!({ "a": 1 })));
        assert_eq!(read_data("\"hello\""), Ok(json!("hello")));
        let failure = read_data("hello").expect_err("no JSON");
        assert!(failure.to_string().contains("'\"text\"'"), "{failure}");
    }
}
