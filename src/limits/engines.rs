//! Bounds of engines, of what rooms are fed by them, and of nodes that hear one another.

use std::time::Duration;

/// Time for an engine to answer: after it a broker counts as away for this request (100).
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(1);

/// How often an engine proves by a message through its broker that it hears it.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// How long an engine waits for a shard whose tray is full, and how often it looks. Chosen: less than a stall that
/// `/livez` reports, more than the longest turn.
pub const ENGINE_DELIVERY_TIMEOUT: Duration = Duration::from_secs(2);
pub const ENGINE_DELIVERY_RETRY: Duration = Duration::from_micros(500);

/// Node messages that wait for their way out, and those that wait for the node; what comes above it is lost, which
/// its sender allows for.
pub const CONTROL_MESSAGES_MAX: usize = 1024;

/// By how much a broker's clock and this machine's may differ before somebody is told. Chosen: NTP keeps machines within
/// some hundredths of a second, and the shortest time that is counted in seconds is one.
pub const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_secs(1);

/// Pause between two tries to reach a NATS server, and after one that refused us. Chosen: back within two seconds
/// after the server is; a wrong password is tried rarely enough for no server to mind.
pub const NATS_RETRY: Duration = Duration::from_millis(250);
pub const NATS_RETRY_REFUSED: Duration = Duration::from_secs(5);

/// Messages of one NATS subscription that wait for a shard; those above it are missed, and the channels rechecked.
pub const NATS_MESSAGES_WAITING_MAX: usize = 4096;

/// Messages before it that each message of JetStream names, about 4 B each: who reads back asks for so many at a time.
pub const NATS_PREVIOUS_MAX: usize = 16;

/// Publications above which a read is done by a consumer of the server's, whose creation costs more than some messages
/// one by one (measured on a busy machine: of 500 reads of five messages 100 in a second by consumers, 500 so).
pub const NATS_READ_SINGLY_MAX: u64 = 256;

/// Messages asked for at a time by one who reads a history or who is present.
pub const NATS_READ_PORTION: u64 = 1024;
const _: () = assert!((NATS_READ_PORTION as usize) < NATS_MESSAGES_WAITING_MAX);

/// After this time without a reader the server forgets a consumer that read a history. Chosen: longer than a read.
pub const NATS_CONSUMER_TTL: Duration = Duration::from_secs(5);

/// Publications of one channel that one message of JetStream carries, and their bytes, about. A channel has one
/// message under way, so what waits meanwhile goes together. Chosen: well below `max_payload` of servers, 1 MiB.
pub const NATS_APPEND_MAX: usize = 64;
pub const NATS_APPEND_BYTES_MAX: usize = 256 * 1024;

/// Results of publishes with an idempotency key that go along with each message of their channel, and the bytes of
/// their keys. The server knows the others by their message, as long as that is kept.
pub const NATS_RESULTS_MAX: usize = 16;
pub const NATS_RESULTS_BYTES_MAX: usize = 4096;

/// Clients of one channel whom NATS counts for statistics of presence; more are refused (106). Measured: that many are
/// read in 0.2 s from a current server and in 0.9 s from one of 2.9 by a debug build on a busy machine, and an answer
/// has [`OPERATION_TIMEOUT`].
pub const NATS_PRESENCE_MAX: usize = 20_000;

/// Channels of one shard whose newest place in JetStream is known without asking. About 300 B each.
pub const NATS_TAILS_MAX: usize = 65_536;
/// How often the node looks at its engines to say which is missing, and how often it says so again.
pub const ENGINE_LOOK: Duration = Duration::from_millis(250);
pub const ENGINE_REMINDER: Duration = Duration::from_secs(30);

/// Requests of one shard that engines have not answered, and what they hold; above it publishes and questions
/// are refused (111).
pub const REQUESTS_MAX: usize = 16_384;
pub const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Publications of one channel, and their bytes, that wait for one before them, or are kept to answer those who come
/// while the stream is read.
pub const FEED_PUBLICATIONS_MAX: usize = 4096;
pub const FEED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A channel's stream is read at most once in this time, and for whoever came meanwhile; and how soon it is read
/// again after that failed.
pub const FEED_READ_INTERVAL: Duration = Duration::from_millis(10);
pub const FEED_RETRY: Duration = Duration::from_secs(1);

/// What a read may show ahead of a room without being believed at once: so many are read on top of what is recovered.
pub const FEED_AHEAD_MAX: usize = 128;

/// How long a publication that a read has shown may be on its way: after that it counts as lost. Chosen: above what a
/// broker takes to pass a message on, below what people notice.
pub const FEED_SUSPICION: Duration = Duration::from_millis(100);

/// Bytes of a channel's name, whatever is configured.
pub const CHANNEL_NAME_BYTES_MAX: usize = 65_535;

/// Requests waiting for the disk engine's thread. Chosen: 0.1 s of what it writes; more would only wait longer.
pub const DISK_QUEUE_SLOTS: usize = 16 * 1024;

/// Requests that share one write of the log, and the bytes of their records, about. Chosen: a write of 1 MiB takes
/// less than a millisecond, and more in one saves nothing.
pub const DISK_BATCH_REQUESTS_MAX: usize = 4096;
pub const DISK_BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Words for shards after which those that sleep are woken, though more follow. Chosen: some 0.1 ms of putting them in.
pub const DISK_WORDS_PER_RING: usize = 256;

/// Streams written anew by compaction beside one batch, in bytes: below a millisecond of encoding and writing.
pub const DISK_COMPACTION_SLICE_BYTES: usize = 512 * 1024;

