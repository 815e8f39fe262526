//! Requests to other nodes that are under way, and what came of them.

use std::collections::{BTreeMap, HashMap};

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::report::NodeName;
use super::wire::{ChannelsPiece, Part};
use crate::limits::{
    ANSWER_TIMEOUT, NODE_ANSWER_TIMEOUT, NODE_ANSWERS_WAITING_MAX, NODE_CHANNELS_BYTES_MAX, NODE_PIECE_BYTES,
    NODE_REQUESTS_MAX,
};

/// Who waits for which answers, by the number of the request. At most [`NODE_REQUESTS_MAX`].
#[derive(Default)]
pub struct Asking {
    last: u64,
    waiting: HashMap<u64, mpsc::Sender<FromNode>>,
}

/// What came of one node.
#[derive(Debug)]
pub struct FromNode {
    uid: String,
    said: Said,
}

#[derive(Debug)]
enum Said {
    Part(Part),
    /// It has ended: there is nobody left to answer for.
    Goodbye,
}

impl Asking {
    /// Begins a request. `None`: there are too many.
    pub fn begin(&mut self) -> Option<(u64, mpsc::Receiver<FromNode>)> {
        if self.waiting.len() >= NODE_REQUESTS_MAX {
            return None;
        }
        self.last += 1;
        let (sender, receiver) = mpsc::channel(NODE_ANSWERS_WAITING_MAX);
        self.waiting.insert(self.last, sender);
        Some((self.last, receiver))
    }

    pub fn end(&mut self, id: u64) {
        self.waiting.remove(&id);
    }

    /// Takes an answer to whoever waits for it. Returns whether somebody does.
    pub fn answer(&self, id: u64, uid: String, part: Part) -> bool {
        let Some(asker) = self.waiting.get(&id) else { return false };
        asker.try_send(FromNode { uid, said: Said::Part(part) }).is_ok()
    }

    /// The node has ended.
    pub fn part(&self, uid: &str) {
        for asker in self.waiting.values() {
            // An asker with no room left has more to do than to wait for one that is gone.
            drop(asker.try_send(FromNode { uid: uid.to_owned(), said: Said::Goodbye }));
        }
    }
}

/// A node that did not do, or did not say, what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingNode {
    pub node: NodeName,
    pub why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No answer came in time: it may be gone or cut off, or the message was lost.
    Silent,
    /// The node is older than this one, and does not know how.
    NotKnown,
}

impl Why {
    pub fn name(self) -> &'static str {
        match self {
            Why::Silent => "silent",
            Why::NotKnown => "not_known",
        }
    }
}

/// What other nodes answered.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Whole answers, by uid: one part each, or all pieces.
    pub answers: BTreeMap<String, Vec<Part>>,
    pub missing: Vec<MissingNode>,
}

/// Collects the answers to one request.
pub struct Gather {
    awaited: BTreeMap<String, Awaited>,
    /// Answers whole and begun. Nodes that nobody knew of may answer too.
    answers: BTreeMap<String, Vec<Part>>,
    not_known: Vec<String>,
    /// Of names in all answers.
    bytes: usize,
    names: BTreeMap<String, String>,
    /// Nodes that nobody waits for, and that are missing all the same.
    lost: Vec<NodeName>,
}

struct Awaited {
    is_at_work: bool,
}

impl Gather {
    pub fn new(nodes: Vec<NodeName>, lost: Vec<NodeName>) -> Gather {
        Gather {
            awaited: nodes.iter().map(|node| (node.uid.clone(), Awaited { is_at_work: false })).collect(),
            answers: BTreeMap::new(),
            not_known: Vec::new(),
            bytes: 0,
            names: nodes.into_iter().map(|node| (node.uid, node.name)).collect(),
            lost,
        }
    }

    /// Waits until all have answered, or until those that have not said anything are out of time, and those that
    /// are at work too.
    pub async fn run(mut self, mut from_nodes: mpsc::Receiver<FromNode>) -> Gathered {
        let silent_until = Instant::now() + NODE_ANSWER_TIMEOUT;
        let working_until = silent_until + ANSWER_TIMEOUT;
        while !self.awaited.is_empty() {
            let until = match self.awaited.values().any(|awaited| awaited.is_at_work) {
                true if Instant::now() >= silent_until => working_until,
                _ => silent_until,
            };
            match timeout_at(until, from_nodes.recv()).await {
                Ok(Some(from_node)) => self.take(from_node),
                Ok(None) => break,
                Err(_elapsed) if until == silent_until && self.awaited.values().any(|node| node.is_at_work) => {}
                Err(_elapsed) => break,
            }
        }
        self.end()
    }

    fn take(&mut self, FromNode { uid, said }: FromNode) {
        match said {
            Said::Goodbye => drop(self.awaited.remove(&uid)),
            Said::Part(Part::Working) => {
                self.awaited.entry(uid).and_modify(|awaited| awaited.is_at_work = true);
            }
            Said::Part(Part::NotKnown) => {
                self.awaited.remove(&uid);
                self.not_known.push(uid);
            }
            Said::Part(part) => self.take_answer(uid, part),
        }
    }

    fn take_answer(&mut self, uid: String, part: Part) {
        let parts = self.answers.entry(uid.clone()).or_default();
        if let Part::Channels(piece) = &part {
            self.bytes += piece.channels.iter().map(|(name, _)| name.as_str().len()).sum::<usize>();
            // Each node was told how much it may answer: this is one that does not keep to it.
            let is_too_much = self.bytes > 2 * NODE_CHANNELS_BYTES_MAX || piece.pieces > PIECES_MAX;
            if is_too_much || piece.piece >= piece.pieces || parts.iter().any(|part| !is_beside(part, piece)) {
                return;
            }
        } else if !parts.is_empty() {
            return;
        }
        parts.push(part);
        if is_whole(parts) {
            self.awaited.remove(&uid);
        }
    }

    fn end(self) -> Gathered {
        let Gather { awaited, mut answers, not_known, names, mut lost, .. } = self;
        answers.retain(|_, parts| is_whole(parts));
        lost.retain(|node| !answers.contains_key(&node.uid));
        let name = |uid: String| NodeName { name: names.get(&uid).unwrap_or(&uid).clone(), uid };
        let silent = awaited.into_keys().map(name).chain(lost).map(|node| MissingNode { node, why: Why::Silent });
        let not_known = not_known.into_iter().map(name).map(|node| MissingNode { node, why: Why::NotKnown });
        let missing = silent.chain(not_known).collect();
        Gathered { answers, missing }
    }
}

/// Whether `piece` may stand beside what came before.
fn is_beside(part: &Part, piece: &ChannelsPiece) -> bool {
    matches!(part, Part::Channels(other) if other.pieces == piece.pieces && other.piece != piece.piece)
}

fn is_whole(parts: &[Part]) -> bool {
    match parts.first() {
        None => false,
        Some(Part::Channels(piece)) => parts.len() == piece.pieces as usize,
        Some(_) => true,
    }
}

const PIECES_MAX: u32 = (2 * NODE_CHANNELS_BYTES_MAX / NODE_PIECE_BYTES) as u32;

const _: () = assert!(NODE_ANSWERS_WAITING_MAX > PIECES_MAX as usize, "one node's whole answer can wait");
