//! Opens a connection to a server: socket, TLS, login, scripts.

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::options::{Address, Login};
use super::resp::{self, Commands, Reply};
use super::scripts::{SCRIPTS, Scripts};
use crate::engine::tls::Tls;

/// How all servers of a deployment are spoken to.
#[derive(Clone, Debug)]
pub struct Manner {
    pub login: Login,
    pub db: u32,
    pub tls: Option<Tls>,
    pub connect_timeout: Duration,
    /// Only a master will do: sentinels may name a server that is none any more.
    pub is_master_needed: bool,
    /// It is a replica of a cluster, which has to be told that it may answer.
    pub is_cluster_replica: bool,
    /// The server has to end fields of hashes by itself.
    pub needs_field_expiry: bool,
}

/// A socket of any kind.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection that is logged in. Nothing is under way on it.
pub struct Connection {
    pub io: Box<dyn Io>,
    pub input: BytesMut,
}

/// One that knows our scripts.
pub struct Taught {
    pub connection: Connection,
    pub scripts: Scripts,
    /// By how much the server's clock is ahead of ours, in microseconds.
    pub clock_ahead: i64,
}

#[derive(Debug)]
pub enum NoConnection {
    TooSlow,
    /// It has no fields that expire.
    TooOld,
    Unreachable(io::Error),
    /// The server's words.
    Refused(String),
    /// It is a replica.
    NotMaster,
    Tls(String),
}

impl NoConnection {
    /// Whether trying again soon is no use: somebody has to change something.
    pub fn is_lasting(&self) -> bool {
        match self {
            NoConnection::Refused(words) => !words.starts_with("LOADING") && !words.starts_with("MASTERDOWN"),
            NoConnection::Tls(_) | NoConnection::TooOld => true,
            NoConnection::TooSlow | NoConnection::Unreachable(_) | NoConnection::NotMaster => false,
        }
    }
}

impl fmt::Display for NoConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoConnection::TooSlow => f.write_str("no answer within connect_timeout"),
            NoConnection::TooOld => {
                f.write_str("redis.presence_hash_field_ttl needs Redis 7.4 or Valkey 9.0, and this server is older")
            }
            NoConnection::Unreachable(error) => error.fmt(f),
            NoConnection::Refused(words) if words.starts_with("WRONGPASS") || words.starts_with("NOAUTH") => {
                write!(f, "it wants other credentials (redis.user, redis.password): {words}")
            }
            NoConnection::Refused(words) => write!(f, "it refuses: {words}"),
            NoConnection::NotMaster => f.write_str("it is a replica, and no sentinel names another master yet"),
            NoConnection::Tls(reason) => write!(f, "TLS: {reason}"),
        }
    }
}

/// Connects and logs in, for pub/sub or to ask a sentinel.
pub async fn connect(address: Address, manner: &Manner) -> Result<Connection, NoConnection> {
    timeout(manner.connect_timeout, login(&address, manner)).await.unwrap_or(Err(NoConnection::TooSlow))
}

/// The same, and teaches the server our scripts.
pub async fn connect_with_scripts(address: Address, manner: &Manner) -> Result<Taught, NoConnection> {
    let connect = async {
        let mut connection = login(&address, manner).await?;
        let mut commands = Commands::default();
        for text in SCRIPTS {
            commands.command(&[b"SCRIPT", b"LOAD", text.as_bytes()]);
        }
        let replies = connection.ask(commands, SCRIPTS.len()).await?;
        let digests: Option<Vec<Bytes>> = replies.iter().map(|digest| digest.as_text().cloned()).collect();
        let scripts = digests.and_then(|digests| Scripts::new(&digests)).ok_or_else(no_redis)?;
        if manner.needs_field_expiry && !connection.knows("HPEXPIRE").await? {
            return Err(NoConnection::TooOld);
        }
        let clock_ahead = connection.compare_clocks().await?;
        Ok(Taught { connection, scripts, clock_ahead })
    };
    timeout(manner.connect_timeout, connect).await.unwrap_or(Err(NoConnection::TooSlow))
}

async fn login(address: &Address, manner: &Manner) -> Result<Connection, NoConnection> {
    let io = open(address, manner.tls.as_ref()).await?;
    let mut connection = Connection { io, input: BytesMut::new() };
    let (commands, count) = greeting(manner);
    let replies = connection.ask(commands, count).await?;
    let role = replies.last().and_then(|role| role.as_array()?.first()?.as_str());
    match manner.is_master_needed && role != Some("master") {
        true => Err(NoConnection::NotMaster),
        false => Ok(connection),
    }
}

