//! The words: plain data that every folder shares.
//!
//! Invariants: nothing here has behaviour beyond parsing and naming; nothing here knows a wire
//! format, a socket or a clock. Codes stand in one table (`codes.rs`) and nowhere else.
//! Must never touch any other folder. Read `command.rs` first, then `reply.rs`.

mod channel;
mod client;
mod codes;
mod command;
mod encoding;
mod frames;
mod ids;
mod publication;
mod push;
mod reply;
mod time;
mod user_sketch;

pub use channel::{ChannelName, ChannelNameTooLong, Homes, UserHash};
pub use client::{ClientId, ClientInfo};
pub use codes::{DisconnectCode, ErrorCode, UnsubscribeCode};
pub use command::{
    Command, CommandKind, ConnectRequest, HistoryRequest, Request, Since, SubscribeRequest, SubscriptionType,
};
pub use encoding::{Encoding, EncodingSet, Format, WindowBits};
pub use frames::{Frames, Given, Variant};
pub use ids::{ConnectionId, EngineIndex, ShardId};
pub use publication::{DataShape, Epoch, Position, Publication, Tags, Version};
pub use push::Push;
pub use reply::{ConnectResult, HistoryResult, Outcome, PresenceStats, Reply, SubscribeResult};
pub use time::Now;
pub use user_sketch::UserSketch;
