//! What the application does to users: whom it reaches, in what slices, and what comes after it.

use super::*;
use crate::limits;
use crate::model::{ChannelName, ClientId, ErrorCode};
use crate::shard::{Act, Answer, Answered, Reach, ServerRefresh};

type Answers = std::sync::mpsc::Receiver<Answer>;

impl Bench {
    /// Asks one shard; the answer comes when all are reached.
    fn begin_reach(&mut self, shard: usize, reach: Reach) -> Answers {
        let (sender, answers) = std::sync::mpsc::channel();
        let answerer = Answerer(Box::new(move |answer| sender.send(answer).expect("the test waits for it")));
        let now = self.now();
        let question = Question::Reach(Box::new(reach));
        self.shards[shard].tray_message(now, TrayMessage::Ask { question, answerer });
        answers
    }

    /// The same where one turn is enough.
    #[track_caller]
    fn reach(&mut self, shard: usize, reach: Reach) -> u64 {
        let answers = self.begin_reach(shard, reach);
        match answers.try_recv().expect("it is answered at once") {
            Ok(Answered::Reached(reached)) => reached,
            other => panic!("answered {other:?}"),
        }
    }

    fn client_id(&self, client: Client) -> ClientId {
        let connection = self.shards[client.shard].connections.find(client.id).expect("it is there");
        connection.client.as_ref().expect("it is connected").client
    }
}

fn disconnect(user: &str) -> Reach {
    reach_of(user, Act::Disconnect { code: 4000, reason: "enough".into(), spared: vec![] })
}

fn unsubscribe(user: &str, channel: &str) -> Reach {
    let channel = (!channel.is_empty()).then(|| ChannelName::parse(channel, 255).expect("a short name"));
    reach_of(user, Act::Unsubscribe { channel })
}

fn reach_of(user: &str, act: Act) -> Reach {
    Reach { user: user.into(), client: None, act }
}

const UNSUBSCRIBED: &str = r#""unsubscribe":{"code":2000,"reason":"server unsubscribe"}"#;

#[test]
fn a_user_is_disconnected_but_for_those_spared() {
    let mut bench = Bench::new(2);
    let clients: Vec<Client> = (0..4).map(|_| bench.connect_as(0, "ann")).collect();
    let others = [bench.connect_as(0, "bob"), bench.connect_as(1, "ann"), bench.connect_as(0, "")];
    let mut spared = vec![bench.client_id(clients[2]), bench.client_id(clients[0])];
    spared.sort_unstable();
    let act = Act::Disconnect { code: 4000, reason: "enough".into(), spared };
    assert_eq!(bench.reach(0, reach_of("ann", act)), 2);
    for (client, is_spared) in clients.iter().zip([true, false, true, false]) {
        assert_eq!(bench.told(*client).is_empty(), is_spared);
    }
    let only = Some(bench.client_id(clients[0]));
    assert_eq!(bench.reach(0, Reach { client: only, ..disconnect("ann") }), 1);
    assert_eq!(bench.told(clients[0]), ["close 4000"]);
    assert_eq!(bench.reach(0, Reach { client: only, ..disconnect("bob") }), 0, "it is not bob's");
    assert_eq!(bench.reach(0, disconnect("ann")), 1);
    assert_eq!(bench.reach(0, disconnect("ann")), 0, "they are closing");
    assert!(others.iter().all(|other| bench.told(*other).is_empty()));
}

#[test]
fn one_without_an_id_is_found_by_its_client() {
    let mut bench = Bench::new(1);
    let clients: Vec<Client> = (0..3).map(|_| bench.connect(0)).collect();
    let only = Some(bench.client_id(clients[1]));
    assert_eq!(bench.reach(0, Reach { client: only, ..disconnect("") }), 1);
    let told: Vec<usize> = clients.iter().map(|client| bench.told(*client).len()).collect();
    assert_eq!(told, [0, 1, 0]);
}

