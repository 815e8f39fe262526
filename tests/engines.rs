//! One list of cases, run over each engine by the hub's own binary.

#[path = "support/rig/mod.rs"]
mod rig;
