use std::fs;
use std::sync::Barrier;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::*;
use crate::model::ConnectionId;
use crate::workers::jobs::Call;
use crate::workers::{CancelOnDrop, Cancellation, Owner, Work};

/// Long enough for a worker at SCHED_IDLE on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Fixture {
    pool: Pool,
    metrics: Arc<WorkersMetrics>,
    done: Receiver<(ShardId, Done)>,
}

fn start(workers: usize, waiting_max: usize) -> Fixture {
    let metrics = Arc::new(WorkersMetrics::new(workers));
    let (sender, done) = channel();
    let deliver = move |shard, done| {
        // A test that has seen enough does not wait for the rest.
        let _ = sender.send((shard, done));
    };
    let pool = Pool::start(workers, waiting_max, Compression::default(), Arc::clone(&metrics), deliver)
        .expect("threads are to be had");
    Fixture { pool, metrics, done }
}

impl Fixture {
    fn submit(&self, slot: u32, work: Work) -> Result<(), Job> {
        self.submit_with(slot, work, None, Cancellation::NEVER)
    }

    fn submit_with(
        &self,
        slot: u32,
        work: Work,
        patience: Option<Duration>,
        cancellation: Cancellation,
    ) -> Result<(), Job> {
        let owner = Owner::Connection(ConnectionId { slot, generation: 1 });
        self.pool.submitter().submit(Job {
            shard: ShardId(3),
            owner,
            cost: 1,
            patience,
            cancellation,
            work: Box::new(work),
        })
    }

    fn must_submit(&self, slot: u32, work: Work) {
        assert!(self.submit(slot, work).is_ok(), "the queue has room");
    }

    /// The next job's end: the slot of its connection, and whether it panicked.
    fn next_done(&self) -> (u32, bool) {
        let (shard, done) = self.done.recv_timeout(PATIENCE).expect("a job ends");
        assert_eq!(shard, ShardId(3));
        (slot_of(&done.owner), matches!(done.outcome, WorkOutcome::Panicked))
    }

    /// Occupies a thread of the pool until the sender is dropped; returns when it has begun, with
    /// the thread's name.
    fn occupy(&self, slot: u32) -> (Sender<()>, String) {
        let (began, is_begun) = channel();
        let (release, released) = channel();
        self.must_submit(
            slot,
            call(move || {
                began.send(thread::current().name().unwrap_or_default().to_owned()).expect("the test waits for it");
                let _ = released.recv();
            }),
        );
        (release, is_begun.recv_timeout(PATIENCE).expect("the job begins"))
    }

    /// Occupies the only worker, even if this machine starved it and the rescuer came first.
    fn occupy_worker(&self, slot: u32) -> Sender<()> {
        let (first, name) = self.occupy(slot);
        if name.starts_with("fanfare-worker") {
            return first;
        }
        let (second, _) = self.occupy(slot);
        drop(first);
        assert_eq!(self.next_done().0, slot);
        second
    }
}

fn nothing() -> Work {
    call(|| ())
}

fn call(call: impl FnOnce() + Send + 'static) -> Work {
    Work::Call(Call(Box::new(call)))
}

fn slot_of(owner: &Owner) -> u32 {
    match owner {
        Owner::Connection(id) => id.slot,
        Owner::Room { .. } => panic!("all jobs here are connections'"),
    }
}

#[test]
fn jobs_run_and_their_ends_go_to_their_shard() {
    let fixture = start(2, 64);
    for slot in 0..50 {
        fixture.must_submit(slot, nothing());
    }
    let mut slots: Vec<_> = (0..50).map(|_| fixture.next_done().0).collect();
    slots.sort_unstable();
    assert_eq!(slots, Vec::from_iter(0..50));
    assert_eq!((fixture.metrics.submitted(), fixture.metrics.waiting()), (50, 0));
}

#[test]
fn a_full_queue_gives_the_job_back() {
    let fixture = start(1, 2);
    // The worker and the rescuer are both busy: nobody empties the queue.
    let _worker = fixture.occupy(1);
    let _rescuer = fixture.occupy(2);
    fixture.must_submit(3, nothing());
    fixture.must_submit(4, nothing());
    let refused = fixture.submit(5, nothing()).expect_err("two jobs wait already");
    assert_eq!(slot_of(&refused.owner), 5);
    assert_eq!((fixture.metrics.waiting(), fixture.metrics.refused()), (2, 1));
}

