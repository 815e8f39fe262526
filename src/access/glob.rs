//! Patterns by which the application asks for channels.

use globset::{GlobBuilder, GlobMatcher};

/// A glob over whole names: `*` and `?` stand for any characters, `[a-z]` and `{one,other}` for some. Matching
/// takes time linear in the name.
#[derive(Clone, Debug)]
pub struct ChannelGlob(GlobMatcher);

/// The text is no glob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAGlob;

impl ChannelGlob {
    pub fn parse(text: &str) -> Result<ChannelGlob, NotAGlob> {
        let glob = GlobBuilder::new(text).backslash_escape(true).build().map_err(|_| NotAGlob)?;
        Ok(ChannelGlob(glob.compile_matcher()))
    }

    pub fn is_match(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(glob: &str, matching: &[&str], others: &[&str]) {
        let glob = ChannelGlob::parse(glob).expect("a glob");
        matching.iter().for_each(|name| assert!(glob.is_match(name), "{glob:?} {name}"));
        others.iter().for_each(|name| assert!(!glob.is_match(name), "{glob:?} {name}"));
    }

    #[test]
    fn globs_match_whole_names() {
        check("chat", &["chat"], &["chat:1", "Chat"]);
        check("chat:*", &["chat:", "chat:1", "chat:a/b:c"], &["chat", "$chat:1"]);
        check("*news*", &["news", "a/news:b"], &["new"]);
        check("room-?", &["room-1"], &["room-", "room-12"]);
        check("{a,b}:[0-9]", &["a:1", "b:2"], &["c:1", "a:x"]);
        check(r"a\*", &["a*"], &["ab"]);
    }

    #[test]
    fn what_is_no_glob_is_refused() {
        assert!(ChannelGlob::parse("[a").is_err());
        assert!(ChannelGlob::parse("{a").is_err());
    }
}
