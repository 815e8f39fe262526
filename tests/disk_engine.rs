//! The disk engine over real files, in processes that are killed and on disks that run full.
//!
//! The test binary runs itself as the process that is killed: the tests marked `ignore` are those children.

use std::collections::{BTreeMap, HashMap};
use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fanfare::engine::contract::{Engine, Event, Operation, Outcome, Publish, Published, Read, Request, RequestId};
use fanfare::engine::disk::{self, Ack, Options};
use fanfare::engine::outlet::Outlet;
use fanfare::engine::{Retention, Stream};
use fanfare::model::{ChannelName, EngineIndex, ErrorCode, Homes, Publication, ShardId};
use fanfare::telemetry::{EngineCounter, EngineMetrics};

const CHANNELS: [&str; 4] = ["a", "b", "c", "d"];
const HISTORY: usize = 200;
const RETENTION: Retention =
    Retention { size: HISTORY, ttl: Duration::from_secs(3600), meta_ttl: Duration::from_secs(36_000) };

/// For a child: where its log is, and when its publishes are answered.
const DIRECTORY: &str = "FANFARE_TEST_DIRECTORY";
const ACK: &str = "FANFARE_TEST_ACK";

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name, 255).expect("a short name")
}

/// One shard, as the engine sees it.
struct Shard {
    engine: Arc<dyn Engine>,
    events: Receiver<Event>,
    next_id: u64,
    metrics: Arc<EngineMetrics>,
}

impl Shard {
    fn open(path: &Path, ack: Ack) -> std::io::Result<Shard> {
        let (sender, events) = sync_channel(4096);
        let post = move |_, event| {
            sender.try_send(event).map_err(|error| match error {
                std::sync::mpsc::TrySendError::Full(event) | std::sync::mpsc::TrySendError::Disconnected(event) => {
                    event
                }
            })
        };
        let outlet = Outlet::new(EngineIndex(1), Homes::new(1, 1), Arc::new(post));
        let metrics = Arc::new(EngineMetrics::default());
        // Small, so that segments are begun and dropped all the time.
        let options = Options { path: path.to_owned(), ack, segment_bytes: 64 << 10, bytes_max: 16 << 20 };
        let engine = disk::start(options, outlet, Arc::clone(&metrics))?;
        Ok(Shard { engine, events, next_id: 0, metrics })
    }

    fn submit(&mut self, name: &str, operation: Operation) -> RequestId {
        self.next_id += 1;
        let id = RequestId(self.next_id);
        let request = Request { engine: EngineIndex(1), id, channel: channel(name), operation };
        assert!(self.engine.submit(ShardId(0), request).is_ok(), "there is room for what one shard asks");
        id
    }

    /// Asks, and passes over what is published meanwhile.
    fn ask(&mut self, name: &str, operation: Operation) -> Result<Outcome, ErrorCode> {
        let asked = self.submit(name, operation);
        loop {
            match self.events.recv().expect("the engine lives") {
                Event::Done { id, outcome } if id == asked => return outcome,
                _ => {}
            }
        }
    }

    fn read(&mut self, name: &str) -> Stream {
        let read = Read { retention: RETENTION, after: 0, publications_max: usize::MAX, sent_until: None };
        match self.ask(name, Operation::Read(Box::new(read))) {
            Ok(Outcome::Read(stream)) => stream,
            other => panic!("{other:?}"),
        }
    }
}

fn publish(text: &str) -> Operation {
    let publication = Publication { data: Bytes::copy_from_slice(text.as_bytes()), ..Publication::default() };
    let retention = Some(RETENTION);
    Operation::Publish(Box::new(Publish {
        publication,
        retention,
        delta: false,
        idempotency_key: None,
        version: None,
        sent_until: None,
    }))
}

fn text_of(publication: &Publication) -> String {
    String::from_utf8(publication.data.to_vec()).expect("tests publish text")
}

/// The test binary itself, as a child that runs one of its ignored tests.
fn child(test: &str, directory: &Path, ack: Ack) -> Command {
    let mut command = Command::new(env::current_exe().expect("it runs"));
    command.args(["--ignored", "--exact", test, "--nocapture"]);
    command.env(DIRECTORY, directory).env(ACK, format!("{ack:?}")).stdout(Stdio::piped());
    command
}

fn as_child() -> Option<(PathBuf, Ack)> {
    let ack = match env::var(ACK).ok()?.as_str() {
        "Fsync" => Ack::Fsync,
        _ => Ack::Memory,
    };
    Some((env::var_os(DIRECTORY)?.into(), ack))
}

// --- kill -9 -------------------------------------------------------------------------------------

