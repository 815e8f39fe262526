//! Who is compared.

use super::Contender;
use crate::brokers::Engine;
use crate::servers::{Peer, Recipe};

pub const HUB: Contender = Contender::plain(Peer::Hub, "hub");
pub const UWS: Contender = Contender::plain(Peer::Uws, "uws");
pub const NODE_WS: Contender = Contender::plain(Peer::NodeWs, "node-ws");
pub const SOCKET_IO: Contender = Contender::plain(Peer::SocketIo, "socket-io");
pub const NATS: Contender = Contender::plain(Peer::Nats, "nats");
pub const NCHAN: Contender = Contender::plain(Peer::Nchan, "nchan");

/// What the kernel takes for the same deliveries.
pub const FLOOR: Contender = Contender::plain(Peer::Floor, "floor");

pub const ALL: &[Contender] = &[HUB, UWS, NODE_WS, SOCKET_IO, NATS, NCHAN, FLOOR];

/// Large payloads wait whole for a member: the bound of what waits must be above them.
pub const ROOMY: Recipe = Recipe { outbox_bytes_max: Some(16 << 20), ..Recipe::plain(Peer::Hub) };

pub const fn deflating(peer: Peer) -> Recipe {
    Recipe { deflate: true, ..Recipe::plain(peer) }
}

pub const fn kept_by(engine: Engine) -> Recipe {
    Recipe { engine, ..Recipe::plain(Peer::Hub) }
}

const fn on_nodes(nodes: u16, engine: Engine) -> Recipe {
    Recipe { nodes, ..kept_by(engine) }
}

pub const THREE_NODES: Contender = Contender::new("3 nodes, Redis", on_nodes(3, Engine::Redis));

/// Hubs that share an engine, beside one that needs none.
pub const NODES: &[Contender] = &[
    Contender::plain(Peer::Hub, "1 node, memory"),
    Contender::new("1 node, Redis", on_nodes(1, Engine::Redis)),
    Contender::new("2 nodes, Redis", on_nodes(2, Engine::Redis)),
    THREE_NODES,
    Contender::new("1 node, NATS", on_nodes(1, Engine::Nats)),
    Contender::new("2 nodes, NATS", on_nodes(2, Engine::Nats)),
    Contender::new("3 nodes, NATS", on_nodes(3, Engine::Nats)),
];

/// The hub with each of its engines.
pub const ENGINES: &[Contender] = &[
    HUB,
    Contender::new("hub, disk", kept_by(Engine::Disk)),
    Contender::new("hub, disk with fsync", kept_by(Engine::DiskFsync)),
    Contender::new("hub, Redis", kept_by(Engine::Redis)),
    Contender::new("hub, NATS", kept_by(Engine::Nats)),
];
