//! Publications and clients as engines keep and carry them: `proto/record.proto`.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use prost::Message;

use super::contract::{Membership, Published};
use crate::model::{ClientId, ClientInfo, Epoch, Publication, Tags};

mod wire {
    include!(concat!(env!("OUT_DIR"), "/fanfare.record.rs"));
}

use wire::record::What;

/// The bytes are no record: nobody of ours wrote them, or they are damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRecord;

/// What is written for a publication. Its offset is not in it.
pub fn encode_publication(publication: &Publication, delta: bool) -> Vec<u8> {
    record_of(publication, delta).encode_to_vec()
}

/// Appends the same to `out`.
pub fn encode_publication_to(publication: &Publication, delta: bool, out: &mut Vec<u8>) {
    record_of(publication, delta).encode(out).expect("a vector grows as it has to");
}

fn record_of(publication: &Publication, delta: bool) -> wire::Record {
    let publication = wire::Publication {
        data: publication.data.clone(),
        info: publication.info.as_deref().map(client),
        tags: publication.tags.as_deref().cloned().unwrap_or_default(),
        version: publication.version,
        delta,
    };
    wire::Record { what: Some(What::Publication(publication)) }
}

pub fn encode_membership(membership: Membership, info: &ClientInfo) -> Vec<u8> {
    let what = match membership {
        Membership::Joined => What::Joined(client(info)),
        Membership::Left => What::Left(client(info)),
    };
    wire::Record { what: Some(what) }.encode_to_vec()
}

/// Reads what was published at `offset` (0: of no stream) of the stream with this epoch. Its parts share `bytes`.
pub fn decode(bytes: Bytes, offset: u64, epoch: Option<Epoch>) -> Result<Published, NoRecord> {
    match decode_what(bytes)? {
        What::Publication(read) => {
            let delta = read.delta;
            Ok(Published::Publication { publication: Arc::new(publication(read, offset)?), epoch, delta })
        }
        What::Joined(client) => Ok(Published::Membership(Membership::Joined, Arc::new(info(client)?))),
        What::Left(client) => Ok(Published::Membership(Membership::Left, Arc::new(info(client)?))),
    }
}

/// Reads a publication that is kept in a stream. Its parts share `bytes` where these can be shared.
pub fn decode_publication(bytes: impl Buf, offset: u64) -> Result<Arc<Publication>, NoRecord> {
    match decode_what(bytes)? {
        What::Publication(read) => publication(read, offset).map(Arc::new),
        What::Joined(_) | What::Left(_) => Err(NoRecord),
    }
}

fn decode_what(bytes: impl Buf) -> Result<What, NoRecord> {
    wire::Record::decode(bytes).ok().and_then(|record| record.what).ok_or(NoRecord)
}

pub fn encode_client(info: &ClientInfo) -> Vec<u8> {
    client(info).encode_to_vec()
}

pub fn decode_client(bytes: Bytes) -> Result<ClientInfo, NoRecord> {
    info(wire::Client::decode(bytes).map_err(|_| NoRecord)?)
}

fn publication(read: wire::Publication, offset: u64) -> Result<Publication, NoRecord> {
    let tags = Some(read.tags).filter(|tags: &Tags| !tags.is_empty());
    Ok(Publication {
        data: read.data,
        info: read.info.map(info).transpose()?.map(Arc::new),
        offset,
        tags: tags.map(Box::new),
        version: read.version,
    })
}

fn client(info: &ClientInfo) -> wire::Client {
    wire::Client {
        user: info.user.as_ref().into(),
        client: Bytes::copy_from_slice(info.client.as_bytes()),
        conn_info: info.conn_info.clone(),
        chan_info: info.chan_info.clone(),
    }
}

fn info(client: wire::Client) -> Result<ClientInfo, NoRecord> {
    let id = <[u8; 16]>::try_from(&client.client[..]).map_err(|_| NoRecord)?;
    Ok(ClientInfo {
        user: client.user.into(),
        client: ClientId::from_bytes(id),
        conn_info: client.conn_info,
        chan_info: client.chan_info,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> ClientInfo {
        let client = ClientId::from_random([7; 16]);
        ClientInfo { user: "ann".into(), client, conn_info: Some(Bytes::from_static(b"{}")), chan_info: None }
    }

    #[test]
    fn a_publication_comes_back_as_it_was() {
        let tags = Box::new(Tags::from([("a".into(), "b".into())]));
        let data = Bytes::from_static(&[0, 255, b'x']);
        let publication = Publication { data, info: Some(Arc::new(ann())), offset: 9, tags: Some(tags), version: 3 };
        let epoch = Epoch::from_random(5);
        let bytes = Bytes::from(encode_publication(&publication, true));
        let read = decode(bytes.clone(), 9, Some(epoch)).expect("a record");
        let Published::Publication { publication: read, epoch: of, delta } = read else { panic!("a publication") };
        assert_eq!((&*read, of, delta), (&publication, Some(epoch), true));
        assert_eq!(*decode_publication(bytes, 9).expect("a publication"), publication);
    }

    #[test]
    fn who_came_or_went_comes_back() {
        let bytes = Bytes::from(encode_membership(Membership::Left, &ann()));
        let Ok(Published::Membership(Membership::Left, read)) = decode(bytes.clone(), 0, None) else {
            panic!("a membership")
        };
        assert_eq!(*read, ann());
        assert_eq!(decode_publication(bytes, 1), Err(NoRecord), "that is in no stream");
        assert_eq!(decode_client(encode_client(&ann()).into()), Ok(ann()));
    }

    #[test]
    fn what_is_no_record_is_said_to_be_none() {
        for bytes in [&b""[..], b"\xff\xff\xff", b"{\"a\":1}", b"\x12\x03\x0a\x01x"] {
            assert!(decode(Bytes::from_static(bytes), 1, None).is_err(), "{bytes:?}");
        }
        let whole =
            encode_publication(&Publication { data: Bytes::from_static(b"abcdef"), ..Default::default() }, false);
        let torn = Bytes::from(whole).slice(..5);
        assert!(decode(torn, 1, None).is_err());
    }
}
