//! `allowed_delta_types` and `delta_publish`.

use fanfare::config::{self, Flags};

use super::{error, options};

#[test]
fn deltas_arrive() {
    let check = |lines: &str, expected: (bool, bool)| {
        let options = options("a.toml", &format!("[channel.without_namespace]\n{lines}"));
        let without = &options.shard.namespaces.without;
        assert_eq!((without.allows_delta, without.delta_publish), expected);
    };
    check("", (false, false));
    check("allowed_delta_types = []", (false, false));
    check("allowed_delta_types = [\"fossil\"]", (true, false));
    check("allowed_delta_types = \"fossil\"\ndelta_publish = true\nflush_window = \"1ms\"", (true, true));
}

#[test]
fn deltas_need_every_publication_to_arrive() {
    check_line(
        "[channel.without_namespace]\nallowed_delta_types = [\"fossil\"]\nslow_consumer_policy = \"conflate\"",
        "2:23: channel.without_namespace has allowed_delta_types, but its slow_consumer_policy is \"conflate\": \
           a subscriber must be given every publication to read the next one as the difference from it, so it needs \
           \"disconnect\"",
    );
    check_line(
        "[[channel.namespaces]]\nname = \"chat\"\nslow_consumer_policy = \"drop_oldest\"\n\
         allowed_delta_types = \"fossil\"",
        "4:23: namespace \"chat\" has allowed_delta_types, but its slow_consumer_policy is \"drop_oldest\": \
           a subscriber must be given every publication to read the next one as the difference from it, so it needs \
           \"disconnect\"",
    );
    check_line(
        "[channel.without_namespace]\nallowed_delta_types = [\"fossil\", \"xdelta\"]",
        "2:23: channel.without_namespace.allowed_delta_types is a list; it should be a list of \"fossil\"",
    );
    let text = "[channel.without_namespace]\ndelta_publish = true";
    let (_, warnings) = config::read("a.toml", text, &Flags::default()).expect("it is accepted");
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    let expected =
        "a.toml:2: channel.without_namespace has delta_publish but no allowed_delta_types: nobody is given deltas";
    assert_eq!(warnings, [expected]);
}

/// Expects this one problem, without the excerpt below it.
#[track_caller]
fn check_line(text: &str, expected: &str) {
    let error = error("a.toml", text, &Flags::default());
    let lines: Vec<&str> = error.lines().filter_map(|line| line.strip_prefix("a.toml:")).collect();
    assert_eq!(lines, [expected], "{text}");
}
