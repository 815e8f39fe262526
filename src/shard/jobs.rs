//! Jobs that wait until the workers have room for them, and which of them goes next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::access::ChannelOptions;
use crate::limits;
use crate::workers::Job;

/// The jobs of one shard.
///
/// Its connections together, and each namespace, are a *flow*: flows take turns by the work they
/// bring (start-time fair queueing: Goyal, Vin, Cheng, SIGCOMM 1996), so that whoever publishes
/// megabytes waits for himself. Within a flow jobs go in the order they came; a connection has one at
/// a time and a room few, so nobody there can get ahead either.
///
/// Only some work is with the workers at a time, or what waits there could not be overtaken.
#[derive(Default)]
pub struct Jobs {
    flows: Vec<Flow>,
    /// Start tag of the job that went last.
    virtual_time: u64,
    /// Cost of what is with the workers.
    under_way: usize,
    under_way_jobs: usize,
    len: usize,
}

/// Whose jobs take turns with those of others.
pub type FlowOf<'a> = Option<&'a Arc<ChannelOptions>>;

struct Flow {
    of: Option<Arc<ChannelOptions>>,
    /// Cost of the jobs that went, in virtual time.
    served: u64,
    jobs: VecDeque<Held>,
}

struct Held {
    job: Job,
    /// When nobody waits for its end any more.
    deadline: Option<Duration>,
}

/// What becomes of the next job.
pub enum Next {
    Run(Job),
    /// It waited for longer than it might.
    TooLate(Job),
}

impl Jobs {
    /// Adds a job to a flow: a namespace's, or that of all connections.
    pub fn push(&mut self, flow: FlowOf<'_>, now: Duration, job: Job) {
        let deadline = job.patience.map(|patience| now + patience);
        self.len += 1;
        let is_it = |it: &Flow| match (&it.of, flow) {
            (None, None) => true,
            (Some(mine), Some(other)) => Arc::ptr_eq(mine, other),
            _ => false,
        };
        let held = Held { job, deadline };
        match self.flows.iter_mut().find(|it| is_it(it)) {
            Some(flow) => flow.jobs.push_back(held),
            // Who was idle has saved nothing up.
            None => self.flows.push(Flow { of: flow.cloned(), served: self.virtual_time, jobs: [held].into() }),
        }
    }

