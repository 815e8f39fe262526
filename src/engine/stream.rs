//! One channel's bounded, ordered history.

use std::collections::VecDeque;
use std::mem::size_of;
use std::sync::Arc;

use crate::model::{Epoch, ErrorCode, HistoryRequest, Position, Publication, Since};

/// Publications of one channel, oldest first, with the position of the newest.
///
/// Invariants: offsets are consecutive; the last one kept has offset `top`; `bytes` is the sum of
/// the kept publications' costs.
#[derive(Clone, Debug)]
pub struct Stream {
    epoch: Epoch,
    top: u64,
    kept: VecDeque<Arc<Publication>>,
    bytes: usize,
}

/// How much one recovery may return: more than that is not recovered at all.
#[derive(Clone, Copy, Debug)]
pub struct RecoveryLimits {
    pub publications_max: usize,
    /// Sum of what the publications take on the wire: what recovers has to fit into an outbox.
    pub bytes_max: usize,
}

impl Stream {
    pub fn new(epoch: Epoch) -> Stream {
        Stream { epoch, top: 0, kept: VecDeque::new(), bytes: 0 }
    }

    /// What is known of a stream that is kept elsewhere: where it stands, and its newest publications.
    ///
    /// Panics unless their offsets are consecutive and end at `position`.
    pub fn from_newest(position: Position, publications: Vec<Arc<Publication>>) -> Stream {
        let offsets = publications.iter().rev().map(|publication| publication.offset);
        let expected = (0..=position.offset).rev().take(publications.len());
        assert!(offsets.eq(expected), "a stream has no gaps and ends at its position");
        let bytes = publications.iter().map(|publication| cost_of(publication)).sum();
        Stream { epoch: position.epoch, top: position.offset, kept: publications.into(), bytes }
    }

    /// Keeps a publication that got its offset elsewhere: the next one.
    ///
    /// Panics if it is another.
    pub fn extend(&mut self, publication: Arc<Publication>) {
        assert_eq!(publication.offset, self.top + 1, "a stream has no gaps");
        self.top += 1;
        self.bytes += cost_of(&publication);
        self.kept.push_back(publication);
    }

    /// The same stream with the kept publications after `offset` only, and of those the newest `count_max`.
    pub fn newest_after(&self, offset: u64, count_max: usize) -> Stream {
        let missed = usize::try_from(self.top.saturating_sub(offset)).unwrap_or(usize::MAX);
        let first = self.kept.len() - missed.min(count_max).min(self.kept.len());
        Stream::from_newest(self.position(), self.kept.range(first..).cloned().collect())
    }

    /// The same stream as it was when `offset` was its newest.
    pub fn until(mut self, offset: u64) -> Stream {
        while let Some(newest) = self.kept.pop_back_if(|newest| newest.offset > offset) {
            self.bytes -= cost_of(&newest);
        }
        self.top = self.top.min(offset);
        self
    }

    /// Forgets the oldest ones until no more than this is kept.
    pub fn trim(&mut self, count_max: usize, bytes_max: usize) {
        while self.kept.len() > count_max || self.bytes > bytes_max {
            self.drop_oldest();
        }
    }

    /// The kept publications after `offset`, oldest first; `None` if some of them are not kept any more.
    pub fn after(&self, offset: u64) -> Option<impl Iterator<Item = &Arc<Publication>>> {
        let missed = usize::try_from(self.top.saturating_sub(offset)).ok()?;
        let first = self.kept.len().checked_sub(missed)?;
        Some(self.kept.range(first..))
    }

