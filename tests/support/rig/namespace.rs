//! A network of a hub's own: a namespace of the kernel, with two lines to everybody else that can be cut.
//!
//! The broker is at the end of one line, clients are at the end of the other. Nothing outlives the test for long: a
//! process holds the namespace, it ends by itself, and the lines go with it. Names have the id of this process and
//! addresses are such as nobody has, so that runs on one machine do not meet.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::process::Command;

use super::process::{Process, program};
use super::{PATIENCE, until};

/// A namespace with its lines. It is gone when this and whoever runs in it are.
pub struct Namespace {
    holder: Process,
    pub to_broker: Line,
    pub to_clients: Line,
}

/// A pair of virtual network cards, one end in the namespace.
pub struct Line {
    namespace: String,
    /// The card outside; the one inside has the same name.
    card: String,
    /// How the namespace sees who is outside.
    pub outside: Ipv4Addr,
    /// How it is seen itself.
    pub inside: Ipv4Addr,
}

/// How a line is cut. What is under way is lost, and nobody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Pulled: both ends see that there is no line any more.
    Pulled,
    /// Packets vanish, in both directions: not even a reset comes.
    Silent,
    /// Packets from inside vanish, and those from outside arrive.
    SilentOutwards,
}

/// Longer than a scenario lasts: the namespace goes even if nobody is left to end it.
const HELD_SECONDS: &str = "150";

/// Of no card: packets to it are taken by nobody.
const NOBODY: &str = "02:00:00:00:00:01";

/// What the test has to be allowed, said when it is not.
const PERMISSION: &str = "make network namespaces as root (in a container with --cap-add SYS_ADMIN --cap-add NET_ADMIN), \
                          or run the test as `make chaos` does, in `unshare --user --map-root-user --net`";

impl Namespace {
    pub async fn start() -> Namespace {
        let mut unshare = Command::new(program("unshare", "util-linux"));
        let mut holder = Process::start("a namespace", unshare.args(["--net", "sleep", HELD_SECONDS]));
        let namespace = format!("/proc/{}/ns/net", holder.id().as_raw_nonzero());
        let own = fs::read_link("/proc/self/ns/net").expect("/proc is there");
        until("a network namespace", PATIENCE, async || {
            assert!(!holder.has_ended(), "no network namespace: {}: {PERMISSION}", holder.output().tail());
            fs::read_link(&namespace).is_ok_and(|of| of != own).then_some(())
        })
        .await;
        let (to_broker, to_clients) = (Line::lay(&namespace).await, Line::lay(&namespace).await);
        Namespace { holder, to_broker, to_clients }
    }

    /// For `nsenter --net=`.
    pub fn path(&self) -> &str {
        &self.to_broker.namespace
    }
}

impl Line {
    async fn lay(namespace: &str) -> Line {
        static LAID: AtomicU32 = AtomicU32::new(0);
        let card = format!("ff{}n{}", std::process::id(), LAID.fetch_add(1, Ordering::Relaxed));
        let (outside, inside) = free_addresses().await;
        let line = Line { namespace: namespace.to_owned(), card, outside, inside };
        let card = &line.card;
        line.ip(Side::Outside, &format!("link add {card} type veth peer name {card} netns {}", line.holder())).await;
        for (side, address) in [(Side::Outside, outside), (Side::Inside, inside)] {
            line.ip(side, &format!("address add {address}/30 dev {card}")).await;
            line.ip(side, &format!("link set {card} up")).await;
        }
        line
    }

    pub async fn cut(&self, cut: Cut) {
        let Line { card, outside, inside, .. } = self;
        match cut {
            Cut::Pulled => self.ip(Side::Outside, &format!("link set {card} down")).await,
            Cut::Silent | Cut::SilentOutwards => {
                let lead_astray =
                    |of: &Ipv4Addr| format!("neighbour replace {of} lladdr {NOBODY} dev {card} nud permanent");
                self.ip(Side::Inside, &lead_astray(outside)).await;
                if cut == Cut::Silent {
                    self.ip(Side::Outside, &lead_astray(inside)).await;
                }
            }
        }
    }

    pub async fn heal(&self) {
        let card = &self.card;
        for side in [Side::Outside, Side::Inside] {
            self.ip(side, &format!("link set {card} up")).await;
            self.ip(side, &format!("neighbour flush dev {card} nud all")).await;
        }
    }

    fn holder(&self) -> &str {
        self.namespace.trim_start_matches("/proc/").trim_end_matches("/ns/net")
    }

    /// Runs `ip`; panics with what it says where it fails.
    async fn ip(&self, side: Side, arguments: &str) {
        let ip = program("ip", "iproute2");
        let mut command = match side {
            Side::Outside => Command::new(ip),
            Side::Inside => {
                let mut command = Command::new(program("nsenter", "util-linux"));
                command.arg(format!("--net={}", self.namespace)).arg(ip);
                command
            }
        };
        let output = command.args(arguments.split(' ')).output().await.expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip {arguments}: {}: {PERMISSION}", said.trim());
    }
}

#[derive(Clone, Copy)]
enum Side {
    Outside,
    Inside,
}

/// Two addresses of a network of four, in what is set aside for testing networks (RFC 2544, appendix C.2.2), which no
/// card of this machine has.
async fn free_addresses() -> (Ipv4Addr, Ipv4Addr) {
    let first = u32::from(Ipv4Addr::new(198, 18, 0, 0));
    loop {
        let network = first + 4 * fastrand::u32(..1 << 15);
        let mut show = Command::new(program("ip", "iproute2"));
        let to = format!("{}/30", Ipv4Addr::from(network));
        let taken = show.args(["-4", "address", "show", "to", &to]).output().await.expect("it runs");
        if taken.status.success() && taken.stdout.is_empty() {
            return (Ipv4Addr::from(network + 1), Ipv4Addr::from(network + 2));
        }
    }
}

/// Where a hub runs that is in a namespace.
#[derive(Clone, Debug)]
pub struct Inside {
    pub namespace: String,
    /// Where clients find it.
    pub address: IpAddr,
}

impl From<&Namespace> for Inside {
    fn from(namespace: &Namespace) -> Inside {
        Inside { namespace: namespace.path().to_owned(), address: namespace.to_clients.inside.into() }
    }
}