/// Says what its log holds, and then what it publishes, until it is killed.
#[test]
#[ignore = "the child of the tests with kills"]
fn publishes_until_it_is_killed() {
    let Some((directory, ack)) = as_child() else { return };
    let mut shard = Shard::open(&directory, ack).expect("the log is ours");
    let mut out = std::io::stdout().lock();
    for name in CHANNELS {
        let stream = shard.read(name);
        let epoch = stream.position().epoch;
        for publication in stream.publications() {
            writeln!(out, "kept {name} {epoch:?} {} {}", publication.offset, text_of(publication)).expect("a reader");
        }
        writeln!(out, "stands {name} {epoch:?} {}", stream.position().offset).expect("a reader");
        shard.ask(name, Operation::Listen).expect("listening");
    }
    let damages = shard.metrics.get(EngineCounter::Foreign);
    writeln!(out, "ready {damages}").expect("a reader");
    publish_for_ever(&mut shard, &mut out);
}

fn publish_for_ever(shard: &mut Shard, out: &mut impl Write) {
    let process = std::process::id();
    let mut asked = HashMap::new();
    for n in 0u64.. {
        let name = CHANNELS[(n % 4) as usize];
        let text = format!("{process}-{n}-{}", "x".repeat((n * 37 % 300) as usize));
        asked.insert(shard.submit(name, publish(&text)), (name, text));
        while asked.len() >= 64 {
            say(shard, &mut asked, out);
        }
    }
}

fn say(shard: &Shard, asked: &mut HashMap<RequestId, (&'static str, String)>, out: &mut impl Write) {
    match shard.events.recv().expect("the engine lives") {
        Event::Done { id, outcome: Ok(Outcome::Published(Some(position))) } => {
            let (name, text) = asked.remove(&id).expect("answered once");
            writeln!(out, "confirmed {name} {:?} {} {text}", position.epoch, position.offset).expect("a reader");
        }
        Event::Incoming(incoming) => {
            let Published::Publication { publication, epoch: Some(epoch), .. } = incoming.what else { return };
            let text = text_of(&publication);
            writeln!(out, "heard {} {epoch:?} {} {text}", incoming.channel, publication.offset).expect("a reader");
        }
        other => panic!("{other:?}"),
    }
}

/// What was ever said of the channels, by all children.
#[derive(Default)]
struct Checker {
    /// Epoch and publications of each channel, by offset.
    told: BTreeMap<String, (String, BTreeMap<u64, String>)>,
    /// The newest offset that was told, of each channel.
    tops: BTreeMap<String, u64>,
    confirmed: u64,
}

impl Checker {
    /// Reads one line of a child; whether it is one that counts for when to kill it.
    fn take(&mut self, line: &str) -> bool {
        // What libtest says itself stands before the first line.
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["kept" | "heard", name, epoch, offset, text] => self.tell(name, epoch, offset, text),
            ["confirmed", name, epoch, offset, text] => {
                self.tell(name, epoch, offset, text);
                self.confirmed += 1;
                return true;
            }
            ["stands", name, epoch, offset] => self.stand(name, epoch, offset),
            ["ready", damages] => assert_eq!(damages, "0", "a kill damages nothing"),
            _ => {}
        }
        false
    }

    fn tell(&mut self, name: &str, epoch: &str, offset: &str, text: &str) {
        let offset: u64 = offset.parse().expect("a number");
        let (known, publications) =
            self.told.entry(name.to_owned()).or_insert_with(|| (epoch.to_owned(), BTreeMap::new()));
        assert_eq!(known, epoch, "{name} keeps its epoch");
        let before = publications.insert(offset, text.to_owned());
        assert!(before.as_deref().is_none_or(|before| before == text), "{name} {offset}: {before:?} and {text}");
        let top = self.tops.entry(name.to_owned()).or_default();
        *top = offset.max(*top);
    }

    /// A child that started says where the channel stands; it said before what it keeps.
    fn stand(&mut self, name: &str, epoch: &str, offset: &str) {
        let offset: u64 = offset.parse().expect("a number");
        let Some((known, publications)) = self.told.get(name) else { return };
        assert_eq!(known, epoch, "{name} keeps its epoch");
        assert!(offset >= self.tops[name], "{name} stands at {offset} after {} was told", self.tops[name]);
        let newest = publications.range(..=offset).rev().take(HISTORY);
        let expected = (1..=offset).rev().take(HISTORY);
        assert!(newest.map(|(offset, _)| *offset).eq(expected), "{name} has a gap before {offset}");
    }
}

