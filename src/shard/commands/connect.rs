//! connect and refresh: who a connection is, and until when.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::server_side::{Desired, Refusal};
use crate::access::{Claims, Grant, TokenProblem, Weight};
use crate::limits;
use crate::model::{
    ClientId, ClientInfo, ConnectRequest, ConnectResult, ConnectionId, DisconnectCode, ErrorCode, Outcome,
};
use crate::shard::Shard;
use crate::shard::connection::{Clock, On, Phase, TokenPurpose};
use crate::shard::subscriptions::Origin;
use crate::workers::Work;

impl Shard {
    /// Whatever stands before the hub says who a new connection is; a token of its own wins over that.
    pub fn vouched_for(&mut self, id: ConnectionId, user: Option<Box<str>>) {
        if user.is_some()
            && let Some(connection) = self.connections.find_mut(id)
        {
            connection.waiting.get_or_insert_default().vouched_user = user;
        }
    }

    pub(super) fn connect(&mut self, id: ConnectionId, command: u32, request: ConnectRequest) {
        self.owes_no_connect(id.slot);
        let waiting = self.connections.find_mut(id).and_then(|connection| connection.waiting.as_mut());
        let vouched_user = waiting.and_then(|waiting| waiting.vouched_user.take());
        if !request.token.is_empty() {
            return self.verify(id, command, &request.token, TokenPurpose::Connect(request.subs));
        }
        if let Some(user) = vouched_user {
            return self.admit(id, command, Claims { user, ..Claims::default() }, request.subs);
        }
        if self.options.allow_anonymous_connect || self.options.insecure {
            return self.accept(id, command, Claims::default(), request.subs);
        }
        self.disconnect(id.slot, DisconnectCode::BadRequest);
    }

    /// The client brings a new token before the old one expires.
    pub(super) fn refresh(&mut self, id: ConnectionId, command: u32, token: &str) {
        if token.is_empty() {
            return self.disconnect(id.slot, DisconnectCode::BadRequest);
        }
        self.verify(id, command, token, TokenPurpose::Refresh);
    }

    pub(in crate::shard) fn token_verified(
        &mut self,
        id: ConnectionId,
        command: u32,
        purpose: TokenPurpose,
        verified: Result<Claims, TokenProblem>,
    ) {
        match (purpose, verified) {
            (TokenPurpose::Connect(_), Ok(claims))
                if claims.user.is_empty() && self.options.disallow_anonymous_tokens =>
            {
                self.disconnect(id.slot, DisconnectCode::PermissionDenied);
            }
            (TokenPurpose::Connect(desired), Ok(claims)) => self.admit(id, command, claims, desired),
            (TokenPurpose::Connect(_), Err(TokenProblem::Expired)) => self.refuse(id, command, ErrorCode::TokenExpired),
            (TokenPurpose::Refresh, Ok(claims)) => self.extend(id, command, claims),
            (TokenPurpose::Refresh, Err(TokenProblem::Expired)) => self.disconnect(id.slot, DisconnectCode::Expired),
            (_, Err(TokenProblem::Invalid(_))) => self.disconnect(id.slot, DisconnectCode::InvalidToken),
        }
    }

    /// Verifies here what takes microseconds, and lets the workers do the rest.
    fn verify(&mut self, id: ConnectionId, command: u32, token: &str, purpose: TokenPurpose) {
        let keys = &self.options.token_keys;
        if keys.weigh(token) == Weight::Light {
            let verified = keys.verify(token, self.unix_seconds());
            return self.token_verified(id, command, purpose, verified);
        }
        let work = Work::VerifyToken { token: token.into(), keys: Arc::clone(keys), unix_seconds: self.unix_seconds() };
        let is_connect = matches!(purpose, TokenPurpose::Connect(_));
        self.wait_for(id, On::Token { id: command, purpose });
        self.start_job(id, limits::VERIFY_COST, work);
        if is_connect && let Some(connection) = self.connections.find_mut(id) {
            connection.phase = Phase::Verifying;
        }
    }

    pub(in crate::shard) fn accept(&mut self, id: ConnectionId, command: u32, claims: Claims, desired: Desired) {
        let (ttl, expires) = match self.lifetime(claims.expires_at, self.options.expired_close_delay) {
            Ok(lifetime) => lifetime,
            Err(error) => return self.refuse(id, command, error),
        };
        let client = ClientId::from_random(self.random.u128(..).to_le_bytes());
        let info = ClientInfo { user: claims.user, client, conn_info: claims.info, chan_info: None };
        let Some(connection) = self.connections.find_mut(id) else { return };
        connection.client = Some(Arc::new(info));
        let subscriptions = match self.server_side_of(id, claims.subs, desired) {
            Ok(subscriptions) => subscriptions,
            Err(Refusal::Error(error)) => return self.refuse(id, command, error),
            Err(Refusal::Disconnect(code)) => return self.disconnect(id.slot, code),
        };
        if let Some(connection) = self.connections.find_mut(id) {
            connection.expires = expires;
        }
        self.list(id.slot);
        let result = self.connect_result(client, ttl);
        if !subscriptions.is_empty() {
            return self.join_all(id, command, result, subscriptions);
        }
        self.begin(id);
        self.reply(id.slot, command, Ok(Outcome::Connect(Box::new(result))));
    }