#[test]
fn nothing_is_delivered_after_the_answer() {
    let mut bench = Bench::new(1);
    let channel = bench.channel_at(0);
    let [stays, goes, leaves] = ["bob", "ann", "eve"].map(|user| bench.connect_as(0, user));
    for client in [stays, goes, leaves] {
        bench.say(client, &format!(r#"{{"id":2,"subscribe":{{"channel":"{channel}"}}}}"#));
        bench.told(client);
    }
    // What was published before is on its way: it was permitted.
    bench.publish_tagged(&channel, 1, "");
    assert_eq!(bench.reach(0, unsubscribe("ann", &channel)), 1);
    assert_eq!(bench.reach(0, disconnect("eve")), 1);
    bench.publish_tagged(&channel, 2, "");
    assert_eq!(data(&bench.told(stays)), [1, 2]);
    let told = bench.told(goes);
    assert!(!told.iter().any(|line| line.contains(r#""data":2"#)), "{told:?}");
    assert!(told.iter().any(|line| line.contains(UNSUBSCRIBED)), "{told:?}");
    let told = bench.told(leaves);
    assert!(
        !told.iter().any(|line| line.contains(r#""data":2"#)) && told.last().is_some_and(|line| line == "close 4000")
    );
}

#[test]
fn a_subscription_that_is_asked_for_is_ended_too() {
    let mut bench = Bench::new(2);
    let there = bench.channel_at(1);
    let client = bench.connect_as(0, "ann");
    bench.publish_tagged(&there, 1, "");
    for fields in ["", r#","recover":true,"recoverable":true"#] {
        bench.say(client, &format!(r#"{{"id":2,"subscribe":{{"channel":"{there}"{fields}}}}}"#));
        bench.say(client, r#"{"id":3,"rpc":{"method":"x"}}"#);
        assert_eq!(bench.reach(0, unsubscribe("ann", &there)), 1);
        bench.settle();
        let told = bench.told(client);
        let expected = r#"{"id":2,"error":{"code":103,"message":"permission denied"}}"#;
        assert_eq!((told[0].as_str(), told.len()), (expected, 2), "nothing was recovered: {told:?}");
    }
    bench.publish_tagged(&there, 2, "");
    bench.settle();
    assert_eq!(bench.told(client), [""; 0]);
    assert!(bench.shards[1].rooms.is_empty(), "nobody listens");
    assert!(bench.shards[0].channels.find(&there).is_none());
    // It may ask anew.
    bench.say(client, &format!(r#"{{"id":4,"subscribe":{{"channel":"{there}"}}}}"#));
    bench.settle();
    assert!(bench.told(client)[0].starts_with(r#"{"id":4,"subscribe":"#));
}

#[test]
fn all_subscriptions_are_ended_in_slices_and_later_ones_stay() {
    let mut bench = Bench::with(1, |options| options.channels_max = 2000);
    let client = bench.connect_as(0, "ann");
    let count = 2 * limits::LEAVES_PER_TURN + 1;
    let subscribe = |n: usize| format!(r#"{{"id":{},"subscribe":{{"channel":"c{n}"}}}}"#, n + 2);
    for n in 0..count {
        bench.say(client, &subscribe(n));
        bench.go_on(client);
    }
    bench.told(client);
    let answers = bench.begin_reach(0, unsubscribe("ann", ""));
    assert!(answers.try_recv().is_err(), "one turn is not enough");
    let now = bench.now();
    bench.say(client, &subscribe(count));
    while bench.shards[0].walk(now) {}
    assert_eq!(answers.try_recv(), Ok(Ok(Answered::Reached(count as u64))));
    let told = bench.told(client);
    assert_eq!(told.iter().filter(|line| line.contains(UNSUBSCRIBED)).count(), count);
    assert_eq!(ids(&told), [count as u32 + 2]);
    assert_eq!(bench.reach(0, unsubscribe("ann", &format!("c{count}"))), 1, "the later one was left");
}

#[test]
fn a_user_of_many_connections_is_reached_in_slices() {
    let mut bench = Bench::new(1);
    let count = limits::REACH_LISTED_MAX + 100;
    let clients: Vec<Client> = (0..count).map(|_| bench.connect_as(0, "guest")).collect();
    let ann = bench.connect_as(0, "ann");
    let never = Act::Refresh(ServerRefresh::default());
    let answers = bench.begin_reach(0, reach_of("guest", never));
    // Behind it, in order.
    let second = bench.begin_reach(0, disconnect("ann"));
    let now = bench.now();
    let mut turns = 1;
    while bench.shards[0].walk(now) {
        turns += 1;
        assert!(second.try_recv().is_err() || answers.try_recv().is_ok());
    }
    assert!(turns >= count / limits::LEAVES_PER_TURN, "{turns} turns");
    for client in clients {
        assert_eq!(bench.told(client), [r#"{"push":{"refresh":{}}}"#]);
    }
    assert_eq!(bench.told(ann), ["close 4000"]);
}

#[test]
fn reaching_goes_on_only_while_the_lanes_have_room() {
    let mut bench = Bench::with(2, |options| options.lane_slots = 8);
    let client = bench.connect_as(0, "ann");
    let names: Vec<String> =
        (0..).map(|n| format!("c{n}")).filter(|name| bench.homes.home_of(name).as_index() == 1).take(20).collect();
    for (n, name) in names.iter().enumerate() {
        bench.say(client, &format!(r#"{{"id":{},"subscribe":{{"channel":"{name}"}}}}"#, n + 2));
        bench.settle();
    }
    let answers = bench.begin_reach(0, unsubscribe("ann", ""));
    assert_eq!(bench.shards[0].outgoing.len(), 2, "a leave and an unlisten: they fill what leaves may use of it");
    assert!(answers.try_recv().is_err());
    let now = bench.now();
    while bench.shards[0].walk(now) {
        assert!(bench.shards[0].outgoing.len() <= 3, "one may have begun with a slot left");
        let message = bench.shards[0].next_outgoing(ShardId(1)).expect("the lane is full");
        bench.shards[1].lane_message(now, ShardId(0), message);
    }
    assert_eq!(answers.try_recv(), Ok(Ok(Answered::Reached(20))));
    bench.settle();
    assert!(bench.shards[1].rooms.is_empty());
}

#[test]
fn more_than_a_backend_asks_at_a_time_is_refused() {
    let mut bench = Bench::with(1, |options| options.lane_slots = 0);
    let waiting: Vec<Answers> =
        (0..limits::REACHES_WAITING_MAX).map(|_| bench.begin_reach(0, disconnect("ann"))).collect();
    assert!(waiting.iter().all(|answers| answers.try_recv().is_err()), "the lanes have no room");
    let refused = bench.begin_reach(0, disconnect("ann"));
    assert_eq!(refused.try_recv(), Ok(Err(ErrorCode::TooManyRequests)));
}

#[test]
fn a_refresh_moves_the_expiry() {
    let mut bench = Bench::new(1);
    let client = bench.connect_as(0, "ann");
    let refresh = |expire_at| reach_of("ann", Act::Refresh(ServerRefresh { expire_at, ..ServerRefresh::default() }));
    let soon = bench.now().unix_seconds() + 10;
    assert_eq!(bench.reach(0, refresh(Some(soon))), 1);
    assert_eq!(bench.told(client), [r#"{"push":{"refresh":{"expires":true,"ttl":10}}}"#]);
    bench.advance(Duration::from_secs(34));
    assert_eq!(bench.told(client), [""; 0], "there is a grace of 25 s");
    bench.advance(Duration::from_secs(2));
    assert_eq!(bench.told(client), ["close 3005"]);

    let late = bench.connect_as(0, "ann");
    let past = bench.now().unix_seconds() - 1;
    assert_eq!(bench.reach(0, refresh(Some(past))), 1);
    assert_eq!(bench.told(late), ["close 3005"]);
}

#[test]
fn those_who_went_are_not_in_the_index() {
    let mut bench = Bench::new(1);
    let clients: Vec<Client> = (0..3).map(|n| bench.connect_as(0, ["ann", "bob", "ann"][n])).collect();
    assert_eq!(bench.shards[0].shard_users().count, 2);
    for client in &clients[..2] {
        bench.cut(*client);
        bench.walk(0);
    }
    assert_eq!(bench.shards[0].shard_users().count, 1);
    assert!(!bench.is_known(clients[0]));
    // Its slot may be another's by now.
    let tenant = bench.connect_as(0, "eve");
    assert_eq!(bench.reach(0, disconnect("ann")), 1);
    assert_eq!((bench.told(clients[2]).len(), bench.told(tenant).len()), (1, 0));
}