/// Looks at streams that compaction may pass over, beside one batch: some 100 ns each.
pub const DISK_COMPACTION_LOOKS: usize = 4096;

/// Segments that a log of the greatest size has at least: it is shortened by one at a time.
pub const DISK_SEGMENTS_MIN: u64 = 16;

/// The smallest segment: beginning one takes some milliseconds.
pub const DISK_SEGMENT_BYTES_MIN: u64 = 64 * 1024;

/// How often the log is made safe against a loss of power where publishes do not wait for that.
pub const DISK_SYNC_INTERVAL: Duration = Duration::from_millis(100);

/// After which a sync that nobody waits for counts as one that does not return, and publishes are refused. Chosen: what
/// a slow disk that is busy with others may take.
pub const DISK_SYNC_TIMEOUT: Duration = Duration::from_secs(5);

/// How often it is looked whether a write of the log is overdue: after [`OPERATION_TIMEOUT`].
pub const DISK_GUARD_INTERVAL: Duration = Duration::from_millis(200);

/// How long the end of the process waits for the log to be closed.
pub const DISK_CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a log that can't be written is tried again.
pub const DISK_RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Publications of one stream in one record, in bytes: lengths are of 32 bits.
pub const DISK_STREAM_BYTES_MAX: usize = 1 << 30;

/// Records that go from the thread that reads the log at start to the one that builds the streams at a time, and how
/// many such may wait. Their payloads stay in the segment, of which at most three are in memory.
pub const DISK_REPLAY_CHUNK: usize = 1024;
pub const DISK_REPLAY_CHUNKS: usize = 16;

/// Streams and results looked at for their expiry beside one batch.
pub const DISK_EXPIRIES_PER_TURN: usize = 1024;

/// How often a node says to the others that it is there, and after which silence it is not counted any more.
pub const NODE_REPORT_INTERVAL: Duration = Duration::from_secs(3);
pub const NODE_SILENCE_MAX: Duration = Duration::from_secs(9);

/// How long answers name a node that fell silent without a goodbye: it may be cut off, and have clients all the
/// same. Chosen: as long as presence of a node that was killed lasts.
pub const NODE_LOST_KEPT: Duration = Duration::from_secs(60);

/// Time for another node to answer, or to say that it is at work: then it has [`ANSWER_TIMEOUT`] more.
pub const NODE_ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// After which a node says that it is at work.
pub const NODE_WORKING_AFTER: Duration = Duration::from_millis(400);

/// Other nodes that a node knows; a report is some hundred bytes.
pub const NODES_MAX: usize = 1000;

/// One message between nodes. Chosen: NATS carries 1 MiB unless it is told otherwise.
pub const NODE_MESSAGE_BYTES_MAX: usize = 512 * 1024;

/// Names of channels in one such message, in bytes; longer lists go in pieces.
pub const NODE_PIECE_BYTES: usize = 128 * 1024;

/// What all nodes together answer to one question for channels; how often they are asked for what comes after it, to
/// fill one page; and such pages at a time. Chosen: Redis cuts off a subscriber that has 8 MiB waiting for a minute, or
/// 32 MiB at once.
pub const NODE_CHANNELS_BYTES_MAX: usize = 8 * 1024 * 1024;
pub const NODE_CHANNELS_ROUNDS_MAX: usize = 16;
pub const NODE_CHANNELS_ASKED_MAX: usize = 2;

/// Requests to other nodes under way, and requests of others that a node works at.
pub const NODE_REQUESTS_MAX: usize = 1024;

/// Answers of other nodes that wait for whoever asked.
pub const NODE_ANSWERS_WAITING_MAX: usize = 4096;

/// How often users are counted for the reports: every shard is asked.
pub const NODE_USERS_INTERVAL: Duration = Duration::from_secs(30);

/// Requests under way on one Redis, and what of them is not written yet. Chosen: at 100,000 answers a second what
/// is asked of a server waits for a sixth of a second.
pub const REDIS_UNDER_WAY_MAX: usize = 16_384;
pub const REDIS_OUTPUT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Requests that are written together. Chosen: past some hundred the system call costs nothing beside them.
pub const REDIS_BATCH_MAX: usize = 256;

/// How often it is looked whether a request's time is up.
pub const REDIS_LOOK: Duration = Duration::from_millis(100);

/// Channels in one SUBSCRIBE, and those that the server has not confirmed.
pub const REDIS_SUBSCRIBE_BATCH_MAX: usize = 256;
pub const REDIS_SUBSCRIBES_MAX: usize = 4096;

/// Listens and unlistens waiting for one listener.
pub const REDIS_ORDERS_MAX: usize = 16_384;

/// How often one request follows a slot of a Redis Cluster to another server. Source: its clients' usual bound.
pub const REDIS_REDIRECTIONS_MAX: u8 = 5;

/// What servers of a cluster send back at a time: all that may be under way, so that no server waits for it.
pub const REDIS_RETURNED_MAX: usize = 2 * REDIS_UNDER_WAY_MAX;

/// Clients named present in one step: the server does nothing else meanwhile, some hundred microseconds.
pub const REDIS_ATTEND_CLIENTS_MAX: usize = 128;

/// Channels of which is known where their streams stood when they were last published to: some megabytes.
pub const REDIS_POSITIONS_MAX: usize = 65_536;

/// Messages between nodes that wait for whoever takes them.
pub const REDIS_CONTROL_MESSAGES_MAX: usize = 4096;
