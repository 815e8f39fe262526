//! The hub's own binary, with an engine under it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::api::{API_KEY, Api};
use super::client::HMAC_SECRET;
use super::namespace::Inside;
use super::process::{Process, free_port, program};
use super::{PATIENCE, until};

/// Publications that the streams of tests keep.
pub const HISTORY_SIZE: usize = 20_000;

/// A hub that can be killed and started again, at the same address and with the same folder.
pub struct Hub {
    process: Process,
    folder: TempDir,
    launch: Launch,
    pub address: SocketAddr,
    pub api: Api,
}

impl Hub {
    /// Starts a hub and waits until it is ready. `engine` is laid over the configuration of all tests.
    pub async fn start(engine: &Value) -> Hub {
        Hub::start_with(engine, Launch::default()).await
    }

    pub async fn start_with(engine: &Value, launch: Launch) -> Hub {
        let hub = Hub::begin(engine, launch);
        hub.ready().await;
        hub
    }

    /// Starts a hub and does not wait.
    pub fn begin(engine: &Value, launch: Launch) -> Hub {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let address = SocketAddr::from((launch.address(), free_port()));
        let mut config = config();
        merge(&mut config, engine);
        if engine["brokers"].is_array() {
            let local = namespace("local", json!({"broker_name": LOCAL_BROKER}));
            config["channel"]["namespaces"].as_array_mut().expect("a list").push(local);
        }
        fs::write(folder.path().join("hub.json"), config.to_string()).expect("it can be written");
        let process = spawn(&folder, address, &launch);
        Hub { process, folder, launch, address, api: Api::new(address) }
    }

    /// Waits for /readyz; gives how long it took.
    pub async fn ready(&self) -> Duration {
        let began = Instant::now();
        let log = self.process.output().clone();
        let ready = async || self.api.is_ready().await.then_some(());
        let what = format!("the hub at {} to be ready; its log:\n{}", self.address, log.tail());
        until(&what, PATIENCE, ready).await;
        began.elapsed()
    }

    /// `kill -9`, without a goodbye.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Starts it again after it has ended. Gives how long it took until it was ready.
    pub async fn start_again(&mut self) -> Duration {
        self.process = spawn(&self.folder, self.address, &self.launch);
        self.ready().await
    }

    /// The same without the fault that it was launched with.
    pub async fn start_well(&mut self) -> Duration {
        self.launch.fault = None;
        self.start_again().await
    }

    /// SIGTERM; gives how long the drain took.
    pub async fn terminate(&mut self) -> Duration {
        let began = Instant::now();
        self.process.signal(Signal::TERM);
        let status = self.process.ended().await;
        assert!(status.success(), "the drain ended with {status}:\n{}", self.log());
        began.elapsed()
    }

    /// SIGSTOP: it stands still, and its sockets stay.
    pub fn stop(&self) {
        self.process.signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.process.signal(Signal::CONT);
    }

    pub fn log(&self) -> String {
        self.process.output().tail()
    }

    /// Its log's folder, as the hub sees it: see `Launch::disk_mib`.
    pub fn disk(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.process.id().as_raw_nonzero()));
        root.join(self.folder.path().strip_prefix("/").expect("it is absolute")).join(DISK_FOLDER)
    }
}

/// How a hub is started, where that matters.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// Of its environment.
    pub variables: Vec<(String, String)>,
    /// Its log is on a file system of its own, of so many MiB, which is gone when it ends.
    pub disk_mib: Option<u32>,
    /// What strace injects into its system calls.
    pub fault: Option<String>,
    /// It is in a network of its own.
    pub inside: Option<Inside>,
}

