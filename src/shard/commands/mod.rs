//! What clients ask, one file for each group of commands.
//!
//! Commands of one connection take effect in the order sent, also across home shards: the next one
//! starts when the one before is decided. Publishes to one channel need not wait for one another:
//! the lane keeps their order.

mod connect;
mod publish;
mod query;
mod server_side;
mod subscribe;
mod subscription_tokens;

pub(super) use server_side::Desired;

use super::Shard;
use super::connection::{Clock, On, Phase, TokenPurpose, Waiting};
use super::events::{HomeAnswer, Reached, SubscribeAnswer};
use crate::access::Asker;
use crate::limits;
use crate::model::{ChannelName, Command, ConnectionId, DisconnectCode, ErrorCode, Request};
use crate::workers::WorkOutcome;

impl Shard {
    /// A command came; it starts at once or waits for those before it.
    pub(super) fn command(&mut self, slot: u32, command: Command) {
        self.metrics.count_command(command.request.kind().as_str());
        let Some(id) = self.connections.id_at(slot) else { return };
        let has_unread_answers = self.has_unread_answers(id);
        let must_yield = self.must_yield(&command);
        let Some(connection) = self.connections.at(slot) else { return };
        let is_connect = matches!(command.request, Request::Connect(_));
        if is_connect != (connection.phase == Phase::Fresh) {
            // Something else before connect, or a second connect.
            return self.disconnect(slot, DisconnectCode::BadRequest);
        }
        match &mut connection.waiting {
            // It is closed when those before are decided; this one is not accepted any more.
            Some(waiting) if waiting.then_close.is_some() => {}
            Some(waiting) if waiting.must_wait(&command) => self.command_waits(slot, command),
            _ if has_unread_answers => self.postpone(id, command, On::Outbox),
            _ if must_yield => self.postpone(id, command, On::Turn),
            _ => self.start(id, command),
        }
    }

    fn command_waits(&mut self, slot: u32, command: Command) {
        let now = self.time.now();
        let Some(waiting) = self.connections.at(slot).and_then(|connection| connection.waiting.as_mut()) else {
            return;
        };
        waiting.commands.push_back(command);
        if waiting.commands.len() >= limits::COMMANDS_WAITING_MAX {
            waiting.unread_since.get_or_insert(now);
        }
    }

    /// Whether the next answer might not fit the outbox: one recovery or page may fill half of it, so
    /// those before it have to be read first.
    fn has_unread_answers(&self, id: ConnectionId) -> bool {
        let joined = self.replies.bytes_for(id.slot);
        let waiting = self.connections.find(id).map_or(0, |connection| connection.outbox.bytes());
        joined + waiting > (self.options.outbox_bytes_max / 4).max(limits::REPLY_FRAME_BYTES)
    }

    /// The socket took some of the connection's frames: commands that waited for that go on when its
    /// turn comes.
    pub(super) fn was_read(&mut self, id: ConnectionId) {
        if self.has_unread_answers(id) {
            return;
        }
        if let Some(waiting) = self.connections.find_mut(id).and_then(|connection| connection.waiting.as_mut())
            && waiting.on == On::Outbox
        {
            waiting.on = On::Turn;
            self.resumed.push_back(id);
        }
    }

    /// Whether the command has to wait for the next turn: its connection has had its share, or it would
    /// put a leave where publishes and deliveries may be soon.
    fn must_yield(&self, command: &Command) -> bool {
        self.work.is_used_up()
            || matches!(command.request, Request::Unsubscribe { .. }) && !self.outgoing.has_room_for_leaves()
    }

