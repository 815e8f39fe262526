//! What clients and the hub say to each other, line by line: the files in `tests/transcripts`.
//!
//! Each file is run four times in this thread, against one shard and against three, in JSON and in
//! Protobuf, and against the hub's binary. How the files are written: `support/transcript/mod.rs`.

#[path = "support/transcript/mod.rs"]
mod transcript;

use std::fs;
use std::path::{Path, PathBuf};

use fanfare::model::{DisconnectCode, ErrorCode, Format, UnsubscribeCode};
use transcript::{Cluster, Failure, Server, ServerWorld, Transcript, run};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}

fn transcripts() -> Vec<Transcript> {
    let entries = fs::read_dir(folder()).expect("the folder of transcripts is there");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    assert!(!paths.is_empty(), "there are transcripts");
    paths.iter().map(|path| Transcript::read(path)).collect()
}

/// Runs `run` for each transcript, and tells all failures at once.
fn check(transcripts: &[Transcript], run: impl Fn(&Transcript) -> Result<(), Failure>) {
    let failures: Vec<String> =
        transcripts.iter().filter_map(|transcript| run(transcript).err()).map(|failure| failure.to_string()).collect();
    assert!(failures.is_empty(), "{} of {} transcripts:\n{}", failures.len(), transcripts.len(), failures.join("\n"));
}

fn check_cluster(shards: u16, format: Format) {
    let mut transcripts = transcripts();
    transcripts.retain(|transcript| format == Format::CentrifugoJson || !transcript.is_json_only);
    check(&transcripts, |transcript| run(transcript, &mut Cluster::new(&transcript.config, shards), format));
}

#[test]
fn one_shard_says_it_in_json() {
    check_cluster(1, Format::CentrifugoJson);
}

#[test]
fn one_shard_says_it_in_protobuf() {
    check_cluster(1, Format::CentrifugoProtobuf);
}

#[test]
fn three_shards_say_the_same_in_json() {
    check_cluster(3, Format::CentrifugoJson);
}

#[test]
fn three_shards_say_the_same_in_protobuf() {
    check_cluster(3, Format::CentrifugoProtobuf);
}

#[test]
fn live_server_says_the_same() {
    let mut transcripts = transcripts();
    transcripts.retain(Transcript::is_for_servers);
    assert!(transcripts.len() > 10, "most transcripts need no clock");
    let binary = Path::new(env!("CARGO_BIN_EXE_fanfare"));
    let folder = tempfile::tempdir().expect("a folder for configurations");
    check(&transcripts, |transcript| {
        for format in Format::ALL {
            if format == Format::CentrifugoJson || !transcript.is_json_only {
                let server = Server::start(binary, &transcript.config, folder.path());
                run(transcript, &mut ServerWorld::new(server.address), format)?;
            }
        }
        Ok(())
    });
}

/// A transcript that is wrong in one line, and what is said of it.
#[track_caller]
fn check_failure(text: &str, expected: &str) {
    let text = format!("! client.insecure = true\na> {{\"id\":1,\"connect\":{{}}}}\n{text}");
    let transcript = Transcript::parse("wrong", &text);
    let failure = run(&transcript, &mut Cluster::new(&transcript.config, 1), Format::CentrifugoJson);
    assert_eq!(failure.expect_err("the transcript is wrong").to_string(), expected);
}

#[test]
fn a_transcript_can_fail() {
    const CONNECTED: &str = "a< {\"id\":1,\"connect\":\"*\"}\n";
    let told = r#"{"error":{"code":108,"message":"not available"},"id":2}"#;
    let after_connect = |text: &str| format!("{CONNECTED}{text}");
    let after_rpc = |text: &str| format!("{CONNECTED}a> {{\"id\":2,\"rpc\":{{}}}}\n{text}");

    check_failure(&after_connect("a< {}"), "wrong.txt:4: a was told nothing");
    check_failure(&after_connect("a< gone"), "wrong.txt:4: a was told nothing");
    check_failure(&after_rpc(r#"a< {"id":2,"rpc":{}}"#), &format!("wrong.txt:5: a was told {told}"));
    // A field that is not expected, one that is missing, another value.
    check_failure(&after_rpc(r#"a< {"id":2}"#), &format!("wrong.txt:5: a was told {told}"));
    check_failure(&after_rpc(r#"a< {"id":2,"error":"*","push":"*"}"#), &format!("wrong.txt:5: a was told {told}"));
    check_failure(
        &after_rpc(r#"a< {"id":2,"error":{"code":103,"message":"*"}}"#),
        &format!("wrong.txt:5: a was told {told}"),
    );
    check_failure(&after_rpc(r#"a<+ {"id":2,"error":"*"}"#), "wrong.txt:5: a was told it in a frame of its own");
    // What nobody expects: before the clock moves, before more is sent, at the end.
    check_failure(&after_rpc("~ 1s"), &format!("wrong.txt:5: before this line a was told {told}"));
    check_failure(&after_rpc("a> {}"), &format!("wrong.txt:5: before this line a was told {told}"));
    check_failure(&after_rpc("# the end"), &format!("wrong.txt:4: at the end a was told {told}"));
    // A name stands for one value.
    let twice = "b> {\"id\":1,\"connect\":{}}\nb< {\"id\":\"$same\",\"connect\":\"*\"}\n\
                 b> {\"id\":2,\"rpc\":{}}\nb< {\"id\":\"$same\",\"error\":\"*\"}";
    check_failure(&after_connect(twice), &format!("wrong.txt:7: b was told {told}"));
    check_failure(
        &after_connect("a> {\"id\":2,\"ping\":{}}\na< close 3500 bad request"),
        "wrong.txt:5: a was told close 3501 bad request",
    );
}

/// Codes that no transcript shows, and who shows them.
const ELSEWHERE: &[(u16, &str)] = &[
    (100, "a worker that panics: unit tests of the shard"),
    (101, "not given: there is no right that only a user id opens"),
    (104, "not given: there are no namespaces of rpc methods"),
    (111, "a full lane: unit tests of the shard"),
    (113, "not given: there are no maps"),
    (2502, "not given: nothing invalidates a subscription"),
    (3000, "never sent: the client is gone"),
    (3004, "a handler that panics: unit tests of the shard"),
    (3009, "never sent: writing failed"),
    (3013, "a flood of sockets that never connect: unit tests of the shard, tests/sdk/floods.test.mjs"),
    (3509, "not given: errors are not counted against a client"),
];

#[test]
fn every_code_is_in_a_transcript_or_has_a_reason_not_to_be() {
    let entries = fs::read_dir(folder()).expect("the folder of transcripts is there");
    let texts: Vec<String> =
        entries.map(|entry| fs::read_to_string(entry.expect("a file").path()).expect("a text")).collect();
    let errors = ErrorCode::ALL.iter().map(|code| code.code());
    let unsubscribes = UnsubscribeCode::ALL.iter().map(|code| code.code());
    let in_messages = errors.chain(unsubscribes).map(|code| (code, format!("{{\"code\":{code},")));
    let closes = DisconnectCode::ALL.iter().map(|code| (code.code(), format!("< close {} ", code.code())));
    for (code, shown) in in_messages.chain(closes) {
        let is_shown = texts.iter().any(|text| text.contains(&shown));
        let is_elsewhere = ELSEWHERE.iter().any(|(elsewhere, _)| *elsewhere == code);
        assert!(is_shown != is_elsewhere, "{code}: shown {is_shown}, elsewhere {is_elsewhere}");
    }
}
