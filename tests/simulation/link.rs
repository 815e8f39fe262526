//! What clients do with their links: connect, ask, read what comes, cut, come back.

use std::collections::VecDeque;

use fanfare::model::{Format, WindowBits};

use super::client::{Asked, Link, LinkPhase, Question, Reading};
use super::frames::{self, Frame, FrameReader};
use super::ledger::{Checked, Promise, Publisher, violated};
use super::namespaces::{CHANNELS, ChannelIndex};
use super::report::Mark;
use super::wire::{self, Request, Subscribe};
use super::world::{Event, MS, SECOND, World};

impl World {
    pub fn link(&mut self, client: usize) -> &mut Link {
        self.clients[client].link.as_mut().expect("the caller knows that it is connected")
    }

    /// The client's view of `socket`, if that is still its connection.
    pub fn link_on(&self, socket: usize) -> Option<&Link> {
        let client = &self.clients[self.sockets[socket].client];
        client.link.as_ref().filter(|link| link.socket == socket)
    }

    pub fn connect(&mut self, client: usize) {
        if self.clients[client].link.is_some() || self.is_closing {
            return;
        }
        let format = self.clients[client].format;
        // Some clients offer to compress, most of them as browsers do.
        let window = match self.random.u8(..6) {
            0 => WindowBits::new(15),
            1 => WindowBits::new(self.random.u8(9..=15)),
            _ => None,
        };
        let socket = self.open_socket(client, format, window);
        let since = self.patience();
        self.clients[client].link = Some(Link {
            socket,
            phase: LinkPhase::Connecting,
            since,
            id: None,
            next_command: 1,
            asked: VecDeque::new(),
            subscriptions: [const { None }; CHANNELS.len()],
            left_at: [0; CHANNELS.len()],
            reading: Reading::Prompt,
            is_well: true,
            is_silent: false,
            has_misbehaved: false,
            brought_foreign_token: false,
            has_refreshed: false,
            last_ping: since,
            frames: FrameReader::new(window.is_some()),
        });
        let unix_now = self.unix_now();
        let token = self.clients[client].token(unix_now, self.is_faulty, &mut self.random);
        let (awaited, subs) = self.awaited_by(client);
        self.note(|| format!("client {client} connects by socket {socket}"));
        let mut asks = vec![(Question::Connect(awaited), Request::Connect { token, subs })];
        // Some SDKs subscribe in the same frame.
        if self.random.bool() {
            for channel in 0..CHANNELS.len() {
                asks.extend(self.ask_for_wish(client, channel));
            }
        }
        self.ask(client, asks);
    }

    /// Subscribes to what the client wants and neither has nor asked for.
    pub fn subscribe_to_wishes(&mut self, client: usize) {
        let asks = (0..CHANNELS.len()).filter_map(|channel| self.ask_for_wish(client, channel)).collect();
        self.ask(client, asks);
    }

    pub fn renew(&mut self, client: usize, channel: ChannelIndex) {
        if self.clients[client].link.as_ref().is_some_and(|link| link.phase == LinkPhase::Ready) {
            let asks = self.ask_for_wish(client, channel).into_iter().collect();
            self.ask(client, asks);
        }
    }

    pub fn ask_for_wish(&mut self, client: usize, channel: ChannelIndex) -> Option<(Question, Request)> {
        let wish = self.clients[client].wishes[channel]?;
        let link = self.clients[client].link.as_ref()?;
        if link.subscriptions[channel].is_some() || link.is_subscribing(channel) {
            return None;
        }
        let mut since = self.clients[client].held[channel].filter(|_| wish.recoverable);
        if let Some(since) = &mut since
            && self.random.u8(..8) == 0
        {
            // From further back: all of it comes again.
            since.offset = since.offset.saturating_sub(self.random.u64(1..6));
        }
        let mut asked = Subscribe {
            channel: CHANNELS[channel].name.to_string(),
            since,
            positioned: wish.positioned,
            recoverable: wish.recoverable,
            joins: wish.joins,
            must_recover: wish.must_recover,
            delta: wish.delta,
            token: String::new(),
        };
        let terms = wish.by_token.then(|| self.sign_for(client, &mut asked, CHANNELS[channel].kind));
        self.clients[client].ever_asked |= 1 << channel;
        Some((Question::Subscribe { channel, asked: asked.clone(), terms }, Request::Subscribe(asked)))
    }

    /// Sends commands in one message.
    pub fn ask(&mut self, client: usize, asks: Vec<(Question, Request)>) {
        if asks.is_empty() {
            return;
        }
        let (since, at) = (self.patience(), self.now);
        let format = self.clients[client].format;
        let link = self.link(client);
        let first_id = link.next_command;
        link.next_command += asks.len() as u32;
        let (questions, requests): (Vec<_>, Vec<_>) = asks.into_iter().unzip();
        for (question, id) in questions.into_iter().zip(first_id..) {
            link.asked.push_back(Asked { id, question, since, at });
        }
        for (request, id) in requests.iter().zip(first_id..) {
            self.note(|| format!("client {client} asks {id}: {request:?}"));
        }
        self.tally.add(Mark::Commands, requests.len() as u64);
        let message = wire::encode(format, first_id, &requests);
        self.send_message(client, &message);
    }

