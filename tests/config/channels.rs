//! Rules for the names of channels, and for what is published to them.

use std::time::Duration;

use fanfare::access::{DataFormat, NameSays};
use fanfare::config::{self, Flags};

use super::{error, options};

#[test]
fn the_characters_of_names_arrive_and_an_empty_text_switches_a_rule_off() {
    let text = "[channel]\nprivate_prefix = \"!\"\nnamespace_boundary = \"/\"\nuser_boundary = \"@\"\n\
                user_separator = \"+\"\n[channel.without_namespace]\nallow_user_limited_channels = true";
    let namespaces = options("a.toml", text).shard.namespaces;
    let says = |name| namespaces.name_says(&namespaces.without, name, "2");
    assert!(namespaces.is_private("!a") && !namespaces.is_private("$a"));
    assert_eq!(namespaces.namespace_of("a/b:c"), Some("a"));
    assert_eq!(says("a@1+2"), NameSays::UsersWithAsker);
    assert_eq!(says("a@1,2"), NameSays::UsersWithoutAsker);
    assert_eq!(says("a#1"), NameSays::Nothing);

    let text = "[channel]\nprivate_prefix = \"\"\nnamespace_boundary = \"\"\nuser_boundary = \"\"\n\
                user_separator = \"\"\n[channel.without_namespace]\nallow_user_limited_channels = true";
    let (options, warnings) = config::read("a.toml", text, &Flags::default()).expect("it is accepted");
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["a.toml:7: channel.without_namespace has allow_user_limited_channels, but channel.user_boundary is empty: \
          no name has users"]
    );
    let namespaces = options.shard.namespaces;
    assert!(!namespaces.is_private("$a"));
    assert_eq!(namespaces.namespace_of("a:b"), None);
    assert_eq!(namespaces.name_says(&namespaces.without, "a#1", "2"), NameSays::Nothing);
}

#[test]
fn patterns_of_names_arrive() {
    let text = "[channel.without_namespace]\nchannel_regex = \"^[a-z]+$\"\n\
                [[channel.namespaces]]\nname = \"chat\"\nchannel_regex = '^\\d+$'";
    let namespaces = options("a.toml", text).shard.namespaces;
    let is_good = |name| {
        let options = namespaces.find_options(name).expect("the namespace is known");
        namespaces.check_name(options, name).is_ok()
    };
    assert!(is_good("news") && !is_good("news1") && is_good("chat:1") && !is_good("chat:news"));
}

#[test]
fn a_pattern_that_is_none_is_told_at_its_line() {
    let check = |text: &str, expected: &str| {
        let error = error("a.toml", text, &Flags::default());
        let lines: Vec<&str> = error.lines().filter_map(|line| line.strip_prefix("a.toml:")).collect();
        assert_eq!(lines, [expected], "{text}");
    };
    check(
        "[[channel.namespaces]]\nname = \"chat\"\nchannel_regex = \"a(\"",
        "3:17: the channel_regex of namespace \"chat\" is no regular expression: unclosed group",
    );
    check(
        "[channel.without_namespace]\nchannel_regex = \"(a{1000}){1000}\"",
        "2:17: the channel_regex of channel.without_namespace is too large once it is compiled: repeat less",
    );
}

#[test]
fn positions_live_as_long_as_the_channel_or_the_namespace_says() {
    let text = "[channel]\nhistory_meta_ttl = \"5m\"\n[channel.without_namespace]\nhistory_size = 1\n\
                history_ttl = \"1m\"\n[[channel.namespaces]]\nname = \"chat\"\nhistory_size = 1\nhistory_ttl = \"1m\"\n\
                history_meta_ttl = \"2m\"";
    let namespaces = options("a.toml", text).shard.namespaces;
    let meta_ttl = |name| namespaces.find_options(name).map(|options| options.history_meta_ttl);
    assert_eq!(meta_ttl("news"), Ok(Duration::from_secs(300)));
    assert_eq!(meta_ttl("chat:1"), Ok(Duration::from_secs(120)));
}

#[test]
fn data_formats_are_the_namespaces_or_the_nodes() {
    let text = "[channel]\npublication_data_format = \"json\"\n[[channel.namespaces]]\nname = \"chat\"\n\
                publication_data_format = \"binary\"\n[[channel.namespaces]]\nname = \"game\"";
    let namespaces = options("a.toml", text).shard.namespaces;
    let format = |name| namespaces.find_options(name).map(|options| options.publication_data_format);
    assert_eq!(format("news"), Ok(DataFormat::Json));
    assert_eq!(format("chat:1"), Ok(DataFormat::Binary));
    assert_eq!(format("game:1"), Ok(DataFormat::Json));
    let of_none = options("a.toml", "").shard.namespaces;
    assert_eq!(of_none.without.publication_data_format, DataFormat::NotEmpty);
    let error = error("a.toml", "channel.publication_data_format = \"xml\"", &Flags::default());
    assert!(error.contains("is \"xml\"; it should be one of \"\", \"json\", \"json_object\", \"binary\""), "{error}");
}
