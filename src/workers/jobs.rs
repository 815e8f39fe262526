//! What workers do: the closed list of jobs and their outcomes.

use std::sync::Arc;

use crate::access::{Claims, TokenKeys, TokenProblem};
use crate::model::{ConnectionId, ShardId};

/// One computation for one connection.
pub struct Job {
    pub shard: ShardId,
    pub connection: ConnectionId,
    pub work: Work,
}

pub enum Work {
    /// Verify the signature and the claims of a connection token.
    VerifyToken { token: Box<str>, keys: Arc<TokenKeys>, unix_seconds: i64 },
    /// A fault point of debug builds: the worker panics.
    #[cfg(debug_assertions)]
    Panic,
    /// Whatever a test wants to happen on a worker's thread.
    #[cfg(test)]
    Call(Box<dyn FnOnce() + Send>),
}

/// A job's end, on its way back to the shard that asked.
#[derive(Debug)]
pub struct Done {
    pub connection: ConnectionId,
    pub outcome: WorkOutcome,
}

#[derive(Debug)]
pub enum WorkOutcome {
    TokenVerified(Result<Claims, TokenProblem>),
    /// The worker panicked; the command is answered with error 100.
    Panicked,
}

impl Work {
    /// The name of this kind of job in metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Work::VerifyToken { .. } => "verify_token",
            #[cfg(debug_assertions)]
            Work::Panic => "panic",
            #[cfg(test)]
            Work::Call(_) => "call",
        }
    }
}

impl Job {
    /// Does the work. Pure but for the time it takes.
    pub fn run(self) -> Done {
        let outcome = match self.work {
            Work::VerifyToken { token, keys, unix_seconds } => {
                WorkOutcome::TokenVerified(keys.verify(&token, unix_seconds))
            }
            #[cfg(debug_assertions)]
            Work::Panic => panic!("fault point: a worker panics"),
            #[cfg(test)]
            Work::Call(call) => {
                call();
                WorkOutcome::TokenVerified(Ok(Claims::default()))
            }
        };
        Done { connection: self.connection, outcome }
    }
}
