//! The channels of a node: every shard says which have subscribers there, and here they become one page.

use std::collections::BTreeMap;

use super::{Answered, ChannelsAsked, ChannelsFound, Handle, Question, wrong_answer};
use crate::model::{ChannelName, ErrorCode, ShardId};

/// Names in their order, with their subscribers on all shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelsPage {
    pub channels: Vec<(ChannelName, u64)>,
    /// More names come after the last one.
    pub has_more: bool,
}

impl Handle {
    /// The first names after `asked.after`. Channels that have subscribers all the while are in exactly one of
    /// the pages that follow one another.
    ///
    /// Errors: as for all questions; `BadRequest` for what is no pattern.
    pub fn channels(
        &self,
        asked: ChannelsAsked,
    ) -> impl Future<Output = Result<ChannelsPage, ErrorCode>> + Send + use<> {
        let count_max = asked.count_max;
        let shards = (0..self.homes.shards()).map(ShardId);
        let waiting: Vec<_> = shards.map(|shard| self.ask(shard, Question::Channels(asked.clone()))).collect();
        async move {
            let mut answers = Vec::with_capacity(waiting.len());
            for answer in waiting {
                match answer.await? {
                    Answered::Channels(found) => answers.push(found),
                    other => return Err(wrong_answer(&other)),
                }
            }
            Ok(join(answers, count_max))
        }
    }
}

/// A name of the page is among the first of each shard that has it, so that its sum is whole.
fn join(answers: Vec<ChannelsFound>, count_max: usize) -> ChannelsPage {
    let mut by_name: BTreeMap<ChannelName, u64> = BTreeMap::new();
    let mut has_more = false;
    for ChannelsFound { channels, has_more: has_more_there } in answers {
        has_more |= has_more_there;
        for (name, subscribers) in channels {
            *by_name.entry(name).or_default() += u64::from(subscribers);
        }
    }
    has_more |= by_name.len() > count_max;
    ChannelsPage { channels: by_name.into_iter().take(count_max).collect(), has_more }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[(&str, u32)], has_more: bool) -> ChannelsFound {
        let name = |name: &str| ChannelName::parse(name, 255).expect("a short name");
        ChannelsFound { channels: names.iter().map(|&(text, count)| (name(text), count)).collect(), has_more }
    }

    fn joined(answers: Vec<ChannelsFound>, count_max: usize) -> (Vec<(String, u64)>, bool) {
        let ChannelsPage { channels, has_more } = join(answers, count_max);
        (channels.into_iter().map(|(name, count)| (name.to_string(), count)).collect(), has_more)
    }

    #[test]
    fn shards_make_one_page() {
        let both = || vec![found(&[("c", 1), ("a", 2)], false), found(&[("b", 4), ("c", 8)], false)];
        let all = [("a".to_owned(), 2), ("b".to_owned(), 4), ("c".to_owned(), 9)];
        assert_eq!(joined(both(), 3), (all.to_vec(), false));
        assert_eq!(joined(both(), 2), (all[..2].to_vec(), true));
        assert_eq!(joined(vec![found(&[("a", 2)], true), found(&[], false)], 3), (all[..1].to_vec(), true));
        assert_eq!(joined(vec![], 3), (vec![], false));
    }
}
