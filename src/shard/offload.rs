//! Work for one connection that its shard leaves to the workers, and what becomes of it.

use super::connection::{Connection, On};
use super::jobs::Next;
use super::{Shard, Speaks};
use crate::limits;
use crate::model::{ConnectionId, DisconnectCode, ErrorCode, Outcome, Reply};
use crate::telemetry::Counter;
use crate::workers::{CancelOnDrop, Done, Job, MessageRead, Owner, ReadMessage, Work, WorkOutcome};
use crate::ws::MessageKind;

impl Shard {
    /// The next job for the workers. Take it only when their queue has room: the shard keeps it
    /// otherwise, and does not read its connection meanwhile.
    pub fn next_job(&mut self) -> Option<Job> {
        if let Some(job) = self.returned.take() {
            return Some(job);
        }
        loop {
            match self.jobs.pop(self.time.now())? {
                Next::Run(job) => return Some(job),
                Next::TooLate(job) => self.job_done(job.end(WorkOutcome::TooLate)),
            }
        }
    }

    /// Puts a job back that the workers' queue refused; `next_job` gives it again.
    pub fn return_job(&mut self, job: Job) {
        self.returned = Some(job);
    }

    /// Lets the workers do something for the connection, which is not read until it is done: what it
    /// sends meanwhile waits in the kernel.
    pub(super) fn start_job(&mut self, id: ConnectionId, cost: usize, work: Work) {
        let now = self.time.now();
        let Some(connection) = self.connections.find_mut(id) else { return };
        let waiting = connection.waiting.get_or_insert_default();
        debug_assert!(waiting.job.is_none(), "a connection has one job at a time");
        let (held, cancellation) = CancelOnDrop::new();
        waiting.job = Some(held);
        waiting.unread_since.get_or_insert(now);
        let owner = Owner::Connection(id);
        let patience = Some(limits::JOB_PATIENCE);
        // Until its keys are fetched there is nothing to run.
        let cost = if work.awaits_keys().is_some() { 0 } else { cost };
        let job = Job { shard: self.id, owner, cost, patience, cancellation, work: Box::new(work) };
        self.jobs.push(None, now, job);
    }

    /// A worker finished a job, or it came to nothing.
    pub(super) fn job_done(&mut self, done: Done) {
        self.jobs.ended(done.cost);
        match done.owner {
            Owner::Room { channel, ticket } => self.publication_encoded(&channel, ticket, done.outcome),
            Owner::Connection(id) => self.connection_job_done(id, done.outcome),
        }
        self.flush_replies();
    }

    fn connection_job_done(&mut self, id: ConnectionId, outcome: WorkOutcome) {
        let Some(connection) = self.connections.find_mut(id) else { return };
        let Some(waiting) = &mut connection.waiting else { return };
        if waiting.job.take().is_none() {
            return;
        }
        if let WorkOutcome::Ready(work) = outcome {
            return self.start_job(id, limits::VERIFY_COST, *work);
        }
        if let Some(rest) = waiting.rest.take() {
            return self.message_read(id, outcome, rest);
        }
        match std::mem::take(&mut waiting.on) {
            On::Token { id: command, purpose } => self.token_done(id, command, purpose, outcome),
            On::SubscriptionToken { id: command, purpose } => {
                self.subscription_token_done(id, command, purpose, outcome);
            }
            On::Answer { id: command } => self.answer_encoded(id, command, outcome),
            other => return waiting.on = other,
        }
        // What the token was for may have to wait for a home now.
        if self.connections.find(id).is_some_and(Connection::waits_for_nothing) {
            self.decided(id);
        }
    }

    /// Lets the workers read a message; with the limit of what it may expand to, if it is compressed.
    pub(super) fn read_later(
        &mut self,
        id: ConnectionId,
        kind: MessageKind,
        payload: &[u8],
        expands_to_max: Option<usize>,
    ) {
        let Some(connection) = self.connections.find_mut(id) else { return };
        let Speaks::Centrifugo(format) = connection.speaks else { return };
        connection.waiting.get_or_insert_default().rest = Some(Vec::new());
        let message_bytes_max = expands_to_max.unwrap_or(self.options.message_bytes_max);
        let per_byte = if expands_to_max.is_some() { limits::INFLATE_COST } else { 1 };
        let message = ReadMessage {
            format,
            kind,
            payload: payload.to_vec(),
            is_compressed: expands_to_max.is_some(),
            message_bytes_max,
            command_bytes_max: message_bytes_max,
            reads_data: self.options.namespaces.reads_data(),
        };
        self.start_job(id, payload.len() * per_byte, Work::Read(message));
    }

    /// The workers have read a message: its commands start, then what came behind it is read.
    fn message_read(&mut self, id: ConnectionId, outcome: WorkOutcome, mut rest: Vec<u8>) {
        match outcome {
            WorkOutcome::Read(Ok(read)) => {
                self.count_inflated(&read);
                self.act_on(id, read.commands.into_iter());
            }
            WorkOutcome::Read(Err(violation)) => return self.violated(id.slot, violation),
            // Commands without an answer: the client has to know that they came to nothing.
            _ => return self.disconnect(id.slot, DisconnectCode::ServerError),
        }
        self.read_messages(id, &mut rest);
        self.start_waiting(id);
        self.read_again(id);
    }

    /// Whether an answer is better encoded by the workers, which do one thing for a connection at a time.
    pub(super) fn is_heavy(&self, id: ConnectionId, outcome: &Outcome) -> bool {
        answer_cost(outcome) > self.options.answer_inline_cost_max
            && self.connections.find(id).is_some_and(|connection| !connection.has_job())
    }

    /// Lets the workers encode an answer.
    pub(super) fn answer_later(&mut self, id: ConnectionId, command: u32, outcome: Outcome) {
        let Some(connection) = self.connections.find_mut(id).filter(|connection| connection.is_open()) else { return };
        let Speaks::Centrifugo(format) = connection.speaks else { return };
        let window = connection.window;
        let cost = answer_cost(&outcome);
        connection.waiting.get_or_insert_default().on = On::Answer { id: command };
        let reply = Reply { id: command, outcome: Ok(outcome) };
        self.start_job(id, cost, Work::Answer { format, window, reply });
    }

    fn answer_encoded(&mut self, id: ConnectionId, command: u32, outcome: WorkOutcome) {
        match outcome {
            WorkOutcome::Answered(Ok((frame, tally))) => {
                self.count_made(tally);
                self.metrics.add(Counter::RepliesSent, 1);
                // What it was told before stands before it.
                self.flush_replies();
                self.enqueue(id.slot, frame);
            }
            WorkOutcome::Answered(Err(_)) => self.disconnect(id.slot, DisconnectCode::InappropriateProtocol),
            _ => self.reply(id.slot, command, Err(ErrorCode::Internal)),
        }
    }

    fn count_inflated(&self, read: &MessageRead) {
        if let Some((before, after)) = read.inflated {
            self.metrics.add(Counter::MessagesInflated, 1);
            self.metrics.add(Counter::InflateBytesBefore, before as u64);
            self.metrics.add(Counter::InflateBytesAfter, after as u64);
        }
    }
}

/// What it costs to encode an answer, in bytes of JSON.
fn answer_cost(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::History(page) => page.publications.iter().map(|publication| publication.data.len()).sum(),
        Outcome::Presence(clients) => clients.len() * limits::PRESENT_COST,
        _ => 0,
    }
}
