//! Who listens, pure: the room at its home, the audience on each shard.
//!
//! A channel has one [`Room`] (at its home shard: which shards listen, which encodings they read)
//! and one [`Audience`] on each shard that has subscribers (who they are, what they still have to be
//! given). While workers encode a channel's publications, what follows them waits in a [`Line`].
//!
//! Invariants: deliveries of an audience are given in the order they came, each at most once to each
//! member, and only those that came after the member joined. Must never touch ws, protocol, engine
//! or a clock. Read `audience.rs` first.

mod audience;
mod delivery;
mod home;
mod joined;
mod release;
mod slice;

pub use audience::{Audience, Full, Member, MemberIndex, Step};
pub use delivery::{Delivery, DeliveryKind};
pub use home::{Base, Listener, Room};
pub use joined::{Counts, JoinFrames};
pub use release::Line;
pub use slice::Slice;