impl Launch {
    fn command(&self) -> Command {
        if let Some(fault) = &self.fault {
            let calls = fault.split(':').next().expect("the system calls stand first");
            let mut command = Command::new(program("strace", "strace"));
            // The hub is the child, and strace beside it.
            command.args(["-D", "-f", "-qqq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
            command.args(["-e", &format!("inject={fault}")]).arg(binary());
            return command;
        }
        if let Some(inside) = &self.inside {
            let mut command = Command::new(program("nsenter", "util-linux"));
            command.arg(format!("--net={}", inside.namespace)).arg(binary());
            return command;
        }
        let Some(mib) = self.disk_mib else { return Command::new(binary()) };
        let mount = format!("mount -t tmpfs -o size={mib}m tmpfs {DISK_FOLDER} && exec \"$0\" \"$@\"");
        let mut command = Command::new(program("unshare", "util-linux"));
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount]).arg(binary());
        command
    }

    fn address(&self) -> IpAddr {
        self.inside.as_ref().map_or(Ipv4Addr::LOCALHOST.into(), |inside| inside.address)
    }
}

/// Where the disk engine has its log, below the folder of the hub.
pub const DISK_FOLDER: &str = "log";

fn spawn(folder: &TempDir, address: SocketAddr, launch: &Launch) -> Process {
    fs::create_dir_all(folder.path().join(DISK_FOLDER)).expect("it can be made");
    let mut command = launch.command();
    command.envs(launch.variables.iter().cloned()).current_dir(folder.path()).args(["-c", "hub.json", "--shards", "2"]);
    // Ours, and no key of the hub's.
    command.env_remove("FANFARE_BIN").args([
        "--address",
        &address.ip().to_string(),
        "--port",
        &address.port().to_string(),
    ]);
    Process::start("the hub", &mut command)
}

/// `FANFARE_BIN` if it is set, such as a release build.
fn binary() -> PathBuf {
    let built = PathBuf::from(env!("CARGO_BIN_EXE_fanfare"));
    std::env::var_os("FANFARE_BIN").map_or(built, PathBuf::from)
}

/// Namespaces by what they are for; everything is permitted.
fn config() -> Value {
    let kept = |size: usize| json!({"history_size": size, "history_ttl": "600s", "force_recovery": true});
    let namespaces = json!([
        namespace("stream", kept(HISTORY_SIZE)),
        namespace("short", kept(5)),
        namespace("room", json!({"presence": true, "join_leave": true, "force_push_join_leave": true})),
        namespace("listed", json!({"presence": true})),
        namespace("plain", json!({})),
        namespace("cache", with(kept(10), json!({"force_recovery_mode": "cache"}))),
        namespace("delta", with(kept(100), json!({"allowed_delta_types": ["fossil"], "delta_publish": true}))),
    ]);
    json!({
        "client": {
            "token": {"hmac_secret_key": HMAC_SECRET},
            "presence_update_interval": "2s",
            "channel_position_check_delay": "2s",
            "recovery_max_publication_limit": HISTORY_SIZE,
            "history_max_publication_limit": HISTORY_SIZE,
        },
        "channel": {"namespaces": namespaces},
        "http_api": {"key": API_KEY},
        "prometheus": {"enabled": true},
        "shutdown": {"timeout": "10s"},
        "fanfare": {"presence_ttl": PRESENCE_TTL_TEXT},
    })
}

/// A further broker, which the namespace `local` is on where there is one.
pub const LOCAL_BROKER: &str = "inside";

/// How long the presence of a hub that was killed may be seen.
pub const PRESENCE_TTL: Duration = Duration::from_secs(5);
const PRESENCE_TTL_TEXT: &str = "5s";

fn namespace(name: &str, options: Value) -> Value {
    let permitted = json!({
        "name": name,
        "allow_subscribe_for_client": true,
        "allow_publish_for_client": true,
        "allow_presence_for_client": true,
        "allow_history_for_client": true,
    });
    with(permitted, options)
}

fn with(mut base: Value, over: Value) -> Value {
    merge(&mut base, &over);
    base
}

/// Lays `over` over `base`, table by table.
fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}
