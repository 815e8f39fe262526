//! Who may do what, pure: namespaces and their options, permissions, tokens.
//!
//! Invariants: a decision is a function of options, claims and `now`; nothing here keeps state.
//! Must never touch ws, protocol, engine or a clock. Read `namespaces.rs` first.

mod data_format;
mod flush;
mod glob;
mod grant;
mod namespaces;
mod pattern;
mod permissions;
mod tokens;

pub use data_format::{DataFormat, shape_of};
pub use flush::{Flush, FlushWindow};
pub use glob::{ChannelGlob, NotAGlob};
pub use grant::{Grant, Overrides};
pub use namespaces::{
    ChannelOptions, ForbiddenName, NameSays, Namespaces, RecoveryMode, SlowConsumerPolicy, UnknownNamespace,
};
pub use pattern::{NamePattern, PatternProblem};
pub use permissions::{Asker, may_publish, may_read_history, may_read_presence, may_subscribe};
pub use tokens::{
    Algorithm, Claims, Endpoint, EndpointProblem, Expected, KeyProblem, KeyQuestion, KeySet, KeySetProblem, KeyUsed,
    Rules, Safety, SignProblem, SubscriptionClaims, TokenKeys, TokenProblem, TokenSigner, UserClaim, Weight,
};
