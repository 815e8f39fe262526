//! What happens to the many beside the small room.

use std::time::Duration;

use bytes::Bytes;
use fanfare::access::ChannelOptions;
use fanfare::model::{ChannelName, ConnectionId};
use fanfare::shard::{Answerer, LaneMessage, Options, Question, ServerPublication, TrayMessage};

use crate::hub::{Event, Hub, subscribe_command};
use crate::support::{masked_text, open_channel, open_node, payload};

/// Connections beside the small room; a tenth of them vanishes, comes or goes at once.
const CROWD: usize = 100_000;
const TENTH: usize = CROWD / 10;

/// The crowd's room.
const CHANNEL: &str = "named:crowd";

/// When what happens once happens.
const AT: Duration = Duration::from_millis(500);

pub struct Scenario {
    pub name: &'static str,
    /// How often the crowd's room is published to, if at all.
    published_every: Option<Duration>,
    happens: Happening,
}

/// What happens once, half a second from the start.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Happening {
    Nothing,
    /// A tenth of the crowd is lost.
    Lost,
    /// The same, and each leave is told.
    LostAndTold,
    /// A tenth of the crowd subscribes, not having done so before.
    Subscribes,
    /// The same with 300 publications to recover for each.
    Recovers,
    Unsubscribes,
    /// The home says that deliveries were lost; everybody holds a position.
    Behind,
    /// The room is published to 1,500 times, which is more than an audience holds; the same.
    Burst,
    /// The control plane asks who is there, and a member does.
    Presence,
    MemberAsksPresence,
    /// A hundred clients fill a message of nearly the largest size with small commands each.
    ManyCommands,
    /// The node drains within ten seconds.
    Drains,
}

pub const SCENARIOS: &[Scenario] = &[
    once("nothing", Happening::Nothing),
    often("100,000 members are published to each second", 1_000, Happening::Nothing),
    often("100,000 members are published to every 10 ms", 10, Happening::Nothing),
    once("10,000 of 100,000 vanish", Happening::Lost),
    often("10,000 vanish, the rest is published to every 10 ms", 10, Happening::Lost),
    once("10,000 vanish from a room with presence and leaves", Happening::LostAndTold),
    once("10,000 subscribe", Happening::Subscribes),
    once("10,000 recover 300 publications each", Happening::Recovers),
    once("10,000 unsubscribe", Happening::Unsubscribes),
    once("100,000 with positions fall behind (lane)", Happening::Behind),
    once("100,000 with positions fall behind (1,500 publications)", Happening::Burst),
    once("presence of 100,000 is asked for", Happening::Presence),
    once("a member asks for presence of 100,000", Happening::MemberAsksPresence),
    once("100 clients send 1,200 publishes in one message each", Happening::ManyCommands),
    once("100,000 are drained in 10 s", Happening::Drains),
];

const fn once(name: &'static str, happens: Happening) -> Scenario {
    Scenario { name, published_every: None, happens }
}

const fn often(name: &'static str, every_ms: u64, happens: Happening) -> Scenario {
    Scenario { name, published_every: Some(Duration::from_millis(every_ms)), happens }
}

impl Scenario {
    pub fn options(&self) -> Options {
        let has_presence =
            matches!(self.happens, Happening::LostAndTold | Happening::Presence | Happening::MemberAsksPresence);
        let has_history = matches!(self.happens, Happening::Recovers | Happening::Behind | Happening::Burst);
        let crowds = ChannelOptions {
            presence: has_presence,
            allow_presence_for_anonymous: has_presence,
            allow_presence_for_client: has_presence,
            join_leave: self.happens == Happening::LostAndTold,
            force_push_join_leave: self.happens == Happening::LostAndTold,
            history_size: if has_history { 300 } else { 0 },
            history_ttl: Duration::from_secs(300),
            history_meta_ttl: Duration::from_secs(300),
            force_positioning: has_history,
            force_recovery: has_history,
            ..open_channel()
        };
        Options {
            // Out of the way: a run takes seconds, gathering the crowd as well.
            ping_interval: Duration::from_secs(3_600),
            stale_close_delay: Duration::from_secs(3_600),
            ..open_node(1, open_channel(), crowds)
        }
    }

