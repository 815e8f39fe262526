//! How often each thing happened, over all seeds: a fault that is rare is not tested.

use std::fmt::Write;

/// Declares [`Mark`] with its name in the table and how often it occurs at least in 1,000 seeds.
macro_rules! marks {
    ($($mark:ident $name:literal $floor:literal,)*) => {
        /// Something that happens in a simulation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mark { $($mark,)* }

        const MARKS: &[(Mark, &str, u64)] = &[$((Mark::$mark, $name, $floor),)*];
    };
}

marks! {
    VirtualSeconds "virtual seconds" 60_000,
    Deeds "deeds" 2_000_000,
    Events "events, steps of event loops included" 80_000_000,
    Connections "connections" 60_000,
    CompressedSaid "messages of clients compressed" 100_000,
    CompressedHeard "messages of the hub compressed" 500_000,
    Commands "commands of clients" 1_000_000,
    Confirmed "publications confirmed" 300_000,
    ApiPublishes "publications of the API" 100_000,
    ApiDisconnects "users disconnected by the API" 4_000,
    ToldForced "  told (3503)" 3_000,
    ApiUnsubscribes "users unsubscribed by the API" 12_000,
    ToldRevoked "  told (2000)" 5_000,
    RefusedRevoked "  refused while subscribing (103)" 20,
    ApiSubscribes "users subscribed by the API" 20_000,
    ServedByApi "  told" 15_000,
    ServedByToken "subscribed with the connection, by its token" 50_000,
    ServedInsufficient "  told of a gap (3010)" 1_000,
    ServedExpired "subscription of the server's ended (3006)" 300,
    ServedTooMuch "  too many of them (3505)" 50,
    ByToken "subscribed by a token of the channel" 20_000,
    SubRefreshes "  refreshed" 2_000,
    ToldSubscriptionExpired "  and ended (2501)" 3_000,
    ForeignTokens "foreign tokens of channels" 8_000,
    ForeignTold "  and told so (3500)" 2_000,
    Repeated "  repeated" 20_000,
    VersionsOutdated "  of versions that were not newer" 5_000,
    HistoriesRemoved "histories removed" 1_000,
    Delivered "publications delivered" 2_000_000,
    Patches "  as the difference from the one before" 300_000,
    PatchesRecovered "  recovered" 100_000,
    Subscriptions "subscriptions" 300_000,
    JoinsAndLeaves "joins and leaves told" 300_000,
    PresenceAnswers "answers to presence" 20_000,
    PresenceRefused "  refused for want of room (106)" 1,
    Pages "pages of history" 20_000,
    FullLane "full lane" 2_000_000,
    Behind "shard told that it is behind" 40_000,
    DeliveriesLost "deliveries lost to a full lane" 200_000,
    PublishRefused "publish refused for a full lane" 100_000,
    ToldInsufficient "unsubscribed with 2500" 100_000,
    ToldInsufficientLasting "  in streams that last" 60_000,
    Cut "cut" 40_000,
    CutMany "many cut at once" 900,
    Leave "closed by the client" 10_000,
    CloseAnswered "  and answered" 10_000,
    Recovered "recovered what was missed" 70_000,
    RecoveredNothing "recovered, nothing missed" 20_000,
    RecoveryFailed "recovery failed" 50_000,
    Unrecoverable "refused for want of recovery (112)" 6_000,
    Slow "slow consumer told (3008)" 300,
    HungUp "slow consumer dropped" 100,
    StoppedReading "stopped reading" 3_000,
    SlowReading "read slowly" 5_000,
    WentSilent "went silent" 1_000,
    NoPong "no pong (3012)" 700,
    Nonsense "spoke nonsense" 2_000,
    Malformed "  and was told so (3501, 1002)" 1_000,
    JoinInWalk "join in a walk" 10_000,
    LeaveInWalk "leave in a walk" 4_000,
    SecondLookFound "second look found a message" 100_000,
    RungBeforeSleep "bell rung between second look and sleep" 10_000,
    BlockedWrite "write blocked" 30_000,
    PartialWrite "write taken in part" 200_000,
    PartialRead "read in part" 100_000,
    Jobs "jobs of workers" 100_000,
    JobsOutOfOrder "  that overtook" 10_000,
    JobsCancelled "  that nobody waited for" 10,
    JobsRefused "  that found the queue full" 3_000,
    NotRead "not read, for commands wait" 100,
    Yielded "commands that waited for their turn" 10_000,
    Pong "pong of the WebSocket kind" 3_000,
    StallShard "one shard stood still" 2_000,
    StallProcess "the process stood still" 900,
    Drains "drain" 80,
    Drained "  told (3001)" 700,
    TokenExpired "connected with an expired token (109)" 1_000,
    Expired "token ran out (3005)" 1_000,
    Evictions "stream evicted" 3_000,
    Drops "publication dropped for a slow consumer" 150,
    WindowsOver "flush window over" 50_000,
    WindowsFull "  or its batch full" 500,
    BrokerRequests "requests to the broker" 500_000,
    BrokerOutages "broker away" 2_500,
    BrokerFailed "  requests failed" 5_000,
    BrokerLost "  messages lost" 300,
    BrokerRepeated "publications that it repeated" 5_000,
    PublishedElsewhere "published by another node" 20_000,
    ToldUnavailable "told that the broker is away (100)" 1_000,
    Denied "refused for want of a right" 400_000,
    AlreadySubscribed "subscribed once more (105)" 10_000,
    SeedsWithoutLoss "seeds without any loss" 30,
}

