//! The Lua scripts: what has to happen on a server in one step.

use bytes::Bytes;

/// One of the scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    Publish,
    PublishOnce,
    Read,
    Remove,
    Presence,
    /// Of a server that ends fields of a hash by itself.
    PresenceFields,
    /// Of a replica.
    PageCopy,
    PresenceCopy,
}

/// In the order of [`Script`].
pub const SCRIPTS: [&str; 8] = [
    include_str!("scripts/publish.lua"),
    include_str!("scripts/publish_once.lua"),
    include_str!("scripts/read.lua"),
    include_str!("scripts/remove.lua"),
    include_str!("scripts/presence.lua"),
    include_str!("scripts/presence_fields.lua"),
    include_str!("scripts/page_copy.lua"),
    include_str!("scripts/presence_copy.lua"),
];

/// What the server calls them: their digests.
#[derive(Clone, Debug)]
pub struct Scripts([Bytes; SCRIPTS.len()]);

impl Scripts {
    /// In the order of [`SCRIPTS`].
    pub fn new(digests: &[Bytes]) -> Option<Scripts> {
        // Copied: they live as long as the connection, and the buffer that they came in need not.
        let digests: Vec<Bytes> = digests.iter().map(|digest| Bytes::copy_from_slice(digest)).collect();
        digests.try_into().ok().map(Scripts)
    }

    pub fn digest(&self, script: Script) -> &[u8] {
        &self.0[script as usize]
    }
}
