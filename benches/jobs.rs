//! Where a job pays: `cargo bench --bench jobs` prints what each kind of work takes on the thread
//! that does it, and what it takes to have it done by another. Thresholds: `src/limits.rs`.

#[path = "support/clock.rs"]
mod clock;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clock::{microseconds, thread_time};
use fanfare::access::TokenKeys;
use fanfare::model::{
    ClientId, ClientInfo, ConnectionId, Encoding, EncodingSet, Format, Outcome, Publication, Push, Reply, ShardId,
    WindowBits,
};
use fanfare::protocol::{self, Compression, DecodeLimits, FrameBuilder};
use fanfare::telemetry::WorkersMetrics;
use fanfare::workers::{Cancellation, Job, Owner, Pool, Work};
use fanfare::ws::{Deflater, FrameKind, Inflater, MessageKind, frame_payload};

const KIB: usize = 1024;
const JSON: Format = Format::CentrifugoJson;
const LIMITS: DecodeLimits = DecodeLimits { command_bytes_max: usize::MAX };
const PUBLIC_PEM: &str = include_str!("../tests/data/rsa_test_public.pem");

/// Heavy, and not signed by anybody: to find that out takes as long.
const HEAD_AND_CLAIMS: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiI0MiJ9";

fn main() {
    println!("{:<44} {:>9} {:>11} {:>9}", "work", "bytes", "us", "ns/byte");
    for bytes in [16 * KIB, 64 * KIB, 256 * KIB, 1024 * KIB] {
        let data = object(bytes);
        read(&data);
        encode(&data);
    }
    row("verify RS256, 2,048 bits", 0, verify());
    for clients in [100, 1000, 10_000] {
        presence(clients);
    }
    hand_over();
}

fn row(work: &str, bytes: usize, us: f64) {
    let per_byte = if bytes == 0 { String::new() } else { format!("{:.2}", us * 1000.0 / bytes as f64) };
    println!("{work:<44} {bytes:>9} {us:>11.1} {per_byte:>9}");
}

/// An object of some fields, as dashboards send them.
fn object(bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(bytes as u64);
    let mut text = String::from("[");
    while text.len() < bytes - 1 {
        let (id, price, size) = (random.u32(..), random.u16(..), random.u8(..));
        text.push_str(&format!(
            r#"{{"id":"{id:08x}","price":{price}.25,"size":{size},"side":"buy","note":"open order"}},"#
        ));
    }
    text.truncate(text.len() - 1);
    text.push(']');
    text.into_bytes()
}

fn read(data: &[u8]) {
    let command = [br#"{"id":3,"publish":{"channel":"room","data":"#, data, b"}}"].concat();
    let decode = |message: &[u8]| {
        assert!(protocol::decode(JSON, message, LIMITS).all(|command| command.is_ok()));
    };
    row("read a publish", data.len(), microseconds(|_| decode(black_box(&command))));
    let frame = Deflater::new(1).build_frame(FrameKind::Text, &command, 15).expect("it becomes smaller");
    let (payload, mut inflater) = (frame_payload(&frame), Inflater::default());
    let us = microseconds(|_| {
        decode(inflater.inflate(MessageKind::Text, black_box(payload), usize::MAX).expect("our own"));
        inflater.release();
    });
    row(&format!("inflate and read a publish of {} bytes", payload.len()), data.len(), us);
}

fn encode(data: &[u8]) {
    let publication = Publication { data: Bytes::copy_from_slice(data), offset: 1, ..Publication::default() };
    let push = Push::Publication { channel: "room", publication: &publication, epoch: None };
    let plain = EncodingSet::EMPTY.with(Encoding::plain(JSON));
    let both = plain.with(Encoding::plain(Format::CentrifugoProtobuf));
    let deflated = plain.with(Encoding::new(JSON, false, WindowBits::new(15)));
    for (name, level, encodings) in [
        ("encode as JSON", 1, plain),
        ("encode as JSON and Protobuf", 1, both),
        ("encode as JSON, compress at level 1", 1, deflated),
        ("encode as JSON, compress at level 6", 6, deflated),
        ("encode as JSON, compress at level 9", 9, deflated),
    ] {
        let mut builder = FrameBuilder::new(Compression { level, above_bytes: 0 }, usize::MAX);
        let us = microseconds(|_| {
            black_box(builder.build(black_box(&push), encodings, None));
        });
        row(name, data.len(), us);
    }
}

fn verify() -> f64 {
    let keys = TokenKeys::default().with_rsa_public_key(PUBLIC_PEM).expect("the key of the tests");
    let token = format!("{HEAD_AND_CLAIMS}.{}", "A".repeat(342));
    microseconds(|_| assert!(black_box(keys.verify(&token, 1_800_000_000)).is_err()))
}

fn presence(clients: usize) {
    let client = |n: usize| {
        Arc::new(ClientInfo {
            user: format!("user-{n}").into(),
            client: ClientId::from_random((n as u128).to_le_bytes()),
            conn_info: None,
            chan_info: None,
        })
    };
    let reply = Reply { id: 1, outcome: Ok(Outcome::Presence((0..clients).map(client).collect())) };
    let mut bytes = 0;
    let us = microseconds(|_| {
        let mut payload = Vec::new();
        assert!(protocol::append_reply(JSON, &reply, &mut payload, 0).is_ok());
        bytes = payload.len();
    });
    row(&format!("encode the presence of {clients}"), bytes, us);
}

/// One job that takes no time, alone: what its shard does for it, and how long the end is in coming.
fn hand_over() {
    let metrics = Arc::new(WorkersMetrics::new(1));
    let (sender, ended) = channel();
    let deliver = move |_, done| drop(sender.send(done));
    let pool = Pool::start(1, 16, Compression::default(), metrics, deliver).expect("threads are to be had");
    let (submitter, keys) = (pool.submitter(), Arc::<TokenKeys>::default());
    let (mut submits, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..2000 {
        let work = Work::VerifyToken { token: "".into(), keys: Arc::clone(&keys), unix_seconds: 0 };
        let (cpu, begin) = (thread_time(), Instant::now());
        let job = Job {
            shard: ShardId(0),
            owner: Owner::Connection(ConnectionId { slot: 0, generation: 0 }),
            cost: 1,
            patience: None,
            cancellation: Cancellation::NEVER,
            work: Box::new(work),
        };
        assert!(submitter.submit(job).is_ok(), "one job waits at a time");
        submits.push(thread_time() - cpu);
        ended.recv().expect("each job ends");
        ends.push(begin.elapsed());
    }
    row("hand a job over: CPU of the shard, median", 0, median(submits));
    row("hand a job over: until its end, median", 0, median(ends));
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}
