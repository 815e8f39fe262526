//! The opening handshake of permessage-deflate: offers in, one answer out.
//!
//! Source: RFC 6455 §9.1, RFC 7692 §5 and §7.1.

use super::deflate::{WINDOW_BITS_MAX, WINDOW_BITS_MIN};

/// What both sides agreed on: messages may be compressed, each on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateTerms {
    /// How far our messages may refer back, 9 to 15, if the client said it.
    server_window_bits: Option<u8>,
}

impl DeflateTerms {
    /// The window that our messages have to be made for, 9 to 15.
    pub fn window_bits(&self) -> u8 {
        self.server_window_bits.unwrap_or(WINDOW_BITS_MAX)
    }

    /// The value of `Sec-WebSocket-Extensions` in our answer.
    ///
    /// The client is asked to keep no context although it may not have offered that, which it has to
    /// respect (RFC 7692 §7.1.1.2): so all clients of a shard can share one inflater.
    pub fn answer(&self) -> String {
        let answer = format!("{NAME}; server_no_context_takeover; client_no_context_takeover");
        match self.server_window_bits {
            Some(bits) => format!("{answer}; server_max_window_bits={bits}"),
            None => answer,
        }
    }
}

/// The first offer of permessage-deflate, in the order of the client's preference, that we can keep.
///
/// `headers` are the values of `Sec-WebSocket-Extensions`. An offer with a parameter that is unknown,
/// stands twice or has a wrong value is declined. What can't be read ends its header: the client goes
/// without compression rather than without a connection.
pub fn accept_deflate<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<DeflateTerms> {
    headers.into_iter().find_map(|header| {
        let mut rest = header;
        loop {
            let offer = read_offer(&mut rest)?;
            if let Some(terms) = offer.filter(|offer| offer.name == NAME).and_then(|offer| offer.terms) {
                return Some(terms);
            }
        }
    })
}

/// One element of the list.
struct Offer<'a> {
    name: &'a str,
    /// `None`: a parameter is none of permessage-deflate's, or wrong.
    terms: Option<DeflateTerms>,
}

/// Reads up to the next comma or the end: `Some(None)` is an element without anything in it. `None`:
/// the list has ended or can't be read.
fn read_offer<'a>(rest: &mut &'a str) -> Option<Option<Offer<'a>>> {
    skip_blanks(rest);
    if rest.is_empty() {
        return None;
    }
    if skip(rest, ',') {
        return Some(None);
    }
    let name = read_token(rest)?;
    let mut seen = Seen::default();
    let mut is_known = true;
    loop {
        skip_blanks(rest);
        if rest.is_empty() || skip(rest, ',') {
            let terms = is_known.then_some(DeflateTerms { server_window_bits: seen.server_window_bits });
            return Some(Some(Offer { name, terms }));
        }
        if !skip(rest, ';') {
            return None;
        }
        skip_blanks(rest);
        let parameter = read_token(rest)?;
        skip_blanks(rest);
        let value = if skip(rest, '=') {
            skip_blanks(rest);
            Some(read_value(rest)?)
        } else {
            None
        };
        is_known &= seen.take(parameter, value.as_deref());
    }
}

/// The parameters of one offer.
#[derive(Default)]
struct Seen {
    server_no_context: bool,
    client_no_context: bool,
    client_window: bool,
    server_window_bits: Option<u8>,
}

impl Seen {
    /// Whether it may stand in an offer that we keep.
    fn take(&mut self, parameter: &str, value: Option<&str>) -> bool {
        match (parameter, value) {
            ("server_no_context_takeover", None) => !std::mem::replace(&mut self.server_no_context, true),
            ("client_no_context_takeover", None) => !std::mem::replace(&mut self.client_no_context, true),
            // Only says that the client could use less; whatever it uses, we can read.
            ("client_max_window_bits", value) => {
                value.is_none_or(|value| window_bits(value).is_some())
                    && !std::mem::replace(&mut self.client_window, true)
            }
            ("server_max_window_bits", Some(value)) => {
                // zlib makes no raw deflate for a window of 8 bits.
                let bits = window_bits(value).filter(|bits| *bits >= WINDOW_BITS_MIN);
                bits.is_some() && self.server_window_bits.replace(bits.unwrap_or_default()).is_none()
            }
            _ => false,
        }
    }
}

/// 8 to 15, in decimal without leading zeros. Source: RFC 7692 §7.1.2.
fn window_bits(value: &str) -> Option<u8> {
    let is_number = !value.starts_with('0') && value.bytes().all(|byte| byte.is_ascii_digit());
    value.parse().ok().filter(|bits| is_number && (8..=WINDOW_BITS_MAX).contains(bits))
}

