//! Planted faults: what the simulation must catch, so that it is known to look.

/// Deliberate defects, all off; no configuration sets them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The publisher is answered, and the publication is then lost, once in this many times.
    pub answer_without_append: Option<u32>,
    /// Recovery begins one publication too late.
    pub recovery_off_by_one: bool,
    /// Repetitions of a publish are not recognised.
    pub forgotten_keys: bool,
    /// Versions are not compared.
    pub ignored_versions: bool,
    /// A subscription token lets in whoever brings it, and anywhere.
    pub foreign_tokens: bool,
    /// Subscriptions that expire never do.
    pub endless_grants: bool,
    /// What comes for a connection is sent before its connect is answered.
    pub hasty_pushes: bool,
    /// A command `rpc` with the method `fanfare.fault.panic` panics in the shard's handler, and one
    /// with `fanfare.fault.panic_worker` in a worker.
    pub panic_on_rpc: bool,
}
