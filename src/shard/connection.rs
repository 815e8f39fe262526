//! One connection's state.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::admission::Candidate;
use super::events::{Opening, Speaks};
use super::outbox::Outbox;
use super::subscriptions::Subscription;
use super::users::Neighbours;
use crate::model::{ChannelName, ClientInfo, Command, ConnectResult, DisconnectCode, SubscribeRequest, WindowBits};
use crate::workers::CancelOnDrop;
use crate::ws;

/// What one shard knows of one connection. Nothing in it is on the heap while it idles, except who it
/// is and what it is subscribed to.
#[derive(Debug)]
pub struct Connection {
    pub speaks: Speaks,
    /// Messages may be compressed both ways; ours for this window.
    pub window: Option<WindowBits>,
    pub phase: Phase,
    pub clock: Clock,
    /// Counted among those whose connect command has not come.
    pub is_unconnected: bool,
    /// In the shard's list of connections to write.
    pub is_dirty: bool,
    /// In the shard's list of connections whose subscriptions are being taken down.
    pub is_leaving: bool,
    /// The socket is gone, or io was told to drop it.
    pub is_finished: bool,
    /// io has dropped the socket.
    pub is_released: bool,
    /// In the shard's index of users.
    pub is_listed: bool,
    /// The user's home counts it.
    pub is_counted: bool,
    pub reader: ws::Reader,
    pub outbox: Outbox,
    /// Who it is, once connected.
    pub client: Option<Arc<ClientInfo>>,
    pub subscriptions: Vec<Subscription>,
    /// What its next command has to wait for.
    pub waiting: Option<Box<Waiting>>,
    /// Its neighbours in the index of users.
    pub neighbours: Neighbours,
    /// When `clock` runs out.
    pub deadline: Duration,
    /// When the token expires, grace included; `Duration::MAX` without expiry.
    pub expires: Duration,
    /// Tick of its entry in the wheel; [`NO_TICK`] when it has none.
    pub tick: u64,
}

/// No entry in the wheel: whatever becomes due next has to be put there.
pub const NO_TICK: u64 = u64::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before the connect command.
    Fresh,
    /// A worker verifies its token, or its user's home is asked about it.
    Verifying,
    /// The homes of its server-side subscriptions are asked. Nothing is sent before its connect is answered.
    Joining,
    Ready,
    /// Its connect was answered with an error: nothing is read any more.
    Refused,
    /// A close frame waits or is sent; the peer's is awaited.
    Closing,
    /// The close frame is the last to be sent, and nothing is awaited.
    Ending,
}

/// What happens at `deadline`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// No connect command came (3502).
    Stale,
    /// A ping is due.
    Ping,
    /// The answer to a ping is due (3012).
    Pong,
    /// The socket is dropped.
    Drop,
}

/// Commands take effect in the order sent: the next one starts when the one before is decided.
#[derive(Debug, Default)]
pub struct Waiting {
    pub on: On,
    /// Commands that came meanwhile, at most a read's worth above `COMMANDS_WAITING_MAX`.
    pub commands: VecDeque<Command>,
    /// Close when what is under way is decided.
    pub then_close: Option<DisconnectCode>,
    /// Commands are being started in order; what is decided meanwhile only makes room for the next.
    pub is_starting: bool,
    /// Since when the connection is not read.
    pub unread_since: Option<Duration>,
    /// The workers do something for it.
    pub job: Option<CancelOnDrop>,
    /// The workers read a message of it; these bytes came behind it.
    pub rest: Option<Vec<u8>>,
    /// Who it is if it brings no token, until it connects.
    pub vouched_user: Option<Box<str>>,
    /// The answer to its connect, as far as it is known.
    pub joining: Option<Box<Joining>>,
}

/// A connect that is answered when all server-side subscriptions are.
#[derive(Debug)]
pub struct Joining {
    /// Id of the command.
    pub id: u32,
    pub result: ConnectResult,
    /// Subscriptions without an answer.
    pub left: usize,
}