/// What is said first on a connection, and how many answers it has. The last one is the role, if that matters.
fn greeting(manner: &Manner) -> (Commands, usize) {
    let Login { user, password, client_name } = &manner.login;
    let db = manner.db.to_string();
    let mut commands = Commands::default();
    let mut count = 0;
    let mut say = |is_needed: bool, arguments: &[&[u8]]| {
        if is_needed {
            commands.command(arguments);
            count += 1;
        }
    };
    say(user.is_empty() && !password.is_empty(), &[b"AUTH", password.as_bytes()]);
    say(!user.is_empty(), &[b"AUTH", user.as_bytes(), password.as_bytes()]);
    say(manner.db > 0, &[b"SELECT", db.as_bytes()]);
    say(!client_name.is_empty(), &[b"CLIENT", b"SETNAME", client_name.as_bytes()]);
    say(true, &[b"PING"]);
    say(manner.is_cluster_replica, &[b"READONLY"]);
    say(manner.is_master_needed, &[b"ROLE"]);
    (commands, count)
}

async fn open(address: &Address, tls: Option<&Tls>) -> Result<Box<dyn Io>, NoConnection> {
    let (host, port) = match address {
        Address::Unix(path) => {
            return Ok(Box::new(UnixStream::connect(path).await.map_err(NoConnection::Unreachable)?));
        }
        Address::Tcp { host, port } => (host.as_str(), *port),
    };
    let stream = TcpStream::connect((host, port)).await.map_err(NoConnection::Unreachable)?;
    // What is written is batched already.
    stream.set_nodelay(true).map_err(NoConnection::Unreachable)?;
    match tls {
        None => Ok(Box::new(stream)),
        Some(tls) => {
            let name = tls.name_of(host).map_err(NoConnection::Tls)?;
            let connected = TlsConnector::from(tls.config()).connect(name, stream).await;
            Ok(Box::new(connected.map_err(|error| NoConnection::Tls(error.to_string()))?))
        }
    }
}

impl Connection {
    /// Its time less ours at half of the way there and back.
    async fn compare_clocks(&mut self) -> Result<i64, NoConnection> {
        let begun = SystemTime::now();
        let mut commands = Commands::default();
        commands.command(&[b"TIME"]);
        let replies = self.ask(commands, 1).await?;
        let half_way = begun + begun.elapsed().unwrap_or_default() / 2;
        let ours = half_way.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64;
        let Some([seconds, micros]) = replies.first().and_then(Reply::as_array) else { return Err(no_redis()) };
        let theirs = seconds.as_number().zip(micros.as_number()).ok_or_else(no_redis)?;
        Ok((theirs.0 * 1_000_000 + theirs.1).cast_signed() - ours)
    }

    async fn knows(&mut self, command: &str) -> Result<bool, NoConnection> {
        let mut commands = Commands::default();
        commands.command(&[b"COMMAND", b"INFO", command.as_bytes()]);
        let replies = self.ask(commands, 1).await?;
        let found = replies.first().and_then(|found| found.as_array()?.first());
        Ok(found.is_some_and(|found| *found != Reply::Nil))
    }

    /// Says all of `commands` and waits for so many answers. Errors: one of them is an error, or the connection broke.
    pub async fn ask(&mut self, mut commands: Commands, count: usize) -> Result<Vec<Reply>, NoConnection> {
        self.io.write_all_buf(&mut commands).await.map_err(NoConnection::Unreachable)?;
        self.io.flush().await.map_err(NoConnection::Unreachable)?;
        let mut replies = Vec::with_capacity(count);
        while replies.len() < count {
            match resp::next_reply(&mut self.input).map_err(|_| no_redis())? {
                Some(Reply::Error(words)) => return Err(refused(&words)),
                Some(reply) => replies.push(reply),
                None => {
                    if self.io.read_buf(&mut self.input).await.map_err(NoConnection::Unreachable)? == 0 {
                        return Err(NoConnection::Unreachable(io::ErrorKind::UnexpectedEof.into()));
                    }
                }
            }
        }
        Ok(replies)
    }
}

fn refused(words: &[u8]) -> NoConnection {
    NoConnection::Refused(String::from_utf8_lossy(words).into_owned())
}

fn no_redis() -> NoConnection {
    NoConnection::Refused("it is no Redis: its answer is not understood".to_owned())
}
