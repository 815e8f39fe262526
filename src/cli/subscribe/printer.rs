//! What a reader prints.

use std::io::{self, Write};

use serde_json::Value;

use super::Next;
use crate::cli::Failure;
use crate::config::Output;

/// Where pushes go.
pub struct Printer {
    output: Output,
    /// Publications until the end; `None`: for ever.
    left: Option<u64>,
}

impl Printer {
    pub fn new(output: Output, count: Option<u64>) -> Printer {
        Printer { output, left: count }
    }

    pub fn print(&mut self, push: &Value) -> Result<Next, Failure> {
        let publication = push.get("pub");
        match (self.output, publication) {
            (Output::Json, _) => say(&push.to_string())?,
            (Output::Text, Some(publication)) => {
                say(&format!("{} {}", push["channel"].as_str().unwrap_or_default(), publication["data"]))?;
            }
            // Joins, leaves and the like are no lines of data.
            (Output::Text, None) => eprintln!("fanfare: {push}"),
        }
        if publication.is_some()
            && let Some(left) = &mut self.left
        {
            *left -= 1;
            if *left == 0 {
                return Ok(Next::Break(()));
            }
        }
        Ok(Next::Continue(()))
    }
}

/// Errors: whoever reads has gone, which is how `| head -1` ends a command.
fn say(line: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{line}").map_err(|error| Failure::failed(format!("standard output: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn publications_are_counted_and_nothing_else_is() {
        let mut printer = Printer::new(Output::Json, Some(2));
        let mut print = |push: Value| printer.print(&push).expect("standard output is open");
        assert!(print(json!({ "channel": "a", "pub": { "data": 1 } })).is_continue());
        assert!(print(json!({ "channel": "a", "join": {} })).is_continue());
        assert!(print(json!({ "channel": "a", "pub": { "data": 2 } })).is_break());
    }
}
