//! The Redis engine against real servers: `redis-server`, sentinels, a cluster, and Valkey where it is installed.
//!
//! The servers are Debian's and those of tests/install.sh. Each test starts its own on free ports, in a folder of their
//! own, and stops them by their process ids.

mod bed;
mod clocks;
mod cost;
mod faults;
mod fleets;
mod nodes;
mod places;
mod presence;
mod replicas;
mod servers;
mod streams;
