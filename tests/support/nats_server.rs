//! A real nats-server for a test: on a free port, with a folder of its own, killed by its own pid.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Which server program.
#[derive(Clone, Copy, Debug)]
pub enum Release {
    /// Debian's 2.9.10, the oldest that the engine knows.
    Floor,
    /// The one of `tests/install.sh`.
    Current,
}

impl Release {
    pub const ALL: [Release; 2] = [Release::Floor, Release::Current];

    fn program(self) -> PathBuf {
        let program = match self {
            Release::Floor => PathBuf::from("/usr/sbin/nats-server"),
            Release::Current => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.cache/brokers/bin/nats-server"),
        };
        assert!(program.exists(), "{} is missing: run tests/install.sh", program.display());
        program
    }
}

pub struct NatsServer {
    release: Release,
    port: u16,
    folder: tempfile::TempDir,
    child: Child,
}

impl NatsServer {
    /// With JetStream.
    pub fn start(release: Release) -> NatsServer {
        NatsServer::with(release, "jetstream { store_dir: \"FOLDER/store\" }")
    }

    /// With these lines in its configuration; `FOLDER` stands for a folder of its own.
    pub fn with(release: Release, lines: &str) -> NatsServer {
        NatsServer::named("test", release, lines)
    }

    /// Servers that keep streams together.
    pub fn cluster(release: Release, count: usize) -> Vec<NatsServer> {
        let ports: Vec<u16> = (0..count).map(|_| free_port()).collect();
        let routes: Vec<String> = ports.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
        let start = |(n, port): (usize, &u16)| {
            let cluster = format!("name: c, listen: \"127.0.0.1:{port}\", routes: [{}]", routes.join(", "));
            let lines = format!("jetstream {{ store_dir: \"FOLDER/store\" }}\ncluster {{ {cluster} }}");
            NatsServer::named(&format!("server{n}"), release, &lines)
        };
        ports.iter().enumerate().map(start).collect()
    }

    fn named(name: &str, release: Release, lines: &str) -> NatsServer {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        write_config(folder.path(), port, name, lines);
        let child = spawn(release, folder.path());
        NatsServer { release, port, folder, child }
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// After `kill`: the same again, with what it stored.
    pub fn start_again(&mut self) {
        self.child = spawn(self.release, self.folder.path());
    }

    /// After `kill`: with other lines in its configuration.
    pub fn configure(&self, lines: &str) {
        write_config(self.folder.path(), self.port, "test", lines);
    }

    pub fn forget_everything(&self) {
        let _ = std::fs::remove_dir_all(self.folder.path().join("store"));
    }

    /// After `kill`: a copy of what it stored, to come back with.
    pub fn save_store(&self) {
        self.copy("store", "saved");
    }

    pub fn restore_store(&self) {
        self.copy("saved", "store");
    }

    fn copy(&self, from: &str, to: &str) {
        let (from, to) = (self.folder.path().join(from), self.folder.path().join(to));
        let _ = std::fs::remove_dir_all(&to);
        let copied = Command::new("cp").arg("-r").arg(from).arg(to).status();
        assert!(copied.expect("cp runs").success());
    }

    /// Returns when it stands still: the signal takes its time on a busy machine.
    pub fn stall(&self) {
        self.signal(Signal::STOP);
        let threads = format!("/proc/{}/task", self.child.id());
        let is_stopped = |thread: std::io::Result<std::fs::DirEntry>| {
            let status = thread.and_then(|thread| std::fs::read_to_string(thread.path().join("status")));
            status.is_ok_and(|status| status.contains("T (stopped)"))
        };
        let since = Instant::now();
        while !std::fs::read_dir(&threads).expect("it runs").all(is_stopped) {
            assert!(since.elapsed() < Duration::from_secs(20), "it does not stop");
            std::thread::yield_now();
        }
    }

    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a child of this test");
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn write_config(folder: &Path, port: u16, name: &str, lines: &str) {
    let lines = lines.replace("FOLDER", &folder.display().to_string());
    let config = format!("listen: \"127.0.0.1:{port}\"\nserver_name: \"{name}\"\n{lines}\n");
    std::fs::write(folder.join("nats.conf"), config).expect("a file");
}

fn spawn(release: Release, folder: &Path) -> Child {
    let mut child = Command::new(release.program())
        .arg("--config")
        .arg(folder.join("nats.conf"))
        .stderr(Stdio::piped())
        .spawn()
        .expect("a nats-server");
    let lines = BufReader::new(child.stderr.take().expect("a pipe"));
    let (ready, is_ready) = mpsc::channel();
    // Reads until the server ends, so that it never waits for a reader of its log.
    std::thread::spawn(move || {
        let mut seen = String::new();
        for line in lines.lines().map_while(Result::ok) {
            seen += &format!("{line}\n");
            if line.contains("Server is ready") {
                let _ = ready.send(());
            }
        }
        if !seen.contains("Server is ready") {
            eprintln!("nats-server said:\n{seen}");
        }
    });
    is_ready.recv_timeout(Duration::from_secs(20)).expect("nats-server starts within 20 s");
    child
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}
