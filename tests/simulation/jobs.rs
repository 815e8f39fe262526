//! The workers: each job ends after a time of its own, whatever was asked for before it.

use fanfare::shard::{Job, Tools, TrayMessage};

use super::report::Mark;
use super::world::{Event, MS, World};

/// Jobs that are under way, each until its event comes.
pub struct Workers {
    jobs: Vec<Option<Job>>,
    free: Vec<usize>,
    tools: Tools,
    newest_ended: u64,
    begun: u64,
    numbers: Vec<u64>,
}

impl Workers {
    pub fn new(compression: fanfare::shard::Compression) -> Workers {
        Workers {
            jobs: Vec::new(),
            free: Vec::new(),
            tools: Tools::new(compression),
            newest_ended: 0,
            begun: 0,
            numbers: Vec::new(),
        }
    }
}

impl World {
    /// Takes what the shard wants done. Now and then the queue is full.
    pub fn take_jobs(&mut self, shard: usize) {
        while let Some(job) = self.loops[shard].shard.next_job() {
            if self.random.u8(..) < 8 {
                self.loops[shard].shard.return_job(job);
                self.loops[shard].no_room();
                self.tally.add(Mark::JobsRefused, 1);
                return;
            }
            let workers = &mut self.workers;
            let at = workers.free.pop().unwrap_or_else(|| {
                workers.jobs.push(None);
                workers.numbers.push(0);
                workers.jobs.len() - 1
            });
            workers.jobs[at] = Some(job);
            workers.begun += 1;
            workers.numbers[at] = workers.begun;
            let longest = if self.random.u8(..) < 5 { 30 * MS } else { MS };
            let delay = self.random.u64(1..longest);
            self.after(delay, Event::JobEnds { at });
        }
    }

    pub fn job_ends(&mut self, at: usize) {
        let workers = &mut self.workers;
        let job = workers.jobs[at].take().expect("a job ends once");
        workers.free.push(at);
        let shard = job.shard.as_index();
        self.tally.add(Mark::Jobs, 1);
        if workers.numbers[at] < workers.newest_ended {
            self.tally.add(Mark::JobsOutOfOrder, 1);
        }
        workers.newest_ended = workers.newest_ended.max(workers.numbers[at]);
        let done = if job.cancellation.is_cancelled() {
            self.tally.add(Mark::JobsCancelled, 1);
            job.end(fanfare::shard::WorkOutcome::Cancelled)
        } else {
            job.run(&mut workers.tools)
        };
        self.tell_shard(shard, TrayMessage::Done(done));
    }
}
