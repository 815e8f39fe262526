//! Channels in which nothing has been published for longer than their history lives: the server may forget it.
//!
//! Readers don't need it (they know by the newest message), the server's disk does: it keeps messages for as long as
//! their channel's position has to be known. A node that ends before leaves that to the server's own bound.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::limits::NATS_TAILS_MAX;
use crate::model::ChannelName;

/// When to look at which channel, the first one in front.
#[derive(Debug, Default)]
pub struct Quiet {
    queue: BTreeSet<(Duration, ChannelName)>,
}

/// What one channel's line knows of its place there.
#[derive(Debug, Default)]
pub struct QuietSince {
    expires: Duration,
    is_queued: bool,
}

impl Quiet {
    /// Something was published whose history lives until `expires`. A later instant is found when the queued one
    /// comes.
    pub fn put_off(&mut self, channel: &ChannelName, since: &mut QuietSince, expires: Duration) {
        since.expires = expires;
        if !since.is_queued && self.queue.len() < NATS_TAILS_MAX {
            since.is_queued = self.queue.insert((expires, channel.clone()));
        }
    }

    pub fn next(&self) -> Option<Duration> {
        self.queue.first().map(|(due, _)| *due)
    }

    pub fn take_due(&mut self, now: Duration) -> Option<ChannelName> {
        self.next().filter(|due| *due <= now)?;
        self.queue.pop_first().map(|(_, channel)| channel)
    }

    /// Whether the channel that was taken is quiet by now; looks again later otherwise.
    pub fn is_quiet(&mut self, channel: &ChannelName, since: &mut QuietSince, now: Duration) -> bool {
        since.is_queued = false;
        let is_quiet = since.expires <= now;
        if !is_quiet {
            let expires = since.expires;
            self.put_off(channel, since, expires);
        }
        is_quiet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_quiet_after_its_last_publication() {
        let seconds = Duration::from_secs;
        let channel = ChannelName::parse("chat", 255).expect("a name");
        let (mut quiet, mut since) = (Quiet::default(), QuietSince::default());
        quiet.put_off(&channel, &mut since, seconds(10));
        quiet.put_off(&channel, &mut since, seconds(15));
        assert_eq!((quiet.next(), quiet.take_due(seconds(9))), (Some(seconds(10)), None));
        assert_eq!(quiet.take_due(seconds(10)), Some(channel.clone()));
        assert!(!quiet.is_quiet(&channel, &mut since, seconds(10)));
        assert_eq!(quiet.take_due(seconds(15)), Some(channel.clone()));
        assert!(quiet.is_quiet(&channel, &mut since, seconds(15)));
        assert_eq!(quiet.next(), None);
    }
}
