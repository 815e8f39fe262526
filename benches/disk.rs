//! What the disk engine's log costs: `cargo bench --bench disk -- [directory]` publishes with 1, 256 and 4,096 requests
//! under way, and starts with a log of 1 GiB (`ONLY_START=1`: nothing else; `KEEP_LOG=1`: the log stays). The directory is made and removed; by default in the system's for
//! temporary files, which should be on a disk.

use std::env;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fanfare::engine::contract::{Engine, Event, Operation, Publish, Request, RequestId};
use fanfare::engine::disk::{self, Ack, Options};
use fanfare::engine::outlet::Outlet;
use fanfare::engine::{Memory, Retention};
use fanfare::lane::{Doorbell, TrayReceiver, tray};
use fanfare::model::{ChannelName, EngineIndex, Homes, Publication, ShardId};
use fanfare::telemetry::{EngineCounter, EngineMetrics};
use rustix::time::{ClockId, clock_gettime};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const MIB: u64 = 1 << 20;
const PAYLOAD_BYTES: usize = 150;
/// What a record takes besides its payload, about.
const RECORD_BYTES: usize = 95;
const ENGINE: EngineIndex = EngineIndex(1);
const MEASURED: Duration = Duration::from_secs(3);

fn main() {
    let base = env::args().nth(1).filter(|argument| !argument.starts_with("--"));
    let directory =
        base.map_or_else(env::temp_dir, PathBuf::from).join(format!("fanfare-bench-{}", std::process::id()));
    if env::var_os("ONLY_START").is_none() {
        all_publishes(&directory);
    }
    println!("{:<28} {:>9} {:>9} {:<8} {:>9} {:>9}", "start", "MiB", "records", "", "seconds", "CPU s");
    for (payload_bytes, history_size) in [(128, 100), (128, 1000), (1024, 100)] {
        start(&directory, payload_bytes, history_size);
    }
}

fn all_publishes(directory: &Path) {
    println!("{:<28} {:>9} {:>12} {:>12} {:>10}", "engine", "in flight", "publishes/s", "CPU us each", "per write");
    memory();
    for ack in [Ack::Memory, Ack::Fsync] {
        for in_flight in [1, 256, 4096] {
            publishes(directory, ack, in_flight);
        }
    }
    println!();
}

fn retention(size: usize) -> Retention {
    Retention { size, ttl: Duration::from_secs(3600), meta_ttl: Duration::from_secs(36_000) }
}

fn channels(count: usize) -> Vec<ChannelName> {
    (0..count).map(|n| ChannelName::parse(&format!("room:{n}"), 255).expect("a short name")).collect()
}

fn publication(payload: &[u8]) -> Publication {
    Publication { data: Bytes::copy_from_slice(payload), ..Publication::default() }
}

/// CPU time of all threads of this process.
fn process_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The append itself, which the shard does without asking anybody.
fn memory() {
    let channels = channels(100);
    let mut memory = Memory::new(usize::MAX, 1);
    let (begin, cpu, mut count) = (Instant::now(), process_time(), 0);
    while begin.elapsed() < MEASURED {
        for channel in &channels {
            memory.append(begin.elapsed(), channel, retention(100), publication(&[b'x'; PAYLOAD_BYTES]));
            count += 1;
        }
    }
    row("memory (append alone)", 1, count, begin.elapsed(), process_time() - cpu, 0);
}

fn row(engine: &str, in_flight: usize, count: u64, took: Duration, cpu: Duration, writes: u64) {
    let per_second = count as f64 / took.as_secs_f64();
    let each = cpu.as_secs_f64() * 1e6 / count as f64;
    let per_write = if writes == 0 { String::new() } else { format!("{:.1}", count as f64 / writes as f64) };
    println!("{engine:<28} {in_flight:>9} {per_second:>12.0} {each:>12.2} {per_write:>10}");
}

/// One shard, as the engine sees it.
struct Publisher {
    engine: Arc<dyn Engine>,
    metrics: Arc<EngineMetrics>,
    doorbell: Arc<Doorbell>,
    tray: TrayReceiver<Event>,
    payload: Bytes,
    next_id: u64,
    done: u64,
}

impl Publisher {
    fn open(directory: &Path, ack: Ack, bytes_max: u64) -> Publisher {
        let doorbell = Arc::new(Doorbell::new());
        let this = thread::current();
        doorbell.hang(move || this.unpark());
        let (sender, tray) = tray(64 * 1024, Arc::clone(&doorbell));
        let outlet = Outlet::new(ENGINE, Homes::new(1, 1), Arc::new(move |_, event| sender.try_push(event)));
        let metrics = Arc::new(EngineMetrics::default());
        let options = Options { path: directory.to_owned(), ack, segment_bytes: 64 * MIB, bytes_max };
        let engine = disk::start(options, outlet, Arc::clone(&metrics)).expect("the directory can be used");
        Publisher {
            engine,
            metrics,
            doorbell,
            tray,
            payload: Bytes::from(vec![b'x'; PAYLOAD_BYTES]),
            next_id: 0,
            done: 0,
        }
    }

    fn submit(&mut self, channel: &ChannelName, operation: Operation) {
        self.next_id += 1;
        let mut request = Request { engine: ENGINE, id: RequestId(self.next_id), channel: channel.clone(), operation };
        while let Err(returned) = self.engine.submit(ShardId(0), request) {
            request = returned;
            self.wait();
        }
    }

