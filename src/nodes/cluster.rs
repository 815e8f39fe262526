//! What the API asks of all nodes at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::Instant;

use super::asking::{Asking, FromNode, Gather, Gathered, MissingNode, Why};
use super::channels;
use super::members::Members;
use super::report::{NodeName, Report};
use super::wire::{Command, Message, Part, What};
use crate::engine::contract::Control;
use crate::handle::{Act, ChannelsAsked, ChannelsPage, Handle, Reach};
use crate::limits::{NODE_CHANNELS_ASKED_MAX, NODE_CHANNELS_BYTES_MAX, NODE_CHANNELS_ROUNDS_MAX};
use crate::model::{ErrorCode, UserSketch};
use crate::telemetry::NodeMetrics;

/// This node, and the others once it has joined them. Cheap to clone, used from any task of the control plane.
///
/// Errors of what is asked: as of the [`Handle`], here or on any other node; on the other nodes it was done.
/// [`ErrorCode::LimitExceeded`] for what does not fit a message between nodes. That a node does not answer is no
/// error: it is named beside the answer.
#[derive(Clone)]
pub struct Cluster {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub handle: Handle,
    pub node: NodeName,
    pub metrics: Arc<NodeMetrics>,
    /// As they were counted last.
    pub users: AtomicU64,
    link: OnceLock<Link>,
}

/// The way to the other nodes.
pub(super) struct Link {
    pub control: Arc<dyn Control>,
    /// From its goodbye on the node says no more who it is.
    pub has_left: AtomicBool,
    /// Its goodbye has come back to it.
    pub said_goodbye: Notify,
    channels_asked: Semaphore,
    /// Held for some microseconds, never while something is awaited.
    state: Mutex<State>,
}

pub(super) struct State {
    pub members: Members,
    pub asking: Asking,
}

/// To how many connections (or subscriptions, where those were to end) something was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachedOnAll {
    pub count: u64,
    pub missing: Vec<MissingNode>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelsOfAll {
    pub page: ChannelsPage,
    pub missing: Vec<MissingNode>,
}

/// All nodes by their names; those that are missing as they were heard last.
#[derive(Clone, Debug, PartialEq)]
pub struct Info {
    pub nodes: Vec<Report>,
    /// Different users of all nodes that answered, about; `None` where there is one node alone, whose own count is
    /// better, or where a node can't tell.
    pub users: Option<u64>,
    pub missing: Vec<MissingNode>,
}

impl Cluster {
    /// A node that is alone, until it joins others.
    pub fn alone(node: NodeName, handle: Handle, metrics: Arc<NodeMetrics>) -> Cluster {
        let inner = Inner { handle, node, metrics, users: AtomicU64::new(0), link: OnceLock::new() };
        Cluster { inner: Arc::new(inner) }
    }

    /// Who this node is to the others: engines carry to it what is sent to its uid.
    pub fn node(&self) -> &NodeName {
        &self.inner.node
    }

    /// The shards of this node.
    pub fn handle(&self) -> &Handle {
        &self.inner.handle
    }

    /// Whether a node of this uid was heard, or is this one.
    pub fn knows(&self, uid: &str) -> bool {
        uid == self.inner.node.uid || self.inner.link().is_some_and(|link| link.state().members.knows(uid))
    }

    /// Does something to the connections of one user, on all nodes, or on the `only` one that holds them.
    pub async fn reach(&self, reach: Reach, only: Option<&str>) -> Result<ReachedOnAll, ErrorCode> {
        let is_here = only.is_none_or(|uid| uid == self.inner.node.uid);
        let asked = match is_here && only.is_some() {
            true => None,
            false => self.inner.ask(name_of(&reach.act), |_| Command::Reach(reach.clone()), only)?,
        };
        let here = async { if is_here { self.inner.handle.reach(reach).await } else { Ok(0) } };
        let (here, Gathered { answers, missing }) = tokio::join!(here, gathered(asked));
        let mut count = here?;
        for part in answers.into_values().flatten() {
            match part {
                Part::Reached(reached) => count += reached,
                Part::Failed(error) => return Err(error),
                _ => {}
            }
        }
        Ok(ReachedOnAll { count, missing: self.inner.count_missing(missing) })
    }

