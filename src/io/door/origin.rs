//! Which pages' scripts may open a socket: `client.allowed_origins`.

use std::fmt;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Origins that may connect, as glob patterns over the whole `Origin` header in lower case.
///
/// `*` stands for any text, `?` for one character, `[a-c]` and `[!a-c]` for one of a class,
/// `{a,b}` for either; `\` takes the next character as it is. Requests without an `Origin` header
/// do not come from a page and pass. Source: protocol page, section 1.1.
#[derive(Clone, Debug, Default)]
pub struct AllowedOrigins(GlobSet);

/// An entry of `allowed_origins` that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadOriginPattern {
    pattern: Box<str>,
    problem: globset::ErrorKind,
}

impl AllowedOrigins {
    /// Reads the entries of the configuration.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<AllowedOrigins, BadOriginPattern> {
        let mut patterns = GlobSetBuilder::new();
        for entry in entries {
            let bad = |error: globset::Error| BadOriginPattern { pattern: entry.into(), problem: error.kind().clone() };
            let pattern = GlobBuilder::new(&entry.to_lowercase())
                .literal_separator(false)
                .backslash_escape(true)
                .empty_alternates(true)
                .build()
                .map_err(bad)?;
            patterns.add(pattern);
        }
        let set = patterns.build().map_err(|error| BadOriginPattern {
            pattern: error.glob().unwrap_or_default().into(),
            problem: error.kind().clone(),
        })?;
        Ok(AllowedOrigins(set))
    }

    /// Whether a page of this origin may connect. Without any pattern none may.
    pub fn allows(&self, origin: &str) -> bool {
        self.0.is_match(origin.to_lowercase())
    }
}

impl fmt::Display for BadOriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "allowed_origins: {:?}: {}", self.pattern, self.problem)
    }
}

impl std::error::Error for BadOriginPattern {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(patterns: &[&str], origin: &str, expected: bool) {
        let allowed = AllowedOrigins::parse(patterns.iter().copied()).unwrap();
        assert_eq!(allowed.allows(origin), expected, "{origin} against {patterns:?}");
    }

    #[test]
    fn without_a_pattern_no_page_may_connect() {
        check(&[], "https://example.com", false);
        check(&[], "null", false);
        check(&[], "", false);
    }

    #[test]
    fn a_star_alone_allows_all() {
        check(&["*"], "https://example.com", true);
        check(&["*"], "null", true);
    }

    #[test]
    fn an_origin_is_compared_whole_and_in_lower_case() {
        check(&["https://example.com"], "https://example.com", true);
        check(&["https://Example.com"], "HTTPS://eXample.COM", true);
        check(&["https://example.com"], "https://example.com.evil.org", false);
        check(&["https://example.com"], "https://evil.org/https://example.com", false);
        check(&["https://example.com"], "http://example.com", false);
        check(&["https://example.com"], "https://example.com:8443", false);
        check(&["http://localhost:3000", "https://example.com"], "https://example.com", true);
    }

    #[test]
    fn stars_stand_for_any_text() {
        check(&["https://*.example.com"], "https://chat.example.com", true);
        check(&["https://*.example.com"], "https://a.b.example.com", true);
        check(&["https://*.example.com"], "https://example.com", false);
        check(&["https://*.example.com"], "https://evilexample.com", false);
        check(&["https://*.example.com"], "https://chat.example.com.evil.org", false);
        check(&["http://localhost:*"], "http://localhost:5173", true);
        check(&["*://*.com*"], "https://aa.com.comet", true);
        check(&["a*b*c"], "abcbc", true);
        check(&["a*b*c"], "abcbd", false);
    }

    #[test]
    fn single_characters_classes_and_choices() {
        check(&["https://app?.com"], "https://app1.com", true);
        check(&["https://app?.com"], "https://app.com", false);
        check(&["https://app[1-3x].com"], "https://app2.com", true);
        check(&["https://app[1-3x].com"], "https://appx.com", true);
        check(&["https://app[!1-3].com"], "https://app2.com", false);
        check(&["https://app[!1-3].com"], "https://app4.com", true);
        check(&["http{,s}://{a,b{1,2}}.com"], "https://b2.com", true);
        check(&["http{,s}://{a,b{1,2}}.com"], "http://a.com", true);
        check(&["http{,s}://{a,b{1,2}}.com"], "http://b.com", false);
        check(&[r"https://\*.com"], "https://x.com", false);
        check(&[r"https://\*.com"], "https://*.com", true);
    }

    #[test]
    fn many_stars_do_not_take_long() {
        let origin = "a".repeat(10_000);
        check(&["*a*a*a*a*a*a*a*a*a*a*b"], &origin, false);
    }

    #[test]
    fn a_bad_pattern_says_what_is_wrong() {
        let bad = |pattern: &str| AllowedOrigins::parse([pattern]).expect_err(pattern).to_string();
        assert_eq!(
            bad("https://{a,b.com"),
            r#"allowed_origins: "https://{a,b.com": unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)"#
        );
        assert_eq!(bad("https://[z-a].com"), r#"allowed_origins: "https://[z-a].com": invalid range; 'z' > 'a'"#);
    }
}
