//! Whether the engines of a configuration can be used from here.

use std::fs;
use std::path::Path;

use rustix::fs::{Access, access, statvfs};

use crate::config::{DiskSettings, EngineSettings, Options};
use crate::limits::CLOCK_DIFFERENCE_MAX;
use crate::telemetry::start_logs;

/// Connects to the engines that are elsewhere.
pub type TryEngines = fn(&Options) -> Vec<Tried>;

/// An engine that was connected to, or was not.
#[derive(Debug, PartialEq)]
pub struct Tried {
    pub name: String,
    /// Where it is, or what is wrong.
    pub outcome: Result<String, String>,
    /// By how many seconds its clock is ahead of this machine's; 0 where that is not known.
    pub clock_ahead: f64,
}

/// One engine as it was found.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    pub verdict: Verdict,
    /// With the name of the engine in front.
    pub text: String,
    /// Of what is not good.
    pub fix: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Good,
    /// It can be used; somebody should look at it.
    Odd,
    Bad,
}

/// Tries all of them. What engines log about their trouble goes to the standard error.
pub fn examine(options: &Options, try_engines: TryEngines) -> Vec<Finding> {
    let started = &options.engines.started;
    if started.is_empty() {
        return Vec::new();
    }
    start_logs("warn", None);
    let disks = started.iter().filter_map(|engine| match &engine.settings {
        EngineSettings::Disk(settings) => Some(Finding::of(&engine.name, disk(settings), FIX_DISK)),
        _ => None,
    });
    disks.chain(try_engines(options).into_iter().map(Finding::of_tried)).collect()
}

impl Finding {
    fn of(name: &str, outcome: Result<String, String>, fix: &'static str) -> Finding {
        match outcome {
            Ok(text) => Finding { verdict: Verdict::Good, text: format!("{name}: {text}"), fix },
            Err(text) => Finding { verdict: Verdict::Bad, text: format!("{name}: {text}"), fix },
        }
    }

    fn of_tried(Tried { name, outcome, clock_ahead }: Tried) -> Finding {
        let finding = Finding::of(&name, outcome, FIX_ADDRESS);
        if finding.verdict != Verdict::Good || clock_ahead.abs() <= CLOCK_DIFFERENCE_MAX.as_secs_f64() {
            return finding;
        }
        let side = if clock_ahead > 0.0 { "ahead of" } else { "behind" };
        let text = format!("{}; its clock is {:.1} s {side} this machine's", finding.text, clock_ahead.abs());
        Finding { verdict: Verdict::Odd, text, fix: FIX_CLOCK }
    }
}

/// Whether the log's folder can be written, or made; and whether there is room for all that it may hold.
fn disk(settings: &DiskSettings) -> Result<String, String> {
    let path = &settings.path;
    if path.exists() && !path.is_dir() {
        return Err(format!("{} is no folder", path.display()));
    }
    let there = path.ancestors().find(|folder| folder.is_dir()).filter(|folder| !folder.as_os_str().is_empty());
    let there = there.unwrap_or(Path::new("."));
    access(there, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| format!("{} can't be written: {error}", there.display()))?;
    let room = statvfs(there).map_err(|error| format!("{}: {error}", there.display()))?;
    let free = room.f_bavail * room.f_frsize;
    let used: u64 =
        fs::read_dir(path).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum();
    let needed = settings.bytes_max.saturating_sub(used);
    match free >= needed {
        true => Ok(format!("disk at {}, {} MiB free", path.display(), free >> 20)),
        false => Err(format!(
            "{} has {} MiB free, and the log may take {} MiB more (disk.bytes_max)",
            there.display(),
            free >> 20,
            needed >> 20
        )),
    }
}

const FIX_ADDRESS: &str = "check address, login and network; the lines above say what failed";
const FIX_CLOCK: &str = "let NTP (chrony, systemd-timesyncd) set the clocks of both machines";
const FIX_DISK: &str = "give disk.path to the user that the hub runs as, on a disk with room";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flags, read};

    fn settings(path: &Path, bytes_max: u64) -> DiskSettings {
        let path = path.display();
        let text = format!(
            "engine.type = \"disk\"\n[engine.disk]\npath = \"{path}\"\nsegment_bytes = 1048576\nbytes_max = {bytes_max}"
        );
        let (options, _) = read("a.toml", &text, &Flags::default()).expect("a good file");
        match &options.engines.started[0].settings {
            EngineSettings::Disk(settings) => settings.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_clock_that_is_off_is_odd() {
        let check = |outcome: Result<&str, &str>, clock_ahead, verdict, expected: &str| {
            let outcome = outcome.map(ToString::to_string).map_err(ToString::to_string);
            let found = Finding::of_tried(Tried { name: "engine".into(), outcome, clock_ahead });
            assert_eq!((found.verdict, found.text.as_str()), (verdict, expected));
        };
        check(Ok("redis at a"), 0.9, Verdict::Good, "engine: redis at a");
        check(Ok("redis at a"), 1.5, Verdict::Odd, "engine: redis at a; its clock is 1.5 s ahead of this machine's");
        check(Ok("redis at a"), -60.0, Verdict::Odd, "engine: redis at a; its clock is 60.0 s behind this machine's");
        check(Err("redis at a does not answer"), 60.0, Verdict::Bad, "engine: redis at a does not answer");
    }

    #[test]
    fn the_disk_is_writable_and_has_room() {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let found = disk(&settings(folder.path(), 16 << 20));
        assert!(found.as_ref().is_ok_and(|text| text.contains("MiB free")), "{found:?}");
        assert!(disk(&settings(&folder.path().join("a/b"), 16 << 20)).is_ok(), "it can be made");
        assert!(!folder.path().join("a").exists(), "and is not");
        let file = folder.path().join("file");
        fs::write(&file, "x").expect("it can be written");
        assert_eq!(disk(&settings(&file, 16 << 20)), Err(format!("{} is no folder", file.display())));
        let found = disk(&settings(folder.path(), 64 << 40));
        assert!(found.as_ref().is_err_and(|text| text.contains("the log may take")), "{found:?}");
    }
}
