//! The bus, and nodes on it whose shards are played by a function.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::engine::contract::Control;
use crate::handle::{Answer, Answered, Handle, Question, ShardUsers, TrayMessage};
use crate::model::{ErrorCode, Homes, UserSketch};
use crate::nodes::wire::{Message, What};
use crate::nodes::{Cluster, NodeName};
use crate::telemetry::NodeMetrics;

/// Cheap to clone. Messages pass in up to `delay_max`, so that they overtake one another.
#[derive(Clone)]
pub struct Bus(Arc<Mutex<Wires>>);

struct Wires {
    nodes: Vec<Wire>,
    random: fastrand::Rng,
    /// Of a hundred messages to a node so many are lost.
    loss: u32,
    delay_max: Duration,
}

struct Wire {
    uid: String,
    is_cut: bool,
    sender: mpsc::Sender<Bytes>,
    sent: Vec<Bytes>,
}

impl Bus {
    pub fn new() -> Bus {
        let random = fastrand::Rng::with_seed(5);
        Bus(Arc::new(Mutex::new(Wires { nodes: Vec::new(), random, loss: 0, delay_max: Duration::from_millis(50) })))
    }

    fn wires(&self) -> std::sync::MutexGuard<'_, Wires> {
        self.0.lock().expect("no test panics while it holds this")
    }

    pub fn lose(&self, percent: u32) {
        self.wires().loss = percent;
    }

    /// The node neither hears nor is heard from now on, or both again.
    pub fn cut(&self, uid: &str, is_cut: bool) {
        self.wires().nodes.iter_mut().filter(|node| node.uid == uid).for_each(|node| node.is_cut = is_cut);
    }

    /// A node of this name is plugged in: what it says goes through the first, what it hears comes by the second.
    pub fn plug(&self, uid: &str) -> (Arc<dyn Control>, mpsc::Receiver<Bytes>) {
        let (sender, receiver) = mpsc::channel(10_000);
        self.wires().nodes.push(Wire { uid: uid.to_owned(), is_cut: false, sender, sent: Vec::new() });
        (Arc::new(Plug { bus: self.clone(), uid: uid.to_owned() }), receiver)
    }

    /// Puts bytes on the bus as another program would.
    pub fn say(&self, bytes: Bytes) {
        self.carry(None, None, &bytes);
    }

    /// What this node said.
    pub fn sent_by(&self, uid: &str) -> Vec<Message> {
        let wires = self.wires();
        let sent = wires.nodes.iter().filter(|node| node.uid == uid).flat_map(|node| node.sent.clone());
        sent.map(|bytes| Message::decode(bytes).expect("nodes write messages")).collect()
    }

    fn carry(&self, from: Option<&str>, to: Option<&str>, bytes: &Bytes) {
        let wires = &mut *self.wires();
        let sender = wires.nodes.iter_mut().find(|node| Some(node.uid.as_str()) == from);
        if let Some(sender) = sender {
            sender.sent.push(bytes.clone());
            if sender.is_cut {
                return;
            }
        }
        for node in wires.nodes.iter().filter(|node| !node.is_cut && to.is_none_or(|to| node.uid == to)) {
            if wires.random.u32(..100) < wires.loss {
                continue;
            }
            let delay = wires.delay_max.mul_f64(wires.random.f64());
            let (sender, bytes) = (node.sender.clone(), bytes.clone());
            tokio::spawn(async move {
                sleep(delay).await;
                // A node that was stopped hears nothing.
                let _ = sender.send(bytes).await;
            });
        }
    }
}

struct Plug {
    bus: Bus,
    uid: String,
}

impl Control for Plug {
    fn broadcast(&self, message: Bytes) {
        self.bus.carry(Some(&self.uid), None, &message);
    }

    fn send(&self, node: &str, message: Bytes) {
        self.bus.carry(Some(&self.uid), Some(node), &message);
    }
}