    /// Connects the crowd.
    pub fn gather(&self, hub: &mut Hub) -> Crowd<'_> {
        let comes_later = matches!(self.happens, Happening::Subscribes | Happening::Recovers);
        let members = CROWD - if comes_later { TENTH } else { 0 };
        let mut connections: Vec<ConnectionId> = (0..CROWD - members).map(|_| hub.connect(None)).collect();
        connections.extend((0..members).map(|_| hub.connect(Some(CHANNEL))));
        Crowd { scenario: self, connections, published: 0, has_happened: false }
    }
}

/// The connections beside the small room, the tenth that something happens to first.
pub struct Crowd<'a> {
    scenario: &'a Scenario,
    connections: Vec<ConnectionId>,
    published: u32,
    has_happened: bool,
}

impl Crowd<'_> {
    /// Does what is due at `elapsed`.
    pub fn go_on(&mut self, hub: &mut Hub, elapsed: Duration) {
        // For as long as the small room is published to, and no longer.
        while let Some(every) = self.scenario.published_every
            && every * self.published <= elapsed.min(crate::RUN)
        {
            self.published += 1;
            hub.push_tray(publication());
        }
        if elapsed >= AT && !std::mem::replace(&mut self.has_happened, true) {
            self.happen(hub);
        }
    }

    fn happen(&self, hub: &mut Hub) {
        let tenth = self.connections.iter().take(TENTH);
        match self.scenario.happens {
            Happening::Nothing => {}
            Happening::Lost | Happening::LostAndTold => tenth.for_each(|id| hub.push_event(*id, Event::Lost)),
            Happening::Subscribes => tenth.for_each(|id| say(hub, *id, &subscribe_command(CHANNEL))),
            Happening::Recovers => {
                (0..300).for_each(|_| hub.push_tray(publication()));
                let command =
                    format!(r#"{{"id":2,"subscribe":{{"channel":"{CHANNEL}","recover":true,"epoch":"","offset":0}}}}"#);
                tenth.for_each(|id| say(hub, *id, &command));
            }
            Happening::Unsubscribes => {
                let command = format!(r#"{{"id":3,"unsubscribe":{{"channel":"{CHANNEL}"}}}}"#);
                tenth.for_each(|id| say(hub, *id, &command));
            }
            Happening::Behind => hub.push_lane(LaneMessage::Behind { channel: crowds_channel() }),
            Happening::Burst => (0..1_500).for_each(|_| hub.push_tray(publication())),
            Happening::Presence => hub.push_tray(ask(Question::Presence { channel: crowds_channel() })),
            Happening::MemberAsksPresence => {
                let command = format!(r#"{{"id":3,"presence":{{"channel":"{CHANNEL}"}}}}"#);
                tenth.take(1).for_each(|id| say(hub, *id, &command));
            }
            Happening::ManyCommands => {
                let publish = |id| format!(r#"{{"id":{id},"publish":{{"channel":"empty","data":1}}}}"#);
                let commands: Vec<String> = (10..1_210).map(publish).collect();
                tenth.take(100).for_each(|id| say(hub, *id, &commands.join("\n")));
            }
            Happening::Drains => hub.push_tray(TrayMessage::Drain { window: Duration::from_secs(10) }),
        }
    }
}

fn say(hub: &mut Hub, id: ConnectionId, command: &str) {
    hub.push_event(id, Event::Bytes(masked_text(command)));
}

fn publication() -> TrayMessage {
    let data = Bytes::from(payload());
    ask(Question::Publish(ServerPublication::new(crowds_channel(), data)))
}

fn ask(question: Question) -> TrayMessage {
    TrayMessage::Ask { question, answerer: Answerer(Box::new(drop)) }
}

fn crowds_channel() -> ChannelName {
    ChannelName::parse(CHANNEL, 255).expect("a short name")
}
