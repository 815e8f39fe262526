//! What clients are told unasked: pings, pushes, and that it is over.

use fanfare::model::ClientId;

use super::client::{LinkPhase, User};
use super::frames;
use super::ledger::{Checked, Promise, violated};
use super::namespaces::{CHANNELS, ChannelIndex};
use super::report::Mark;
use super::wire::{self, Push, Said};
use super::world::World;

impl World {
    pub fn heard_ping(&mut self, client: usize) -> Checked {
        let patience = self.patience();
        let format = self.clients[client].format;
        let link = self.link(client);
        link.last_ping = patience;
        if link.phase != LinkPhase::Ready {
            return violated(Promise::Protocol, "a ping before the answer to connect");
        }
        if !link.is_silent {
            self.send_message(client, wire::encode_pong(format));
        }
        Ok(())
    }

    pub fn heard_push(&mut self, client: usize, channel: ChannelIndex, push: Push) -> Checked {
        let name = CHANNELS[channel].name;
        let now = self.patience();
        let was_revoked = self.api.has_unsubscribed(&self.clients[client]);
        if let Push::Subscribe(told) = push {
            return self.heard_served(client, channel, told);
        }
        let Some(subscription) = &mut self.clients[client].link.as_mut().expect("it hears").subscriptions[channel]
        else {
            return violated(Promise::I3, format!("{name}: {push:?} to a client that is not subscribed"));
        };
        match push {
            Push::Publication(publication) => {
                self.tally.add(Mark::Patches, u64::from(matches!(publication.said, Said::Patch(_))));
                subscription.given(now, &publication, &mut self.ledger)?;
                if subscription.position.is_some() {
                    self.clients[client].held[channel] = subscription.position;
                }
                self.tally.add(Mark::Delivered, 1);
                Ok(())
            }
            Push::Join(id) | Push::Leave(id) => {
                let wants_joins = subscription.wants_joins;
                if !wants_joins {
                    return violated(Promise::I3, format!("{name}: {push:?} to a client that did not want it"));
                }
                let link = self.link(client);
                if let Some(subscription) = &mut link.subscriptions[channel] {
                    match push {
                        Push::Leave(_) => subscription.told_of_leave(id),
                        _ => subscription.told_of_join(id, link.id),
                    }
                }
                self.tally.add(Mark::JoinsAndLeaves, 1);
                self.check_known(channel, &[id])
            }
            Push::Unsubscribe(2000) if was_revoked => {
                self.end_subscription(client, channel);
                self.tally.add(Mark::ToldRevoked, 1);
                self.renew_later(client, channel);
                Ok(())
            }
            Push::Unsubscribe(2501) if subscription.end.is_some_and(|end| end.from <= self.now) => {
                self.end_subscription(client, channel);
                self.tally.add(Mark::ToldSubscriptionExpired, 1);
                self.renew_later(client, channel);
                Ok(())
            }
            Push::Subscribe(_) => Ok(()),
            Push::Unsubscribe(code) => {
                if code != 2500 || subscription.position.is_none() {
                    return violated(Promise::Protocol, format!("{name}: unsubscribed with code {code}"));
                }
                self.end_subscription(client, channel);
                self.tally.add(Mark::ToldInsufficient, 1);
                self.tally.add(Mark::ToldInsufficientLasting, u64::from(CHANNELS[channel].kind.is_lasting()));
                self.renew_later(client, channel);
                Ok(())
            }
        }
    }

    /// Nobody is said to be in a channel who never asked for it.
    pub fn check_known(&self, channel: ChannelIndex, ids: &[ClientId]) -> Checked {
        // A client that was cut before it read its id is not known here by it.
        let known = ids.iter().filter_map(|id| self.client_ids.get(id));
        match known.copied().find(|client| self.clients[*client].ever_asked & 1 << channel == 0) {
            Some(client) => violated(Promise::I3, format!("{}: client {client} is there", CHANNELS[channel].name)),
            None => Ok(()),
        }
    }

    pub fn heard_close(&mut self, client: usize, payload: &[u8]) -> Checked {
        let code = match *payload {
            [] => 0,
            [high, low, ..] => u16::from_be_bytes([high, low]),
            [_] => return violated(Promise::Protocol, "a close frame with one byte"),
        };
        let patience = self.patience();
        let answers = self.random.u8(..10) > 0;
        let socket = self.link(client).socket;
        let shard = self.sockets[socket].shard;
        let link = self.clients[client].link.as_mut().expect("it hears");
        let (is_impaired, began) = (!link.is_well, link.phase == LinkPhase::Closing);
        let brought_foreign_token = link.brought_foreign_token;
        // Who refreshes what the server has subscribed meanwhile misbehaves as well.
        let has_misbehaved = link.has_misbehaved || (link.has_refreshed && self.was_granted(client, None));
        let is_fair = match code {
            1000 => began,
            3001 => self.drained == Some(shard),
            3005 => matches!(self.clients[client].user, User::Passing(_)),
            3006 => self.has_subscription_ended(client),
            3008 => is_impaired || !self.plan.has_large_outboxes,
            3010 => self.is_served(client),
            3012 => is_impaired,
            3500 => brought_foreign_token,
            3505 => self.plan.options.channels_max < CHANNELS.len() && self.was_granted(client, None),
            3503 => self.api.has_disconnected(&self.clients[client]),
            1002 | 1007 | 3501 => has_misbehaved,
            _ => false,
        };
        self.note(|| format!("client {client} is closed with {code}"));
        if !is_fair {
            return violated(Promise::I5, format!("a client was closed with {code} for no reason"));
        }
        let mark = match code {
            3001 => Mark::Drained,
            3005 => Mark::Expired,
            3006 => Mark::ServedExpired,
            3010 => Mark::ServedInsufficient,
            3500 => Mark::ForeignTold,
            3505 => Mark::ServedTooMuch,
            3008 => Mark::Slow,
            3012 => Mark::NoPong,
            3503 => Mark::ToldForced,
            1000 => Mark::CloseAnswered,
            _ => Mark::Malformed,
        };
        self.tally.add(mark, 1);
        if code == 3008 && !self.is_faulty {
            // What it recovers in several channels at once is more than a small outbox takes: so the
            // next time would end the same.
            self.clients[client].held = [None; CHANNELS.len()];
        }
        let link = self.clients[client].link.as_mut().expect("it hears");
        (link.phase, link.is_well, link.since) = (LinkPhase::Closed, false, patience);
        if !began && answers {
            self.send_frame(client, frames::CLOSE, &code.to_be_bytes());
        }
        Ok(())
    }

    /// The hub closed the socket, and all bytes are read.
    pub fn hung_up(&mut self, client: usize) -> Checked {
        let link = self.link(client);
        let has_reason = !link.is_well || link.phase == LinkPhase::Refused;
        if !has_reason {
            return violated(Promise::I5, format!("client {client} was hung up on"));
        }
        if link.phase == LinkPhase::Ready {
            self.tally.add(Mark::HungUp, 1);
        }
        self.forget_link(client);
        self.return_later(client);
        Ok(())
    }
}
