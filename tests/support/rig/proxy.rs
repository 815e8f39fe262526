//! A TCP proxy with faults: delay, rate, stall, half-close, reset, and connections dropped by chance.
//!
//! What it does can be changed while connections run. Chance comes from a seed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What happens to the bytes of both directions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    None,
    /// Each piece comes so much later; pieces overtake nothing, and many may be on their way.
    Delay(Duration),
    /// At most so many bytes a second, in each direction of each connection.
    Rate(u32),
    /// Nothing comes through and nothing is closed; new connections are taken and are silent too.
    Stall,
    /// As `Stall`, from clients to the server only: a cut in one direction.
    StallToServer,
    /// Each piece ends its connection with this chance.
    Drop(f64),
    /// Connections are reset, new ones at once.
    Reset,
    /// The server's end is shut for writing: whoever waits for an answer waits for ever.
    HalfClose,
}

/// A proxy that runs until it is dropped.
pub struct Proxy {
    pub address: SocketAddr,
    fault: watch::Sender<Fault>,
    task: JoinHandle<()>,
}

const PIECE_BYTES: usize = 16 * 1024;

/// Pieces on their way in one direction; past it the sender waits, as on a long line.
const PIECES_MAX: usize = 1_024;

impl Proxy {
    pub async fn start(server: SocketAddr, seed: u64) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there are free ports");
        let address = listener.local_addr().expect("it is bound");
        let (fault, faults) = watch::channel(Fault::None);
        let random = Arc::new(Mutex::new(fastrand::Rng::with_seed(seed)));
        Proxy { address, fault, task: tokio::spawn(accept(listener, server, faults, random)) }
    }

    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Random = Arc<Mutex<fastrand::Rng>>;

async fn accept(listener: TcpListener, server: SocketAddr, faults: watch::Receiver<Fault>, random: Random) {
    // They end with the task that holds them.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(join(client, server, faults.clone(), Arc::clone(&random)));
        while connections.try_join_next().is_some() {}
    }
}

/// One connection and its other end. Both are reset when one breaks, or the fault says so.
async fn join(mut client: TcpStream, server: SocketAddr, mut faults: watch::Receiver<Fault>, random: Random) {
    if *faults.borrow() == Fault::Reset {
        return reset(&client);
    }
    let Ok(mut server) = TcpStream::connect(server).await else { return reset(&client) };
    client.set_nodelay(true).and(server.set_nodelay(true)).expect("they are open");
    let outcome = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = pass(from_client, to_server, Direction::ToServer, faults.clone(), Arc::clone(&random));
        let down = pass(from_server, to_client, Direction::ToClient, faults.clone(), random);
        tokio::select! {
            outcome = async { tokio::try_join!(up, down) } => outcome.map(drop),
            _ = faults.wait_for(|fault| *fault == Fault::Reset) => Err(Broken),
        }
    };
    if outcome.is_err() {
        reset(&client);
        reset(&server);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

/// The connection is to be reset.
struct Broken;

/// A piece, and when it may arrive.
type Piece = (Instant, Vec<u8>);

/// One direction, until it has ended in order.
async fn pass(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    direction: Direction,
    faults: watch::Receiver<Fault>,
    random: Random,
) -> Result<(), Broken> {
    let (pieces, on_their_way) = mpsc::channel(PIECES_MAX);
    let taking = take(from, pieces, faults.clone(), random);
    tokio::try_join!(taking, give(to, on_their_way, direction, faults)).map(drop)
}

async fn take(
    mut from: ReadHalf<'_>,
    pieces: mpsc::Sender<Piece>,
    faults: watch::Receiver<Fault>,
    random: Random,
) -> Result<(), Broken> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let count = from.read(&mut buffer).await.map_err(|_| Broken)?;
        if count == 0 {
            return Ok(());
        }
        let delay = match *faults.borrow() {
            Fault::Delay(delay) => delay,
            Fault::Drop(chance) if random.lock().expect("nobody panics with it").f64() < chance => return Err(Broken),
            _ => Duration::ZERO,
        };
        let piece = (Instant::now() + delay, buffer[..count].to_vec());
        if pieces.send(piece).await.is_err() {
            return Ok(());
        }
    }
}

async fn give(
    mut to: WriteHalf<'_>,
    mut pieces: mpsc::Receiver<Piece>,
    direction: Direction,
    mut faults: watch::Receiver<Fault>,
) -> Result<(), Broken> {
    let mut closing = faults.clone();
    loop {
        let piece = tokio::select! {
            biased;
            _ = closing.wait_for(|fault| *fault == Fault::HalfClose && direction == Direction::ToServer) => None,
            piece = pieces.recv() => piece,
        };
        let Some((at, bytes)) = piece else { break };
        tokio::time::sleep_until(at).await;
        // Fails only when the proxy is gone, which ends this as well.
        faults.wait_for(|fault| !is_stalled(*fault, direction)).await.map_err(|_| Broken)?;
        to.write_all(&bytes).await.map_err(|_| Broken)?;
        let fault = *faults.borrow();
        if let Fault::Rate(bytes_per_second) = fault {
            let wait = Duration::from_secs_f64(bytes.len() as f64 / f64::from(bytes_per_second));
            tokio::time::sleep(wait).await;
        }
    }
    to.shutdown().await.map_err(|_| Broken)
}

fn is_stalled(fault: Fault, direction: Direction) -> bool {
    match fault {
        Fault::Stall => true,
        Fault::StallToServer => direction == Direction::ToServer,
        _ => false,
    }
}

/// Ends it with RST instead of FIN, when it is dropped.
fn reset(stream: &TcpStream) {
    // It may be broken already, and then there is nothing to do.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