    fn start(&mut self, id: ConnectionId, command: Command) {
        self.work.add(limits::COMMAND_WORK_BYTES);
        let slot = id.slot;
        let Command { id: command, request } = command;
        if request.channel().is_some_and(str::is_empty) {
            return self.disconnect(slot, DisconnectCode::BadRequest);
        }
        match request {
            Request::Connect(request) => self.connect(id, command, *request),
            Request::Subscribe(request) => self.subscribe(id, command, request),
            Request::Unsubscribe { channel } => self.unsubscribe_command(slot, command, &channel),
            Request::Publish { channel, data, shape } => self.publish(id, command, &channel, data, shape),
            Request::Presence { channel } => self.presence(id, command, &channel),
            Request::PresenceStats { channel } => self.presence_stats(id, command, &channel),
            Request::History(request) => self.history(id, command, *request),
            Request::Rpc { method, .. } => self.rpc(id, command, &method),
            Request::Refresh { token } => self.refresh(id, command, &token),
            Request::SubRefresh { channel, token } => self.sub_refresh(id, command, &channel, &token),
            // Maps and shared polls.
            Request::NotOffered { .. } => self.reply(slot, command, Err(ErrorCode::NotAvailable)),
            // Nobody takes messages without a reply; and what the schema calls `ping` is not served.
            Request::Send { .. } => self.disconnect(slot, DisconnectCode::NotAvailable),
            Request::Ping => self.disconnect(slot, DisconnectCode::BadRequest),
        }
    }

    /// The home of a channel answered a connection of this shard.
    pub(super) fn answered(&mut self, reached: Reached) {
        let Reached { asker, id, channel, answer } = reached;
        match answer {
            HomeAnswer::Subscribed { client, ticket, outcome } => {
                self.subscribe_answered(asker, id, SubscribeAnswer { channel: &channel, client, ticket, outcome });
                if ticket.is_some() {
                    // No command of the client waited for it, or the one that did has been told.
                    return;
                }
            }
            HomeAnswer::Decided(Ok(outcome)) if self.is_heavy(asker, &outcome) => {
                return self.answer_later(asker, id, outcome);
            }
            HomeAnswer::Decided(outcome) => {
                if self.connections.find(asker).is_some() {
                    self.reply(asker.slot, id, outcome);
                }
            }
        }
        self.decided(asker);
    }

    /// A worker has verified a token, or failed to.
    pub(super) fn token_done(&mut self, id: ConnectionId, command: u32, purpose: TokenPurpose, outcome: WorkOutcome) {
        match (outcome, purpose) {
            (WorkOutcome::TokenVerified(verified), purpose) => self.token_verified(id, command, purpose, *verified),
            (_, TokenPurpose::Connect(_)) => self.refuse(id, command, ErrorCode::Internal),
            (_, TokenPurpose::Refresh) => self.reply(id.slot, command, Err(ErrorCode::Internal)),
        }
    }

    /// What the connection's next command had to wait for is decided, or one publish of several.
    pub(in crate::shard) fn decided(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.find_mut(id) else { return };
        let Some(waiting) = &mut connection.waiting else { return };
        match &mut waiting.on {
            On::Publishes { count, .. } if *count > 1 => *count -= 1,
            on => *on = On::Nothing,
        }
        self.start_waiting(id);
    }

    /// Starts the commands that wait, as far as they may start now.
    pub(in crate::shard) fn start_waiting(&mut self, id: ConnectionId) {
        let Some(waiting) = self.connections.find_mut(id).and_then(|connection| connection.waiting.as_mut()) else {
            return;
        };
        if std::mem::replace(&mut waiting.is_starting, true) {
            // Decided within the loop below, which goes on: the stack does not grow with the queue.
            return;
        }
        // Each command that starts may be decided at once, or be waited for.
        while let Some(connection) = self.connections.find_mut(id)
            && connection.is_open()
            && let Some(waiting) = &mut connection.waiting
            && let Some(next) = waiting.next_to_start()
        {
            if self.has_unread_answers(id) {
                self.postpone(id, next, On::Outbox);
                break;
            }
            if self.must_yield(&next) {
                self.postpone(id, next, On::Turn);
                break;
            }
            self.start(id, next);
        }
        if let Some(waiting) = self.connections.find_mut(id).and_then(|connection| connection.waiting.as_mut()) {
            waiting.is_starting = false;
        }
        self.read_again(id);
    }

