//! What is done to users' connections, as nodes tell it to one another.

use bytes::Bytes;

use super::{Skipped, proto, read_channel};
use crate::handle::{Act, Grant, Overrides, Reach, ServerRefresh, ServerSubscription};
use crate::model::{ClientId, Since};

pub fn write(reach: Reach) -> proto::Reach {
    use proto::reach::Act as Written;
    let act = match reach.act {
        Act::Disconnect { code, reason, spared } => Written::Disconnect(proto::Disconnect {
            code: code.into(),
            reason: reason.into(),
            spared: spared.iter().map(write_client).collect(),
        }),
        Act::Unsubscribe { channel } => Written::Unsubscribe(proto::Unsubscribe {
            channel: channel.map(|channel| channel.as_str().to_owned()).unwrap_or_default(),
        }),
        Act::Refresh(ServerRefresh { is_expired, expire_at, info }) => {
            Written::Refresh(proto::Refresh { is_expired, expire_at, info })
        }
        Act::Subscribe(subscription) => Written::Subscribe(write_subscription(*subscription)),
    };
    proto::Reach { user: reach.user.into(), client: reach.client.as_ref().map(write_client), act: Some(act) }
}

/// `None`: an act that a newer node knows.
pub fn read(reach: proto::Reach) -> Result<Option<Reach>, Skipped> {
    use proto::reach::Act as Written;
    let act = match reach.act {
        None => return Ok(None),
        Some(Written::Disconnect(proto::Disconnect { code, reason, spared })) => {
            let mut spared = spared.iter().map(read_client).collect::<Result<Vec<_>, _>>()?;
            spared.sort_unstable();
            Act::Disconnect {
                code: u16::try_from(code).map_err(|_| Skipped::Foreign)?,
                reason: fitting(reason)?.into(),
                spared,
            }
        }
        Some(Written::Unsubscribe(proto::Unsubscribe { channel })) => {
            let channel = match channel.is_empty() {
                true => None,
                false => Some(read_channel(&channel)?),
            };
            Act::Unsubscribe { channel }
        }
        Some(Written::Refresh(proto::Refresh { is_expired, expire_at, info })) => {
            Act::Refresh(ServerRefresh { is_expired, expire_at, info })
        }
        Some(Written::Subscribe(subscription)) => Act::Subscribe(Box::new(read_subscription(subscription)?)),
    };
    let client = reach.client.as_ref().map(read_client).transpose()?;
    Ok(Some(Reach { user: reach.user.into(), client, act }))
}

fn write_subscription(subscription: ServerSubscription) -> proto::Subscribe {
    let ServerSubscription { channel, grant: Grant { info, data, expires_at, overrides }, since } = subscription;
    proto::Subscribe {
        channel: channel.as_str().to_owned(),
        info,
        data,
        expires_at,
        presence: overrides.presence,
        join_leave: overrides.join_leave,
        force_push_join_leave: overrides.force_push_join_leave,
        force_recovery: overrides.force_recovery,
        force_positioning: overrides.force_positioning,
        since: since.map(|since| proto::Since { offset: since.offset, epoch: since.epoch.into() }),
    }
}

fn read_subscription(subscription: proto::Subscribe) -> Result<ServerSubscription, Skipped> {
    let overrides = Overrides {
        presence: subscription.presence,
        join_leave: subscription.join_leave,
        force_push_join_leave: subscription.force_push_join_leave,
        force_recovery: subscription.force_recovery,
        force_positioning: subscription.force_positioning,
    };
    Ok(ServerSubscription {
        channel: read_channel(&subscription.channel)?,
        grant: Grant {
            info: subscription.info,
            data: subscription.data,
            expires_at: subscription.expires_at,
            overrides,
        },
        since: subscription.since.map(|since| Since { offset: since.offset, epoch: since.epoch.into() }),
    })
}

fn write_client(client: &ClientId) -> Bytes {
    Bytes::copy_from_slice(client.as_bytes())
}

fn read_client(bytes: &Bytes) -> Result<ClientId, Skipped> {
    <[u8; 16]>::try_from(&bytes[..]).map(ClientId::from_bytes).map_err(|_| Skipped::Foreign)
}

/// A reason goes into a close frame.
fn fitting(reason: String) -> Result<String, Skipped> {
    Some(reason).filter(|reason| reason.len() <= crate::limits::CLOSE_REASON_BYTES_MAX).ok_or(Skipped::Foreign)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::model::ChannelName;

    /// Of everybody but one.
    pub fn disconnect() -> Reach {
        let spared = vec![ClientId::from_random([1; 16])];
        Reach { user: "u".into(), client: None, act: Act::Disconnect { code: 3503, reason: "go".into(), spared } }
    }

    fn check(act: Act) {
        for client in [None, Some(ClientId::from_random([3; 16]))] {
            let reach = Reach { user: "u".into(), client, act: act.clone() };
            assert_eq!(read(write(reach.clone())), Ok(Some(reach)));
        }
    }

    #[test]
    fn acts_come_back_as_they_were() {
        let channel = ChannelName::parse("a", 255).expect("a short name");
        let mut spared: Vec<_> = [2, 1].map(|byte| ClientId::from_random([byte; 16])).into();
        spared.sort_unstable();
        check(Act::Disconnect { code: 3503, reason: "go".into(), spared });
        check(Act::Unsubscribe { channel: None });
        check(Act::Unsubscribe { channel: Some(channel.clone()) });
        check(Act::Refresh(ServerRefresh { is_expired: true, expire_at: None, info: None }));
        check(Act::Refresh(ServerRefresh { is_expired: false, expire_at: Some(0), info: Some("".into()) }));
        check(Act::Subscribe(Box::new(ServerSubscription {
            channel: channel.clone(),
            grant: Grant::default(),
            since: None,
        })));
        let overrides = Overrides { presence: Some(false), force_recovery: Some(true), ..Overrides::default() };
        let grant = Grant { info: Some("{}".into()), data: vec![0, 255].into(), expires_at: Some(9), overrides };
        let since = Some(Since { offset: 7, epoch: "e".into() });
        check(Act::Subscribe(Box::new(ServerSubscription { channel, grant, since })));
    }

    #[test]
    fn what_no_node_wrote_is_not_done() {
        let act = |act| read(proto::Reach { user: "u".into(), client: None, act: Some(act) });
        let disconnect = |code, reason: &str, spared: &'static [u8]| {
            let (reason, spared) = (reason.to_owned(), vec![Bytes::from_static(spared)]);
            act(proto::reach::Act::Disconnect(proto::Disconnect { code, reason, spared }))
        };
        assert_eq!(disconnect(70_000, "", &[0; 16]), Err(Skipped::Foreign));
        assert_eq!(disconnect(3000, &"r".repeat(200), &[0; 16]), Err(Skipped::Foreign));
        assert_eq!(disconnect(3000, "", b"short"), Err(Skipped::Foreign));
        assert_eq!(act(proto::reach::Act::Subscribe(proto::Subscribe::default())), Err(Skipped::Foreign));
    }
}
