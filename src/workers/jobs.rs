//! What workers do: the closed list of jobs and their outcomes.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;

use super::Tools;
use crate::access::{self, Claims, KeySet, SubscriptionClaims, TokenKeys, TokenProblem};
use crate::model::{
    ChannelName, Command, ConnectionId, DataShape, EncodingSet, Epoch, Format, Frames, Publication, Push, Reply,
    Request, ShardId, WindowBits,
};
use crate::protocol::{self, DecodeLimits, FrameTally, Inappropriate, Incoming, Malformed};
use crate::ws::{MessageKind, PeerViolated};

/// One computation, with all that it needs.
pub struct Job {
    pub shard: ShardId,
    pub owner: Owner,
    /// CPU time that it will take, about, in bytes of JSON that could be read in it: what fairness
    /// and queues are counted in.
    /// 0: it waits for something outside of this process first, and takes no place of those that are run.
    pub cost: usize,
    /// How long it may wait from now on; after that nobody waits for its end. `None`: for ever.
    pub patience: Option<Duration>,
    pub cancellation: Cancellation,
    pub work: Box<Work>,
}

/// Whose job it is: where its end goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    Connection(ConnectionId),
    /// A room at home on the shard; `ticket` is the place of the publication in its line.
    Room {
        channel: ChannelName,
        ticket: u64,
    },
}

#[derive(Debug)]
pub enum Work {
    /// Verify the signature and the claims of a connection token.
    VerifyToken { token: Box<str>, keys: Arc<TokenKeys>, unix_seconds: i64 },
    /// The same of a subscription token.
    VerifySubscription { token: Box<str>, keys: Arc<TokenKeys>, unix_seconds: i64 },
    /// Read the commands of a large message.
    Read(ReadMessage),
    /// Encode a large publication for everybody who reads it.
    Encode(EncodePublication),
    /// Encode a large answer for its asker.
    Answer { format: Format, window: Option<WindowBits>, reply: Reply },
    /// A fault point of debug builds: the worker panics.
    #[cfg(debug_assertions)]
    Panic,
    /// Whatever a test wants to happen on a worker's thread.
    #[cfg(test)]
    Call(Call),
}

/// A message as it came, unmasked.
#[derive(Debug)]
pub struct ReadMessage {
    pub format: Format,
    pub kind: MessageKind,
    pub payload: Vec<u8>,
    pub is_compressed: bool,
    /// Of the message once it is expanded.
    pub message_bytes_max: usize,
    pub command_bytes_max: usize,
    /// Whether to look what the data of publishes is.
    pub reads_data: bool,
}

/// A publication with what its pushes say beside it.
#[derive(Clone, Debug)]
pub struct EncodePublication {
    pub channel: ChannelName,
    pub publication: Publication,
    pub epoch: Option<Epoch>,
    pub encodings: EncodingSet,
    /// The data of the publication before, if this one may be said as the difference from it.
    pub base: Option<Bytes>,
}

/// A job's end, on its way back to the shard that asked.
#[derive(Debug)]
pub struct Done {
    pub owner: Owner,
    /// As the job had it.
    pub cost: usize,
    pub outcome: WorkOutcome,
}

#[derive(Debug)]
pub enum WorkOutcome {
    TokenVerified(Box<Result<Claims, TokenProblem>>),
    /// What the job waited for is with it: it can be run.
    Ready(Box<Work>),
    SubscriptionVerified(Box<Result<SubscriptionClaims, TokenProblem>>),
    Read(Result<MessageRead, PeerViolated>),
    Encoded(Frames, FrameTally),
    Answered(Result<(Bytes, FrameTally), Inappropriate>),
    /// The job panicked.
    Panicked,
    /// The job waited for longer than it might.
    TooLate,
    /// Nobody waited for the job any more.
    Cancelled,
}

/// The commands of one message, in order; nothing follows a malformed one.
#[derive(Debug)]
pub struct MessageRead {
    pub commands: Vec<Result<Incoming, Malformed>>,
    /// Bytes of a compressed message before and after.
    pub inflated: Option<(usize, usize)>,
}

/// Held by whoever waits for a job: once it is dropped the job need not be run.
#[derive(Debug)]
pub struct CancelOnDrop {
    _held: Arc<()>,
}

/// A job's end of a [`CancelOnDrop`].
#[derive(Clone, Debug)]
pub struct Cancellation(Option<Weak<()>>);

#[cfg(test)]
pub struct Call(pub Box<dyn FnOnce() + Send>);

#[cfg(test)]
impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Call")
    }
}

impl CancelOnDrop {
    pub fn new() -> (CancelOnDrop, Cancellation) {
        let held = Arc::new(());
        let seen = Cancellation(Some(Arc::downgrade(&held)));
        (CancelOnDrop { _held: held }, seen)
    }
}

impl Cancellation {
    /// For jobs that have to be done whoever waits.
    pub const NEVER: Cancellation = Cancellation(None);

    pub fn is_cancelled(&self) -> bool {
        self.0.as_ref().is_some_and(|held| held.strong_count() == 0)
    }
}

impl Work {
    /// The name of this kind of job in metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Work::VerifyToken { .. } | Work::VerifySubscription { .. } => "verify_token",
            Work::Read(_) => "read",
            Work::Encode(_) => "encode",
            Work::Answer { .. } => "answer",
            #[cfg(debug_assertions)]
            Work::Panic => "panic",
            #[cfg(test)]
            Work::Call(_) => "call",
        }
    }
}