    /// Keeps the next command until `on` is over. Where publishes are under way, the end of one of them
    /// is the next time to look.
    fn postpone(&mut self, id: ConnectionId, command: Command, on: On) {
        let Some(connection) = self.connections.find_mut(id) else { return };
        let waiting = connection.waiting.get_or_insert_default();
        waiting.commands.push_front(command);
        if waiting.on != On::Nothing {
            return;
        }
        if let (On::Outbox, Some(code)) = (&on, waiting.then_close) {
            // Its answers are not read: what it has not begun came to nothing.
            return self.disconnect(id.slot, code);
        }
        waiting.on = on;
        // For its next turn; or to see whether the peer that it waits for is gone already.
        self.resumed.push_back(id);
    }

    /// Gives up what is only needed while commands wait, and lets the socket be read again.
    pub(in crate::shard) fn read_again(&mut self, id: ConnectionId) {
        let now = self.time.now();
        let Some(connection) = self.connections.find_mut(id) else { return };
        let Some(waiting) = &mut connection.waiting else { return };
        if waiting.commands.len() < limits::COMMANDS_WAITING_MAX / 2
            && let Some(since) = waiting.unread_since.take_if(|_| waiting.job.is_none())
        {
            // The time in which its pong could not be read does not count.
            if connection.clock != Clock::Ping {
                connection.deadline = connection.deadline.saturating_add(now - since);
            }
            self.resumed.push_back(id);
        }
        if !waiting.is_idle() {
            return;
        }
        let then_close = waiting.then_close;
        connection.waiting = None;
        if let Some(code) = then_close {
            self.disconnect(id.slot, code);
        }
    }

    /// The connection's later commands wait until `decided`.
    fn wait_for(&mut self, id: ConnectionId, on: On) {
        let Some(connection) = self.connections.find_mut(id) else { return };
        connection.waiting.get_or_insert_default().on = on;
    }

    /// Checks a channel's name: length, namespace, characters.
    fn parse_channel(&self, name: &str) -> Result<ChannelName, ErrorCode> {
        let channel = ChannelName::parse(name, self.options.channel_bytes_max).map_err(|_| ErrorCode::BadRequest)?;
        let namespaces = &self.options.namespaces;
        let options = namespaces.find_options(name).map_err(|_| ErrorCode::UnknownChannel)?;
        namespaces.check_name(options, name).map_err(|_| ErrorCode::BadRequest)?;
        Ok(channel)
    }

    /// Who asks about `channel`, for the permission rules.
    fn asker(&mut self, slot: u32, channel: &str) -> Asker {
        let is_unchecked = self.options.insecure;
        let subscribed = self.channels.find(channel);
        let Some(connection) = self.connections.at(slot) else {
            return Asker { is_anonymous: true, is_subscriber: false, is_unchecked };
        };
        let is_subscriber = subscribed
            .and_then(|channel| connection.find_subscription(channel))
            .is_some_and(|subscription| subscription.member().is_some());
        let is_anonymous = connection.client.as_ref().is_none_or(|client| client.user.is_empty());
        Asker { is_anonymous, is_subscriber, is_unchecked }
    }
}

impl Waiting {
    fn must_wait(&self, command: &Command) -> bool {
        !self.commands.is_empty() || !self.admits(command)
    }

    /// Whether `command` may start beside what is under way.
    fn admits(&self, command: &Command) -> bool {
        match (&self.on, &command.request) {
            (On::Nothing, _) => true,
            (On::Publishes { name, .. }, Request::Publish { channel, .. }) => *name.as_str() == **channel,
            _ => false,
        }
    }

    fn next_to_start(&mut self) -> Option<Command> {
        let next = self.commands.front()?;
        // What is being read comes behind it, but a second job would have to wait for that one.
        if self.rest.is_some() || !self.admits(next) {
            return None;
        }
        self.commands.pop_front()
    }
}
