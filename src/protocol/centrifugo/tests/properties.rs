//! What holds for every input.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::value::RawValue;

use super::client::{canonical, read_json, read_protobuf};
use super::samples::{json, pushes, replies, text};
use super::{LIMITS, decode_all};
use crate::model::{Command, DataShape, Format, Publication, Push, Request};
use crate::protocol::centrifugo::schema;
use crate::protocol::{Inappropriate, Incoming, append_ping, append_push, append_reply, decode};

/// Makes the payloads of both formats comparable: JSON keeps a payload's meaning, not its spaces.
fn normalize(mut reply: schema::Reply) -> schema::Reply {
    let info = |info: &mut schema::ClientInfo| {
        info.conn_info = canonical(&info.conn_info);
        info.chan_info = canonical(&info.chan_info);
    };
    let publication = |publication: &mut schema::Publication| {
        publication.data = canonical(&publication.data);
        publication.info.as_mut().map(info);
    };
    let subscribe = |subscribe: &mut schema::SubscribeResult| {
        subscribe.data = canonical(&subscribe.data);
        subscribe.publications.iter_mut().for_each(publication);
    };
    if let Some(connect) = &mut reply.connect {
        connect.data = canonical(&connect.data);
        connect.subs.iter_mut().filter_map(|entry| entry.result.as_mut()).for_each(subscribe);
    }
    reply.subscribe.as_mut().map(subscribe);
    if let Some(history) = &mut reply.history {
        history.publications.iter_mut().for_each(publication);
    }
    if let Some(presence) = &mut reply.presence {
        presence.presence.values_mut().for_each(info);
    }
    if let Some(rpc) = &mut reply.rpc {
        rpc.data = canonical(&rpc.data);
    }
    if let Some(push) = &mut reply.push {
        push.r#pub.as_mut().map(publication);
        if let Some(subscribe) = &mut push.subscribe {
            subscribe.data = canonical(&subscribe.data);
        }
        push.join.as_mut().and_then(|join| join.info.as_mut()).map(info);
        push.leave.as_mut().and_then(|leave| leave.info.as_mut()).map(info);
    }
    reply
}

fn check_same_facts(json: &[u8], protobuf: &[u8]) -> Result<(), TestCaseError> {
    let protobuf: Vec<_> = read_protobuf(protobuf).into_iter().map(normalize).collect();
    prop_assert_eq!(read_json(json), protobuf);
    Ok(())
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(message in vec(any::<u8>(), 0..200)) {
        for format in Format::ALL {
            decode_all(format, &message);
        }
    }

    /// Bytes with a true length in front reach deeper into the Protobuf decoder.
    #[test]
    fn no_delimited_bytes_make_the_decoder_panic(command in vec(any::<u8>(), 0..127)) {
        let message = [&[command.len() as u8], command.as_slice()].concat();
        decode_all(Format::CentrifugoProtobuf, &message);
    }

    /// Pieces of commands reach deeper into the JSON decoder.
    #[test]
    fn no_text_makes_the_decoder_panic(pieces in vec(prop::sample::select(PIECES), 0..40)) {
        decode_all(Format::CentrifugoJson, pieces.concat().as_bytes());
    }

    #[test]
    fn both_formats_of_a_message_carry_the_same_facts(
        replies in vec(replies(), 1..4),
        pushes in vec(pushes(), 0..3),
    ) {
        let [mut json, mut protobuf] = [Vec::new(), Vec::new()];
        for (format, payload) in [(Format::CentrifugoJson, &mut json), (Format::CentrifugoProtobuf, &mut protobuf)] {
            for reply in &replies {
                append_reply(format, reply, payload, 0).expect("all data is JSON");
            }
            append_ping(format, payload, 0);
            for push in &pushes {
                append_push(format, &push.as_push(), payload, 0).expect("all data is JSON");
            }
        }
        check_same_facts(&json, &protobuf)?;
    }

    /// What a JSON client published can be sent to JSON clients, and means the same.
    #[test]
    fn published_json_comes_out_as_it_went_in(channel in text(), data in json()) {
        let line = str::from_utf8(&data).expect("JSON is UTF-8").replace(['\r', '\n'], "");
        let channel_json = serde_json::to_string(&channel).expect("a text is JSON");
        let command = format!(r#"{{"id":1,"publish":{{"channel":{channel_json},"data":{line}}}}}"#);
        let incoming = decode(Format::CentrifugoJson, command.as_bytes(), LIMITS).next();
        let data_text = Bytes::from(line.trim().to_owned());
        let shape = if data_text.starts_with(b"{") { DataShape::Object } else { DataShape::Value };
        let expected = Request::Publish { channel: channel.as_str().into(), data: data_text, shape };
        prop_assert_eq!(incoming, Some(Ok(Incoming::Command(Command { id: 1, request: expected }))));

        let publication = Publication { data: data.clone(), offset: 1, ..Publication::default() };
        let push = Push::Publication { channel: &channel, publication: &publication, epoch: None };
        let mut payload = Vec::new();
        append_push(Format::CentrifugoJson, &push, &mut payload, 0).expect("the data is JSON");
        let read = read_json(&payload).remove(0).push.and_then(|push| push.r#pub).expect("a publication");
        prop_assert_eq!(read.data, canonical(&data));
    }

    /// Whatever the data, a JSON message is either whole or as it was.
    #[test]
    fn other_data_leaves_the_payload_as_it_was(
        data in prop_oneof![vec(any::<u8>(), 1..20).prop_map(Bytes::from), json()],
        before in text(),
    ) {
        let is_json = serde_json::from_slice::<&RawValue>(&data).is_ok();
        let publication = Publication { data, offset: 1, ..Publication::default() };
        let push = Push::Publication { channel: "c", publication: &publication, epoch: None };
        let mut payload = before.clone().into_bytes();
        let result = append_push(Format::CentrifugoJson, &push, &mut payload, 0);
        prop_assert_eq!(result, if is_json { Ok(()) } else { Err(Inappropriate) });
        prop_assert_eq!(payload.len() == before.len(), !is_json);
    }
}

const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\n",
    " ",
    "\"id\":1",
    "\"id\":",
    "\"connect\":",
    "\"subs\":",
    "\"subscribe\":",
    "\"publish\":",
    "\"data\":",
    "\"history\":",
    "\"since\":",
    "\"tf\":",
    "\"channel\":",
    "null",
    "true",
    "0",
    "-1",
    "1e9",
    "\"\"",
    "\"x\"",
    "\"\\ud800\"",
    "\\",
];
