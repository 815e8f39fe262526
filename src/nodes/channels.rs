//! Pages of channels: cut into pieces on their way, and joined where they were asked for.

use std::collections::BTreeMap;

use super::wire::ChannelsPiece;
use crate::handle::ChannelsPage;
use crate::limits::NODE_PIECE_BYTES;
use crate::model::ChannelName;

/// Cuts a page into pieces that fit a message each. What is above `bytes_max` is left out, and said to follow.
pub fn cut(page: ChannelsPage, bytes_max: usize) -> Vec<ChannelsPiece> {
    let ChannelsPage { channels, mut has_more } = page;
    let mut lists = vec![Vec::new()];
    let (mut bytes, mut bytes_here) = (0, 0);
    for (name, subscribers) in channels {
        let size = name.as_str().len() + BYTES_BESIDE_NAME;
        // At least one name, or the next page would begin where this one does.
        if bytes > 0 && bytes + size > bytes_max {
            has_more = true;
            break;
        }
        if bytes_here + size > NODE_PIECE_BYTES && bytes_here > 0 {
            lists.push(Vec::new());
            bytes_here = 0;
        }
        (bytes, bytes_here) = (bytes + size, bytes_here + size);
        lists.last_mut().expect("there is one from the start").push((name, subscribers));
    }
    let pieces = lists.len() as u32;
    let piece = |(piece, channels)| ChannelsPiece { piece, pieces, channels, has_more };
    (0..).zip(lists).map(piece).collect()
}

/// All pieces of one node as its page, whatever order they came in.
pub fn whole(mut pieces: Vec<ChannelsPiece>) -> ChannelsPage {
    pieces.sort_unstable_by_key(|piece| piece.piece);
    let has_more = pieces.iter().any(|piece| piece.has_more);
    ChannelsPage { channels: pieces.into_iter().flat_map(|piece| piece.channels).collect(), has_more }
}

/// The pages of all nodes as one of at most `count_max` names. A name stands in it only if every node has said all
/// it knows of the names up to there, so that its sum is whole.
pub fn join(pages: Vec<ChannelsPage>, count_max: usize) -> ChannelsPage {
    let last_known = |page: &ChannelsPage| page.channels.last().filter(|_| page.has_more).map(|(name, _)| name.clone());
    let known_until: Option<ChannelName> = pages.iter().filter_map(last_known).min();
    let mut by_name: BTreeMap<ChannelName, u64> = BTreeMap::new();
    for (name, subscribers) in pages.into_iter().flat_map(|page| page.channels) {
        *by_name.entry(name).or_default() += subscribers;
    }
    let names = by_name.len();
    let is_known = |name: &ChannelName| known_until.as_ref().is_none_or(|until| name <= until);
    let channels: Vec<_> = by_name.into_iter().take_while(|(name, _)| is_known(name)).take(count_max).collect();
    let has_more = known_until.is_some() || channels.len() < names;
    ChannelsPage { channels, has_more }
}

/// Of a name in a message: tags, lengths and the count.
const BYTES_BESIDE_NAME: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn page(names: &[(&str, u64)], has_more: bool) -> ChannelsPage {
        let name = |name: &str| ChannelName::parse(name, 255).expect("a short name");
        ChannelsPage { channels: names.iter().map(|&(text, count)| (name(text), count)).collect(), has_more }
    }

    #[test]
    fn pages_become_one() {
        let join = |pages: &[ChannelsPage], count_max| join(pages.to_vec(), count_max);
        let (one, other) = (page(&[("a", 1), ("c", 2)], false), page(&[("b", 3), ("c", 4)], false));
        assert_eq!(join(&[one.clone(), other.clone()], 9), page(&[("a", 1), ("b", 3), ("c", 6)], false));
        assert_eq!(join(&[one.clone(), other], 2), page(&[("a", 1), ("b", 3)], true));
        assert_eq!(join(&[], 2), page(&[], false));
        // The other has names after "b" that it does not say: what it has of "c" is not known.
        assert_eq!(join(&[one, page(&[("b", 3)], true)], 9), page(&[("a", 1), ("b", 3)], true));
    }

    #[test]
    fn a_long_page_goes_in_pieces() {
        let names: Vec<_> = (0..5000).map(|number| (format!("{number:0100}"), number)).collect();
        let long: Vec<_> = names.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        let long = page(&long, false);
        let mut pieces = cut(long.clone(), usize::MAX);
        assert_eq!(pieces.len(), 5);
        pieces.reverse();
        assert_eq!(whole(pieces), long);
        let some = whole(cut(long.clone(), 200_000));
        assert!(some.has_more && some.channels.len() == 200_000 / 116, "{}", some.channels.len());
        assert_eq!(some.channels[..], long.channels[..some.channels.len()]);
        assert_eq!(whole(cut(long, 0)).channels.len(), 1);
        assert_eq!(whole(cut(page(&[], false), 0)), page(&[], false));
    }
}
