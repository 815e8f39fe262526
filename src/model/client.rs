//! Who a client is, as others in a channel see it.

use std::fmt;

use bytes::Bytes;

/// The id that the hub gives to a connection when it connects: a UUID version 4.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId([u8; 16]);

impl ClientId {
    /// Makes a version 4 UUID of 16 random bytes.
    pub fn from_random(random: [u8; 16]) -> ClientId {
        ClientId(uuid::Builder::from_random_bytes(random).into_uuid().into_bytes())
    }

    /// The 16 bytes of one that `from_random` made.
    pub fn from_bytes(bytes: [u8; 16]) -> ClientId {
        ClientId(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads the usual hyphenated form.
    pub fn parse(text: &str) -> Option<ClientId> {
        uuid::Uuid::try_parse(text).ok().map(|id| ClientId(id.into_bytes()))
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What publications, presence, joins and leaves say about a client.
///
/// Source: protocol, message `ClientInfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// User id; empty for anonymous users.
    pub user: Box<str>,
    pub client: ClientId,
    /// `info` of the connection token.
    pub conn_info: Option<Bytes>,
    /// `info` of the subscription.
    pub chan_info: Option<Bytes>,
}
