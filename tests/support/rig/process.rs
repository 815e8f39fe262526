//! Child processes: started with their output kept, stopped and killed by id, gone with the test.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::{PATIENCE, until, within};

/// Lines that are kept for whoever asks what a process said.
const LINES_MAX: usize = 2_000;

/// A running program. Dropped, it is killed, also when it is stopped.
pub struct Process {
    name: String,
    child: Child,
    output: Output,
}

/// What a process says, line by line.
#[derive(Clone)]
pub struct Output {
    lines: Arc<Mutex<Vec<String>>>,
    count: watch::Receiver<usize>,
}

impl Process {
    pub fn start(name: &str, command: &mut Command) -> Process {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{name} can't be started ({command:?}): {error}"));
        let (counted, count) = watch::channel(0);
        let output = Output { lines: Arc::default(), count };
        let counted = Arc::new(counted);
        keep(child.stdout.take().expect("it is piped"), &output, &counted);
        keep(child.stderr.take().expect("it is piped"), &output, &counted);
        Process { name: name.into(), child, output }
    }

    pub fn output(&self) -> &Output {
        &self.output
    }

    pub fn id(&self) -> Pid {
        let id = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        id.unwrap_or_else(|| panic!("{} has ended: {}", self.name, self.output.tail()))
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).unwrap_or_else(|error| panic!("{} takes no {signal:?}: {error}", self.name));
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.ended().await;
    }

    pub async fn ended(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        within(&what, PATIENCE, self.child.wait()).await.expect("it is a child of this process")
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is a child of this process").is_some()
    }

    /// Waits until something listens at `address`; whoever ends before has its output shown.
    pub async fn listens(&mut self, address: SocketAddr) {
        let what = format!("{} to listen at {address}", self.name);
        until(&what, PATIENCE, async || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("{} ended with {status}:\n{}", self.name, self.output.tail());
            }
            TcpStream::connect(address).await.ok()
        })
        .await;
    }
}

/// Reads to the end, whether or not anybody is interested: a full pipe would stop the process.
fn keep(pipe: impl AsyncRead + Unpin + Send + 'static, output: &Output, counted: &Arc<watch::Sender<usize>>) {
    let lines = Arc::clone(&output.lines);
    let counted = Arc::clone(counted);
    tokio::spawn(async move {
        let mut reader = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = reader.next_line().await {
            let mut lines = lines.lock().expect("nobody panics with it");
            if lines.len() < LINES_MAX {
                lines.push(line);
            }
            counted.send_replace(lines.len());
        }
    });
}

impl Output {
    /// The first line that has `text`.
    pub async fn line_with(&self, text: &str) -> String {
        let mut count = self.count.clone();
        let look = async {
            loop {
                count.borrow_and_update();
                if let Some(line) = self.find(text) {
                    return Some(line);
                }
                if count.changed().await.is_err() {
                    return self.find(text);
                }
            }
        };
        let line = tokio::time::timeout(PATIENCE, look).await.ok().flatten();
        line.unwrap_or_else(|| panic!("no word of {text:?} in:\n{}", self.tail()))
    }

    fn find(&self, text: &str) -> Option<String> {
        let lines = self.lines.lock().expect("nobody panics with it");
        lines.iter().find(|line| line.contains(text)).cloned()
    }

    /// The last lines.
    pub fn tail(&self) -> String {
        let lines = self.lines.lock().expect("nobody panics with it");
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

/// The path of a program of the system, or a panic that says how to get it.
pub fn program(name: &str, package: &str) -> String {
    let folders = ["/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin"];
    let found = folders.iter().map(|folder| format!("{folder}/{name}")).find(|path| Path::new(path).exists());
    found.unwrap_or_else(|| panic!("{name} is not installed: run tests/install.sh ({package})"))
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    listener.local_addr().expect("it is bound").port()
}
