//! Replies as outcomes, and messages as what was published.

use std::sync::Arc;

use bytes::Bytes;

use super::resp::Reply;
use crate::engine::Stream;
use crate::engine::contract::{Operation, Outcome, Page, Published};
use crate::engine::record::{NoRecord, decode, decode_client, decode_publication};
use crate::engine::stream::wire_bytes_of;
use crate::model::{ClientInfo, Epoch, ErrorCode, HistoryResult, Position, PresenceStats, Publication};
use crate::telemetry::{EngineCounter, EngineMetrics};

/// What the reply to an operation means. Errors: nobody of ours gave such a reply (100), or the answer is no.
pub fn outcome(operation: &Operation, reply: &Reply, metrics: &EngineMetrics) -> Result<Outcome, ErrorCode> {
    let outcome = match operation {
        Operation::Publish(publish) => match publish.retention {
            Some(_) => reply.as_text().and_then(|text| position_of(text)).map(|(at, _)| Outcome::Published(Some(at))),
            None => Some(Outcome::Published(None)),
        },
        Operation::Read(_) => Range::parse(reply, metrics).map(|range| Outcome::Read(range.into_stream(metrics))),
        Operation::Page(page) => match Range::parse(reply, metrics) {
            Some(range) => return range.into_page(page, metrics).map(Outcome::Page),
            None => None,
        },
        Operation::RemoveHistory => reply.as_number().map(|removed| Outcome::HistoryRemoved(removed == 1)),
        Operation::Presence { .. } => match reply {
            Reply::Number(_) => return Err(ErrorCode::LimitExceeded),
            _ => reply.as_array().map(|clients| Outcome::Presence(clients_of(clients, metrics))),
        },
        Operation::PresenceStats => stats_of(reply).map(Outcome::PresenceStats),
        Operation::Tell(..) | Operation::Attend { .. } | Operation::Leave(_) => None,
        Operation::Listen | Operation::Unlisten => None,
    };
    outcome.ok_or(ErrorCode::Internal)
}

/// Reads a message that the topic of a channel brought. Errors: nobody of ours wrote it.
///
/// What is kept of it is a copy: the buffer that it came in is much larger.
pub fn published(message: &[u8]) -> Result<Published, NoRecord> {
    match message.split_first().ok_or(NoRecord)? {
        (b'p', record) => decode(Bytes::copy_from_slice(record), 0, None),
        (b's', rest) => {
            let (position, record) = position_of(rest).ok_or(NoRecord)?;
            let record = record.strip_prefix(b":").ok_or(NoRecord)?;
            decode(Bytes::copy_from_slice(record), position.offset, Some(position.epoch))
        }
        _ => Err(NoRecord),
    }
}

/// Reads "abcdefgh42", and gives what follows it.
fn position_of(text: &[u8]) -> Option<(Position, &[u8])> {
    let (epoch, rest) = text.split_at_checked(EPOCH_LETTERS)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (offset, rest) = rest.split_at(digits);
    let epoch = Epoch::parse(str::from_utf8(epoch).ok()?)?;
    let offset = str::from_utf8(offset).ok()?.parse().ok()?;
    Some((Position { epoch, offset }, rest))
}

/// What the script `read` gave.
struct Range<'a> {
    position: Position,
    entries: &'a [Reply],
}