fn kill_in_a_loop(ack: Ack) {
    let directory = tempfile::tempdir().expect("a directory");
    let loops = env::var("FANFARE_KILL_LOOPS").ok().and_then(|loops| loops.parse().ok()).unwrap_or(100);
    let began = Instant::now();
    let mut checker = Checker::default();
    let mut random = fastrand::Rng::with_seed(7);
    let mut done = 0;
    while done < loops && began.elapsed() < Duration::from_secs(60) {
        let mut running = child("publishes_until_it_is_killed", directory.path(), ack).spawn().expect("a child");
        let lines = BufReader::new(running.stdout.take().expect("piped"));
        read_and_kill(&mut running, lines, &mut checker, random.u64(1..2000));
        running.wait().expect("it ended");
        done += 1;
    }
    assert!(checker.confirmed > 0, "something was published");
    println!("{ack:?}: {done} kills, {} confirmed, {:.1?}", checker.confirmed, began.elapsed());
}

/// Kills the child after some confirmations, wherever it is then, and hears it out.
fn read_and_kill(running: &mut Child, lines: BufReader<ChildStdout>, checker: &mut Checker, mut lives: u64) {
    let mut lines = lines.split(b'\n').map_while(Result::ok).peekable();
    while let Some(line) = lines.next() {
        // The last line may be cut.
        if lines.peek().is_none() && lives == 0 {
            break;
        }
        let counts = checker.take(&String::from_utf8_lossy(&line));
        if counts && lives > 0 {
            lives -= 1;
            if lives == 0 {
                running.kill().expect("it runs");
            }
        }
    }
    let _ = running.kill();
}

#[test]
fn nothing_confirmed_is_lost_by_kills_where_the_kernel_has_it() {
    kill_in_a_loop(Ack::Memory);
}

#[test]
fn nothing_confirmed_is_lost_by_kills_where_the_disk_has_it() {
    kill_in_a_loop(Ack::Fsync);
}

// --- one directory, one process ------------------------------------------------------------------

#[test]
fn a_directory_in_use_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = Shard::open(directory.path(), Ack::Memory).expect("nobody has it");
    let Err(error) = Shard::open(directory.path(), Ack::Memory) else { panic!("two engines on one log") };
    let text = error.to_string();
    assert!(text.contains("used by another process") && text.contains(&directory.path().display().to_string()));
    drop(first);
    Shard::open(directory.path(), Ack::Memory).expect("it is free again");
}

#[test]
fn a_directory_that_can_not_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let Err(error) = Shard::open(&file.path().join("log"), Ack::Memory) else { panic!("a file is no directory") };
    assert!(error.to_string().contains("can't create"), "{error}");
}

// --- a full disk ---------------------------------------------------------------------------------

/// Fills the small disk that it is started on, and makes room again.
#[test]
#[ignore = "the child of the test with a full disk"]
fn meets_a_full_disk() {
    let Some((directory, ack)) = as_child() else { return };
    let mut shard = Shard::open(&directory.join("log"), ack).expect("the log is ours");
    shard.ask("a", publish("first")).expect("there is room");
    let filler = directory.join("filler");
    fill(&filler);
    let mut refused = 0;
    let mut kept = 1;
    while refused == 0 && kept < 10_000 {
        match shard.ask("a", publish(&"x".repeat(1000))) {
            Ok(_) => kept += 1,
            Err(error) => {
                assert_eq!(error, ErrorCode::Internal);
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 1, "the disk is full");
    assert!(!shard.metrics.is_ready());
    assert_eq!(shard.read("a").position().offset, kept, "what was confirmed is readable");
    fs::remove_file(&filler).expect("ours");
    let began = Instant::now();
    while shard.ask("a", publish("again")).is_err() {
        assert!(began.elapsed() < Duration::from_secs(5), "there is room since {:?}", began.elapsed());
        std::thread::yield_now();
    }
    assert!(shard.metrics.is_ready());
    assert_eq!(shard.read("a").position().offset, kept + 1);
    println!("wrote again after {:.0?}", began.elapsed());
}

fn fill(path: &Path) {
    let mut file = fs::File::create(path).expect("a file");
    while file.write_all(&[0; 4096]).is_ok() {}
}

#[test]
fn a_full_disk_refuses_publishes_and_writes_again_when_there_is_room() {
    let directory = tempfile::tempdir().expect("a directory");
    let inner = child("meets_a_full_disk", directory.path(), Ack::Fsync);
    let script = format!(
        "mount -t tmpfs -o size=1m tmpfs '{}' || exit 77; exec '{}' --ignored --exact meets_a_full_disk --nocapture",
        directory.path().display(),
        inner.get_program().display(),
    );
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", &script]);
    command.env(DIRECTORY, directory.path()).env(ACK, "Fsync");
    let output = match command.output() {
        Ok(output) if output.status.code() != Some(77) => output,
        _ => return println!("skipped: this system lets nobody mount in a namespace"),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    println!("{said}");
}
