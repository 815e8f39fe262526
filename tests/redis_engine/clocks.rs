//! The server's clock is compared with this machine's. One that differs is played: nobody may set a clock for a test.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fanfare::engine::redis::{Address, Deployment, Options};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::bed::Bed;
use super::servers::Server;

/// Answers what a connection begins with, as a server whose clock is 100 s ahead.
async fn play_server(socket: TcpStream) -> Option<()> {
    let mut socket = BufReader::new(socket);
    loop {
        let mut command = Vec::new();
        for _ in 0..number(&mut socket).await? {
            let mut argument = vec![0; number(&mut socket).await? + 2];
            socket.read_exact(&mut argument).await.ok()?;
            command.push(String::from_utf8_lossy(&argument).trim_end().to_owned());
        }
        let answer = match command[0].as_str() {
            "SCRIPT" => format!("$40\r\n{}\r\n", "0".repeat(40)),
            "TIME" => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970") + Duration::from_secs(100);
                let [seconds, micros] = [now.as_secs().to_string(), now.subsec_micros().to_string()];
                format!("*2\r\n${}\r\n{seconds}\r\n${}\r\n{micros}\r\n", seconds.len(), micros.len())
            }
            _ => "+PONG\r\n".to_owned(),
        };
        socket.write_all(answer.as_bytes()).await.ok()?;
    }
}

/// The number behind the `*` of a command or the `$` of an argument.
async fn number(socket: &mut BufReader<TcpStream>) -> Option<usize> {
    let mut line = String::new();
    socket.read_line(&mut line).await.ok()?;
    line.get(1..)?.trim_end().parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_differs_is_found_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = Address::tcp("127.0.0.1", listener.local_addr().expect("it is bound").port());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(play_server(socket));
        }
    });
    let bed = Bed::start(&Options::new(vec![Deployment::Server(address)]));
    bed.until(|bed| bed.metrics.clock_ahead() > 0.0).await;
    assert!((95.0..105.0).contains(&bed.metrics.clock_ahead()), "{}", bed.metrics.clock_ahead());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_on_this_machine_has_its_clock() {
    let server = Server::start(&[]);
    let bed = Bed::ready(server.deployment()).await;
    assert!(bed.metrics.clock_ahead().abs() < 1.0, "{}", bed.metrics.clock_ahead());
}
