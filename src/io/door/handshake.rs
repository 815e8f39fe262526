//! A guest's TLS handshake, in its turn.

use std::io;
use std::rc::Rc;

use tokio::net::TcpStream;

use crate::io::tls::{Newest, Ration, Stream};

use super::guests::Guest;

/// What the door of a TLS port has besides.
pub(super) struct Handshakes {
    newest: Newest,
    ration: Rc<Ration>,
}

impl Handshakes {
    pub fn new(newest: Newest, ration: Rc<Ration>) -> Handshakes {
        Handshakes { newest, ration }
    }

    /// Waits until those who came before are served. Whoever accepts waits here with one newcomer
    /// in hand, so that the others stay in the listener's backlog, where they cost nothing.
    pub async fn let_pass(&self) {
        self.ration.charge(|| ()).await;
    }

    /// Shakes hands with the certificate that is the newest now. While the guest waits for its turn
    /// it owes us nothing; its time is bounded by the caller.
    ///
    /// Errors: the guest left, or broke the rules and was told so.
    pub async fn shake(&self, tcp: TcpStream, guest: &Guest) -> io::Result<Stream> {
        let config = self.newest.borrow().config.clone();
        let mut stream = Stream::new(tcp, config)?;
        while stream.is_handshaking() {
            stream.readable().await?;
            guest.is_waiting();
            let stepped = self.ration.charge(|| stream.step()).await;
            guest.is_owing();
            stepped?;
            stream.flushed().await?;
        }
        Ok(stream)
    }
}