/// One node with one shard.
pub struct Node {
    pub cluster: Cluster,
    pub metrics: Arc<NodeMetrics>,
    pub asked: Arc<Mutex<Vec<Question>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Node {
    /// A node named `name-` and its uid, with seven users, whose shard reaches two connections of everybody.
    pub fn start(bus: &Bus, uid: &str) -> Node {
        // One of them is on all nodes.
        let mut sketch = UserSketch::default();
        (1..7).for_each(|user| sketch.add(&format!("{user} of {uid}")));
        sketch.add("everywhere");
        Node::answering(bus, uid, move |question| {
            Some(match question {
                Question::UserSketch => Ok(Answered::UserSketch(sketch.clone())),
                Question::Users => Ok(Answered::Users(ShardUsers { count: 7, keys: Vec::new() })),
                Question::Reach(_) => Ok(Answered::Reached(2)),
                _ => Err(ErrorCode::NotAvailable),
            })
        })
    }

    /// A node whose shard answers so, or not at all.
    pub fn answering(
        bus: &Bus,
        uid: &str,
        answer: impl Fn(&Question) -> Option<Answer> + Send + Sync + 'static,
    ) -> Node {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        let unanswered = Mutex::new(Vec::new());
        let post = move |_, message| {
            let TrayMessage::Ask { question, answerer } = message else { panic!("nodes only ask") };
            match answer(&question) {
                Some(answer) => (answerer.0)(answer),
                None => unanswered.lock().expect("no test panics while it holds this").push(answerer),
            }
            kept.lock().expect("no test panics while it holds this").push(question);
            Ok(())
        };
        let metrics = Arc::new(NodeMetrics::new(1, 1, std::time::Instant::now()));
        let node = NodeName { uid: uid.to_owned(), name: format!("name-{uid}") };
        let handle = Handle::new(Homes::new(1, 1), Arc::new(post));
        let cluster = Cluster::alone(node, handle, Arc::clone(&metrics));
        let (control, messages) = bus.plug(uid);
        let task = tokio::spawn(cluster.join(control, messages));
        Node { cluster, metrics, asked, task }
    }

    /// Ends it without a goodbye.
    pub fn kill(self) {
        self.task.abort();
    }

    /// What its shard was asked to do to users.
    pub fn reached(&self) -> Vec<Question> {
        let asked = self.asked.lock().expect("no test panics while it holds this");
        asked.iter().filter(|question| matches!(question, Question::Reach(_))).cloned().collect()
    }
}

/// A node that is on the bus as bytes only, to say and hear what the test wants.
pub struct Peer {
    bus: Bus,
    uid: String,
    control: Arc<dyn Control>,
    messages: mpsc::Receiver<Bytes>,
}

impl Peer {
    pub fn start(bus: &Bus, uid: &str) -> Peer {
        let (control, messages) = bus.plug(uid);
        let peer = Peer { bus: bus.clone(), uid: uid.to_owned(), control, messages };
        peer.say(What::Report { report: super::report(uid, &format!("name-{uid}")), asks: false });
        peer
    }

    pub fn say(&self, what: What) {
        self.control.broadcast(Message::new(&self.uid, "", what).encode().expect("it fits"));
    }

    pub fn tell(&self, node: &str, what: What) {
        self.control.send(node, Message::new(&self.uid, node, what).encode().expect("it fits"));
    }

    /// The same as bytes.
    pub fn tell_bytes(&self, bytes: &'static [u8]) {
        self.bus.say(Bytes::from_static(bytes));
    }

    /// The next message that is neither a report nor its own.
    pub async fn hear(&mut self) -> Message {
        loop {
            let bytes = self.messages.recv().await.expect("the bus stays");
            match Message::decode(bytes) {
                Ok(message) if message.from != self.uid && !matches!(message.what, What::Report { .. }) => {
                    return message;
                }
                _ => {}
            }
        }
    }
}

/// Lets time pass: what is due happens in between.
pub async fn pass(seconds: u64) {
    let end = Instant::now() + Duration::from_secs(seconds);
    tokio::time::sleep_until(end).await;
}
