//! The one door through which the control plane reaches the shards.
//!
//! A question goes to its channel's home and the answer comes back to whoever waits for it; nobody
//! else knows which shard that is. Invariants: questions of one caller to one channel arrive in the
//! order in which they were asked; asking never blocks, and a full tray is an answer. Must never
//! touch a shard's state.

mod channels;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::limits::ANSWER_TIMEOUT;
use crate::model::{
    ChannelName, ClientInfo, ErrorCode, HistoryRequest, HistoryResult, Homes, Position, PresenceStats, ShardId,
    UserSketch,
};
// What goes through the door, so that the control plane need not know a shard to ask one.
pub use crate::shard::{
    Act, Answer, Answered, Answerer, ChannelsAsked, ChannelsFound, Grant, Options, Overrides, Pressure, Question,
    Reach, ServerPublication, ServerRefresh, ServerSubscription, ShardUsers, TrayMessage,
};
pub use channels::ChannelsPage;

/// Puts a message into a shard's in-tray; gives it back if the tray is full.
pub type Post = dyn Fn(ShardId, TrayMessage) -> Result<(), TrayMessage> + Send + Sync;

/// Cheap to clone, used from any task of the control plane.
///
/// The question leaves when a method is called, not when its future is first polled: publications
/// keep the order of the calls, and many may be on their way at once.
///
/// Errors: whatever the home says; [`ErrorCode::TooManyRequests`] if its tray is full;
/// [`ErrorCode::Internal`] if it stopped, or did not answer within [`ANSWER_TIMEOUT`] (a
/// publication may have been accepted even so).
#[derive(Clone)]
pub struct Handle {
    homes: Homes,
    post: Arc<Post>,
}

impl Handle {
    pub fn new(homes: Homes, post: Arc<Post>) -> Handle {
        Handle { homes, post }
    }

    /// Returns where the publication stands; `None` in channels without history.
    pub fn publish(
        &self,
        publication: ServerPublication,
    ) -> impl Future<Output = Result<Option<Position>, ErrorCode>> + Send + use<> {
        let home = self.homes.home_of(publication.channel.as_str());
        let answer = self.ask(home, Question::Publish(publication));
        async {
            match answer.await? {
                Answered::Published(position) => Ok(position),
                other => Err(wrong_answer(&other)),
            }
        }
    }

    /// The same for many, in order: each home is asked once, and takes its own in one go.
    pub fn publish_all(
        &self,
        publications: Vec<ServerPublication>,
    ) -> impl Future<Output = Vec<Result<Option<Position>, ErrorCode>>> + Send + use<> {
        let mut positions = vec![Err(ErrorCode::Internal); publications.len()];
        let mut of_home: Vec<(Vec<usize>, Vec<ServerPublication>)> =
            vec![Default::default(); self.homes.shards().into()];
        for (place, publication) in publications.into_iter().enumerate() {
            let (places, publications) = &mut of_home[self.homes.home_of(publication.channel.as_str()).as_index()];
            places.push(place);
            publications.push(publication);
        }
        let homes = (0..).map(ShardId).zip(of_home).filter(|(_, (places, _))| !places.is_empty());
        let answers: Vec<_> = homes
            .map(|(home, (places, mut publications))| {
                let question = match publications.len() {
                    1 => Question::Publish(publications.remove(0)),
                    _ => Question::PublishAll(publications),
                };
                (places, self.ask(home, question))
            })
            .collect();
        async {
            for (places, answer) in answers {
                let published = match answer.await {
                    Ok(Answered::PublishedAll(published)) => published,
                    Ok(Answered::Published(position)) => vec![Ok(position)],
                    Ok(other) => vec![Err(wrong_answer(&other)); places.len()],
                    Err(error) => vec![Err(error); places.len()],
                };
                places.into_iter().zip(published).for_each(|(place, published)| positions[place] = published);
            }
            positions
        }
    }

    /// Who is subscribed now.
    pub fn presence(
        &self,
        channel: ChannelName,
    ) -> impl Future<Output = Result<Vec<Arc<ClientInfo>>, ErrorCode>> + Send + use<> {
        let home = self.homes.home_of(channel.as_str());
        let answer = self.ask(home, Question::Presence { channel });
        async {
            match answer.await? {
                Answered::Presence(clients) => Ok(clients),
                other => Err(wrong_answer(&other)),
            }
        }
    }

    pub fn presence_stats(
        &self,
        channel: ChannelName,
    ) -> impl Future<Output = Result<PresenceStats, ErrorCode>> + Send + use<> {
        let home = self.homes.home_of(channel.as_str());
        let answer = self.ask(home, Question::PresenceStats { channel });
        async {
            match answer.await? {
                Answered::PresenceStats(stats) => Ok(stats),
                other => Err(wrong_answer(&other)),
            }
        }
    }

    /// `request.limit` below 0 asks for all that is kept.
    pub fn history(
        &self,
        channel: ChannelName,
        request: HistoryRequest,
    ) -> impl Future<Output = Result<HistoryResult, ErrorCode>> + Send + use<> {
        let home = self.homes.home_of(channel.as_str());
        let answer = self.ask(home, Question::History { channel, request });
        async {
            match answer.await? {
                Answered::History(history) => Ok(history),
                other => Err(wrong_answer(&other)),
            }
        }
    }