/// What is under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum On {
    #[default]
    Nothing,
    /// A worker verifies a token for the command with this id.
    Token { id: u32, purpose: TokenPurpose },
    /// The same of a subscription token.
    SubscriptionToken { id: u32, purpose: SubscriptionPurpose },
    /// A worker encodes the answer to the command with this id.
    Answer { id: u32 },
    /// The home of the user says whether one more connection is let in.
    Admission(Box<Candidate>),
    /// The home of a channel answers a question.
    Home,
    /// The home of a channel answers a subscribe.
    Subscribe(Wanted),
    /// The same, and the application has ended the subscription meanwhile.
    Revoked,
    /// The homes of its server-side subscriptions answer: its connect is next.
    Joining,
    /// Its own socket takes the answers that wait: more of them would not fit.
    Outbox,
    /// It has used up its share of the turn.
    Turn,
    /// Publishes to one channel, which need not wait for one another.
    Publishes { name: ChannelName, count: u32 },
}

/// What a subscriber wanted, kept until the home answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub is_positioned: bool,
    pub is_recoverable: bool,
    pub wants_joins: bool,
    /// It is given deltas.
    pub has_delta: bool,
    /// The offset it asked to recover from.
    pub since_offset: Option<u64>,
}

/// What a connection token is verified for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenPurpose {
    /// With the server-side subscriptions that the client desires, or had before.
    Connect(BTreeMap<String, SubscribeRequest>),
    Refresh,
}

/// What a subscription token is verified for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionPurpose {
    Subscribe(Box<SubscribeRequest>),
    Refresh(ChannelName),
}

impl Connection {
    pub fn new(opening: Opening) -> Connection {
        Connection {
            speaks: opening.speaks,
            window: opening.window,
            phase: Phase::Fresh,
            clock: Clock::Stale,
            is_unconnected: false,
            is_dirty: false,
            is_leaving: false,
            is_finished: false,
            is_released: false,
            is_listed: false,
            is_counted: false,
            reader: ws::Reader::new(),
            outbox: Outbox::default(),
            client: None,
            subscriptions: Vec::new(),
            waiting: None,
            neighbours: Neighbours::default(),
            deadline: Duration::MAX,
            expires: Duration::MAX,
            tick: NO_TICK,
        }
    }

    /// Whether frames may be added to its outbox.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Fresh | Phase::Verifying | Phase::Joining | Phase::Ready)
    }

    /// Whether its socket is left alone, for what it sent can't be looked at yet.
    pub fn is_unread(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.unread_since.is_some())
    }

    /// Whether its commands wait until it has read more of their answers.
    pub fn waits_for_its_reader(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.on == On::Outbox)
    }

    /// Where bytes go that came behind a message which the workers read.
    pub fn rest(&mut self) -> Option<&mut Vec<u8>> {
        self.waiting.as_mut()?.rest.as_mut()
    }

    /// Whether its commands wait for the next turn.
    pub fn has_yielded(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.on == On::Turn)
    }

    /// Whether nothing is under way that its next command would have to wait for.
    pub fn waits_for_nothing(&self) -> bool {
        self.waiting.as_ref().is_none_or(|waiting| waiting.on == On::Nothing)
    }

    /// Whether the workers do something for it.
    pub fn has_job(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.job.is_some())
    }

    pub fn find_subscription_mut(&mut self, channel: u32) -> Option<&mut Subscription> {
        self.subscriptions.iter_mut().find(|subscription| subscription.channel == channel)
    }

    pub fn find_subscription(&self, channel: u32) -> Option<&Subscription> {
        self.subscriptions.iter().find(|subscription| subscription.channel == channel)
    }

    /// When the wheel has to look at it.
    pub fn due(&self) -> Duration {
        self.deadline.min(self.expires)
    }
}

impl Waiting {
    pub fn is_idle(&self) -> bool {
        self.on == On::Nothing && self.commands.is_empty() && self.job.is_none() && self.vouched_user.is_none()
    }
}
