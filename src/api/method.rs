//! The methods, by name.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::failure::Failure;
use super::{Api, channels, history, history_remove, info, presence, publish, subscribe, users};

/// What a request, a command of a batch or a line of the legacy route may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Publish,
    Broadcast,
    Subscribe,
    Unsubscribe,
    Disconnect,
    Refresh,
    Presence,
    PresenceStats,
    History,
    HistoryRemove,
    Channels,
    Info,
}

/// A result as JSON.
pub type Outcome = Result<Box<RawValue>, Failure>;

impl Method {
    pub const ALL: &[Method] = &[
        Method::Publish,
        Method::Broadcast,
        Method::Subscribe,
        Method::Unsubscribe,
        Method::Disconnect,
        Method::Refresh,
        Method::Presence,
        Method::PresenceStats,
        Method::History,
        Method::HistoryRemove,
        Method::Channels,
        Method::Info,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Method::Publish => "publish",
            Method::Broadcast => "broadcast",
            Method::Subscribe => "subscribe",
            Method::Unsubscribe => "unsubscribe",
            Method::Disconnect => "disconnect",
            Method::Refresh => "refresh",
            Method::Presence => "presence",
            Method::PresenceStats => "presence_stats",
            Method::History => "history",
            Method::HistoryRemove => "history_remove",
            Method::Channels => "channels",
            Method::Info => "info",
        }
    }

    pub fn find(name: &str) -> Option<Method> {
        Method::ALL.iter().copied().find(|method| method.name() == name)
    }

    /// Whether it publishes: several such calls go out together.
    pub fn publishes(self) -> bool {
        matches!(self, Method::Publish | Method::Broadcast)
    }

    /// Runs the method. What it asks of the shards leaves when this is first polled.
    pub async fn call(self, api: &Api, params: &[u8]) -> Outcome {
        api.metrics.api.count_request(self.name());
        match self {
            Method::Publish => to_json(publish::publish(api, params).await),
            Method::Broadcast => to_json(publish::broadcast(api, params).await),
            Method::Subscribe => to_json(subscribe::subscribe(api, params).await),
            Method::Unsubscribe => to_json(users::unsubscribe(api, params).await),
            Method::Disconnect => to_json(users::disconnect(api, params).await),
            Method::Refresh => to_json(users::refresh(api, params).await),
            Method::Presence => to_json(presence::presence(api, params).await),
            Method::PresenceStats => to_json(presence::presence_stats(api, params).await),
            Method::History => to_json(history::history(api, params).await),
            Method::HistoryRemove => to_json(history_remove::history_remove(api, params).await),
            Method::Channels => to_json(channels::channels(api, params).await),
            Method::Info => to_json(info::info(api, params).await),
        }
    }
}

pub fn to_json<T: Serialize>(outcome: Result<T, Failure>) -> Outcome {
    outcome.map(|result| to_raw_value(&result).expect("a result is plain data, which is always JSON"))
}
