//! What the hub says unasked.

use super::{ClientInfo, DisconnectCode, Epoch, Publication, UnsubscribeCode};

/// One push, borrowed: it is encoded at once and shared as bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Push<'a> {
    /// `epoch` is given with the first publication of a stream (offset 1).
    Publication {
        channel: &'a str,
        publication: &'a Publication,
        epoch: Option<Epoch>,
    },
    Join {
        channel: &'a str,
        info: &'a ClientInfo,
    },
    Leave {
        channel: &'a str,
        info: &'a ClientInfo,
    },
    Unsubscribe {
        channel: &'a str,
        code: UnsubscribeCode,
    },
    /// Only for transports without close codes.
    Disconnect {
        code: DisconnectCode,
    },
}
