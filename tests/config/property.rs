//! No file and no variable makes the reading panic, whatever is in it.

use fanfare::config::{self, Environment, Flags};
use proptest::prelude::*;

const NAMES: [&str; 3] = ["a.toml", "a.yaml", "a.json"];

/// Pieces of configurations, right and wrong: put together they get further than bytes do.
const PIECES: &[&str] = &[
    "[client]",
    "client:",
    "{\"client\":",
    "token",
    "[[channel.namespaces]]",
    "channel.namespaces",
    "namespaces:",
    "name",
    "\"chat\"",
    "history_size",
    "history_ttl",
    "flush_window",
    "slow_consumer_policy",
    "allowed_origins",
    "= ",
    ": ",
    "- ",
    "  ",
    "\n",
    ",",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "0",
    "-1",
    "1e9",
    "99999999999999999999",
    "25s",
    "true",
    "null",
    "&a",
    "*a",
    "<<",
    "!!str",
    "|",
    "å",
    "\u{feff}",
    "\t",
    "#",
    ".",
    "http_server",
    "port",
    "fanfare",
    "memory_limit",
    "auto",
];

fn read(text: &str) {
    for name in NAMES {
        let _ = config::read(name, text, &Flags::default());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        read(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn pieces_do_not_panic(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..40)) {
        read(&pieces.concat());
    }

    #[test]
    fn variables_do_not_panic(
        name in "(FANFARE|CENTRIFUGO)_(CLIENT|CHANNEL_NAMESPACES|PROXIES|HTTP_SERVER)(_[A-Z_]{0,12}){0,3}(_FILE)?",
        value in "\\PC{0,40}|\\[\\{\"name\": \".{0,3}\"\\}\\]",
    ) {
        let environment = Environment::new([(name, value), ("FANFARE_CHANNEL_NAMESPACES".into(), "a b".into())]);
        let _ = config::load_under(&environment, &Flags::default());
    }
}

#[test]
fn depth_takes_no_stack() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("a:\n ", ""), ("- ", "")] {
        read(&format!("{}{}", open.repeat(1_000), close.repeat(1_000)));
        read(&format!("{{\"client\": {}1{}}}", open.repeat(1_000), close.repeat(1_000)));
        read(&format!("client = {}1{}", open.repeat(1_000), close.repeat(1_000)));
    }
}
