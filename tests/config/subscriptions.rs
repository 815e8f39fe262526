//! What subscriptions get besides what they ask for.

use fanfare::config::{self, Flags};
use fanfare::shard::Options;

fn read(text: &str) -> Options {
    let (options, _) = config::read("a.toml", text, &Flags::default()).expect("the file is right");
    options.shard
}

fn check_error(text: &str, expected: &str) {
    let problems = config::read("a.toml", text, &Flags::default()).expect_err("the file is wrong").to_string();
    assert!(problems.contains(expected), "{problems}");
}

const PERSONAL: &str = "client.subscribe_to_user_personal_channel";

#[test]
fn personal_channels_begin_with_their_namespace() {
    let prefix = |text: &str| read(text).personal_channel_prefix.map(String::from);
    assert_eq!(prefix(""), None);
    assert_eq!(prefix(&format!("{PERSONAL}.enabled = true")).as_deref(), Some("#"));
    let namespace = format!("{PERSONAL} = {{ enabled = true, personal_channel_namespace = \"own\" }}\n");
    let known = format!("{namespace}[[channel.namespaces]]\nname = \"own\"");
    assert_eq!(prefix(&known).as_deref(), Some("own:#"));
    check_error(
        &namespace,
        "client.subscribe_to_user_personal_channel.personal_channel_namespace is \"own\": there is no such namespace \
         in channel.namespaces",
    );
}

#[test]
fn only_a_cache_recovers_by_itself() {
    let options = |mode: &str| {
        format!("[channel.without_namespace]\nauto_cache_recover = true\nforce_recovery_mode = \"{mode}\"")
    };
    assert!(read(&options("cache")).namespaces.without.recovers_by_itself());
    for mode in ["", "stream"] {
        check_error(
            &options(mode),
            "channel.without_namespace has auto_cache_recover, which needs force_recovery_mode to be \"cache\"",
        );
    }
}
