//! Every code that a client can be given, with its text: the one table.
//!
//! Source: protocol page, section 2.5.

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum $name { $($(#[$variant_doc])* $variant = $code,)* }

        impl $name {
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            pub fn code(self) -> u16 {
                self as u16
            }

            /// The text beside the code on the wire.
            pub fn text(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{} ({})", self.code(), self.text())
            }
        }
    };
}

codes! {
    /// Why a command failed. The connection goes on.
    ErrorCode {
        Internal = 100, "internal server error";
        Unauthorized = 101, "unauthorized";
        UnknownChannel = 102, "unknown channel";
        PermissionDenied = 103, "permission denied";
        MethodNotFound = 104, "method not found";
        AlreadySubscribed = 105, "already subscribed";
        LimitExceeded = 106, "limit exceeded";
        BadRequest = 107, "bad request";
        NotAvailable = 108, "not available";
        TokenExpired = 109, "token expired";
        Expired = 110, "expired";
        TooManyRequests = 111, "too many requests";
        UnrecoverablePosition = 112, "unrecoverable position";
        ConcurrentPagination = 113, "concurrent pagination";
    }
}

impl ErrorCode {
    /// Whether SDKs try again with back-off.
    pub fn is_temporary(self) -> bool {
        matches!(self, ErrorCode::Internal | ErrorCode::TooManyRequests | ErrorCode::ConcurrentPagination)
    }
}

codes! {
    /// Why the hub closes a connection. Codes of 3500 to 3999 tell SDKs not to come back.
    DisconnectCode {
        ConnectionClosed = 3000, "connection closed";
        Shutdown = 3001, "shutdown";
        ServerError = 3004, "internal server error";
        Expired = 3005, "connection expired";
        SubscriptionExpired = 3006, "subscription expired";
        Slow = 3008, "slow";
        WriteError = 3009, "write error";
        InsufficientState = 3010, "insufficient state";
        ForceReconnect = 3011, "force reconnect";
        NoPong = 3012, "no pong";
        TooManyRequests = 3013, "too many requests";
        StateInvalidated = 3014, "state invalidated";
        InvalidToken = 3500, "invalid token";
        BadRequest = 3501, "bad request";
        Stale = 3502, "stale";
        ForceDisconnect = 3503, "force disconnect";
        ConnectionLimit = 3504, "connection limit";
        ChannelLimit = 3505, "channel limit";
        InappropriateProtocol = 3506, "inappropriate protocol";
        PermissionDenied = 3507, "permission denied";
        NotAvailable = 3508, "not available";
        TooManyErrors = 3509, "too many errors";
    }
}

codes! {
    /// Why the hub ends a subscription. From 2500 on SDKs subscribe again by themselves.
    UnsubscribeCode {
        Server = 2000, "server unsubscribe";
        InsufficientState = 2500, "insufficient state";
        Expired = 2501, "subscription expired";
        StateInvalidated = 2502, "state invalidated";
    }
}
