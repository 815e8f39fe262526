//! Starts servers and stops them.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fanfare::engine::redis::{Address, Deployment};
use tempfile::TempDir;

/// Which program.
#[derive(Clone, Copy, Debug)]
pub enum Program {
    Redis,
    Valkey,
}

impl Program {
    /// `None`: it is not installed, as Valkey may be.
    pub fn path(self) -> Option<PathBuf> {
        match self {
            Program::Redis => Some("redis-server".into()),
            Program::Valkey => {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.cache/brokers/bin/valkey-server");
                path.exists().then_some(path)
            }
        }
    }
}

/// A server of its own. Stopped when it is dropped.
pub struct Server {
    pub port: u16,
    folder: TempDir,
    program: PathBuf,
    options: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// Keeps nothing over a restart.
    pub fn start(options: &[&str]) -> Server {
        Server::start_program(Program::Redis, options).expect("redis-server is there")
    }

    pub fn start_program(program: Program, options: &[&str]) -> Option<Server> {
        let options = options.iter().map(ToString::to_string).collect();
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = Server { port: free_port(), folder, program: program.path()?, options, child: None };
        server.run();
        Some(server)
    }

    /// With a file of its own, which a sentinel wants.
    pub fn start_configured(port: u16, config: &str, options: &[&str]) -> Server {
        let options = options.iter().map(ToString::to_string).collect();
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("sentinel.conf"), config).expect("the folder is ours");
        let program = Program::Redis.path().expect("redis-server is there");
        let mut server = Server { port, folder, program, options, child: None };
        server.run();
        server
    }

    /// Starts it again with the same folder and port, once it was killed.
    pub fn run(&mut self) {
        let mut command = Command::new(&self.program);
        let is_sentinel = self.options.iter().any(|option| option == "--sentinel");
        if is_sentinel {
            command.arg(self.path("sentinel.conf"));
        }
        let port = self.port.to_string();
        if !self.options.iter().any(|option| option == "--port") {
            command.args(["--port", &port]);
        }
        command.args(["--bind", "127.0.0.1", "--dir"]).arg(self.folder.path());
        if !is_sentinel {
            command.args(["--save", "", "--repl-diskless-sync-delay", "0"]);
        }
        command.args(&self.options).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{}: {error}: run tests/install.sh", self.program.display());
        });
        let mut output = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
        let ready = ["eady to accept connections", "Sentinel ID is"];
        let found = output.by_ref().map_while(Result::ok).find(|line| ready.iter().any(|word| line.contains(word)));
        assert!(found.is_some(), "{} {:?} does not start", self.program.display(), self.options);
        // Nobody reads the rest; a full pipe would stop the server.
        std::thread::spawn(move || output.for_each(drop));
        self.child = Some(child);
    }

    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().and_then(|()| child.wait()).expect("it is our child");
    }

    pub fn stop(&self) {
        self.signal("STOP");
    }

    pub fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs");
        assert!(sent.success());
    }

    pub fn address(&self) -> Address {
        Address::tcp("127.0.0.1", self.port)
    }

    pub fn deployment(&self) -> Deployment {
        Deployment::Server(self.address())
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Says one command to it, by the server's own client; what it answers, without the last line's end.
    #[track_caller]
    pub fn say(&self, arguments: &[&str]) -> String {
        say(self.port, arguments)
    }
}

#[track_caller]
pub fn say(port: u16, arguments: &[&str]) -> String {
    let output = Command::new("redis-cli").args(["-h", "127.0.0.1", "-p", &port.to_string()]).args(arguments).output();
    let output = output.expect("redis-cli is there: run tests/install.sh");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

/// A port that nobody has at the moment; below the range that outgoing connections take, and with room for a
/// cluster's second port, 10,000 above.
pub fn free_port() -> u16 {
    loop {
        let port = fastrand::u16(12_000..20_000);
        if [port, port + 10_000].iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()) {
            return port;
        }
    }
}
