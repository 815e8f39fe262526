//! What the control groups of this process allow it: a container's limits, or systemd's.

use std::fs;
use std::path::{Path, PathBuf};

/// The lowest memory limit of the control groups that this process is in, of version 2 or 1, as they
/// show below `root`. `None`: no group has one.
pub fn memory_limit_of_group(root: &Path) -> Option<u64> {
    let limit = lowest(root, "memory", |folder, is_version_1| {
        let file = if is_version_1 { "memory.limit_in_bytes" } else { "memory.max" };
        read_number(&folder.join(file))
    });
    // Version 1 writes "no limit" as a number close to 2^63.
    limit.filter(|limit| *limit < 1 << 60)
}

/// The lowest CPU quota in the same way, in thousandths of a core.
pub fn cpu_quota_of_group(root: &Path) -> Option<u64> {
    lowest(root, "cpu", |folder, is_version_1| {
        let (quota, period) = match is_version_1 {
            true => (read_number(&folder.join("cpu.cfs_quota_us"))?, read_number(&folder.join("cpu.cfs_period_us"))?),
            false => {
                let text = fs::read_to_string(folder.join("cpu.max")).ok()?;
                let (quota, period) = text.trim().split_once(' ')?;
                (quota.parse().ok()?, period.parse().ok()?)
            }
        };
        quota.saturating_mul(1000).checked_div(period)
    })
}

/// The lowest number that `read` finds in the folders of the groups and of those above them, for groups
/// of version 2 and for those of version 1 with this controller.
fn lowest(root: &Path, controller: &str, read: impl Fn(&Path, bool) -> Option<u64>) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let numbers = groups.lines().filter_map(|line| {
        let (_, controllers, group) = three(line)?;
        let is_version_1 = !controllers.is_empty();
        let mount = match is_version_1 {
            false => root.join("sys/fs/cgroup"),
            true if controllers.split(',').any(|name| name == controller) => {
                root.join("sys/fs/cgroup").join(controller)
            }
            true => return None,
        };
        folders(&mount, group).filter_map(|folder| read(&folder, is_version_1)).min()
    });
    numbers.min()
}

/// A line of /proc/self/cgroup: `4:memory:/system.slice/fanfare.service`.
fn three(line: &str) -> Option<(&str, &str, &str)> {
    let (number, rest) = line.split_once(':')?;
    let (controllers, group) = rest.split_once(':')?;
    Some((number, controllers, group))
}

/// The group's folder and those above it. In a container the group's own name may not show; what is
/// mounted at the root is the container's.
fn folders<'a>(mount: &'a Path, group: &'a str) -> impl Iterator<Item = PathBuf> {
    Path::new(group.trim_start_matches('/')).ancestors().map(|folder| mount.join(folder))
}

/// `None`: there is no such file, or it says "max" or -1.
fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// What is found in a machine whose files are these.
    fn check(files: &[(&str, &str)], found: fn(&Path) -> Option<u64>, expected: Option<u64>) {
        let root = tempfile::tempdir().expect("a folder for the test");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("it stands in a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        assert_eq!(found(root.path()), expected, "{files:?}");
    }

    #[test]
    fn a_group_of_version_2_has_the_lowest_limit_above_it() {
        let check = |files: &[(&str, &str)], expected| check(files, memory_limit_of_group, expected);
        let group = ("proc/self/cgroup", "0::/a.slice/b.service\n");
        check(&[group], None);
        let (outer, inner) = ("sys/fs/cgroup/a.slice/memory.max", "sys/fs/cgroup/a.slice/b.service/memory.max");
        check(&[group, (outer, "max\n"), (inner, "max\n")], None);
        check(&[group, (outer, "1048576\n"), (inner, "2097152\n")], Some(MIB));
        // In a container the mount's root is the group.
        check(&[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "2097152\n")], Some(2 * MIB));
        check(&[("proc/self/cgroup", "0::/elsewhere\n"), ("sys/fs/cgroup/memory.max", "5\n")], Some(5));
    }

    #[test]
    fn a_group_of_version_1_is_found_by_its_controller() {
        let check = |files: &[(&str, &str)], expected| check(files, memory_limit_of_group, expected);
        let group = ("proc/self/cgroup", "9:cpu,cpuacct:/x\n4:memory:/docker/1\n0::/\n");
        let (own, all) = ("sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "9223372036854771712\n");
        check(&[group, (own, all)], None);
        check(&[group, (own, "3145728\n")], Some(3 * MIB));
    }

    #[test]
    fn a_quota_is_told_in_thousandths_of_a_core() {
        let check = |files: &[(&str, &str)], expected| check(files, cpu_quota_of_group, expected);
        let group = ("proc/self/cgroup", "0::/a\n");
        check(&[group, ("sys/fs/cgroup/a/cpu.max", "max 100000\n")], None);
        check(&[group, ("sys/fs/cgroup/a/cpu.max", "150000 100000\n")], Some(1500));
        check(&[group, ("sys/fs/cgroup/cpu.max", "50000 100000\n")], Some(500));
        let group = ("proc/self/cgroup", "9:cpu,cpuacct:/x\n");
        let period = ("sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n");
        check(&[group, period, ("sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "-1\n")], None);
        check(&[group, period, ("sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "200000\n")], Some(2000));
    }
}
