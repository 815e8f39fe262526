//! What the hub says unasked.

use super::{ClientInfo, DisconnectCode, Epoch, Publication, SubscribeResult, UnsubscribeCode};

/// One push, borrowed: it is encoded at once and shared as bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Push<'a> {
    /// `epoch` is given with the first publication of a stream (offset 1).
    Publication {
        channel: &'a str,
        publication: &'a Publication,
        epoch: Option<Epoch>,
    },
    /// The same for those who read deltas. `patch` is the difference from the publication before;
    /// `None`: all of it is said.
    DeltaPublication {
        channel: &'a str,
        publication: &'a Publication,
        epoch: Option<Epoch>,
        patch: Option<&'a [u8]>,
    },
    Join {
        channel: &'a str,
        info: &'a ClientInfo,
    },
    Leave {
        channel: &'a str,
        info: &'a ClientInfo,
    },
    /// The server has subscribed the client. Publications in the result are not said here: they follow as
    /// pushes of their own.
    Subscribe {
        channel: &'a str,
        result: &'a SubscribeResult,
    },
    Unsubscribe {
        channel: &'a str,
        code: UnsubscribeCode,
    },
    /// Until when the connection lasts now; `ttl` in seconds, `None` when it never expires.
    Refresh {
        ttl: Option<u32>,
    },
    /// Only for transports without close codes.
    Disconnect {
        code: DisconnectCode,
    },
}