    /// Ends the channel's history; the next one has another epoch.
    pub fn history_remove(&self, channel: ChannelName) -> impl Future<Output = Result<(), ErrorCode>> + Send + use<> {
        let home = self.homes.home_of(channel.as_str());
        let answer = self.ask(home, Question::HistoryRemove { channel });
        async {
            match answer.await? {
                Answered::HistoryRemoved => Ok(()),
                other => Err(wrong_answer(&other)),
            }
        }
    }

    /// Does something to the connections of one user, on whichever shards they are. Returns to how many
    /// it was done; what is published after that is not delivered where a subscription or connection
    /// was ended.
    ///
    /// Errors: the first one of a shard; on the others it was done.
    pub fn reach(&self, reach: Reach) -> impl Future<Output = Result<u64, ErrorCode>> + Send + use<> {
        let answers = self.ask_all(&Question::Reach(Box::new(reach)));
        async {
            let mut outcome = Ok(0);
            for answer in answers {
                let reached = match answer.await {
                    Ok(Answered::Reached(reached)) => Ok(reached),
                    Ok(other) => Err(wrong_answer(&other)),
                    Err(error) => Err(error),
                };
                outcome = outcome.and_then(|sum: u64| reached.map(|reached| sum + reached));
            }
            outcome
        }
    }

    /// How many users have connections, those without an id left out. Who is on several shards is
    /// told by 32 bits of a hash: of a million users on several shards about a hundred are missed.
    pub fn count_users(&self) -> impl Future<Output = Result<u64, ErrorCode>> + Send + use<> {
        let answers = self.ask_all(&Question::Users);
        async {
            let (mut unkeyed, mut keys) = (0, Vec::new());
            for answer in answers {
                match answer.await? {
                    Answered::Users(users) => {
                        unkeyed += users.count - users.keys.len() as u64;
                        keys.extend(users.keys);
                    }
                    other => return Err(wrong_answer(&other)),
                }
            }
            keys.sort_unstable();
            keys.dedup();
            Ok(unkeyed + keys.len() as u64)
        }
    }

    /// The users of this node, to be joined with those of other nodes.
    pub fn sketch_users(&self) -> impl Future<Output = Result<UserSketch, ErrorCode>> + Send + use<> {
        let answers = self.ask_all(&Question::UserSketch);
        async {
            let mut sketch = UserSketch::default();
            for answer in answers {
                match answer.await? {
                    Answered::UserSketch(of_shard) => sketch.join(&of_shard),
                    other => return Err(wrong_answer(&other)),
                }
            }
            Ok(sketch)
        }
    }

    /// Tells every shard to close its connections evenly over `window`.
    pub async fn drain(&self, window: Duration) {
        self.tell_all(|| TrayMessage::Drain { window }).await;
    }

    /// Tells every shard how memory stands to its limit.
    pub async fn tell_memory(&self, pressure: Pressure) {
        self.tell_all(|| TrayMessage::Memory(pressure)).await;
    }

    /// Gives every shard the options of a configuration that was read again.
    pub async fn tell_options(&self, options: Arc<Options>) {
        self.tell_all(|| TrayMessage::Options(Arc::clone(&options))).await;
    }

    /// Tells every shard to end.
    pub async fn stop(&self) {
        self.tell_all(|| TrayMessage::Stop).await;
    }

    /// A full tray is tried again until it has room.
    async fn tell_all(&self, message: impl Fn() -> TrayMessage) {
        for shard in (0..self.homes.shards()).map(ShardId) {
            while (self.post)(shard, message()).is_err() {
                sleep(TRAY_RETRY).await;
            }
        }
    }

    /// Asks every shard now; the futures wait for the answers.
    fn ask_all(&self, question: &Question) -> Vec<impl Future<Output = Answer> + Send + use<>> {
        (0..self.homes.shards()).map(|shard| self.ask(ShardId(shard), question.clone())).collect()
    }

    /// Asks now; the future waits for the answer.
    fn ask(&self, home: ShardId, question: Question) -> impl Future<Output = Answer> + Send + use<> {
        let (sender, receiver) = oneshot::channel();
        // The asker may be gone by then; nobody misses the answer.
        let answerer = Answerer(Box::new(move |answer| drop(sender.send(answer))));
        let is_posted = (self.post)(home, TrayMessage::Ask { question, answerer }).is_ok();
        async move {
            if !is_posted {
                return Err(ErrorCode::TooManyRequests);
            }
            match timeout(ANSWER_TIMEOUT, receiver).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_dropped)) => Err(ErrorCode::Internal),
                Err(_elapsed) => {
                    tracing::warn!(shard = %home, "a shard did not answer the control plane in time");
                    Err(ErrorCode::Internal)
                }
            }
        }
    }
}

/// A home that answers another question than it was asked is a bug of ours.
fn wrong_answer(answered: &Answered) -> ErrorCode {
    debug_assert!(false, "the home answered another question: {answered:?}");
    ErrorCode::Internal
}

/// Until a full tray is tried again. Chosen: some turns of a busy shard.
const TRAY_RETRY: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests;