/// The largest value of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worst {
    Reply,
    LaneDepth,
    OutboxBytes,
}

const WORSTS: [(Worst, &str); 3] = [
    (Worst::Reply, "slowest reply, us"),
    (Worst::LaneDepth, "most messages waiting for lanes"),
    (Worst::OutboxBytes, "most bytes in outboxes"),
];

/// Counts of one run, or of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    counts: [u64; MARKS.len()],
    worst: [u64; WORSTS.len()],
}

impl Default for Tally {
    fn default() -> Tally {
        Tally { counts: [0; MARKS.len()], worst: [0; WORSTS.len()] }
    }
}

impl Tally {
    pub fn add(&mut self, mark: Mark, count: u64) {
        self.counts[mark as usize] += count;
    }

    pub fn of(&self, mark: Mark) -> u64 {
        self.counts[mark as usize]
    }

    pub fn worst(&mut self, worst: Worst, value: u64) {
        let known = &mut self.worst[worst as usize];
        *known = value.max(*known);
    }

    pub fn join(&mut self, other: &Tally) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        for (worst, other) in self.worst.iter_mut().zip(other.worst) {
            *worst = other.max(*worst);
        }
    }

    pub fn table(&self, seeds: u64) -> String {
        let mut table = format!("{:<45} {:>12} {:>12}\n", format!("in {seeds} seeds"), "times", "at least");
        for (mark, name, floor) in MARKS {
            writeln!(table, "{name:<45} {:>12} {:>12}", self.of(*mark), floor_for(*floor, seeds))
                .expect("a String takes every write");
        }
        for (worst, name) in WORSTS {
            writeln!(table, "{name:<45} {:>12}", self.worst[worst as usize]).expect("a String takes every write");
        }
        table
    }

    /// What happened less often than it should for the checks to mean something.
    pub fn rare(&self, seeds: u64) -> Vec<&'static str> {
        let is_rare = |(mark, _, floor): &&(Mark, &str, u64)| self.of(*mark) < floor_for(*floor, seeds);
        MARKS.iter().filter(is_rare).map(|(_, name, _)| *name).collect()
    }
}

fn floor_for(floor: u64, seeds: u64) -> u64 {
    floor * seeds / 1000
}
