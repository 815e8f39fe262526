//! What operators decide about the port.

use std::time::Duration;

use hyper::header::HeaderName;

use crate::limits;

use super::AllowedOrigins;

/// The same for every shard of the node; shared, never changed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where sockets are opened; every other path is the control plane's.
    pub websocket_path: Box<str>,
    /// Where the echo of the tests is, if it is switched on.
    pub echo_path: Option<Box<str>>,
    pub allowed_origins: AllowedOrigins,
    /// The header in which whatever stands before the hub says who the user is.
    pub user_header: Option<HeaderName>,
    /// Clients that offer permessage-deflate get it; those of the echo always do.
    pub compression: bool,
    /// Sends go to the kernel in batches, where it takes them.
    pub io_uring: bool,
    /// How long a head may take to arrive, from the accept or the end of the request before it.
    pub head_timeout: Duration,
}

impl Default for Options {
    /// Centrifugo's path; no echo, and no page may connect.
    fn default() -> Options {
        Options {
            websocket_path: "/connection/websocket".into(),
            echo_path: None,
            allowed_origins: AllowedOrigins::default(),
            user_header: None,
            compression: false,
            io_uring: true,
            head_timeout: limits::HEAD_TIMEOUT,
        }
    }
}
