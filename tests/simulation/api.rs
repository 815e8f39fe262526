//! The backend's side: questions of the control plane, by the shards' in-trays.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use fanfare::model::{ChannelName, ClientId, ErrorCode, HistoryRequest, HistoryResult, Since};
use fanfare::shard::{Act, Answer, Answered, Answerer, Question, Reach, ServerPublication, TrayMessage};

use super::client::Client;
use super::granted::ApiGrant;
use super::ledger::{Checked, Fate, Promise, Publisher, violated};
use super::namespaces::{CHANNELS, ChannelIndex};
use super::queries::PageAsked;
use super::report::Mark;
use super::wire::{self, Position, Publication};
use super::world::{Micros, World};

#[derive(Default)]
pub struct Api {
    asked: HashMap<u32, Asked>,
    next: u32,
    /// Answers come from inside a shard's turn, and wait here for its end.
    answers: Arc<Mutex<Vec<(u32, Answer)>>>,
    /// By channel, as far as asked for lately: the top of its stream, and who is there.
    pub tops: HashMap<ChannelIndex, Position>,
    pub present: HashMap<ChannelIndex, Vec<ClientId>>,
    pub present_counts: HashMap<ChannelIndex, u32>,
    /// Users to whom it was done at any time.
    disconnected: HashSet<u32>,
    unsubscribed: HashSet<u32>,
    /// What it granted to users, and from which publication on a shard's clients are owed it.
    pub grants: Vec<ApiGrant>,
    pub granted_from: HashMap<(u32, usize), u32>,
    /// Publications with a key, by channel and number.
    pub repeatable: VecDeque<(ChannelIndex, u32, ServerPublication)>,
    /// The newest version published.
    pub versions: HashMap<ChannelIndex, u64>,
}

struct Asked {
    what: What,
    pub since: Micros,
}

/// What the application does to a user.
#[derive(Clone, Copy, Debug)]
pub enum ApiReach {
    Disconnect,
    /// `None`: from all channels.
    Unsubscribe {
        channel: Option<ChannelIndex>,
    },
}

/// A subscription, as its client knew it when the application asked.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    socket: usize,
    channel: ChannelIndex,
    began: Micros,
}

#[derive(Clone, Debug)]
pub enum What {
    Publish {
        number: u32,
    },
    /// `is_newest`: of all that was published in the channel until then.
    Version {
        number: u32,
        is_newest: bool,
    },
    Remove,
    Page(PageAsked),
    Presence {
        channel: ChannelIndex,
    },
    PresenceStats {
        channel: ChannelIndex,
    },
    /// These end.
    Reach(Vec<Known>),
    Grant {
        number: u32,
        shard: usize,
    },
}

impl Api {
    pub fn has_disconnected(&self, client: &Client) -> bool {
        client.user_number().is_some_and(|user| self.disconnected.contains(&user))
    }

    pub fn has_unsubscribed(&self, client: &Client) -> bool {
        client.user_number().is_some_and(|user| self.unsubscribed.contains(&user))
    }

    /// When the question was asked that waits longest for its answer.
    pub fn oldest(&self) -> Option<Micros> {
        self.asked.values().map(|asked| asked.since).min()
    }

    /// What was told so far is old.
    pub fn forget_answers(&mut self) {
        self.tops.clear();
        self.present.clear();
        self.present_counts.clear();
    }
}

impl World {
    pub fn api_publish(&mut self, channel: ChannelIndex, padding: usize, skips_history: bool) -> u32 {
        let number = self.ledger.publish(channel, Publisher::Api, None, skips_history);
        let publication = ServerPublication {
            skip_history: skips_history,
            delta: self.random.bool(),
            ..ServerPublication::new(name_of(channel), wire::payload_of(number, padding))
        };
        self.note(|| format!("the API publishes {number} in {}", CHANNELS[channel].name));
        self.ask_home(channel, Question::Publish(publication), What::Publish { number });
        self.tally.add(Mark::ApiPublishes, 1);
        number
    }

