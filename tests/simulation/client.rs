//! Simulated clients: people with an SDK, who want to be in channels and come back when cut.

use std::collections::VecDeque;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fanfare::model::{ClientId, Format};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};

use super::frames::FrameReader;
use super::granted::{self, Awaited, Expiry, Terms};
use super::namespaces::{CHANNELS, ChannelIndex};
use super::plan::SECRET;
use super::subscription::Subscription;
use super::wire::{Position, Subscribe};
use super::world::Micros;

/// Who the clients of a user are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    Anonymous,
    Known(u32),
    /// Its tokens run out.
    Passing(u32),
}

/// Users that clients are of.
pub const USERS: u32 = 20;

pub struct Client {
    pub format: Format,
    pub user: User,
    pub link: Option<Link>,
    /// Where its tokens put it, and how.
    pub granted: Vec<(ChannelIndex, Terms)>,
    /// Where it says to the server that it would like to be put.
    pub desired: Option<ChannelIndex>,
    /// Where it wants to be, and how.
    pub wishes: [Option<Wish>; CHANNELS.len()],
    /// The last position it held in each channel: it recovers from there.
    pub held: [Option<Position>; CHANNELS.len()],
    /// Channels it was in on its last connection, as bits.
    pub last_channels: u32,
    /// Channels it ever asked to subscribe to, as bits.
    pub ever_asked: u32,
}

#[derive(Clone, Copy, Debug)]
pub struct Wish {
    pub positioned: bool,
    pub recoverable: bool,
    pub joins: bool,
    pub must_recover: bool,
    pub delta: bool,
    /// It brings a token of the channel.
    pub by_token: bool,
}

/// One connection, seen from its client.
pub struct Link {
    pub socket: usize,
    pub phase: LinkPhase,
    /// Patience at which the phase began.
    pub since: Micros,
    pub id: Option<ClientId>,
    pub next_command: u32,
    /// Commands without an answer, oldest first.
    pub asked: VecDeque<Asked>,
    pub subscriptions: [Option<Subscription>; CHANNELS.len()],
    /// When it last left a channel.
    pub left_at: [Micros; CHANNELS.len()],
    pub reading: Reading,
    /// It reads promptly and keeps the rules: the hub owes it everything in time.
    pub is_well: bool,
    /// It does not answer pings.
    pub is_silent: bool,
    pub has_misbehaved: bool,
    /// It may be closed for a token that is not for it.
    pub brought_foreign_token: bool,
    /// It brought a token for a subscription that it has.
    pub has_refreshed: bool,
    pub last_ping: Micros,
    pub frames: FrameReader,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkPhase {
    /// The connect command is not answered.
    Connecting,
    Ready,
    /// It was answered with an error.
    Refused,
    /// The client sent a close frame.
    Closing,
    /// The hub's close frame came: it is the last one.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    Prompt,
    Slow { bytes: usize, pause: Micros },
    Stopped,
}

pub struct Asked {
    pub id: u32,
    pub question: Question,
    /// Patience when it was asked, and the time.
    pub since: Micros,
    pub at: Micros,
}

/// What was asked, and what is needed to judge the answer.
#[derive(Clone, Debug)]
pub enum Question {
    Connect(Awaited),
    /// `terms`: of the token, if it brings one.
    Subscribe {
        channel: ChannelIndex,
        asked: Subscribe,
        terms: Option<Terms>,
    },
    /// Brings a token that is for somebody or something else: gets this error, or is closed.
    Foreign {
        channel: ChannelIndex,
        code: Option<u32>,
    },
    SubRefresh {
        channel: ChannelIndex,
        expiry: Expiry,
    },
    Unsubscribe {
        channel: ChannelIndex,
    },
    Publish {
        number: u32,
    },
    Presence {
        channel: ChannelIndex,
        was_in: bool,
    },
    PresenceStats {
        channel: ChannelIndex,
    },
    History {
        channel: ChannelIndex,
        limit: i32,
        since: Option<Position>,
        reverse: bool,
        seen: Option<Position>,
    },
    /// Gets this error, whoever asks.
    Hopeless {
        code: u32,
    },
}

impl Client {
    pub fn draw(random: &mut fastrand::Rng, has_little_memory: bool) -> Client {
        let format = match random.u8(..3) {
            0 => Format::CentrifugoProtobuf,
            _ => Format::CentrifugoJson,
        };
        let user = match random.u8(..8) {
            0..2 => User::Anonymous,
            2 => User::Passing(random.u32(..USERS)),
            _ => User::Known(random.u32(..USERS)),
        };
        let mut wishes = [None; CHANNELS.len()];
        for _ in 0..random.usize(2..8) {
            let channel = random.usize(..CHANNELS.len());
            wishes[channel] = Some(Wish::draw(random, channel));
        }
        let held = [None; CHANNELS.len()];
        let (granted, desired) = granted::draw_granted(random, has_little_memory);
        // Who brings no token is granted nothing.
        let granted = if user == User::Anonymous { Vec::new() } else { granted };
        Client { format, user, link: None, granted, desired, wishes, held, last_channels: 0, ever_asked: 0 }
    }

    /// Nothing is granted to it, and it desires nothing.
    pub fn take_grants(&mut self) {
        self.granted.clear();
        self.desired = None;
    }

    pub fn is_anonymous(&self) -> bool {
        self.user == User::Anonymous
    }

    pub fn user_number(&self) -> Option<u32> {
        match self.user {
            User::Anonymous => None,
            User::Known(user) | User::Passing(user) => Some(user),
        }
    }

    pub fn token(&self, unix_now: i64, expires: bool, random: &mut fastrand::Rng) -> String {
        let subs = granted::claims_of(&self.granted);
        match self.user {
            User::Anonymous => String::new(),
            User::Known(user) => sign(&format!("{{\"sub\":\"user{user}\"{subs}}}")),
            User::Passing(user) if !expires => sign(&format!("{{\"sub\":\"user{user}\"{subs}}}")),
            User::Passing(user) => {
                let exp = if random.u8(..6) == 0 { unix_now - 5 } else { unix_now + random.i64(5..30) };
                sign(&format!("{{\"sub\":\"user{user}\",\"exp\":{exp}{subs}}}"))
            }
        }
    }
}

impl Wish {
    pub fn draw(random: &mut fastrand::Rng, channel: ChannelIndex) -> Wish {
        let recoverable = random.u8(..4) > 0;
        Wish {
            positioned: recoverable || random.bool(),
            recoverable,
            joins: random.bool(),
            must_recover: random.u8(..8) == 0,
            delta: random.u8(..3) == 0,
            by_token: random.u8(..8) == 0 || (granted::needs_token(CHANNELS[channel].kind) && random.bool()),
        }
    }
}

impl Link {
    /// Whether the answer to a subscribe is awaited.
    pub fn is_subscribing(&self, to: ChannelIndex) -> bool {
        self.asked.iter().any(|asked| matches!(asked.question, Question::Subscribe { channel, .. } if channel == to))
    }
}

/// A token signed with the secret that the hub knows.
pub fn sign(claims: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).expect("the key is for this algorithm");
    format!("{signed}.{signature}")
}
