//! How the data of a publication is said.

use std::sync::Arc;

use crate::delta;
use crate::limits::DELTA_CHAIN_BYTES_MAX;
use crate::model::Publication;

/// How the data of a publication is said. JSON has data as it is only for those who read no deltas: the
/// others are given texts, of all the data or of a patch, so that both sides know every byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said<P> {
    AsItIs,
    Whole,
    /// The difference from the publication before.
    Patch(P),
}

/// How to say recovered publications to a reader of deltas: the first one whole, each other one as the
/// difference from the one before, if that is shorter. Source: protocol page, section 2.4 (Delta).
///
/// No more than `DELTA_CHAIN_BYTES_MAX` bytes are compared; what is left then is said whole.
pub fn chain(publications: &[Arc<Publication>]) -> impl Iterator<Item = (&Publication, Said<Vec<u8>>)> {
    let mut before: Option<&Publication> = None;
    let mut bytes_left = DELTA_CHAIN_BYTES_MAX;
    publications.iter().map(move |publication| {
        let patch = before.replace(publication).and_then(|base| {
            bytes_left = bytes_left.checked_sub(base.data.len() + publication.data.len())?;
            delta::create(&base.data, &publication.data)
        });
        (&**publication, patch.map_or(Said::Whole, Said::Patch))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publications(data: &[String]) -> Vec<Arc<Publication>> {
        let publication = |(data, offset): (&String, u64)| {
            Arc::new(Publication { data: data.clone().into(), offset, ..Publication::default() })
        };
        data.iter().zip(1..).map(publication).collect()
    }

    fn kinds(data: &[String]) -> String {
        let publications = publications(data);
        let letter = |(_, said): (&Publication, Said<Vec<u8>>)| match said {
            Said::AsItIs => '-',
            Said::Whole => 'w',
            Said::Patch(_) => 'p',
        };
        chain(&publications).map(letter).collect()
    }

    #[test]
    fn the_first_is_whole_and_so_is_what_no_patch_makes_shorter() {
        let similar = |n: usize| format!(r#"{{"what":"is the same in each of them","n":{n}}}"#);
        assert_eq!(kinds(&[similar(1), similar(2), "1".to_owned(), similar(3), similar(4)]), "wpwwp");
        assert_eq!(kinds(&[]), "");
    }

    #[test]
    fn a_chain_compares_no_more_than_its_bytes() {
        let data = vec!["x".repeat(DELTA_CHAIN_BYTES_MAX / 8); 8];
        assert_eq!(kinds(&data), "wppppwww");
    }
}
