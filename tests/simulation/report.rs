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
    Events "events, steps of event loops included" 100_000_000,
    Connections "connections" 50_000,
    Commands "commands of clients" 1_000_000,
    Confirmed "publications confirmed" 100_000,
    ApiPublishes "publications of the API" 50_000,
    Delivered "publications delivered" 1_000_000,
    Subscriptions "subscriptions" 100_000,
    JoinsAndLeaves "joins and leaves told" 50_000,
    PresenceAnswers "answers to presence" 10_000,
    Pages "pages of history" 10_000,
    FullLane "full lane" 10_000,
    Behind "shard told that it is behind" 1_000,
    DeliveriesLost "deliveries lost to a full lane" 5_000,
    PublishRefused "publish refused for a full lane" 5_000,
    ToldInsufficient "unsubscribed with 2500" 5_000,
    ToldInsufficientLasting "  in streams that last" 2_000,
    Cut "cut" 10_000,
    CutMany "many cut at once" 200,
    Leave "closed by the client" 2_000,
    CloseAnswered "  and answered" 1_000,
    Recovered "recovered what was missed" 5_000,
    RecoveredNothing "recovered, nothing missed" 2_000,
    RecoveryFailed "recovery failed" 3_000,
    Unrecoverable "refused for want of recovery (112)" 100,
    Slow "slow consumer told (3008)" 100,
    HungUp "slow consumer dropped" 100,
    StoppedReading "stopped reading" 1_000,
    SlowReading "read slowly" 1_000,
    WentSilent "went silent" 300,
    NoPong "no pong (3012)" 200,
    Nonsense "spoke nonsense" 500,
    Malformed "  and was told so (3501, 1002)" 200,
    JoinInWalk "join in a walk" 200,
    LeaveInWalk "leave in a walk" 50,
    SecondLookFound "second look found a message" 1_000,
    RungBeforeSleep "bell rung between second look and sleep" 50,
    BlockedWrite "write blocked" 1_000,
    PartialWrite "write taken in part" 5_000,
    PartialRead "read in part" 10_000,
    NotRead "not read, for commands wait" 100,
    Pong "pong of the WebSocket kind" 500,
    StallShard "one shard stood still" 500,
    StallProcess "the process stood still" 200,
    Drains "drain" 50,
    Drained "  told (3001)" 500,
    TokenExpired "connected with an expired token (109)" 500,
    Expired "token ran out (3005)" 1_000,
    Evictions "stream evicted" 100,
    Drops "publication dropped for a slow consumer" 100,
    Denied "refused for want of a right" 10_000,
    AlreadySubscribed "subscribed once more (105)" 1_000,
    SeedsWithoutLoss "seeds without any loss" 20,
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
#[derive(Clone, Debug)]
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