    /// The connection may do everything from now on, and is pinged.
    pub(super) fn begin(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.find_mut(id).filter(|connection| connection.is_open()) else { return };
        connection.phase = Phase::Ready;
        let interval = self.options.ping_interval;
        if interval.is_zero() {
            self.set_clock(id.slot, Clock::Ping, Duration::MAX);
        } else {
            // Jittered, so that clients that connected together are not pinged together.
            let jitter = interval.mul_f64(0.5 + self.random.f64() / 2.0);
            self.set_clock(id.slot, Clock::Ping, self.time.now() + jitter);
        }
        self.remind(id.slot);
    }

    fn connect_result(&self, client: ClientId, ttl: Option<u32>) -> ConnectResult {
        let interval = self.options.ping_interval;
        ConnectResult {
            client,
            version: Arc::clone(&self.options.version),
            ttl,
            data: Bytes::new(),
            subs: Vec::new(),
            ping: interval.as_secs() as u32,
            pong: !interval.is_zero() && !self.options.pong_timeout.is_zero(),
            time: self.time_told(),
        }
    }

    /// The hub's time for one who connects; 0: it is not told.
    pub(super) fn time_told(&self) -> i64 {
        if self.options.tells_time { self.unix_millis } else { 0 }
    }

    /// Answers the connect command with an error, after which the connection is of no use.
    pub(super) fn refuse(&mut self, id: ConnectionId, command: u32, error: ErrorCode) {
        self.reply(id.slot, command, Err(error));
        self.flush_replies();
        let patience = limits::CLOSE_HANDSHAKE_TIMEOUT;
        if let Some(connection) = self.connections.find_mut(id).filter(|connection| connection.is_open()) {
            connection.phase = Phase::Refused;
            connection.waiting = None;
            self.set_clock(id.slot, Clock::Drop, self.time.now() + patience);
        }
    }

    fn extend(&mut self, id: ConnectionId, command: u32, claims: Claims) {
        let lifetime = self.lifetime(claims.expires_at, self.options.expired_close_delay);
        let has_same_subs = self.has_same_subs(id, &claims.subs);
        let Some(connection) = self.connections.find_mut(id) else { return };
        let Some(info) = connection.client.as_mut().filter(|info| info.user == claims.user) else {
            return self.disconnect(id.slot, DisconnectCode::InvalidToken);
        };
        let (ttl, expires) = match lifetime {
            Ok(lifetime) => lifetime,
            Err(error) => return self.reply(id.slot, command, Err(error)),
        };
        if !has_same_subs {
            // It connects again, with this token.
            return self.disconnect(id.slot, DisconnectCode::InsufficientState);
        }
        if claims.info.is_some() {
            *info = Arc::new(ClientInfo { conn_info: claims.info, ..ClientInfo::clone(info) });
            let subscriptions = connection.subscriptions.iter().filter(|subscription| subscription.has_terms);
            for subscription in subscriptions {
                self.terms.set_conn_info(id.slot, subscription.channel, &info.conn_info);
            }
        }
        let client = info.client;
        connection.expires = expires;
        self.remind(id.slot);
        self.reply(id.slot, command, Ok(Outcome::Refresh { client, ttl }));
    }

    /// Whether a token grants the server-side subscriptions that the one before it has made.
    fn has_same_subs(&self, id: ConnectionId, granted: &[(Box<str>, Grant)]) -> bool {
        let Some(connection) = self.connections.find(id) else { return true };
        let granted: BTreeSet<_> = granted.iter().map(|(name, _)| self.channels.find(name)).collect();
        let is_granted = |channel| granted.contains(&Some(channel));
        let of_token = || connection.subscriptions.iter().filter(|it| it.origin == Origin::Token);
        of_token().count() == granted.len() && of_token().all(|subscription| is_granted(subscription.channel))
    }

    /// Seconds until the client must refresh, and when it is too late for that, `grace` later.
    ///
    /// Errors: `Expired` (110) when that time has come already. Only the claim `expire_at` can say so:
    /// a token past its `exp` is not valid.
    pub(in crate::shard) fn lifetime(
        &self,
        expires_at: Option<i64>,
        grace: Duration,
    ) -> Result<(Option<u32>, Duration), ErrorCode> {
        let Some(expires_at) = expires_at.filter(|_| !self.options.insecure) else {
            return Ok((None, Duration::MAX));
        };
        let left = expires_at.saturating_sub(self.unix_seconds()).min(i64::from(limits::TTL_SECONDS_MAX));
        let ttl = u32::try_from(left).ok().filter(|ttl| *ttl > 0).ok_or(ErrorCode::Expired)?;
        let left = Duration::from_secs(u64::from(ttl)) + grace;
        Ok((Some(ttl), self.time.now() + left))
    }
}
