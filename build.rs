//! Compiles the schemas of `proto/` without a `protoc` binary.

use std::error::Error;

const SCHEMAS: &[&str] = &["proto/client.proto", "proto/nats.proto", "proto/node.proto", "proto/record.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for schema in SCHEMAS {
        println!("cargo::rerun-if-changed={schema}");
    }
    prost_build::Config::new()
        // Payloads are shared, not copied, between the messages that carry them.
        .bytes(["."])
        // Sorted maps: the same message always gives the same bytes.
        .btree_map(["."])
        // The schema's comments are for readers of the schema; rustdoc would take them for Markdown.
        .disable_comments(["."])
        .compile_fds(protox::compile(SCHEMAS, ["proto"])?)?;
    Ok(())
}