    /// A number for a publication of the client's connection.
    pub fn number_for(&mut self, client: usize, channel: ChannelIndex) -> u32 {
        let link = self.link(client);
        let (socket, id) = (link.socket, link.id);
        self.ledger.publish(channel, Publisher::Connection(socket as u32), id, false)
    }

    pub fn send_message(&mut self, client: usize, message: &[u8]) {
        let opcode = match self.clients[client].format {
            Format::CentrifugoJson => frames::TEXT,
            Format::CentrifugoProtobuf => frames::BINARY,
        };
        let (socket, may_compress) = (self.link(client).socket, self.link(client).frames.may_compress());
        let mut bytes = Vec::new();
        if may_compress && self.random.bool() {
            let deflated = self.deflate.compress(message);
            frames::append_message(&mut self.random, opcode | frames::RSV1, &deflated, &mut bytes);
            self.tally.add(Mark::CompressedSaid, 1);
        } else {
            frames::append_message(&mut self.random, opcode, message, &mut bytes);
        }
        self.send_bytes(socket, Some(bytes));
    }

    pub fn send_frame(&mut self, client: usize, opcode: u8, payload: &[u8]) {
        let mut bytes = Vec::new();
        frames::append_frame(&mut self.random, opcode, true, payload, &mut bytes);
        let socket = self.link(client).socket;
        self.send_bytes(socket, Some(bytes));
    }

    /// The client is gone without a word, as by a lost network or a closed laptop.
    pub fn cut(&mut self, client: usize) {
        let socket = self.link(client).socket;
        self.note(|| format!("client {client} is cut off"));
        self.forget_link(client);
        if self.random.bool() {
            self.reset(socket);
        } else {
            self.send_bytes(socket, None);
        }
        self.tally.add(Mark::Cut, 1);
        self.return_later(client);
    }

    /// The client closes its connection as it should.
    pub fn leave(&mut self, client: usize) {
        let since = self.patience();
        let link = self.link(client);
        (link.phase, link.since, link.is_well) = (LinkPhase::Closing, since, false);
        self.send_frame(client, frames::CLOSE, &1000u16.to_be_bytes());
        self.tally.add(Mark::Leave, 1);
    }

    pub fn return_later(&mut self, client: usize) {
        let delay = self.random.u64(20 * MS..if self.is_faulty { 2 * SECOND } else { 200 * MS });
        self.after(delay, Event::Return { client });
    }

    pub fn client_reads(&mut self, socket: usize) -> Checked {
        self.sockets[socket].is_reading_due = false;
        let client = self.sockets[socket].client;
        let Some(link) = self.link_on(socket) else { return Ok(()) };
        let at_most = match link.reading {
            Reading::Prompt => usize::MAX,
            Reading::Slow { bytes, .. } => bytes,
            Reading::Stopped => return Ok(()),
        };
        let bytes = self.take_bytes(socket, at_most);
        self.link(client).frames.push(&bytes);
        while self.link_on(socket).is_some() {
            match self.link(client).frames.next_frame() {
                Ok(Some(frame)) => match frame.expand(&mut self.deflate) {
                    Ok(frame) => self.heard_frame(client, &frame)?,
                    Err(what) => return violated(Promise::Protocol, what),
                },
                Ok(None) => break,
                Err(what) => return violated(Promise::Protocol, what),
            }
        }
        if self.link_on(socket).is_none() {
            return Ok(());
        }
        if !self.sockets[socket].to_client.is_empty() {
            self.read_soon(socket);
        } else if self.sockets[socket].is_closed {
            self.hung_up(client)?;
        }
        Ok(())
    }

    fn heard_frame(&mut self, client: usize, frame: &Frame) -> Checked {
        match self.link(client).phase {
            LinkPhase::Closed => return violated(Promise::Protocol, format!("{frame:?} after the close frame")),
            // It was on its way when the client closed.
            LinkPhase::Closing if frame.opcode != frames::CLOSE => return Ok(()),
            _ => {}
        }
        match frame.opcode {
            frames::TEXT | frames::BINARY => {
                self.tally.add(Mark::CompressedHeard, u64::from(frame.was_compressed));
                let format = self.clients[client].format;
                let socket = self.link(client).socket;
                match wire::decode(format, &frame.payload) {
                    Ok(heard) => {
                        for heard in heard {
                            if self.link_on(socket).is_some() {
                                self.note(|| format!("client {client} hears {heard:?}"));
                                self.heard(client, heard)?;
                            }
                        }
                        Ok(())
                    }
                    Err(what) => violated(Promise::Protocol, what),
                }
            }
            frames::CLOSE => self.heard_close(client, &frame.payload),
            frames::PONG => {
                self.tally.add(Mark::Pong, 1);
                Ok(())
            }
            opcode => violated(Promise::Protocol, format!("a frame with opcode {opcode}")),
        }
    }

    /// The connection is no more, for the client.
    pub fn forget_link(&mut self, client: usize) {
        let Some(link) = self.clients[client].link.take() else { return };
        self.clients[client].last_channels = 0;
        for (channel, subscription) in link.subscriptions.into_iter().enumerate() {
            if let Some(subscription) = subscription {
                self.clients[client].last_channels |= 1 << channel;
                self.keep_log(subscription);
            }
        }
    }
}
