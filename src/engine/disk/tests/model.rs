//! Any order of publishes, kills, losses of power and broken disks: what was confirmed is there or its loss is told.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::engine::RecoveryLimits;
use crate::engine::disk::job::Job;
use crate::model::Since;

const NAMES: [&str; 3] = ["a", "b", "c"];
const ALL: RecoveryLimits = RecoveryLimits { publications_max: 1000, bytes_max: 1 << 20 };

#[derive(Clone, Debug)]
enum Act {
    Publish(usize),
    /// Some in one batch.
    Burst(usize),
    Remove(usize),
    /// The write for a publish returns late.
    Stall(usize),
    Sync,
    Pass(u64),
    Kill,
    LosePower,
    Close,
    DiskFull(usize),
    SyncsFail,
    MarksFail,
    Heal,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..NAMES.len()).prop_map(Act::Publish),
        4 => (0..NAMES.len()).prop_map(Act::Burst),
        1 => (0..NAMES.len()).prop_map(Act::Remove),
        1 => (0..NAMES.len()).prop_map(Act::Stall),
        3 => Just(Act::Sync),
        3 => (1..2000u64).prop_map(Act::Pass),
        2 => Just(Act::Kill),
        1 => Just(Act::LosePower),
        1 => Just(Act::Close),
        1 => (0..300usize).prop_map(Act::DiskFull),
        1 => Just(Act::SyncsFail),
        1 => Just(Act::MarksFail),
        3 => Just(Act::Heal),
    ]
}

/// Who was told where a channel stands, and what was confirmed there since.
struct Watcher {
    name: &'static str,
    since: Since,
    confirmed: Vec<String>,
}

struct Run {
    bench: Bench,
    /// What each position was given to.
    given: HashMap<(&'static str, String, u64), String>,
    watchers: Vec<Watcher>,
    next_text: u64,
}

impl Run {
    fn new(ack: Ack) -> Run {
        let bench = Bench::with(ack, 2048, 1 << 20);
        Run { bench, given: HashMap::new(), watchers: Vec::new(), next_text: 0 }
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Publish(channel) => self.publish(NAMES[channel], 1),
            Act::Burst(channel) => self.publish(NAMES[channel], 5),
            Act::Remove(channel) => {
                if self.bench.ask(NAMES[channel], Operation::RemoveHistory).is_ok() {
                    self.watchers.retain(|watcher| watcher.name != NAMES[channel]);
                }
            }
            Act::Stall(channel) => self.stall(NAMES[channel]),
            Act::Sync => self.bench.sync(),
            Act::Pass(milliseconds) => self.bench.pass(Duration::from_millis(milliseconds)),
            Act::Kill => self.bench.restart(),
            Act::LosePower => self.bench.lose_power(),
            Act::Close => {
                self.bench.core.close();
                self.bench.restart();
            }
            Act::DiskFull(room) => self.bench.files.disk().room = Some(room),
            Act::SyncsFail => self.bench.files.disk().syncs_fail = true,
            Act::MarksFail => self.bench.files.disk().marks_fail = true,
            Act::Heal => {
                let mut disk = self.bench.files.disk();
                (disk.room, disk.syncs_fail, disk.marks_fail) = (None, false, false);
            }
        }
        self.check();
    }

    fn publish(&mut self, name: &'static str, count: u64) {
        let texts: Vec<String> = (self.next_text..self.next_text + count).map(|n| n.to_string()).collect();
        self.next_text += count;
        let operations = texts.iter().map(|text| (name, publish(text))).collect();
        for (text, answer) in texts.into_iter().zip(self.bench.ask_all(operations)) {
            if let Ok(position) = position_of(answer) {
                let position = position.expect("kept");
                self.give(name, position, &text);
                for watcher in self.watchers.iter_mut().filter(|watcher| watcher.name == name) {
                    watcher.confirmed.push(text.clone());
                }
            }
        }
    }

    /// Nobody is told whether it was published.
    fn stall(&mut self, name: &'static str) {
        let Run { bench, next_text, .. } = self;
        let mut requests = bench.requests(vec![(name, publish(&next_text.to_string()))]);
        *next_text += 1;
        let (job, mut words) = (bench.core.begin(bench.now, &mut requests), Vec::new());
        if job.is_some() {
            bench.core.stall_write(bench.now, &mut words);
            requests.extend(bench.requests(vec![(name, publish("refused"))]));
            bench.core.turn_without_files(bench.now, &mut requests, &mut words);
        }
        bench.core.end(bench.now, job.map(Job::run), &mut words);
    }

    /// No position means two publications.
    fn give(&mut self, name: &'static str, position: Position, text: &str) {
        let place = (name, position.epoch.as_str().to_owned(), position.offset);
        let before = self.given.insert(place.clone(), text.to_owned());
        assert!(before.as_deref().is_none_or(|before| before == text), "{place:?} was {before:?} and is {text}");
    }

    /// Whoever recovers is given all that was confirmed since, or told that it can't be.
    fn check(&mut self) {
        for name in NAMES {
            let stream = self.bench.read(name);
            for publication in stream.publications() {
                let position = Position { offset: publication.offset, ..stream.position() };
                self.give(name, position, &text_of(publication));
            }
            for watcher in self.watchers.iter().filter(|watcher| watcher.name == name) {
                let Some(recovered) = stream.recover(&watcher.since, ALL) else { continue };
                let recovered: Vec<String> = recovered.iter().map(|publication| text_of(publication)).collect();
                let mut rest = recovered.iter();
                let is_whole = watcher.confirmed.iter().all(|text| rest.any(|given| given == text));
                assert!(is_whole, "{name} since {:?}: {:?} of {:?}", watcher.since, recovered, watcher.confirmed);
            }
            let Position { epoch, offset } = stream.position();
            let since = Since { offset, epoch: epoch.as_str().into() };
            self.watchers.push(Watcher { name, since, confirmed: Vec::new() });
        }
    }

    /// Where everything stands.
    fn state(&mut self) -> Vec<(Position, Vec<String>)> {
        NAMES.iter().map(|name| self.bench.read(name)).map(|stream| (stream.position(), texts_of(&stream))).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_in_silence(acts in prop::collection::vec(act(), 1..60), waits in any::<bool>()) {
        let mut run = Run::new(if waits { Ack::Fsync } else { Ack::Memory });
        acts.iter().for_each(|act| run.act(act));
    }

    #[test]
    fn a_kill_changes_nothing(acts in prop::collection::vec(act(), 1..40), waits in any::<bool>()) {
        let mut run = Run::new(if waits { Ack::Fsync } else { Ack::Memory });
        for act in acts.iter().filter(|act| !matches!(act, Act::DiskFull(_) | Act::SyncsFail | Act::LosePower)) {
            run.act(act);
            let before = run.state();
            run.bench.restart();
            prop_assert_eq!(before, run.state());
        }
    }

    #[test]
    fn a_loss_of_power_changes_nothing_that_waited_for_the_disk(acts in prop::collection::vec(act(), 1..40)) {
        let mut run = Run::new(Ack::Fsync);
        for act in acts.iter().filter(|act| !matches!(act, Act::DiskFull(_) | Act::SyncsFail)) {
            run.act(act);
            let before = run.state();
            run.bench.lose_power();
            for ((position, texts), (now, texts_now)) in before.into_iter().zip(run.state()) {
                prop_assert!(position.offset == 0 || position == now);
                prop_assert_eq!(texts, texts_now);
            }
        }
    }
}
