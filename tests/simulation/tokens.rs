//! Tokens that let a client into a channel: its own, until they end, and foreign ones.

use super::client::{Question, USERS, sign};
use super::granted::{Expiry, Terms};
use super::ledger::{Checked, Promise, violated};
use super::namespaces::{CHANNELS, ChannelIndex, Kind};
use super::report::Mark;
use super::subscription::{Origin, Subscription};
use super::wire::{Request, Subscribe};
use super::world::World;

/// A token that lets clients of `user` into a channel.
pub fn subscription_token(user: Option<u32>, channel: &str, terms: &Terms, more: &str) -> String {
    let user = user.map_or(String::new(), |user| format!("user{user}"));
    let exp = terms.expires.map_or(String::new(), |expiry| format!(",\"exp\":{}", expiry.at));
    sign(&format!("{{\"sub\":\"{user}\",\"channel\":\"{channel}\",{}{exp}{more}}}", terms.claims()))
}

impl World {
    /// Gives the request a token that grants it.
    pub fn sign_for(&mut self, client: usize, asked: &mut Subscribe, kind: &Kind) -> Terms {
        let mut terms = Terms::draw(&mut self.random, kind);
        if self.is_faulty && self.random.bool() {
            terms.expires = Some(self.soon());
        }
        let own = self.clients[client].link.as_ref().and_then(|link| link.id).filter(|_| self.random.bool());
        let only = own.map_or(String::new(), |own| format!(",\"client\":\"{own}\""));
        asked.token = subscription_token(self.clients[client].user_number(), &asked.channel, &terms, &only);
        terms
    }

    /// A new token before the old one ends.
    pub fn sub_refresh(&mut self, client: usize) -> Option<(Question, Request)> {
        let ends = |held: &&Subscription| held.end.is_some() && held.origin == Origin::Client;
        let link = self.clients[client].link.as_ref()?;
        let channel = link.subscriptions.iter().flatten().find(ends)?.channel;
        let expiry = self.soon();
        let terms = Terms { expires: Some(expiry), ..Terms::default() };
        let name = CHANNELS[channel].name.to_string();
        let token = subscription_token(self.clients[client].user_number(), &name, &terms, "");
        self.link(client).has_refreshed = true;
        Some((Question::SubRefresh { channel, expiry }, Request::SubRefresh { channel: name, token }))
    }

    pub fn sub_refreshed(&mut self, client: usize, channel: ChannelIndex, expiry: Expiry, ttl: u32) -> Checked {
        let end = self.end_of(expiry);
        if ttl == 0 {
            return violated(Promise::Protocol, format!("{}: refreshed, and does not end", CHANNELS[channel].name));
        }
        if let Some(subscription) = &mut self.link(client).subscriptions[channel] {
            subscription.end = Some(end);
        }
        self.tally.add(Mark::SubRefreshes, 1);
        Ok(())
    }

    /// Subscribes with a token that is not for this, to a channel that the client is not in.
    pub fn foreign_token(&mut self, client: usize) -> Option<(Question, Request)> {
        let channel = self.random.usize(..CHANNELS.len());
        let name = CHANNELS[channel].name;
        let other = CHANNELS[(channel + 1) % CHANNELS.len()].name;
        let user = self.clients[client].user_number();
        let own = Terms::default();
        let old = Terms { expires: Some(Expiry { at: self.unix_now() - 5, granted: self.now }), ..own };
        let mut asked = Subscribe::to(name);
        let code;
        (asked.token, code) = match self.random.u8(..6) {
            0 => (subscription_token(user, other, &own, ""), None),
            1 => (subscription_token(Some(USERS), name, &own, ""), None),
            2 => (subscription_token(user, name, &own, ",\"client\":\"somebody else\""), None),
            3 => (subscription_token(user, name, &own, "") + "AA", Some(103)),
            4 => (sign(&format!("{{\"sub\":\"user{}\"}}", user.unwrap_or(USERS))), Some(103)),
            _ => (subscription_token(user, name, &old, ""), Some(109)),
        };
        self.link(client).brought_foreign_token |= code.is_none();
        self.tally.add(Mark::ForeignTokens, 1);
        Some((Question::Foreign { channel, code }, Request::Subscribe(asked)))
    }

    /// Nobody gets in by a foreign token.
    pub fn foreign_answered(
        &mut self,
        client: usize,
        channel: ChannelIndex,
        expected: Option<u32>,
        code: u32,
    ) -> Checked {
        let is_in = self.link(client).subscriptions[channel].is_some() || self.was_granted(client, Some(channel));
        let is_fair = expected == Some(code) || (code == 105 && is_in) || self.is_at_limit(client, code);
        match is_fair {
            true => Ok(()),
            false => violated(Promise::Protocol, format!("a foreign token got error {code}, not {expected:?}")),
        }
    }
}
