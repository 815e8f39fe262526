//! The pure shard, driven as io does, without sockets.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanfare::lane::{Doorbell, Ports, mesh, tray};
use fanfare::limits;
use fanfare::model::{ChannelName, ConnectionId, Format, Homes, Now, ShardId};
use fanfare::shard::{
    Answerer, LaneMessage, Opening, Options, Question, ServerPublication, Shard, Speaks, TrayMessage,
};
use fanfare::telemetry::ShardMetrics;

use crate::Subject;
use crate::callgrind::counted_section;
use crate::support::{masked_text, open_channel, open_node, payload, publish_command};

pub const SUBJECTS: [Subject; 8] = [
    Subject {
        name: "delivery",
        unit: "delivery to one of 1,000, one publication a turn",
        // 0.2 us of a core that executes about 3.3 instructions a nanosecond.
        instructions_max: Some(700.0),
        work: || deliver(1),
    },
    Subject::new("delivery_16", "delivery to one of 1,000, sixteen publications a turn", || deliver(16)),
    Subject::new("subscribe", "subscribe command, answered", subscribe),
    Subject::new("echo", "publish of a room's only member, answered and delivered", echo),
    Subject::new("publish_api", "publication through the in-tray, to one member", publish_api),
    Subject::new("lane_hop", "message through a lane, one in a turn", || hop(1)),
    Subject::new("lane_hop_32", "message through a lane, 32 in a turn", || hop(32)),
    Subject::new("publish_across", "publish of another shard's client: question, answer, delivery", publish_across),
];

const MEMBERS: u64 = 1_000;
const ROUNDS: u64 = 50;
const NOW: Now = Now { monotonic: Duration::from_secs(1), unix_millis: 1_800_000_000_000 };

/// Publish commands arrive, `batch` in a turn, and go out to every member.
fn deliver(batch: u64) -> u64 {
    let mut shard = open_shard(ShardId(0), open_node(1, open_channel(), open_channel()));
    let publisher = connect(&mut shard);
    for _ in 0..MEMBERS {
        let member = connect(&mut shard);
        receive(&mut shard, member, SUBSCRIBE);
        turn(&mut shard);
    }
    let mut commands = vec![masked_text(&publish_command("room")); (ROUNDS * batch) as usize];
    // The first publication touches memory that later ones find ready.
    receive(&mut shard, publisher, &publish_command("room"));
    assert_eq!(turn(&mut shard), MEMBERS + 1, "every member is subscribed, and the publisher is answered");
    let mut writes = 0;
    counted_section(&mut || {
        for batch in commands.chunks_mut(batch as usize) {
            for command in batch {
                shard.received(NOW, publisher, command);
            }
            writes += turn(&mut shard);
        }
    });
    assert_eq!(writes, (MEMBERS + 1) * ROUNDS, "each member gets what a turn brings by one write");
    MEMBERS * ROUNDS * batch
}

/// Connected clients subscribe to one room, one a turn.
fn subscribe() -> u64 {
    let mut shard = open_shard(ShardId(0), open_node(1, open_channel(), open_channel()));
    let clients: Vec<ConnectionId> = (0..MEMBERS).map(|_| connect(&mut shard)).collect();
    let mut commands = vec![masked_text(SUBSCRIBE); clients.len()];
    let mut answers = 0;
    counted_section(&mut || {
        for (client, command) in clients.iter().zip(&mut commands) {
            shard.received(NOW, *client, command);
            answers += turn(&mut shard);
        }
    });
    assert_eq!(answers, MEMBERS, "each subscribe is answered");
    MEMBERS
}

/// A room's only member publishes: decoded, answered, delivered, written at once.
fn echo() -> u64 {
    let mut shard = open_shard(ShardId(0), open_node(1, open_channel(), open_channel()));
    let member = connect(&mut shard);
    receive(&mut shard, member, SUBSCRIBE);
    turn(&mut shard);
    let mut commands = vec![masked_text(&publish_command("room")); ROUNDS as usize];
    let mut writes = 0;
    counted_section(&mut || {
        for command in &mut commands {
            shard.received(NOW, member, command);
            writes += turn(&mut shard);
        }
    });
    assert_eq!(writes, ROUNDS, "reply and publication leave in one write");
    ROUNDS
}