/// A token, or a quoted string with one in it (RFC 6455 §9.1).
fn read_value(rest: &mut &str) -> Option<String> {
    if !skip(rest, '"') {
        return read_token(rest).map(str::to_owned);
    }
    let mut value = String::new();
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => break,
            '\\' => value.push(characters.next()?),
            character => value.push(character),
        }
    }
    *rest = characters.as_str();
    (!value.is_empty() && value.bytes().all(is_token_byte)).then_some(value)
}

fn read_token<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let end = rest.bytes().position(|byte| !is_token_byte(byte)).unwrap_or(rest.len());
    let (token, behind) = rest.split_at_checked(end)?;
    *rest = behind;
    (!token.is_empty()).then_some(token)
}

/// Source: RFC 7230 §3.2.6.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn skip(rest: &mut &str, character: char) -> bool {
    let behind = rest.strip_prefix(character);
    *rest = behind.unwrap_or(rest);
    behind.is_some()
}

fn skip_blanks(rest: &mut &str) {
    *rest = rest.trim_start_matches([' ', '\t']);
}

/// As IANA's registry has it.
const NAME: &str = "permessage-deflate";

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    fn check(header: &str, expected: Option<&str>) {
        let answer = accept_deflate([header]).map(|terms| terms.answer());
        assert_eq!(answer.as_deref(), expected, "{header:?}");
    }

    fn check_window(header: &str, bits: u8) {
        let terms = accept_deflate([header]).unwrap_or_else(|| panic!("{header:?} is accepted"));
        assert_eq!(terms.window_bits(), bits, "{header:?}");
        assert_eq!(terms.answer(), format!("{ANSWER}; server_max_window_bits={bits}"), "{header:?}");
    }

    #[test]
    fn plain_offers_are_accepted() {
        check("permessage-deflate", Some(ANSWER));
        // What browsers send.
        check("permessage-deflate; client_max_window_bits", Some(ANSWER));
        check(" permessage-deflate ;client_max_window_bits = 8 ", Some(ANSWER));
        check("permessage-deflate; client_no_context_takeover;server_no_context_takeover", Some(ANSWER));
        assert_eq!(accept_deflate(["permessage-deflate"]).unwrap().window_bits(), 15);
    }

    #[test]
    fn windows_are_kept() {
        for bits in 9..=15 {
            check_window(&format!("permessage-deflate; server_max_window_bits={bits}"), bits);
        }
        check_window("permessage-deflate; client_max_window_bits; server_max_window_bits=\"1\\0\"", 10);
    }

    #[test]
    fn what_we_can_not_keep_is_declined() {
        for parameters in [
            "server_max_window_bits=8",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=09",
            "server_max_window_bits=+9",
            "server_max_window_bits",
            "server_max_window_bits=10; server_max_window_bits=10",
            "client_max_window_bits=7",
            "client_max_window_bits=16",
            "client_max_window_bits; client_max_window_bits",
            "server_no_context_takeover=1",
            "server_no_context_takeover; server_no_context_takeover",
            "client_no_context_takeover=\"\"",
            "client_no_context_takeover; client_no_context_takeover",
            "mystery",
            "mystery=1",
        ] {
            check(&format!("permessage-deflate; {parameters}"), None);
        }
        check("x-webkit-deflate-frame", None);
        check("permessage-bzip2, permessage-foo; a=b", None);
    }

    #[test]
    fn the_first_offer_that_can_be_kept_counts() {
        let both = "permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=9";
        check_window(both, 9);
        check("foo; a=\"b, permessage-deflate; c\"", None);
        check(",, foo; a=\"b-c\" ,permessage-deflate; mystery, permessage-deflate,", Some(ANSWER));
        let terms = accept_deflate(["permessage-deflate; server_max_window_bits=8", "foo, permessage-deflate"]);
        assert_eq!(terms.map(|terms| terms.answer()).as_deref(), Some(ANSWER), "over two headers");
    }

    #[test]
    fn what_can_not_be_read_ends_its_header() {
        for header in ["", ";", "=", "permessage-deflate;", "permessage-deflate; ;", "permessage-deflate foo"] {
            check(header, None);
        }
        for header in ["permessage-deflate; server_max_window_bits=", "permessage-deflate; a=\"9", "größe, a"] {
            check(header, None);
        }
        check("permessage-deflate, ;;;", Some(ANSWER));
        check("(, permessage-deflate", None);
    }
}