impl Work {
    /// The token that this verifies, if its keys have to be fetched first; with the rules that say where.
    pub fn awaits_keys(&self) -> Option<(&TokenKeys, &str)> {
        match self {
            Work::VerifyToken { token, keys, .. } | Work::VerifySubscription { token, keys, .. } => {
                keys.are_fetched().then_some((keys, token))
            }
            // Each by its name, so that a new kind of token is not forgotten.
            Work::Read(_) | Work::Encode(_) | Work::Answer { .. } => None,
            #[cfg(debug_assertions)]
            Work::Panic => None,
            #[cfg(test)]
            Work::Call(_) => None,
        }
    }

    fn set_keys(&mut self, fetched: Arc<KeySet>) {
        match self {
            Work::VerifyToken { keys, .. } | Work::VerifySubscription { keys, .. } => {
                *keys = Arc::new(keys.with_fetched(fetched));
            }
            Work::Read(_) | Work::Encode(_) | Work::Answer { .. } => {}
            #[cfg(debug_assertions)]
            Work::Panic => {}
            #[cfg(test)]
            Work::Call(_) => {}
        }
    }
}

impl Job {
    /// Does the work. Pure but for the time it takes.
    pub fn run(self, tools: &mut Tools) -> Done {
        let outcome = match *self.work {
            Work::VerifyToken { token, keys, unix_seconds } => {
                WorkOutcome::TokenVerified(Box::new(keys.verify(&token, unix_seconds)))
            }
            Work::VerifySubscription { token, keys, unix_seconds } => {
                WorkOutcome::SubscriptionVerified(Box::new(keys.verify_subscription(&token, unix_seconds)))
            }
            Work::Read(message) => WorkOutcome::Read(message.read(tools)),
            Work::Encode(push) => {
                let frames = push.encode(tools);
                WorkOutcome::Encoded(frames, tools.frames.take_tally())
            }
            Work::Answer { format, window, reply } => WorkOutcome::Answered(answer(tools, format, window, &reply)),
            #[cfg(debug_assertions)]
            Work::Panic => panic!("fault point: a worker panics"),
            #[cfg(test)]
            Work::Call(call) => {
                (call.0)();
                WorkOutcome::TokenVerified(Box::new(Ok(Claims::default())))
            }
        };
        Done { owner: self.owner, cost: self.cost, outcome }
    }

    /// Back to its shard with the keys that it waited for.
    pub fn end_with_keys(mut self, keys: Arc<KeySet>) -> Done {
        self.work.set_keys(keys);
        Done { owner: self.owner, cost: self.cost, outcome: WorkOutcome::Ready(self.work) }
    }

    /// Its end without having been run.
    pub fn end(self, outcome: WorkOutcome) -> Done {
        Done { owner: self.owner, cost: self.cost, outcome }
    }
}

impl ReadMessage {
    fn read(&self, tools: &mut Tools) -> Result<MessageRead, PeerViolated> {
        let read = match self.is_compressed {
            true => tools.inflater.inflate(self.kind, &self.payload, self.message_bytes_max).map(|it| self.decode(it)),
            false => Ok(self.decode(&self.payload)),
        };
        tools.inflater.release();
        read
    }

    fn decode(&self, message: &[u8]) -> MessageRead {
        let limits = DecodeLimits { command_bytes_max: self.command_bytes_max };
        let inflated = self.is_compressed.then_some((self.payload.len(), message.len()));
        let mut commands: Vec<_> = protocol::decode(self.format, message, limits).collect();
        if self.reads_data {
            commands.iter_mut().flatten().for_each(look_at_data);
        }
        MessageRead { commands, inflated }
    }
}

fn look_at_data(incoming: &mut Incoming) {
    if let Incoming::Command(Command { request: Request::Publish { data, shape, .. }, .. }) = incoming
        && *shape == DataShape::Unknown
    {
        *shape = access::shape_of(data);
    }
}

impl EncodePublication {
    fn encode(&self, tools: &mut Tools) -> Frames {
        let push =
            Push::Publication { channel: self.channel.as_str(), publication: &self.publication, epoch: self.epoch };
        tools.frames.build(&push, self.encodings, self.base.as_deref())
    }
}

fn answer(
    tools: &mut Tools,
    format: Format,
    window: Option<WindowBits>,
    reply: &Reply,
) -> Result<(Bytes, FrameTally), Inappropriate> {
    let mut payload = Vec::new();
    protocol::append_reply(format, reply, &mut payload, 0)?;
    let frame = tools.frames.build_message(format, window, &payload);
    Ok((frame, tools.frames.take_tally()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Compression;

    /// A Protobuf publish of `data` to "c", in a message of its own.
    fn publish(data: &[u8]) -> Vec<u8> {
        let inner = [&[0x0a, 1, b'c', 0x12, data.len() as u8][..], data].concat();
        let command = [&[0x08, 1, 0x3a, inner.len() as u8][..], &inner].concat();
        [&[command.len() as u8][..], &command].concat()
    }

    fn shapes(reads_data: bool, payload: Vec<u8>) -> Vec<DataShape> {
        let message = ReadMessage {
            format: Format::CentrifugoProtobuf,
            kind: MessageKind::Binary,
            payload,
            is_compressed: false,
            message_bytes_max: 1000,
            command_bytes_max: 1000,
            reads_data,
        };
        let read = message.read(&mut Tools::new(Compression::default())).expect("a message");
        let shape = |incoming| match incoming {
            Ok(Incoming::Command(Command { request: Request::Publish { shape, .. }, .. })) => shape,
            other => panic!("{other:?} is no publish"),
        };
        read.commands.into_iter().map(shape).collect()
    }

    #[test]
    fn what_is_published_is_looked_at_where_a_namespace_asks_for_it() {
        let message = [publish(br#"{"a":1}"#), publish(b"[1]"), publish(b"\xff")].concat();
        assert_eq!(shapes(true, message.clone()), [DataShape::Object, DataShape::Value, DataShape::Bytes]);
        assert_eq!(shapes(false, message), [DataShape::Unknown; 3]);
    }
}
