//! What a command is once its format is read: a request, a pong, or nothing of the protocol.

use crate::model::{Command, Request};
use crate::protocol::{Incoming, Malformed};

/// The requests that one command carries. A well-behaved client sets one.
pub struct Requests {
    pub connect: Option<Request>,
    pub subscribe: Option<Request>,
    pub unsubscribe: Option<Request>,
    pub publish: Option<Request>,
    pub presence: Option<Request>,
    pub presence_stats: Option<Request>,
    pub history: Option<Request>,
    pub ping: Option<Request>,
    pub send: Option<Request>,
    pub rpc: Option<Request>,
    pub refresh: Option<Request>,
    pub sub_refresh: Option<Request>,
}

impl Requests {
    /// The request that counts when there are several, in the order in which Centrifugo looks for
    /// them. Source: protocol page, section 2.2.
    fn first(self) -> Option<Request> {
        self.connect
            .or(self.ping)
            .or(self.subscribe)
            .or(self.unsubscribe)
            .or(self.publish)
            .or(self.presence)
            .or(self.presence_stats)
            .or(self.history)
            .or(self.rpc)
            .or(self.send)
            .or(self.refresh)
            .or(self.sub_refresh)
    }

    /// Applies the rules of ids: only `send` may go without one, and a command with neither id nor
    /// request is a pong.
    pub fn with_id(self, id: u32) -> Result<Incoming, Malformed> {
        match (id, self.first()) {
            (0, None) => Ok(Incoming::Pong),
            (_, None) => Err(Malformed::bad_request("a command without a known request")),
            (0, Some(request)) if !matches!(request, Request::Send { .. }) => {
                Err(Malformed::bad_request("a request without an id"))
            }
            (id, Some(request)) => Ok(Incoming::Command(Command { id, request })),
        }
    }
}
