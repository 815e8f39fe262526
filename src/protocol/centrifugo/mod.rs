//! Centrifugo's client protocol, in its two formats.
//!
//! The schema is `proto/client.proto`: its field names are the JSON keys, its field numbers the
//! Protobuf ones. What both formats share in reading stands in `envelope.rs`.

mod envelope;
pub(super) mod json;
pub(super) mod protobuf;
mod said;

/// The messages of the schema, for programs that speak to the hub.
pub use protobuf::schema;

#[cfg(test)]
mod tests;