/// A question of the control plane comes by the in-tray, is answered, and its publication goes out.
fn publish_api() -> u64 {
    let mut shard = open_shard(ShardId(0), open_node(1, open_channel(), open_channel()));
    let member = connect(&mut shard);
    receive(&mut shard, member, SUBSCRIBE);
    turn(&mut shard);
    let (sender, receiver) = tray(limits::TRAY_SLOTS, Arc::new(Doorbell::new()));
    let channel = ChannelName::parse("room", 255).expect("a short name");
    let data = Bytes::from(payload());
    let mut writes = 0;
    counted_section(&mut || {
        for _ in 0..ROUNDS {
            let (channel, data) = (channel.clone(), data.clone());
            let question = Question::Publish(ServerPublication::new(channel, data));
            let answerer = Answerer(Box::new(|answer| assert!(answer.is_ok())));
            assert!(sender.try_push(TrayMessage::Ask { question, answerer }).is_ok(), "the tray has room");
            while let Some(message) = receiver.pop() {
                shard.tray_message(NOW, message);
            }
            writes += turn(&mut shard);
        }
    });
    assert_eq!(writes, ROUNDS, "each publication is written");
    ROUNDS
}

/// Messages from one shard's ports to another's, `batch` in a turn, with the look at the doorbell.
fn hop(batch: u64) -> u64 {
    let mut ports = mesh::<LaneMessage>(2, limits::LANE_SLOTS);
    let channel = ChannelName::parse("room", 255).expect("a short name");
    let mut popped = 0;
    counted_section(&mut || {
        for _ in 0..ROUNDS {
            for _ in 0..batch {
                assert!(!ports[0].is_full(1), "the lane has room");
                assert!(ports[0].push(1, LaneMessage::Unlisten { channel: channel.clone() }).is_ok());
            }
            ports[0].ring(1);
            while let Some(message) = ports[1].pop(0) {
                black_box(message);
                popped += 1;
            }
        }
    });
    assert_eq!(popped, ROUNDS * batch, "what is pushed is popped");
    ROUNDS * batch
}

/// A client of shard 0 publishes to a room that is at home on shard 1 and has one member, on shard 0.
fn publish_across() -> u64 {
    let options = open_node(2, open_channel(), open_channel());
    let channel = name_at_home(&options.homes, ShardId(1));
    let mut shards = [open_shard(ShardId(0), options.clone()), open_shard(ShardId(1), options)];
    let mut ports = mesh(2, limits::LANE_SLOTS);
    let publisher = connect(&mut shards[0]);
    let member = connect(&mut shards[0]);
    receive(&mut shards[0], member, &format!(r#"{{"id":2,"subscribe":{{"channel":"{channel}"}}}}"#));
    assert_eq!(turn_both(&mut shards, &mut ports), 1, "the subscribe is answered");
    let mut commands = vec![masked_text(&publish_command(&channel)); ROUNDS as usize];
    let mut writes = 0;
    counted_section(&mut || {
        for command in &mut commands {
            shards[0].received(NOW, publisher, command);
            writes += turn_both(&mut shards, &mut ports);
        }
    });
    assert_eq!(writes, 2 * ROUNDS, "an answer and a delivery for each");
    ROUNDS
}

const SUBSCRIBE: &str = r#"{"id":2,"subscribe":{"channel":"room"}}"#;

fn open_shard(id: ShardId, options: Options) -> Shard {
    Shard::new(id, Arc::new(options), Arc::new(ShardMetrics::default()), 0)
}

fn name_at_home(homes: &Homes, home: ShardId) -> String {
    (0..).map(|n| format!("room{n}")).find(|name| homes.home_of(name) == home).expect("names spread over shards")
}

fn connect(shard: &mut Shard) -> ConnectionId {
    let id = shard.opened(NOW, Opening { speaks: Speaks::Centrifugo(Format::CentrifugoJson), window: None });
    receive(shard, id, r#"{"id":1,"connect":{}}"#);
    turn(shard);
    id
}

fn receive(shard: &mut Shard, id: ConnectionId, command: &str) {
    shard.received(NOW, id, &mut masked_text(command));
}

/// Walks every slice and empties every outbox, as io does. Returns the number of writes.
fn turn(shard: &mut Shard) -> u64 {
    let mut writes = 0;
    loop {
        let has_more = shard.walk(NOW);
        while let Some(id) = shard.next_dirty() {
            let bytes = shard.unsent(id).map(|frame| frame.len()).sum();
            shard.sent(NOW, id, bytes);
            writes += 1;
        }
        assert_eq!(shard.next_finished(), None, "nobody is closed");
        if !has_more {
            return writes;
        }
    }
}

/// Turns of two shards until neither has something for the other. Returns the number of writes.
fn turn_both(shards: &mut [Shard; 2], ports: &mut [Ports<LaneMessage>]) -> u64 {
    let mut writes = 0;
    loop {
        for (own, other) in [(0, 1), (1, 0)] {
            while let Some(message) = ports[own].pop(other) {
                shards[own].lane_message(NOW, ShardId(other as u16), message);
            }
            writes += turn(&mut shards[own]);
            while let Some(message) = shards[own].next_outgoing(ShardId(other as u16)) {
                assert!(ports[own].push(other, message).is_ok(), "the lane has room");
            }
            ports[own].ring(other);
        }
        if ports.iter().all(Ports::is_empty) {
            return writes;
        }
    }
}