    pub fn api_history(&mut self, channel: ChannelIndex, limit: i32, since: Option<Position>) {
        let request = HistoryRequest {
            channel: CHANNELS[channel].name.into(),
            limit,
            since: since.map(|since| Since { offset: since.offset, epoch: wire::epoch_text(&since.epoch).into() }),
            reverse: false,
        };
        let page = PageAsked { channel, limit, since, reverse: false, seen: None, count_max: usize::MAX };
        self.ask_home(channel, Question::History { channel: name_of(channel), request }, What::Page(page));
    }

    pub fn api_presence(&mut self, channel: ChannelIndex) {
        self.ask_home(channel, Question::Presence { channel: name_of(channel) }, What::Presence { channel });
        self.ask_home(channel, Question::PresenceStats { channel: name_of(channel) }, What::PresenceStats { channel });
    }

    /// Every shard is asked.
    pub fn api_reach(&mut self, user: u32, reach: ApiReach) {
        self.note(|| format!("the API does {reach:?} to user{user}"));
        let (mark, act, channel) = match reach {
            ApiReach::Disconnect => {
                self.api.disconnected.insert(user);
                let (code, reason) = (3503, "force disconnect".into());
                (Mark::ApiDisconnects, Act::Disconnect { code, reason, spared: vec![] }, None)
            }
            ApiReach::Unsubscribe { channel } => {
                self.api.unsubscribed.insert(user);
                (Mark::ApiUnsubscribes, Act::Unsubscribe { channel: channel.map(name_of) }, channel)
            }
        };
        self.tally.add(mark, 1);
        let reach = Reach { user: format!("user{user}").into(), client: None, act };
        for shard in 0..self.plan.shards {
            let known = self.known_subscriptions(user, shard, channel);
            self.ask_shard(shard, Question::Reach(Box::new(reach.clone())), What::Reach(known));
        }
    }

    /// What the user's clients on a shard know that they are subscribed to; of one channel or of all.
    fn known_subscriptions(&self, user: u32, shard: usize, only: Option<ChannelIndex>) -> Vec<Known> {
        let clients = self.clients.iter().filter(|client| client.user_number() == Some(user));
        let links = clients.filter_map(|client| client.link.as_ref());
        let links = links.filter(|link| self.sockets[link.socket].shard == shard);
        let known = links.flat_map(|link| {
            let of_link = link.subscriptions.iter().flatten();
            of_link.map(|held| Known { socket: link.socket, channel: held.channel, began: held.began })
        });
        known.filter(|known| only.is_none_or(|only| only == known.channel)).collect()
    }

    /// What was known when the application asked, and still is, is given nothing that comes from here on.
    fn reached(&mut self, known: Vec<Known>) {
        let next = self.ledger.published().len() as u32;
        for Known { socket, channel, began } in known {
            let client = self.sockets[socket].client;
            let link = self.clients[client].link.as_mut().filter(|link| link.socket == socket);
            if let Some(held) = link.and_then(|link| link.subscriptions[channel].as_mut())
                && held.began == began
            {
                held.ends_before.get_or_insert(next);
            }
        }
    }

    pub fn ask_home(&mut self, channel: ChannelIndex, question: Question, what: What) {
        let home = self.plan.options.homes.home_of(CHANNELS[channel].name).as_index();
        self.ask_shard(home, question, what);
    }

    pub fn ask_shard(&mut self, shard: usize, question: Question, what: What) {
        let id = self.api.next;
        self.api.next += 1;
        self.api.asked.insert(id, Asked { what, since: self.patience() });
        let answers = Arc::clone(&self.api.answers);
        let answerer = Answerer(Box::new(move |answer| {
            answers.lock().expect("nobody panics with it").push((id, answer));
        }));
        self.tell_shard(shard, TrayMessage::Ask { question, answerer });
    }

    /// Puts a message into a shard's in-tray.
    pub fn tell_shard(&mut self, shard: usize, message: TrayMessage) {
        let taken = self.loops[shard].tray_sender.try_push(message);
        assert!(taken.is_ok(), "the tray is larger than all that is asked here");
        self.heed_bell(shard);
    }

