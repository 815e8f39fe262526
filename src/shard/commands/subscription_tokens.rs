//! Subscription tokens: who may subscribe to a channel, and until when.
//!
//! Source: protocol page, sections 1.2 (Outcomes), 2.4 (Refresh) and 6.6.

use std::sync::Arc;

use crate::access::{Grant, SubscriptionClaims, TokenProblem, Weight};
use crate::limits;
use crate::model::{ChannelName, ConnectionId, DisconnectCode, ErrorCode, Outcome, SubscribeRequest};
use crate::shard::Shard;
use crate::shard::connection::{On, SubscriptionPurpose};
use crate::shard::subscriptions::Terms;
use crate::workers::{Work, WorkOutcome};

impl Shard {
    /// Verifies here what takes microseconds, and lets the workers do the rest.
    pub(super) fn verify_subscription(
        &mut self,
        id: ConnectionId,
        command: u32,
        token: &str,
        purpose: SubscriptionPurpose,
    ) {
        let keys = &self.options.subscription_token_keys;
        if keys.weigh(token) == Weight::Light {
            let verified = keys.verify_subscription(token, self.unix_seconds());
            return self.subscription_verified(id, command, purpose, verified);
        }
        let (token, keys) = (token.into(), Arc::clone(keys));
        let work = Work::VerifySubscription { token, keys, unix_seconds: self.unix_seconds() };
        self.wait_for(id, On::SubscriptionToken { id: command, purpose });
        self.start_job(id, limits::VERIFY_COST, work);
    }

    pub(super) fn subscription_verified(
        &mut self,
        id: ConnectionId,
        command: u32,
        purpose: SubscriptionPurpose,
        verified: Result<SubscriptionClaims, TokenProblem>,
    ) {
        match (purpose, verified) {
            (SubscriptionPurpose::Subscribe(request), Ok(claims)) => {
                if let Some(grant) = self.grant_of(id, &request.channel, claims) {
                    self.subscribe_with(id, command, &request, grant);
                }
            }
            (SubscriptionPurpose::Subscribe(_), Err(problem)) => {
                let error = match problem {
                    TokenProblem::Expired => ErrorCode::TokenExpired,
                    TokenProblem::Invalid(_) => ErrorCode::PermissionDenied,
                };
                self.reply(id.slot, command, Err(error));
            }
            (SubscriptionPurpose::Refresh(channel), Ok(claims)) => {
                if let Some(grant) = self.grant_of(id, channel.as_str(), claims) {
                    self.extend_subscription(id, command, &channel, grant);
                }
            }
            (SubscriptionPurpose::Refresh(_), Err(TokenProblem::Expired)) => {
                self.disconnect(id.slot, DisconnectCode::SubscriptionExpired);
            }
            (SubscriptionPurpose::Refresh(_), Err(TokenProblem::Invalid(_))) => {
                self.disconnect(id.slot, DisconnectCode::InvalidToken);
            }
        }
    }

    /// A worker has verified a subscription token, or failed to.
    pub(in crate::shard) fn subscription_token_done(
        &mut self,
        id: ConnectionId,
        command: u32,
        purpose: SubscriptionPurpose,
        outcome: WorkOutcome,
    ) {
        match outcome {
            WorkOutcome::SubscriptionVerified(verified) => self.subscription_verified(id, command, purpose, *verified),
            _ => self.reply(id.slot, command, Err(ErrorCode::Internal)),
        }
    }

    /// The client brings a new token for a subscription before that ends.
    pub(super) fn sub_refresh(&mut self, id: ConnectionId, command: u32, channel: &str, token: &str) {
        let local = self.channels.find(channel);
        let connection = self.connections.find(id);
        let subscription = connection.zip(local).and_then(|(connection, local)| connection.find_subscription(local));
        let Some(subscription) = subscription.filter(|subscription| subscription.member().is_some()) else {
            return self.reply(id.slot, command, Err(ErrorCode::PermissionDenied));
        };
        // What the server subscribes it refreshes itself.
        if token.is_empty() || subscription.is_server_side() {
            return self.disconnect(id.slot, DisconnectCode::BadRequest);
        }
        match self.parse_channel(channel) {
            Ok(channel) => self.verify_subscription(id, command, token, SubscriptionPurpose::Refresh(channel)),
            Err(error) => self.reply(id.slot, command, Err(error)),
        }
    }

    /// What a genuine token grants, if it is for this connection and channel; closes the connection otherwise.
    fn grant_of(&mut self, id: ConnectionId, channel: &str, claims: SubscriptionClaims) -> Option<Grant> {
        let client = self.connections.find(id)?.client.as_ref()?;
        let is_for_it = *claims.channel == *channel
            && claims.user == client.user
            && claims.client.is_none_or(|only| *only == client.client.to_string());
        if !is_for_it && !self.options.faults.foreign_tokens {
            self.disconnect(id.slot, DisconnectCode::InvalidToken);
            return None;
        }
        Some(claims.grant)
    }

    fn subscribe_with(&mut self, id: ConnectionId, command: u32, request: &SubscribeRequest, grant: Grant) {
        // While the workers verified the token the server may have subscribed the connection.
        match self.check_subscribe(id.slot, request) {
            Ok(channel) => self.subscribe_permitted(id, command, request, channel, Some(grant)),
            Err(error) => self.reply(id.slot, command, Err(error)),
        }
    }

    fn extend_subscription(&mut self, id: ConnectionId, command: u32, channel: &ChannelName, grant: Grant) {
        let terms = match self.terms_of(id, grant) {
            Ok(terms) => terms,
            Err(error) => return self.reply(id.slot, command, Err(error)),
        };
        let ttl = terms.asked.as_ref().and_then(|asked| asked.ttl);
        let local = self.channels.find(channel.as_str());
        let connection = self.connections.find_mut(id);
        let subscription =
            connection.zip(local).and_then(|(connection, local)| connection.find_subscription_mut(local));
        let Some(subscription) = subscription else {
            return self.reply(id.slot, command, Err(ErrorCode::PermissionDenied));
        };
        let before = self.terms.remove(id.slot, subscription.channel);
        let info = terms.info.or(before.and_then(|before| before.info));
        self.terms.insert(id.slot, subscription.channel, Terms { info, asked: None, ..terms });
        subscription.has_terms = self.terms.keep_if_needed(id.slot, subscription.channel);
        self.reply(id.slot, command, Ok(Outcome::SubRefresh { ttl }));
    }
}
