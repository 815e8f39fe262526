//! The task that takes jobs whose keys are published and gives them back with their keys.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::cache::{Answer, Cache};
use super::fetch::{Client, FetchProblem};
use crate::access::{KeyQuestion, KeySet};
use crate::limits;
use crate::model::ShardId;
use crate::telemetry::JwksMetrics;
use crate::workers::{Done, Job, WorkOutcome};

/// Takes a job's end to its shard; gives it back if there is no room.
pub type Deliver = dyn Fn(ShardId, Done) -> Result<(), Done> + Send + Sync;

/// The shards' way in: cheap to clone, never blocks.
#[derive(Clone)]
pub struct Jwks {
    sender: mpsc::Sender<Job>,
}

impl Jwks {
    /// The way in, and what has to run on the control plane.
    pub fn new(metrics: Arc<JwksMetrics>, deliver: Arc<Deliver>) -> (Jwks, impl Future<Output = ()> + Send) {
        let (sender, jobs) = mpsc::channel(limits::JWKS_JOBS_MAX);
        let service = Service {
            cache: Cache::default(),
            client: Arc::default(),
            fetches: JoinSet::new(),
            start: Instant::now(),
            metrics,
            deliver,
        };
        (Jwks { sender }, service.run(jobs))
    }

    /// Gives the job back if too many come at once.
    pub fn submit(&self, job: Job) -> Result<(), Job> {
        self.sender.try_send(job).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(job) | mpsc::error::TrySendError::Closed(job) => job,
        })
    }
}

struct Service {
    cache: Cache<Job>,
    client: Arc<Client>,
    /// One for each URL at most.
    fetches: JoinSet<(Box<str>, Result<KeySet, FetchProblem>)>,
    start: Instant,
    metrics: Arc<JwksMetrics>,
    deliver: Arc<Deliver>,
}

impl Service {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        loop {
            tokio::select! {
                job = jobs.recv() => match job {
                    Some(job) => self.take(job),
                    None => return,
                },
                Some(fetched) = self.fetches.join_next() => {
                    // A fetch neither panics nor is stopped while this runs.
                    if let Ok((url, result)) = fetched {
                        self.fetched(&url, result);
                    }
                }
            }
        }
    }

    fn take(&mut self, job: Job) {
        let Some((keys, token)) = job.work.awaits_keys() else {
            return self.deliver(job.shard, job.end(WorkOutcome::Cancelled));
        };
        match keys.find_question(token) {
            Ok(question) => self.ask(&question, job),
            // Without keys it is refused for what it lacks.
            Err(_) => self.answer(job, Answer::Keys(Arc::default())),
        }
    }

    fn ask(&mut self, question: &KeyQuestion, job: Job) {
        let asked = self.cache.ask(self.now(), question, job);
        if asked.fetch {
            let (client, url) = (Arc::clone(&self.client), question.url.clone());
            self.fetches.spawn(async move {
                let result = client.fetch(&url).await;
                (url, result)
            });
        }
        if let Some((job, answer)) = asked.answer {
            self.answer(job, answer);
        }
    }

    fn fetched(&mut self, url: &str, result: Result<KeySet, FetchProblem>) {
        self.metrics.count_fetch(result.is_ok());
        match &result {
            Ok(keys) => tracing::info!(url, keys = keys.len(), "fetched the keys of an issuer"),
            Err(problem) => tracing::warn!(url, %problem, "the keys of an issuer can't be fetched"),
        }
        for (job, answer) in self.cache.fetched(self.now(), url, result.ok()) {
            self.answer(job, answer);
        }
    }

    fn answer(&self, job: Job, answer: Answer) {
        let shard = job.shard;
        let done = match answer {
            _ if job.cancellation.is_cancelled() => job.end(WorkOutcome::Cancelled),
            Answer::Keys(keys) => job.end_with_keys(keys),
            Answer::Unavailable => job.end(WorkOutcome::TooLate),
        };
        self.deliver(shard, done);
    }

    /// A full tray is tried again: the connection waits for it.
    fn deliver(&self, shard: ShardId, done: Done) {
        let Err(mut done) = (self.deliver)(shard, done) else { return };
        let deliver = Arc::clone(&self.deliver);
        tokio::spawn(async move {
            for _ in 0..limits::JOB_DELIVERY_TRIES {
                sleep(limits::JOB_DELIVERY_RETRY).await;
                match deliver(shard, done) {
                    Ok(()) => return,
                    Err(returned) => done = returned,
                }
            }
            tracing::error!(%shard, "the shard stands still: the keys of a token could not be delivered");
        });
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
