//! Each rule fails on what it forbids, and is quiet on what it allows.

use super::scan::Source;
use super::{
    Violation, check_crates, check_dependencies, check_imports, check_length, check_lock, check_module_head,
    check_purity, check_words,
};

fn lines_of(found: Vec<Violation>) -> Vec<usize> {
    found
        .iter()
        .map(|violation| violation.0.split(':').nth(1).and_then(|line| line.parse().ok()).unwrap_or(0))
        .collect()
}

fn imports(path: &str, text: &str) -> Vec<usize> {
    lines_of(check_imports(&Source::new(path, text)))
}

#[test]
fn an_import_up_or_sideways_is_found() {
    assert_eq!(imports("src/model/push.rs", "use crate::shard::Shard;"), [1]);
    assert_eq!(imports("src/room/mod.rs", "\nuse crate::protocol::Session;"), [2]);
    assert_eq!(imports("src/ws/reader.rs", "fn f() -> crate::model::Now {}"), [1]);
    assert_eq!(imports("src/api/http.rs", "use crate::{handle::Handle, model::{Now, Push}, shard::Options};"), [1]);
    assert_eq!(imports("src/protocol/centrifugo/json.rs", "use super::super::super::room::Room;"), [1]);
    assert_eq!(imports("src/shard/home.rs", "use crate::engine::redis::Redis;"), [1]);
    assert_eq!(imports("src/handle.rs", "use crate::shard::{Options, Shard};"), [1]);
    assert_eq!(imports("src/novelty/mod.rs", ""), [1]);
}

#[test]
fn an_import_down_is_fine() {
    assert_eq!(imports("src/shard/home.rs", "use crate::model::Now;\nuse crate::limits::LANE_SLOTS;"), []);
    assert_eq!(imports("src/ws/reader.rs", "use crate::ws::frame;\nuse super::frame::Frame;"), []);
    assert_eq!(imports("src/protocol/centrifugo/json.rs", "use super::session::Session;"), []);
    assert_eq!(imports("src/node.rs", "use crate::shard::Shard;"), []);
    assert_eq!(
        imports("src/model/push.rs", "/// As [`crate::shard::Shard`] says.\nconst A: &str = \"crate::shard\";"),
        []
    );
}

#[test]
fn a_crate_of_another_folder_is_found() {
    let names = ["tokio".to_owned(), "bytes".to_owned(), "proptest".to_owned(), "serde_json".to_owned()];
    let crates = |path: &str, text: &str| lines_of(check_crates(&Source::new(path, text), &names));
    assert_eq!(crates("src/model/push.rs", "use tokio::time::Sleep;"), [1]);
    assert_eq!(crates("src/model/push.rs", "\nlet x = serde_json::to_string(&y);"), [2]);
    assert_eq!(crates("src/model/push.rs", "use bytes::Bytes;\nlet n = self.bytes.len();\nmine::tokio::x();"), []);
    assert_eq!(crates("src/ws/reader.rs", "#[cfg(test)]\nmod tests {\n    use proptest::prelude::*;\n}\n"), []);
    assert_eq!(crates("src/ws/reader.rs", "use proptest::prelude::*;"), [1]);
}

#[test]
fn an_effect_in_a_pure_folder_is_found() {
    let purity = |path: &str, text: &str| lines_of(check_purity(&Source::new(path, text)));
    assert_eq!(purity("src/shard/turn.rs", "let now = Instant::now();"), [1]);
    assert_eq!(purity("src/shard/turn.rs", "async fn turn() {}"), [1]);
    assert_eq!(purity("src/room/room.rs", "use std::{net::IpAddr, sync::Arc};"), [1]);
    assert_eq!(purity("src/engine/memory.rs", "let t = SystemTime::UNIX_EPOCH;"), [1]);
    assert_eq!(purity("src/engine/contract.rs", "state: Mutex<u8>,"), [1]);
    assert_eq!(purity("src/io/door.rs", "async fn door() { Instant::now(); }"), []);
    assert_eq!(purity("src/shard/turn.rs", "// Instant::now is io's\nlet a = \"async fn\";"), []);
}

#[test]
fn a_long_file_is_found() {
    let length = |lines: usize| lines_of(check_length(&Source::new("src/ws/reader.rs", &"//\n".repeat(lines))));
    assert_eq!(length(400), []);
    assert_eq!(length(401), [401]);
}

#[test]
fn a_banned_word_is_found() {
    let words = |text: &str| lines_of(check_words(&Source::new("src/io/door.rs", text)));
    assert_eq!(words(concat!("// TO", "DO: later")), [1]);
    assert_eq!(words(concat!("uns", "afe { }")), [1]);
    assert_eq!(words(concat!("pub fn g", "et_room() {}")), [1]);
    assert_eq!(words(concat!("struct RoomMan", "ager;")), [1]);
    assert_eq!(words("// nothing unsafe here\nlet a = \"fn get_\";"), []);
}

#[test]
fn a_folder_without_its_head_is_found() {
    let head = "//! Rooms.\n//!\n//! Invariants: one owner. Must never touch ws. Read `room.rs` first.\n";
    assert_eq!(lines_of(check_module_head("src/room/mod.rs", head)), []);
    assert_eq!(lines_of(check_module_head("src/room/mod.rs", "//! Rooms.\n")).len(), 3);
}

#[test]
fn a_dependency_without_a_reason_is_found() {
    let check = |text: &str| lines_of(check_dependencies("Cargo.toml", text));
    assert_eq!(check("[dependencies]\n# Shared bytes.\nbytes = \"1\"\n"), []);
    assert_eq!(check("[dependencies]\n# Shared bytes.\nbytes = \"1\"\nmio = \"1\"\n"), [4]);
    assert_eq!(check("[dev-dependencies]\n# --- a section ---\nmio = \"1\"\n"), [3]);
    assert_eq!(check("[profile.dev]\ndebug = 1\n"), []);
}

#[test]
fn a_second_codec_or_crypto_library_is_found() {
    let lock = "name = \"tungstenite\"\nname = \"tungstenite\"\nname = \"openssl-sys\"\nname = \"bytes\"\n";
    assert_eq!(lines_of(check_lock(lock)).len(), 2);
    assert_eq!(lines_of(check_lock("name = \"tungstenite\"\n")).len(), 0);
}

#[test]
fn literals_and_comments_are_blanked() {
    let check = |text: &str, expected: &str| assert_eq!(Source::new("src/a.rs", text).code, expected);
    check("a // b\nc", "a     \nc");
    check("a /* b /* c */ */ d", "a                 d");
    check("x(\"a\\\"b\") y", "x(      ) y");
    check("r#\"a\"b\"# c", "         c");
    check("'a' '\\'' &'b str", "         &'b str");
}
