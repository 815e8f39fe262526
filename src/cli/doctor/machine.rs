//! The machine: descriptors, backlog, cores, memory.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, getrlimit};

use crate::config::{MemoryLimit, Options};
use crate::limits::LISTEN_BACKLOG;
use crate::telemetry::{cpu_quota_of_group, memory_limit_of_group};

use super::Check;

/// The limit of descriptors of the running server, if its pid_file names one, or else of a server that
/// is started like this process: it raises the soft limit to the hard one.
pub fn descriptors_max(root: &Path, pid_file: Option<&Path>) -> u64 {
    let of_server = || {
        let pid = fs::read_to_string(pid_file?).ok()?;
        let limits = fs::read_to_string(root.join("proc").join(pid.trim()).join("limits")).ok()?;
        soft_limit_in(&limits)
    };
    of_server().unwrap_or_else(|| getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX))
}

/// From a line of /proc/PID/limits: name, soft limit, hard limit, unit.
fn soft_limit_in(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

pub fn descriptors(max: u64, connections: u64) -> Check {
    const NAME: &str = "descriptors";
    let needed = connections + DESCRIPTORS_OF_OWN;
    match max >= needed {
        true => Check::ok(NAME, format!("{max}, for {connections} connections")),
        false => Check::fail(
            NAME,
            format!("{max}, and {connections} connections need {needed}"),
            format!("LimitNOFILE={needed} for systemd, --ulimit nofile={needed}:{needed} for Docker, or ulimit -Hn"),
        ),
    }
}

pub fn backlog(root: &Path) -> Check {
    const NAME: &str = "somaxconn";
    match read_number(&root.join("proc/sys/net/core/somaxconn")) {
        Some(most) if most < LISTEN_BACKLOG.unsigned_abs().into() => Check::warn(
            NAME,
            format!("{most}: when more clients come at once, the kernel drops the rest"),
            format!("sysctl -w net.core.somaxconn={LISTEN_BACKLOG} (for a container: --sysctl)"),
        ),
        Some(most) => Check::ok(NAME, most),
        None => Check::ok(NAME, "unknown"),
    }
}

/// A firewall that tracks connections drops those that its table has no room for.
pub fn tracked_connections(root: &Path, connections: u64) -> Option<Check> {
    const NAME: &str = "conntrack";
    let most = read_number(&root.join("proc/sys/net/netfilter/nf_conntrack_max"))?;
    let needed = connections + connections / 4;
    Some(match most >= needed {
        true => Check::ok(NAME, format!("{most} tracked connections")),
        false => Check::warn(
            NAME,
            format!("{most} tracked connections, for {connections} clients"),
            format!("sysctl -w net.netfilter.nf_conntrack_max={needed}"),
        ),
    })
}

pub fn cpu(root: &Path, shards: u16) -> Check {
    const NAME: &str = "cpu";
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match cpu_quota_of_group(root) {
        Some(quota) if quota < u64::from(shards) * 1000 => Check::warn(
            NAME,
            format!(
                "{shards} shards, and a quota of {} cores: the kernel stops all of them in turn",
                thousandths(quota)
            ),
            match quota / 1000 {
                0 => "give it a whole core: --cpus=1, or CPUQuota=100%".to_owned(),
                whole => format!("--shards {whole} (fanfare.shards), or a quota of {shards} cores"),
            },
        ),
        Some(quota) => Check::ok(NAME, format!("{shards} shards, a quota of {} cores", thousandths(quota))),
        None if usize::from(shards) > cores => Check::warn(
            NAME,
            format!("{shards} shards on {cores} cores: they wait for one another"),
            format!("--shards {cores} (fanfare.shards), or leave it out"),
        ),
        None => Check::ok(NAME, format!("{shards} shards on {cores} cores, no quota")),
    }
}

fn thousandths(number: u64) -> String {
    format!("{}.{:03}", number / 1000, number % 1000).trim_end_matches('0').trim_end_matches('.').to_owned()
}

pub fn memory(root: &Path, options: &Options, connections: u64) -> Check {
    const NAME: &str = "memory";
    let tls = if options.client_tls.is_some() { TLS_BYTES } else { 0 };
    let each = HUB_BYTES + KERNEL_BYTES + tls;
    let idle = each * connections;
    let histories = u64::from(options.shards) * options.shard.memory_bytes_max as u64;
    let needs = format!(
        "{connections} idle connections take {} ({} KiB each), histories up to {}",
        mebibytes(idle),
        each.div_ceil(1024),
        mebibytes(histories)
    );
    let limit = memory_limit_of_group(root);
    let (most, what) = match limit {
        Some(limit) => (limit, "the control group allows"),
        None => (total_memory(root).unwrap_or(u64::MAX), "the machine has"),
    };
    let has = format!("{needs}; {what} {}", mebibytes(most));
    let is_held = options.memory_limit != MemoryLimit::Off
        && (limit.is_some() || matches!(options.memory_limit, MemoryLimit::Bytes(_)));
    match idle.saturating_add(histories) {
        _ if idle > most => Check::fail(NAME, has, "more memory, or fewer connections (doctor --connections N)"),
        all if all > most => {
            Check::warn(NAME, has, "lower fanfare.shard_memory_limit, so that histories leave room for connections")
        }
        _ if !is_held => Check::warn(
            NAME,
            format!("{has}; nothing holds outboxes of slow clients against that"),
            "set fanfare.memory_limit, or a limit of the container (MemoryMax= for systemd)",
        ),
        _ => Check::ok(NAME, has),
    }
}

fn total_memory(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let kib: u64 =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1024 * 1024))
}

fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Listeners, doorbells, poll sets, files and what comes in through the door. Chosen: generous.
const DESCRIPTORS_OF_OWN: u64 = 200;

/// An idle connection with one subscription. Measured: docs/performance.md, "Idle connections".
const HUB_BYTES: u64 = 466;

/// What TLS adds to it. Measured: docs/performance.md, "TLS".
const TLS_BYTES: u64 = 3900;

/// The kernel's part of an idle connection. Measured: docs/performance.md, "Scale".
const KERNEL_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use crate::config::{self, Flags};

    /// A folder that looks like a machine's root.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder for the test");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("it stands in a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        root
    }

    fn options(text: &str) -> Options {
        config::read("a.toml", text, &Flags::default()).expect("a good file").0
    }

    #[test]
    fn each_connection_needs_a_descriptor() {
        assert_eq!(descriptors(1024, 10_000).state, State::Fail);
        assert_eq!(descriptors(20_000, 10_000).state, State::Ok);
        let check = descriptors(1024, 5000);
        assert!(check.fix.is_some_and(|fix| fix.contains("LimitNOFILE=5200")));
    }

    #[test]
    fn the_running_server_is_looked_at_rather_than_this_process() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            123                  4096                 files\n";
        let root = machine(&[("proc/7/limits", limits), ("run/pid", "7\n")]);
        assert_eq!(descriptors_max(root.path(), Some(&root.path().join("run/pid"))), 123);
        assert!(descriptors_max(root.path(), None) > 123);
    }

    #[test]
    fn a_short_backlog_is_a_warning() {
        let check = |text| backlog(machine(&[("proc/sys/net/core/somaxconn", text)]).path()).state;
        assert_eq!(check("128\n"), State::Warn);
        assert_eq!(check("4096\n"), State::Ok);
    }

    #[test]
    fn more_shards_than_a_quota_allows_is_a_warning() {
        let root = machine(&[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cpu.max", "150000 100000\n")]);
        let check = cpu(root.path(), 4);
        assert_eq!(check.state, State::Warn);
        assert!(check.value.contains("1.5 cores"), "{}", check.value);
        assert!(check.fix.is_some_and(|fix| fix.starts_with("--shards 1 ")));
        assert_eq!(cpu(root.path(), 1).state, State::Ok);
    }

    #[test]
    fn memory_is_compared_with_what_the_group_allows() {
        let group = |limit| machine(&[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", limit)]);
        let small = options("fanfare = {shards = 1, shard_memory_limit = 1048576}");
        assert_eq!(memory(group("1000000\n").path(), &small, 10_000).state, State::Fail);
        assert_eq!(memory(group("104857600\n").path(), &small, 10_000).state, State::Ok);
        let large = options("fanfare = {shards = 1, shard_memory_limit = 1048576000}");
        assert_eq!(memory(group("104857600\n").path(), &large, 10_000).state, State::Warn);
        let check = memory(machine(&[("proc/meminfo", "MemTotal: 1048576 kB\n")]).path(), &small, 10_000);
        assert!(check.state == State::Warn && check.value.contains("the machine has 1024 MiB"), "{check:?}");
    }

    #[test]
    fn a_small_table_of_tracked_connections_is_a_warning() {
        let root = machine(&[("proc/sys/net/netfilter/nf_conntrack_max", "8192\n")]);
        assert_eq!(tracked_connections(root.path(), 10_000).map(|check| check.state), Some(State::Warn));
        assert_eq!(tracked_connections(root.path(), 1_000).map(|check| check.state), Some(State::Ok));
        assert_eq!(tracked_connections(machine(&[]).path(), 1_000), None);
    }
}
