//! How many descriptors, hence connections, this process may have.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit of open descriptors, for the line that is printed at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// The soft limit that the process was started with.
    pub before: u64,
    /// The limit now. `u64::MAX` stands for none.
    pub now: u64,
}

/// Raises the soft limit to the hard one. Shells start programs with 1,024 for the sake of old ones
/// that use `select`; a hub needs one for each connection.
///
/// Errors: the kernel refused, and the limit is still `before`.
pub fn raise_descriptors() -> io::Result<Descriptors> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    }
    let known = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    Ok(Descriptors { before: known(current), now: known(maximum) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let descriptors = raise_descriptors().unwrap();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(descriptors.now, limit.maximum.unwrap_or(u64::MAX));
        assert!(descriptors.before <= descriptors.now);
        assert_eq!(raise_descriptors().unwrap().before, descriptors.now, "the second time there is nothing to do");
    }
}