    /// The first names after `asked.after` on all nodes, with their subscribers on all of them.
    pub async fn channels(&self, asked: ChannelsAsked) -> Result<ChannelsOfAll, ErrorCode> {
        let _permit = match self.inner.link() {
            None => None,
            Some(link) => Some(link.channels_asked.try_acquire().map_err(|_full| ErrorCode::TooManyRequests)?),
        };
        let mut of_all = self.inner.ask_channels(asked.clone()).await?;
        // Where there are many names each node says some at a time.
        for _ in 1..NODE_CHANNELS_ROUNDS_MAX {
            let ChannelsOfAll { page, missing } = &of_all;
            let count_max = asked.count_max - page.channels.len();
            let Some((last, _)) = page.channels.last().filter(|_| page.has_more && count_max > 0) else { break };
            if !missing.is_empty() {
                break;
            }
            let after = last.as_str().into();
            let next = self.inner.ask_channels(ChannelsAsked { after, count_max, ..asked.clone() }).await?;
            of_all.page.channels.extend(next.page.channels);
            (of_all.page.has_more, of_all.missing) = (next.page.has_more, next.missing);
        }
        Ok(of_all)
    }

    /// What every node is doing.
    pub async fn info(&self) -> Result<Info, ErrorCode> {
        let others = self.inner.ask("info", |_| Command::Describe, None)?;
        let mut reports = self.inner.link().map(|link| link.known()).unwrap_or_default();
        let (here, Gathered { answers, missing }) = tokio::join!(self.inner.describe(), gathered(others));
        let mut described = vec![here?];
        for part in answers.into_values().flatten() {
            match part {
                Part::Report(report) => described.push(report),
                Part::Failed(error) => return Err(error),
                _ => {}
            }
        }
        let users = count_users(&described);
        reports.extend(described.into_iter().map(|report| (report.node.uid.clone(), report)));
        let mut nodes: Vec<Report> = reports.into_values().collect();
        nodes.sort_by(|one, other| (&one.node.name, &one.node.uid).cmp(&(&other.node.name, &other.node.uid)));
        Ok(Info { nodes, users, missing: self.inner.count_missing(missing) })
    }
}

/// Not more than all nodes have together, and not less than the one that has most.
fn count_users(reports: &[Report]) -> Option<u64> {
    let mut joined = UserSketch::default();
    for report in reports {
        joined.join(report.users_sketch.as_ref()?);
    }
    let most = reports.iter().map(|report| report.users).max()?;
    (reports.len() > 1).then(|| joined.count().clamp(most, reports.iter().map(|report| report.users).sum()))
}

impl Inner {
    /// `None` as long as the node is alone.
    pub fn link(&self) -> Option<&Link> {
        self.link.get()
    }

    /// Called once, when the node joins others.
    pub fn set_link(&self, control: Arc<dyn Control>) -> bool {
        let state = State { members: Members::new(Instant::now()), asking: Asking::default() };
        let channels_asked = Semaphore::new(NODE_CHANNELS_ASKED_MAX);
        let has_left = AtomicBool::new(false);
        let said_goodbye = Notify::new();
        self.link.set(Link { control, has_left, said_goodbye, channels_asked, state: Mutex::new(state) }).is_ok()
    }

    /// This node, with the users that were counted last.
    pub fn report(&self) -> Report {
        Report::take(&self.node, &self.metrics, self.users.load(Ordering::Relaxed))
    }

    /// This node with figures of this moment, as every node of a cluster tells them.
    pub async fn describe(&self) -> Result<Report, ErrorCode> {
        let users = self.handle.count_users();
        let sketch = self.link().map(|_| self.handle.sketch_users());
        self.users.store(users.await?, Ordering::Relaxed);
        let users_sketch = match sketch {
            Some(sketch) => Some(sketch.await?),
            None => None,
        };
        Ok(Report { users_sketch, ..self.report() })
    }

    /// One page, as far as each node's share of an answer goes.
    async fn ask_channels(&self, asked: ChannelsAsked) -> Result<ChannelsOfAll, ErrorCode> {
        let count_max = asked.count_max;
        let command = |nodes: usize| Command::Channels {
            asked: asked.clone(),
            bytes_max: NODE_CHANNELS_BYTES_MAX / nodes.max(1),
        };
        let others = self.ask("channels", command, None)?;
        let (here, Gathered { answers, missing }) = tokio::join!(self.handle.channels(asked), gathered(others));
        let mut pages = vec![here?];
        for parts in answers.into_values() {
            pages.push(page_of(parts)?);
        }
        let page = if pages.len() == 1 { pages.remove(0) } else { channels::join(pages, count_max) };
        Ok(ChannelsOfAll { page, missing: self.count_missing(missing) })
    }