    /// Judges the answers that shards have given.
    pub fn take_answers(&mut self) -> Checked {
        let answers = std::mem::take(&mut *self.api.answers.lock().expect("nobody panics with it"));
        for (id, answer) in answers {
            let Some(asked) = self.api.asked.remove(&id) else {
                return violated(Promise::Protocol, "the API was answered twice");
            };
            self.api_answered(asked.what, answer)?;
        }
        Ok(())
    }

    fn api_answered(&mut self, what: What, answer: Answer) -> Checked {
        match (what, answer) {
            // Whether it was done nobody knows.
            (_, Err(ErrorCode::Internal)) if self.broker.outages > 0 => {
                self.tally.add(Mark::ToldUnavailable, 1);
                Ok(())
            }
            (What::Version { number, is_newest: false }, Ok(Answered::Published(_))) => {
                self.old_version_answered(number)
            }
            (What::Remove, Ok(Answered::HistoryRemoved)) => Ok(()),
            (
                What::Publish { number } | What::Version { number, is_newest: true },
                Ok(Answered::Published(position)),
            ) => {
                let published = self.ledger.published()[number as usize];
                let channel = published.channel;
                let is_kept = CHANNELS[channel].kind.has_history() && !published.skips_history;
                if is_kept != position.is_some() && self.plan.options.faults.answer_without_append.is_none() {
                    return violated(Promise::Protocol, format!("publication {number} is at {position:?}"));
                }
                self.ledger.decide(number, Fate::Confirmed)?;
                if let Some(position) = position {
                    let epoch = wire::epoch_of(position.epoch.as_str()).expect("the hub's epochs have 8 letters");
                    let position = Position { epoch, offset: position.offset };
                    let now = self.patience();
                    self.ledger.saw_at(now, channel, position, number)?;
                }
                Ok(())
            }
            (What::Page(page), Ok(Answered::History(result))) => self.api_page(page, &result),
            (What::Presence { channel }, Ok(Answered::Presence(infos))) => {
                let ids: Vec<ClientId> = infos.iter().map(|info| info.client).collect();
                self.check_known(channel, &ids)?;
                self.api.present.insert(channel, ids);
                Ok(())
            }
            (What::PresenceStats { channel }, Ok(Answered::PresenceStats(stats))) => {
                self.api.present_counts.insert(channel, stats.clients);
                Ok(())
            }
            (What::Reach(known), Ok(Answered::Reached(_))) => {
                self.reached(known);
                Ok(())
            }
            (What::Grant { number, shard }, Ok(Answered::Reached(_))) => {
                self.grant_answered(number, shard);
                Ok(())
            }
            // The shard stood still for longer than it was good for.
            (What::Grant { number, .. }, Err(ErrorCode::Expired)) if self.has_grant_expired(number) => Ok(()),
            (what, answer) => violated(Promise::Protocol, format!("{what:?} was answered by {answer:?}")),
        }
    }

    /// Pages are asked for until the whole stream was seen.
    fn api_page(&mut self, page: PageAsked, result: &HistoryResult) -> Checked {
        let epoch = wire::epoch_of(result.epoch.as_str()).expect("the hub's epochs have 8 letters");
        let top = Position { epoch, offset: result.offset };
        let publications = result.publications.iter().map(|publication| {
            Ok(Publication {
                number: wire::number_in(&publication.data)?,
                said: wire::Said::Value,
                offset: publication.offset,
                epoch: None,
                publisher: publication.info.as_ref().map(|info| info.client),
                version: publication.version,
            })
        });
        let publications: Vec<Publication> = match publications.collect::<Result<_, String>>() {
            Ok(publications) => publications,
            Err(what) => return violated(Promise::Protocol, what),
        };
        self.api.tops.insert(page.channel, top);
        self.check_page(page, &publications, top)?;
        if let Some(last) = publications.last()
            && page.limit < 0
            && last.offset < top.offset
        {
            self.api_history(page.channel, page.limit, Some(Position { offset: last.offset, ..top }));
        }
        Ok(())
    }
}

pub fn name_of(channel: ChannelIndex) -> ChannelName {
    ChannelName::parse(CHANNELS[channel].name, 255).expect("the simulation's names are short")
}