    fn publish(&mut self, channel: &ChannelName, size: usize) {
        let retention = Some(retention(size));
        let publication = publication(&self.payload);
        let publish =
            Publish { publication, retention, delta: false, idempotency_key: None, version: None, sent_until: None };
        self.submit(channel, Operation::Publish(Box::new(publish)));
    }

    /// Takes what there is, and sleeps until there is something.
    fn wait(&mut self) {
        if self.take() {
            return;
        }
        self.doorbell.prepare_sleep();
        if !self.take() {
            thread::park();
        }
        self.doorbell.awake();
    }

    fn take(&mut self) -> bool {
        let mut took = false;
        while let Some(event) = self.tray.pop() {
            took = true;
            if let Event::Done { outcome, .. } = event {
                outcome.expect("the disk has room");
                self.done += 1;
            }
        }
        took
    }

    fn publish_until(
        &mut self,
        channels: &[ChannelName],
        size: usize,
        in_flight: usize,
        mut is_over: impl FnMut(u64) -> bool,
    ) {
        let mut next = channels.iter().cycle();
        while !is_over(self.done) {
            while self.next_id - self.done < in_flight as u64
                && let Some(channel) = next.next()
            {
                self.publish(channel, size);
            }
            self.wait();
        }
        while self.done < self.next_id {
            self.wait();
        }
    }
}

fn publishes(directory: &Path, ack: Ack, in_flight: usize) {
    let channels = channels(100);
    let mut publisher = Publisher::open(directory, ack, 1024 * MIB);
    for channel in &channels {
        publisher.submit(channel, Operation::Listen);
    }
    publisher.publish_until(&channels, 100, in_flight, |done| done > 1000);
    let (done, writes) = (publisher.done, publisher.metrics.get(EngineCounter::Writes));
    let (begin, cpu) = (Instant::now(), process_time());
    publisher.publish_until(&channels, 100, in_flight, |_| begin.elapsed() > MEASURED);
    let (count, writes) = (publisher.done - done, publisher.metrics.get(EngineCounter::Writes) - writes);
    row(&format!("disk, {ack:?}"), in_flight, count, begin.elapsed(), process_time() - cpu, writes);
    drop(publisher);
    std::fs::remove_dir_all(directory).expect("it is ours");
}

/// A log of 1 GiB, and how long it takes until its streams are there: of the engine alone, and of the hub's own binary
/// from its start until it says that it is ready.
fn start(directory: &Path, payload_bytes: usize, history_size: usize) {
    // Half of the log is kept, as when it is written for ever.
    let kept = 512 * MIB as usize / (payload_bytes + RECORD_BYTES);
    let channels = channels(kept / history_size);
    let mut publisher = Publisher::open(directory, Ack::Memory, 4096 * MIB);
    publisher.payload = Bytes::from(vec![b'x'; payload_bytes]);
    publisher.publish_until(&channels, history_size, 4096, |done| done % 4096 == 0 && size_of(directory) >= 1024 * MIB);
    let records = publisher.done;
    drop(publisher);
    let bytes = size_of(directory);
    let (begin, cpu) = (Instant::now(), process_time());
    let publisher = Publisher::open(directory, Ack::Memory, 4096 * MIB);
    let (took, cpu) = (begin.elapsed(), process_time() - cpu);
    drop(publisher);
    let name = format!("{} x {history_size} of {payload_bytes} B", channels.len());
    let row = |what: &str, took: Duration, cpu: Duration| {
        let (took, cpu) = (took.as_secs_f64(), cpu.as_secs_f64());
        println!("{name:<28} {:>9} {records:>9} {what:<8} {took:>9.2} {cpu:>9.2}", bytes / MIB);
    };
    row("engine", took, cpu);
    let (took, cpu) = start_hub(directory);
    row("hub", took, cpu);
    if env::var_os("KEEP_LOG").is_none() {
        std::fs::remove_dir_all(directory).expect("it is ours");
    }
}

fn size_of(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).expect("it is there").flatten();
    entries.map(|entry| entry.metadata().map_or(0, |metadata| metadata.len())).sum()
}

/// From the start of the process until /readyz says yes, and its CPU time by then.
fn start_hub(directory: &Path) -> (Duration, Duration) {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.args(["--address", "127.0.0.1", "--port", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    let (path, bytes_max) = (directory.display().to_string(), (4096 * MIB).to_string());
    let settings = [("TYPE", "disk"), ("DISK_PATH", &path), ("DISK_BYTES_MAX", &bytes_max)];
    command.envs(settings.map(|(key, value)| (format!("FANFARE_ENGINE_{key}"), value)));
    let begin = Instant::now();
    let mut hub = command.spawn().expect("it is built");
    while !is_ready(port) {
        assert!(
            begin.elapsed() < Duration::from_secs(60) && hub.try_wait().is_ok_and(|ended| ended.is_none()),
            "starts"
        );
        thread::sleep(Duration::from_millis(2));
    }
    let (took, cpu) = (begin.elapsed(), cpu_time_of(hub.id()));
    hub.kill().and_then(|()| hub.wait()).expect("it runs");
    (took, cpu)
}

fn is_ready(port: u16) -> bool {
    let mut answer = [0; 12];
    let asked = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")?;
        stream.read_exact(&mut answer)
    });
    asked.is_ok() && answer.ends_with(b"200")
}

/// In ticks of 10 ms.
fn cpu_time_of(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // utime and stime, counted from the state, which follows the name.
    let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}