    /// Sends to all nodes, or to one of them (uid `to`).
    pub fn send(&self, to: Option<&str>, what: What) -> Result<(), ErrorCode> {
        let Some(link) = self.link() else { return Ok(()) };
        let kind = what.kind();
        let message = Message::new(&self.node.uid, to.unwrap_or_default(), what);
        let bytes = message.encode().map_err(|_too_large| ErrorCode::LimitExceeded)?;
        match to {
            None => link.control.broadcast(bytes),
            Some(uid) => link.control.send(uid, bytes),
        }
        self.metrics.nodes.count_sent(kind);
        Ok(())
    }

    /// Sends a request, made for the number of nodes that answer it. `None` while the node is alone.
    fn ask(
        &self,
        name: &'static str,
        command: impl FnOnce(usize) -> Command,
        only: Option<&str>,
    ) -> Result<Option<Asked<'_>>, ErrorCode> {
        let Some(link) = self.link() else {
            return if only.is_some() { Err(ErrorCode::NotAvailable) } else { Ok(None) };
        };
        let now = Instant::now();
        let (asked, nodes) = {
            let mut state = link.state();
            let is_meant = |node: &&NodeName| only.is_none_or(|only| node.uid == only);
            let present = state.members.present(now).map(|report| &report.node);
            let nodes: Vec<_> = present.filter(is_meant).cloned().collect();
            let lost: Vec<_> = state.members.lost(now).filter(is_meant).cloned().collect();
            if only.is_some() && nodes.is_empty() && lost.is_empty() {
                return Err(ErrorCode::NotAvailable);
            }
            let (id, answers) = state.asking.begin().ok_or(ErrorCode::TooManyRequests)?;
            let count = nodes.len();
            (Asked { id, link, answers: Some((Gather::new(nodes, lost), answers)) }, count)
        };
        self.send(only, What::Request(asked.id, command(nodes)))?;
        self.metrics.nodes.count_request(name);
        Ok(Some(asked))
    }

    fn count_missing(&self, missing: Vec<MissingNode>) -> Vec<MissingNode> {
        for MissingNode { node, why } in &missing {
            self.metrics.nodes.count_missing(why.name());
            match why {
                Why::Silent => tracing::warn!(node = node.name, uid = node.uid, "a node did not answer in time"),
                Why::NotKnown => {
                    tracing::warn!(node = node.name, uid = node.uid, "an older node does not know a command")
                }
            }
        }
        missing
    }
}

impl Link {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while it holds this")
    }

    /// The last reports of who is there, by uid.
    fn known(&self) -> BTreeMap<String, Report> {
        let state = self.state();
        state.members.present(Instant::now()).map(|report| (report.node.uid.clone(), report.clone())).collect()
    }
}

/// A request under way; it ends when this is dropped.
struct Asked<'a> {
    id: u64,
    link: &'a Link,
    answers: Option<(Gather, mpsc::Receiver<FromNode>)>,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.link.state().asking.end(self.id);
    }
}

/// The answers; none where nobody was asked.
async fn gathered(asked: Option<Asked<'_>>) -> Gathered {
    let Some(mut asked) = asked else { return Gathered::default() };
    let Some((gather, answers)) = asked.answers.take() else { return Gathered::default() };
    gather.run(answers).await
}

/// What one node answered.
fn page_of(parts: Vec<Part>) -> Result<ChannelsPage, ErrorCode> {
    let mut pieces = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Part::Channels(piece) => pieces.push(piece),
            Part::Failed(error) => return Err(error),
            _ => {}
        }
    }
    Ok(channels::whole(pieces))
}

fn name_of(act: &Act) -> &'static str {
    match act {
        Act::Disconnect { .. } => "disconnect",
        Act::Unsubscribe { .. } => "unsubscribe",
        Act::Refresh(_) => "refresh",
        Act::Subscribe(_) => "subscribe",
    }
}