impl<'a> Range<'a> {
    fn parse(reply: &'a Reply, metrics: &EngineMetrics) -> Option<Range<'a>> {
        let [epoch, offset, lost, entries] = reply.as_array()? else { return None };
        if lost.as_number()? > 0 {
            metrics.add(EngineCounter::EpochsLost, 1);
        }
        let position = Position { epoch: Epoch::parse(epoch.as_str()?)?, offset: offset.as_number()? };
        Some(Range { position, entries: entries.as_array()? })
    }

    /// The newest ones up to the position, as far back as nothing is missing: what is before something missing or
    /// damaged can't be recovered, and nobody is told that it can.
    fn into_stream(self, metrics: &EngineMetrics) -> Stream {
        let expected = (1..=self.position.offset).rev();
        let whole = self.entries.iter().map(|entry| publication_of(entry, metrics)).zip(expected);
        let whole = whole.map_while(|(found, expected)| found.filter(|publication| publication.offset == expected));
        let mut publications: Vec<_> = whole.collect();
        publications.reverse();
        Stream::from_newest(self.position, publications)
    }

    fn into_page(self, page: &Page, metrics: &EngineMetrics) -> Result<HistoryResult, ErrorCode> {
        let Position { epoch, offset } = self.position;
        if let Some(since) = &page.request.since {
            if !since.epoch.is_empty() && *since.epoch != *epoch.as_str() {
                return Err(ErrorCode::UnrecoverablePosition);
            }
            if page.request.reverse && since.offset == 0 {
                return Err(ErrorCode::BadRequest);
            }
        }
        let readable = self.entries.iter().filter_map(|entry| publication_of(entry, metrics));
        let mut bytes = 0;
        // The first one is given whatever its size, so that a reader always gets on.
        let publications = readable.take_while(|publication| {
            let is_first = bytes == 0;
            bytes += wire_bytes_of(publication).max(1);
            is_first || bytes <= page.bytes_max
        });
        Ok(HistoryResult { publications: publications.collect(), epoch, offset })
    }
}

/// Reads an entry of a stream; counts one that nobody of ours wrote.
fn publication_of(entry: &Reply, metrics: &EngineMetrics) -> Option<Arc<Publication>> {
    let publication = read_entry(entry);
    if publication.is_none() {
        metrics.add(EngineCounter::Foreign, 1);
    }
    publication
}

fn read_entry(entry: &Reply) -> Option<Arc<Publication>> {
    let [id, fields] = entry.as_array()? else { return None };
    let offset = id.as_str()?.strip_suffix("-0")?.parse().ok()?;
    let [Reply::Text(_), Reply::Text(record)] = fields.as_array()? else { return None };
    decode_publication(Bytes::copy_from_slice(record), offset).ok()
}

fn clients_of(entries: &[Reply], metrics: &EngineMetrics) -> Vec<Arc<ClientInfo>> {
    let clients: Vec<_> = entries.iter().filter_map(|entry| client_of(entry.as_text()?)).map(Arc::new).collect();
    metrics.add(EngineCounter::Foreign, (entries.len() - clients.len()) as u64);
    clients
}

/// Reads "3:ann" and the record behind it.
fn client_of(entry: &Bytes) -> Option<ClientInfo> {
    let colon = memchr::memchr(b':', entry)?;
    let length: usize = str::from_utf8(&entry[..colon]).ok()?.parse().ok()?;
    let record = entry.get(colon.checked_add(1)?.checked_add(length)?..)?;
    decode_client(Bytes::copy_from_slice(record)).ok()
}

fn stats_of(reply: &Reply) -> Option<PresenceStats> {
    let [clients, users] = reply.as_array()? else { return None };
    let count = |reply: &Reply| reply.as_number().map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    Some(PresenceStats { clients: count(clients)?, users: count(users)? })
}

const EPOCH_LETTERS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::record::encode_publication;

    fn text(text: &[u8]) -> Reply {
        Reply::Text(Bytes::copy_from_slice(text))
    }

    fn record() -> Vec<u8> {
        encode_publication(&Publication { data: Bytes::from_static(b"{}"), ..Publication::default() }, false)
    }

    fn entry(id: &str, record: &[u8]) -> Reply {
        Reply::Array(vec![text(id.as_bytes()), Reply::Array(vec![text(b"d"), text(record)])])
    }

    fn stream_of(entries: Vec<Reply>) -> (Vec<u64>, u64) {
        let metrics = EngineMetrics::default();
        let reply = Reply::Array(vec![text(b"abcdefgh"), text(b"5"), Reply::Number(0), Reply::Array(entries)]);
        let stream = Range::parse(&reply, &metrics).expect("a range").into_stream(&metrics);
        let kept = (0..5).find_map(|after| stream.after(after));
        let offsets = kept.map(|kept| kept.map(|publication| publication.offset).collect());
        (offsets.unwrap_or_default(), metrics.get(EngineCounter::Foreign))
    }

    #[test]
    fn messages_are_read_with_their_positions() {
        let message = [b"sabcdefgh42:", record().as_slice()].concat();
        let Ok(Published::Publication { publication, epoch, .. }) = published(&message) else {
            panic!("a publication")
        };
        assert_eq!((publication.offset, epoch), (42, Epoch::parse("abcdefgh")));
        let message = [b"p", record().as_slice()].concat();
        assert!(matches!(published(&message), Ok(Published::Publication { epoch: None, .. })));
    }

    #[test]
    fn foreign_messages_are_refused() {
        for message in [&b""[..], b"hello", b"p{}", b"sabcdefgh", b"sabcdefgh42", b"sabcdefgh42:x", b"sABCDEFGH1:"] {
            assert!(published(message).is_err(), "{message:?}");
        }
    }

    #[test]
    fn a_stream_goes_back_to_the_first_thing_missing() {
        let record = &record();
        let whole = |ids: &[&str]| ids.iter().map(|id| entry(id, record)).collect::<Vec<_>>();
        assert_eq!(stream_of(whole(&["5-0", "4-0", "3-0"])), (vec![3, 4, 5], 0));
        assert_eq!(stream_of(whole(&["5-0", "3-0"])), (vec![5], 0));
        assert_eq!(stream_of(whole(&["4-0", "3-0"])), (vec![], 0), "the newest one is missing");
        let mut damaged = whole(&["5-0", "4-0", "3-0"]);
        damaged[1] = entry("4-0", b"\xff");
        assert_eq!(stream_of(damaged), (vec![5], 1));
        assert_eq!(stream_of(vec![entry("5-7", record)]), (vec![], 1), "no id of ours");
    }
}