    /// The next job, while the workers have not too much yet. Cancelled ones are left out.
    pub fn pop(&mut self, now: Duration) -> Option<Next> {
        loop {
            if self.under_way_jobs >= limits::JOBS_UNDER_WAY_MAX || self.under_way >= limits::JOBS_UNDER_WAY_COST_MAX {
                return None;
            }
            let (at, _) = self.flows.iter().enumerate().min_by_key(|(_, flow)| flow.served)?;
            let flow = &mut self.flows[at];
            let Held { mut job, deadline } = flow.jobs.pop_front().expect("a flow without jobs is removed");
            let is_cancelled = job.cancellation.is_cancelled();
            if !is_cancelled {
                self.virtual_time = flow.served;
                flow.served += job.cost as u64;
            }
            if flow.jobs.is_empty() {
                self.flows.swap_remove(at);
            }
            self.len -= 1;
            if is_cancelled {
                continue;
            }
            self.under_way += job.cost;
            self.under_way_jobs += usize::from(job.cost > 0);
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Some(Next::TooLate(job));
            }
            job.patience = deadline.map(|deadline| deadline - now);
            return Some(Next::Run(job));
        }
    }

    /// A job of that cost has ended.
    pub fn ended(&mut self, cost: usize) {
        self.under_way -= cost;
        self.under_way_jobs -= usize::from(cost > 0);
    }

    /// Jobs that wait here.
    pub fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ConnectionId, ShardId};
    use crate::workers::{CancelOnDrop, Cancellation, Owner, Work};

    fn job(slot: u32, cost: usize) -> Job {
        let owner = Owner::Connection(ConnectionId { slot, generation: 0 });
        let cancellation = Cancellation::NEVER;
        Job { shard: ShardId(0), owner, cost, patience: None, cancellation, work: Box::new(Work::Panic) }
    }

    /// The slots of the jobs that go, in order, each ending at once; late ones are 1000 more.
    fn drain(jobs: &mut Jobs, now: Duration) -> Vec<u32> {
        let mut slots = Vec::new();
        while let Some(next) = jobs.pop(now) {
            let (job, late) = match next {
                Next::Run(job) => (job, 0),
                Next::TooLate(job) => (job, 1000),
            };
            jobs.ended(job.cost);
            let Owner::Connection(id) = job.owner else { panic!("all jobs here are connections'") };
            slots.push(id.slot + late);
        }
        slots
    }

    #[test]
    fn namespaces_take_turns_by_the_work_they_bring() {
        let (chatty, quiet) = (Arc::default(), Arc::default());
        let mut jobs = Jobs::default();
        for slot in 0..4 {
            jobs.push(Some(&chatty), Duration::ZERO, job(slot, 1000));
        }
        for slot in 10..14 {
            jobs.push(Some(&quiet), Duration::ZERO, job(slot, 400));
        }
        jobs.push(None, Duration::ZERO, job(20, 1));
        assert_eq!(drain(&mut jobs, Duration::ZERO), [0, 10, 20, 11, 12, 1, 13, 2, 3]);
        assert_eq!((jobs.len(), jobs.flows.len()), (0, 0));
    }

    #[test]
    fn who_was_idle_has_saved_nothing_up() {
        let (busy, late) = (Arc::default(), Arc::default());
        let mut jobs = Jobs::default();
        for slot in 0..100 {
            jobs.push(Some(&busy), Duration::ZERO, job(slot, 10));
        }
        for _ in 0..50 {
            assert!(jobs.pop(Duration::ZERO).is_some());
            jobs.ended(10);
        }
        for slot in 200..210 {
            jobs.push(Some(&late), Duration::ZERO, job(slot, 10));
        }
        let next = drain(&mut jobs, Duration::ZERO);
        assert!(next[..6].iter().filter(|slot| **slot >= 200).count() <= 3, "{next:?}");
    }

    #[test]
    fn the_workers_are_not_given_more_than_they_can_overlook() {
        let mut jobs = Jobs::default();
        for slot in 0..3 {
            jobs.push(None, Duration::ZERO, job(slot, limits::JOBS_UNDER_WAY_COST_MAX / 2 + 1));
        }
        assert!(jobs.pop(Duration::ZERO).is_some() && jobs.pop(Duration::ZERO).is_some());
        assert!(jobs.pop(Duration::ZERO).is_none());
        jobs.ended(limits::JOBS_UNDER_WAY_COST_MAX / 2 + 1);
        assert!(jobs.pop(Duration::ZERO).is_some());
    }

    #[test]
    fn who_waits_for_the_world_outside_takes_no_workers_place() {
        let mut jobs = Jobs::default();
        for slot in 0..4 * limits::JOBS_UNDER_WAY_MAX as u32 {
            jobs.push(None, Duration::ZERO, job(slot, 0));
        }
        while jobs.pop(Duration::ZERO).is_some() {}
        jobs.push(None, Duration::ZERO, job(1, 1));
        assert!(jobs.pop(Duration::ZERO).is_some());
        jobs.ended(0);
        jobs.ended(1);
        assert_eq!((jobs.len(), jobs.under_way, jobs.under_way_jobs), (0, 0, 0));
    }

    #[test]
    fn what_nobody_waits_for_does_not_go() {
        let mut jobs = Jobs::default();
        let (held, cancellation) = CancelOnDrop::new();
        jobs.push(None, Duration::ZERO, Job { cancellation, ..job(1, 1) });
        jobs.push(None, Duration::ZERO, Job { patience: Some(Duration::from_secs(5)), ..job(2, 1) });
        jobs.push(None, Duration::ZERO, Job { patience: Some(Duration::from_secs(6)), ..job(3, 1) });
        drop(held);
        assert_eq!(drain(&mut jobs, Duration::from_secs(5)), [1002, 3]);
    }
}