    /// Position of the newest publication; offset 0 when there was none yet.
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.top }
    }

    /// Memory held by the kept publications.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives `publication` the next offset and keeps it, with at most `size_max` others.
    pub fn append(&mut self, mut publication: Publication, size_max: usize) -> Arc<Publication> {
        self.top += 1;
        publication.offset = self.top;
        let publication = Arc::new(publication);
        self.bytes += cost_of(&publication);
        self.kept.push_back(Arc::clone(&publication));
        self.keep_newest(size_max);
        publication
    }

    /// Forgets the oldest publications until at most `size_max` are left.
    pub fn keep_newest(&mut self, size_max: usize) {
        while self.kept.len() > size_max {
            self.drop_oldest();
        }
    }

    /// From now on the same publications are of another life: no older position is one of this stream.
    pub fn begin_epoch(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    /// All kept publications, oldest first.
    pub fn publications(&self) -> impl ExactSizeIterator<Item = &Arc<Publication>> + DoubleEndedIterator {
        self.kept.iter()
    }

    /// Forgets all publications; the position stays.
    pub fn clear(&mut self) {
        self.kept = VecDeque::new();
        self.bytes = 0;
    }

    /// Everything after `since`, oldest first, or `None` when that is not whole any more.
    ///
    /// An empty epoch is taken as the current one. Source: protocol page, section 2.4, rule 3.
    pub fn recover(&self, since: &Since, limits: RecoveryLimits) -> Option<Vec<Arc<Publication>>> {
        if !(since.epoch.is_empty() || *since.epoch == *self.epoch.as_str()) {
            return None;
        }
        let missed = self.top.checked_sub(since.offset)?;
        if missed > limits.publications_max as u64 || missed > self.kept.len() as u64 {
            return None;
        }
        let first = self.kept.len() - missed as usize;
        let publications: Vec<_> = self.kept.range(first..).cloned().collect();
        let bytes: usize = publications.iter().map(|publication| wire_bytes_of(publication)).sum();
        (bytes <= limits.bytes_max).then_some(publications)
    }

    /// The newest publication, which is all that a channel used as a cache gives; none if it stands at
    /// `since` already. `None` when it is not kept any more. Source: protocol page, section 2.4, rule 3.
    pub fn recover_newest(&self, since: &Since, limits: RecoveryLimits) -> Option<Vec<Arc<Publication>>> {
        let is_of_this_life = *since.epoch == *self.epoch.as_str() || (since.epoch.is_empty() && self.top == 0);
        let is_there = is_of_this_life && since.offset == self.top;
        match self.kept.back() {
            _ if is_there => Some(Vec::new()),
            Some(newest) if wire_bytes_of(newest) <= limits.bytes_max => Some(vec![Arc::clone(newest)]),
            _ => None,
        }
    }

    /// One page of the history, at most `publications_max` long and about `bytes_max` large.
    ///
    /// Errors: `UnrecoverablePosition` when `since` names another epoch, `BadRequest` for a reverse
    /// page before offset 0. Source: protocol page, section 2.4 (History).
    pub fn page(
        &self,
        request: &HistoryRequest,
        publications_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Arc<Publication>>, ErrorCode> {
        if let Some(since) = &request.since {
            if !since.epoch.is_empty() && *since.epoch != *self.epoch.as_str() {
                return Err(ErrorCode::UnrecoverablePosition);
            }
            if request.reverse && since.offset == 0 {
                return Err(ErrorCode::BadRequest);
            }
        }
        let count = usize::try_from(request.limit).map_or(publications_max, |limit| limit.min(publications_max));
        let since = request.since.as_ref().map(|since| since.offset);
        let mut bytes_left = bytes_max;
        // The first one is given whatever its size, so that a reader always gets on.
        let mut fits = |publication: &&Arc<Publication>| {
            let is_first = bytes_left == bytes_max;
            match bytes_left.checked_sub(wire_bytes_of(publication)) {
                Some(left) => bytes_left = left.min(bytes_max - 1),
                None if is_first => bytes_left = 0,
                None => return false,
            }
            true
        };
        let page = match request.reverse {
            false => {
                let first = since.map_or(0, |since| self.count_through(since));
                self.kept.range(first..).take(count).take_while(&mut fits).cloned().collect()
            }
            true => {
                let end = since.map_or(self.kept.len(), |since| self.count_through(since.saturating_sub(1)));
                self.kept.range(..end).rev().take(count).take_while(&mut fits).cloned().collect()
            }
        };
        Ok(page)
    }

    /// How many of the kept publications have an offset up to `offset`: they are consecutive, so
    /// nobody has to look.
    fn count_through(&self, offset: u64) -> usize {
        let behind = self.top.saturating_sub(offset);
        self.kept.len().saturating_sub(usize::try_from(behind).unwrap_or(usize::MAX))
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.kept.pop_front() {
            self.bytes -= cost_of(&oldest);
        }
    }
}

/// Bytes that `publication` takes in a reply, about: who published it may weigh more than what.
pub(super) fn wire_bytes_of(publication: &Publication) -> usize {
    let info = publication.info.as_deref().map_or(0, |info| {
        let parts = [&info.conn_info, &info.chan_info];
        info.user.len() + parts.into_iter().flatten().map(|part| part.len()).sum::<usize>()
    });
    let tags = publication.tags.iter().flat_map(|tags| tags.iter());
    publication.data.len() + info + tags.map(|(key, value)| key.len() + value.len()).sum::<usize>()
}

/// Memory that keeping `publication` costs, in bytes; allocator overhead is estimated.
fn cost_of(publication: &Publication) -> usize {
    let tags: usize =
        publication.tags.as_ref().map_or(0, |tags| tags.iter().map(|(key, value)| key.len() + value.len() + 64).sum());
    size_of::<Publication>() + 64 + publication.data.len() + tags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClientId, ClientInfo};
    use bytes::Bytes;

    const ALL: RecoveryLimits = RecoveryLimits { publications_max: 300, bytes_max: 1 << 20 };

    fn publication(text: &str) -> Publication {
        Publication { data: Bytes::copy_from_slice(text.as_bytes()), ..Publication::default() }
    }

    /// Offsets 1 to `count`, of which the last `size` are kept.
    fn stream(count: usize, size: usize) -> Stream {
        let mut stream = Stream::new(Epoch::from_random(1));
        for n in 1..=count {
            stream.append(publication(&n.to_string()), size);
        }
        stream
    }

    fn since(offset: u64) -> Since {
        Since { offset, epoch: Epoch::from_random(1).as_str().into() }
    }

    fn offsets(publications: &[Arc<Publication>]) -> Vec<u64> {
        publications.iter().map(|publication| publication.offset).collect()
    }

    #[track_caller]
    fn check_recovery(stream: &Stream, since: Since, expected: Option<&[u64]>) {
        let recovered = stream.recover(&since, ALL).map(|publications| offsets(&publications));
        assert_eq!(recovered.as_deref(), expected);
    }

    #[test]
    fn a_cache_gives_the_newest_to_whoever_has_another() {
        #[track_caller]
        fn check(stream: &Stream, since: Since, expected: Option<&[u64]>) {
            let recovered = stream.recover_newest(&since, ALL).map(|publications| offsets(&publications));
            assert_eq!(recovered.as_deref(), expected);
        }
        let mut cache = stream(10, 1);
        check(&cache, since(2), Some(&[10]));
        check(&cache, Since::default(), Some(&[10]));
        check(&cache, Since { offset: 10, epoch: "another".into() }, Some(&[10]));
        check(&cache, since(10), Some(&[]));
        cache.clear();
        check(&cache, since(10), Some(&[]));
        check(&cache, since(9), None);
        check(&stream(0, 1), Since::default(), Some(&[]));
        let limits = RecoveryLimits { bytes_max: 0, ..ALL };
        assert!(stream(1, 1).recover_newest(&since(0), limits).is_none(), "larger than what may be recovered");
    }

    #[test]
    fn recovery_is_whole_or_refused() {
        let stream = stream(10, 4);
        check_recovery(&stream, since(10), Some(&[]));
        check_recovery(&stream, since(9), Some(&[10]));
        check_recovery(&stream, since(6), Some(&[7, 8, 9, 10]));
        check_recovery(&stream, since(5), None);
        check_recovery(&stream, since(11), None);
        check_recovery(&stream, Since { offset: 9, epoch: "".into() }, Some(&[10]));
        check_recovery(&stream, Since { offset: 9, epoch: "elsewhen".into() }, None);
    }

    #[test]
    fn recovery_larger_than_its_limits_is_refused() {
        let stream = stream(10, 10);
        let few = RecoveryLimits { publications_max: 3, bytes_max: 1 << 20 };
        assert!(stream.recover(&since(7), few).is_some());
        assert!(stream.recover(&since(6), few).is_none());
        let small = RecoveryLimits { publications_max: 300, bytes_max: 2 };
        assert!(stream.recover(&since(8), small).is_none(), "9 and 10 are three bytes");
    }

    #[test]
    fn a_cleared_stream_keeps_its_position_and_recovers_only_from_it() {
        let mut stream = stream(3, 3);
        stream.clear();
        assert_eq!(stream.position().offset, 3);
        assert_eq!(stream.bytes(), 0);
        check_recovery(&stream, since(3), Some(&[]));
        check_recovery(&stream, since(2), None);
    }

    #[test]
    fn who_published_counts_for_the_size_of_a_recovery_and_a_page() {
        let conn_info = Some(Bytes::from(vec![b'1'; 100]));
        let client = ClientId::from_random([1; 16]);
        let info = ClientInfo { user: "ann".into(), client, conn_info, chan_info: None };
        let mut stream = Stream::new(Epoch::from_random(1));
        for _ in 0..3 {
            stream.append(Publication { info: Some(Arc::new(info.clone())), ..publication("1") }, 10);
        }
        let limits = RecoveryLimits { publications_max: 300, bytes_max: 250 };
        assert_eq!(stream.recover(&since(1), limits).map(|two| offsets(&two)), Some(vec![2, 3]));
        assert_eq!(stream.recover(&since(0), limits), None, "three are more than 300 bytes");
        let request = HistoryRequest { channel: "c".into(), limit: -1, since: None, reverse: false };
        assert_eq!(stream.page(&request, 300, 250).expect("valid").len(), 2);
    }

    #[track_caller]
    fn check_page(limit: i32, since_offset: Option<u64>, reverse: bool, expected: &[u64]) {
        let request = HistoryRequest { channel: "c".into(), limit, since: since_offset.map(since), reverse };
        let page = stream(10, 5).page(&request, 300, 1 << 20).expect("a valid request");
        assert_eq!(offsets(&page), expected);
    }

    #[test]
    fn pages_run_forwards_and_backwards() {
        check_page(0, None, false, &[]);
        check_page(-1, None, false, &[6, 7, 8, 9, 10]);
        check_page(2, None, false, &[6, 7]);
        check_page(2, None, true, &[10, 9]);
        check_page(2, Some(7), false, &[8, 9]);
        check_page(-1, Some(2), false, &[6, 7, 8, 9, 10]);
        check_page(3, Some(8), true, &[7, 6]);
        check_page(3, Some(10), false, &[]);
        check_page(3, Some(u64::MAX), false, &[]);
        check_page(2, Some(u64::MAX), true, &[10, 9]);
        check_page(-1, Some(6), true, &[]);
        check_page(-1, Some(1), true, &[]);
    }

    #[test]
    fn a_page_is_bounded_in_bytes_but_never_stuck() {
        let mut stream = Stream::new(Epoch::from_random(1));
        for _ in 0..4 {
            stream.append(publication("0123456789"), 10);
        }
        let request = HistoryRequest { channel: "c".into(), limit: -1, since: None, reverse: false };
        assert_eq!(stream.page(&request, 300, 25).expect("valid").len(), 2);
        assert_eq!(stream.page(&request, 300, 5).expect("valid").len(), 1);
    }

    #[test]
    fn a_page_of_another_epoch_or_before_the_beginning_is_refused() {
        let foreign = HistoryRequest {
            channel: "c".into(),
            limit: 1,
            since: Some(Since { offset: 1, epoch: "elsewhen".into() }),
            reverse: false,
        };
        assert_eq!(stream(3, 3).page(&foreign, 300, 100), Err(ErrorCode::UnrecoverablePosition));
        let before = HistoryRequest { channel: "c".into(), limit: 1, since: Some(since(0)), reverse: true };
        assert_eq!(stream(3, 3).page(&before, 300, 100), Err(ErrorCode::BadRequest));
    }
}