#[test]
fn a_panic_fails_its_job_only() {
    let fixture = start(1, 8);
    fixture.must_submit(1, Work::Panic);
    assert_eq!(fixture.next_done(), (1, true));
    fixture.must_submit(2, nothing());
    assert_eq!(fixture.next_done(), (2, false));
    let panics = fixture.metrics.thread(0).panics() + fixture.metrics.rescuer().panics();
    assert_eq!(panics, 1);
}

#[test]
fn what_nobody_waits_for_is_not_run() {
    let fixture = start(1, 8);
    let (worker, rescuer) = (fixture.occupy(1), fixture.occupy(2));
    let (ran, runs) = channel();
    let (patient, wanted) = (Duration::from_secs(3600), CancelOnDrop::new());
    let (gone, cancellation) = CancelOnDrop::new();
    for (slot, patience, cancellation) in
        [(3, None, cancellation), (4, Some(Duration::ZERO), Cancellation::NEVER), (5, Some(patient), wanted.1.clone())]
    {
        let ran = ran.clone();
        let work = call(move || ran.send(slot).expect("the test counts"));
        assert!(fixture.submit_with(slot, work, patience, cancellation).is_ok());
    }
    drop((gone, worker, rescuer));
    let mut slots: Vec<u32> = (0..5).map(|_| fixture.next_done().0).collect();
    slots.sort_unstable();
    assert_eq!(slots, [1, 2, 3, 4, 5], "each has its end");
    assert_eq!(runs.try_iter().collect::<Vec<u32>>(), [5]);
    let (cancelled, late) = (fixture.metrics.sum(WorkerMetrics::cancelled), fixture.metrics.sum(WorkerMetrics::late));
    assert_eq!((cancelled, late), (1, 1));
}

#[test]
fn a_job_behind_a_stuck_worker_is_rescued() {
    let fixture = start(1, 8);
    let stuck = fixture.occupy_worker(1);
    for slot in 2..5 {
        fixture.must_submit(slot, nothing());
    }
    assert_eq!([fixture.next_done().0, fixture.next_done().0, fixture.next_done().0], [2, 3, 4]);
    assert!(fixture.metrics.rescuer().finished() >= 3);
    drop(stuck);
    assert_eq!(fixture.next_done().0, 1);
}

#[test]
fn workers_run_below_everybody_and_the_rescuer_beside_them() {
    let fixture = start(1, 8);
    // Two jobs that wait for one another are on two threads.
    let (both, (sender, answers)) = (Arc::new(Barrier::new(2)), channel());
    for slot in 0..2 {
        let (both, sender) = (Arc::clone(&both), sender.clone());
        fixture.must_submit(
            slot,
            call(move || {
                sender.send(Scheduled::look()).expect("the test waits for it");
                both.wait();
            }),
        );
    }
    let threads = [(); 2].map(|()| answers.recv_timeout(PATIENCE).expect("the job runs"));
    let find = |name: &str| threads.iter().find(|thread| thread.name.starts_with(name)).expect("both threads answer");
    let (worker, rescuer, own) = (find("fanfare-worker"), find("fanfare-rescuer"), Scheduled::look());
    assert!(worker.policy == SCHED_IDLE || worker.nice == 19, "{worker:?}");
    assert_eq!((rescuer.policy, rescuer.nice), (own.policy, own.nice));
    assert!(worker.cores == own.cores && rescuer.cores == own.cores, "nobody is pinned: {threads:?}");
}

/// What the kernel says about the calling thread.
#[derive(Debug, PartialEq)]
struct Scheduled {
    name: String,
    nice: i32,
    policy: u32,
    cores: String,
}

const SCHED_IDLE: u32 = 5;

impl Scheduled {
    /// Source: proc_pid_stat(5), fields 19 and 41, counted behind the name.
    fn look() -> Scheduled {
        let read = |file| fs::read_to_string(format!("/proc/thread-self/{file}")).expect("Linux has /proc");
        let (stat, status) = (read("stat"), read("status"));
        let (_, fields) = stat.rsplit_once(") ").expect("a name stands in parentheses");
        let fields: Vec<_> = fields.split_whitespace().collect();
        let cores = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        Scheduled {
            name: read("comm").trim().to_owned(),
            nice: fields[19 - 3].parse().expect("a number"),
            policy: fields[41 - 3].parse().expect("a number"),
            cores: cores.expect("a mask of cores").trim().to_owned(),
        }
    }
}
