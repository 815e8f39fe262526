//! What clients and the hub say to each other, line by line: the files in `tests/transcripts`.
//!
//! Each file is run four times in this thread, against one shard and against three, in JSON and in
//! Protobuf, and against the hub's binary. How the files are written: `support/transcript/mod.rs`.

#[path = "support/transcript/mod.rs"]
mod transcript;

use std::fs;
use std::path::{Path, PathBuf};

use fanfare::model::Encoding;
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

fn check_cluster(shards: u16, encoding: Encoding) {
    let mut transcripts = transcripts();
    transcripts.retain(|transcript| encoding == Encoding::CentrifugoJson || !transcript.is_json_only);
    check(&transcripts, |transcript| run(transcript, &mut Cluster::new(&transcript.config, shards), encoding));
}

#[test]
fn one_shard_says_it_in_json() {
    check_cluster(1, Encoding::CentrifugoJson);
}

#[test]
fn one_shard_says_it_in_protobuf() {
    check_cluster(1, Encoding::CentrifugoProtobuf);
}

#[test]
fn three_shards_say_the_same_in_json() {
    check_cluster(3, Encoding::CentrifugoJson);
}

#[test]
fn three_shards_say_the_same_in_protobuf() {
    check_cluster(3, Encoding::CentrifugoProtobuf);
}

#[test]
fn live_server_says_the_same() {
    let mut transcripts = transcripts();
    transcripts.retain(Transcript::is_for_servers);
    assert!(transcripts.len() > 10, "most transcripts need no clock");
    let binary = Path::new(env!("CARGO_BIN_EXE_fanfare"));
    let folder = tempfile::tempdir().expect("a folder for configurations");
    check(&transcripts, |transcript| {
        for encoding in Encoding::ALL {
            if encoding == Encoding::CentrifugoJson || !transcript.is_json_only {
                let server = Server::start(binary, &transcript.config, folder.path());
                run(transcript, &mut ServerWorld::new(server.address), encoding)?;
            }
        }
        Ok(())
    });
}
