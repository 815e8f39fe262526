use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What else the machine does: where it builds beside the tests nobody is in time, whatever the hub does.
pub struct Machine {
    worst_lateness_us: Arc<AtomicU64>,
    before: Usage,
}

/// How much later than promised something may be, for the machine's sake.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// Others had so much of the machine that everything takes so many times as long.
    pub stretch: f64,
    /// Whoever only wants to run is so late.
    lateness: Duration,
}

/// Between two looks at how late this process is.
const BEAT: Duration = Duration::from_millis(5);

/// Chosen: from a publisher to a reader so many threads and processes have to be woken in turn, answer included.
const WAKES: u32 = 8;

/// A machine that does nearly nothing for the tests is forgiven no more than this.
const STRETCH_MAX: f64 = 5.0;

impl Machine {
    /// Looks at it until the process ends.
    pub fn watch() -> Machine {
        let worst_lateness_us = Arc::new(AtomicU64::new(0));
        let worst = Arc::clone(&worst_lateness_us);
        thread::spawn(move || {
            loop {
                let due = Instant::now() + BEAT;
                thread::sleep(BEAT);
                worst.fetch_max(u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        });
        Machine { worst_lateness_us, before: Usage::read() }
    }

    /// Forgets what was.
    pub fn begin(&mut self) {
        self.worst_lateness_us.store(0, Ordering::Relaxed);
        self.before = Usage::read();
    }

    pub fn allowance(&self) -> Allowance {
        let lateness = Duration::from_micros(self.worst_lateness_us.load(Ordering::Relaxed)) * WAKES;
        Allowance { stretch: Usage::read().stretch_since(&self.before), lateness }
    }
}

impl Allowance {
    /// What is held against the hub when so much was promised.
    pub fn bound(&self, promised: Duration) -> Duration {
        promised.mul_f64(self.stretch) + self.lateness
    }
}

/// CPU time since the machine started, in ticks of the kernel.
struct Usage {
    all: u64,
    /// Of all: somebody had it.
    busy: u64,
    /// Of that: this test and whoever it started.
    own: u64,
}

impl Usage {
    fn read() -> Usage {
        let text = fs::read_to_string("/proc/stat").expect("/proc is there");
        let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
        // user, nice, system, idle, iowait, irq, softirq, steal; what guests have is in user as well.
        let ticks: Vec<u64> = fields.take(8).filter_map(|field| field.parse().ok()).collect();
        let all = ticks.iter().sum();
        Usage { all, busy: all - ticks[3] - ticks[4], own: own_ticks() }
    }

    fn stretch_since(&self, before: &Usage) -> f64 {
        let others = self.busy.saturating_sub(before.busy).saturating_sub(self.own.saturating_sub(before.own));
        let share = others as f64 / (self.all - before.all).max(1) as f64;
        (1.0 / (1.0 - share).max(f64::EPSILON)).min(STRETCH_MAX)
    }
}

/// Of all processes of this one's group, and of those that it started and that have ended.
fn own_ticks() -> u64 {
    let processes = fs::read_dir("/proc").expect("/proc is there").flatten();
    let stats: Vec<Stat> = processes.filter_map(|process| Stat::read(&process.file_name().to_string_lossy())).collect();
    let own = Stat::read("self").expect("this process runs");
    let running = stats.iter().filter(|stat| stat.group == own.group).map(|stat| stat.ticks);
    running.sum::<u64>() + own.ticks_of_ended
}

/// Of `/proc/PID/stat`.
struct Stat {
    group: u64,
    ticks: u64,
    ticks_of_ended: u64,
}

impl Stat {
    fn read(process: &str) -> Option<Stat> {
        let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name may have blanks and brackets; state and parent stand before the group.
        let fields: Vec<u64> =
            text[text.rfind(')')? + 1..].split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
        let sum = |from: usize| Some(fields.get(from)? + fields.get(from + 1)?);
        Some(Stat { group: *fields.get(2)?, ticks: sum(11)?, ticks_of_ended: sum(13)? })
    }
}
