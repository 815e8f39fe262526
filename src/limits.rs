//! Every fixed bound with its reason; relations between them are proven at compile time.
//!
//! Bounds that operators may move are options (`config`); their defaults stand there.

mod engines;

use std::time::Duration;

pub use engines::*;

/// Bytes read from a socket at a time, into one scratch that all connections of a shard share.
/// Chosen: the default message limit, so that a whole message usually arrives in one read.
pub const READ_SCRATCH_BYTES: usize = 64 * 1024;

/// Sends in one slice of fan-out: about 1 ms at 6 us a send (measured, docs/performance.md).
pub const SLICE_SENDS_MAX: usize = 150;

/// Bytes queued in one slice of fan-out; copies of large payloads cost by the byte.
pub const SLICE_BYTES_MAX: usize = 512 * 1024;

/// Members looked at in one slice, given something or not: a look costs some nanoseconds.
pub const SLICE_VISITS_MAX: usize = 4096;

/// Deliveries of one audience waiting for their walk. Chosen: two seconds of a room of 15,000 that is
/// published to at 500 a second; above it the audience is behind, as with a full lane.
pub const AUDIENCE_PENDING_MAX: usize = 1024;

/// The same in bytes of frames.
pub const AUDIENCE_PENDING_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Deliveries joined into one piece for a walk, by count and by bytes of frames. Sixteen frames in a
/// send cost 13 times less each than one by one (measured, docs/performance.md); past 64 KiB the copy
/// costs more than the syscall saves.
pub const BATCH_DELIVERIES_MAX: usize = 64;
pub const BATCH_BYTES_MAX: usize = 64 * 1024;

/// Sends per second of one channel on one shard (members times publications) from which an adaptive
/// flush window is opened. At 6 us a send (measured, docs/performance.md) a tenth of the core: below
/// it there is less to save than the delay is worth.
pub const ADAPTIVE_SENDS_MIN: u64 = 16_000;

/// Publications that an adaptive window waits for: with sixteen frames in a send one costs a
/// thirteenth (measured, docs/performance.md), and more of them save little.
pub const ADAPTIVE_JOINED_MAX: u64 = 16;

/// Subscriptions of closed connections taken down in one turn: a tenth of 15,000 clients may vanish
/// at once.
pub const LEAVES_PER_TURN: usize = 256;

/// Reason in a close frame: 125 bytes less two of the code. Source: RFC 6455, section 5.5.
pub const CLOSE_REASON_BYTES_MAX: usize = 123;

/// Connections of one user that are listed before anything is done to them; if there are more all
/// connections of the shard are looked at.
pub const REACH_LISTED_MAX: usize = 1024;

/// What the application does to users, waiting on one shard: far more than a backend asks at a time.
pub const REACHES_WAITING_MAX: usize = 1024;

/// Connections looked at in one turn for outboxes to cut: one look costs some nanoseconds.
pub const CUT_LOOKS_PER_TURN: usize = 4096;

/// Namespaces that reloads may add to those of the start: each has its counters on every shard.
pub const NAMESPACES_ADDED_MAX: usize = 256;

/// Audiences given new options in one turn after a reload: a look for the namespace is some 100 ns.
pub const RENEWALS_PER_TURN: u32 = 2048;

/// How often the process's memory is held against its limit: when it could reach it, growing as fast as
/// outboxes can be filled (chosen: what one core copies), within these bounds. A look takes about 30 us.
pub const MEMORY_GROWTH_PER_SECOND: u64 = 1 << 30;
pub const MEMORY_LOOK_MIN: Duration = Duration::from_millis(10);
pub const MEMORY_LOOK_MAX: Duration = Duration::from_secs(1);

/// Looks until what a cut of outboxes gave back shows, as long as memory does not grow further.
pub const MEMORY_CUT_LOOKS: u32 = 10;

/// No outbox is cut below it: so little waits for a reader that is merely a moment late.
pub const MEMORY_CUT_BYTES_MIN: usize = 16 * 1024;

/// Connection timers looked at in one turn: a ping is a send, so as many as a slice has.
pub const TIMERS_PER_TURN: usize = SLICE_SENDS_MAX;

/// Messages on the way between two shards.
/// Chosen: a burst of one publication to each of a thousand rooms fits.
pub const LANE_SLOTS: usize = 1024;

/// Slots that deliveries leave free, so that answers and subscriptions always find room.
pub const LANE_SLOTS_CONTROL: usize = LANE_SLOTS / 4;

/// Slots that clients' publishes leave free besides: they are refused first, and can be retried.
pub const LANE_SLOTS_DELIVERY: usize = LANE_SLOTS / 4;

/// Messages of API, engines and workers waiting for one shard.
pub const TRAY_SLOTS: usize = 4096;

/// Bytes handed to one write, and written to one socket in one turn, about: copying them takes 50 us.
pub const WRITE_BYTES_MAX: usize = 256 * 1024;

/// Frames handed to one vectored write. Linux takes 1,024 (UIO_MAXIOV); past some dozens the
/// copy dominates the syscall.
pub const WRITE_FRAMES_MAX: usize = 64;

/// Sends handed to the kernel in one system call, about the share of a turn.
pub const RING_SENDS_MAX: usize = 256;

/// With fewer sends at a time, a system call for each costs less. Measured: docs/decisions/0005.
pub const RING_SENDS_MIN: usize = 4;

/// A longer frame is sent by itself: the copy is what it costs, and a batch of such would be a long one.
pub const RING_FRAME_BYTES_MAX: usize = 8 * 1024;

/// Replies joined into one WebSocket message, by bytes: a larger one starts another frame.
pub const REPLY_FRAME_BYTES: usize = 16 * 1024;

/// Bytes of one client in an answer to presence, at least: two UUIDs and the names of the fields. More
/// clients than fit half an outbox so are not listed to a client. Encoding one takes 0.5 us
/// (docs/performance.md), so half of the default outbox takes 2.5 ms.
pub const PRESENCE_ENTRY_BYTES: usize = 100;

/// Messages below it are not compressed. Of 150 bytes of JSON level 1 saves 9 %, for 2 us here and an
/// inflate at each client (docs/performance.md); a packet is never saved.
pub const DEFLATE_BYTES_MIN: usize = 128;

/// Messages above it are not compressed on a shard's thread: twice 64 KiB take 0.23 ms at level 1 and
/// 4 ms at level 9 (docs/performance.md).
pub const DEFLATE_INLINE_BYTES_MAX: usize = 128 * 1024;

/// Payloads above it are not said as the difference from the one before: comparing two of 64 KiB that
/// have little in common takes 0.7 ms (docs/performance.md), which workers do.
pub const DELTA_BYTES_MAX: usize = 512 * 1024;

/// Bytes compared for the publications of one recovery, on the shard's thread; what is left then is
/// said whole.
pub const DELTA_CHAIN_BYTES_MAX: usize = 256 * 1024;

/// What one shard remembers of publications to say the next ones as a difference. Rooms beyond it are
/// given whole publications. Chosen: ten thousand rooms of 6 KiB.
pub const DELTA_BASES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long a connection that was sent a close frame may take to answer it.
/// Source: protocol page, section 2.4.
pub const CLOSE_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a token, which may be verified on a shard's thread. Chosen: a message of the default limit holds
/// no longer one.
pub const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// Keys in the set that an issuer publishes. Chosen: providers have two to ten.
pub const JWKS_KEYS_MAX: usize = 64;

/// Bytes of such a set: 64 of the largest keys with their certificates.
pub const JWKS_BYTES_MAX: usize = 256 * 1024;

/// How long an issuer may take to answer with its keys; less than a client waits ([`JOB_PATIENCE`]).
pub const JWKS_FETCH_TIMEOUT: Duration = Duration::from_secs(3);

/// Age at which an issuer's keys are asked for again, by the next token, which does not wait for it.
/// Chosen: a key that is withdrawn is used for that long.
pub const JWKS_REFRESH_AFTER: Duration = Duration::from_secs(5 * 60);

/// Age up to which they are used while their issuer can't be reached.
pub const JWKS_SERVED_MAX: Duration = Duration::from_secs(60 * 60);

/// Time between two requests to an issuer that did not answer.
pub const JWKS_RETRY_MIN: Duration = Duration::from_secs(1);

/// Time between two requests for keys that an issuer has not: anybody can make up their names.
pub const JWKS_UNKNOWN_KID_MIN: Duration = Duration::from_secs(10);

/// Issuers whose keys are known or asked for, each with its own URL.
pub const JWKS_PLACES_MAX: usize = 64;

/// Requests in a minute to URLs that have given no keys: anybody may name an issuer that a pattern allows.
pub const JWKS_STRANGERS_PER_MINUTE: u32 = 120;

/// Tokens that wait for keys: as many as connect in some seconds. Others are refused (100, temporary).
pub const JWKS_WAITING_MAX: usize = 16 * 1024;

/// Tokens on their way from the shards to whoever fetches keys, and takes them out at once.
pub const JWKS_JOBS_MAX: usize = 1024;

/// Longest time until a token's expiry that clients are told, and that connections live without a
/// refresh: a year, as in Centrifugo. Tokens whose `exp` is in milliseconds by mistake are common.
pub const TTL_SECONDS_MAX: u32 = 365 * 24 * 3600;

/// Commands of one connection decoded and waiting behind one that is not decided yet. Above it
/// the connection is not read.
pub const COMMANDS_WAITING_MAX: usize = 128;

/// How often a connection that is not read, and for which something is due, is looked at again.
pub const UNREAD_LOOK: Duration = Duration::from_secs(1);

/// Bytes of one HTTP head, and of hyper's buffer for it.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Header fields of one HTTP head.
pub const HEAD_FIELDS_MAX: usize = 64;

/// How long a head may take to arrive.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Jobs waiting for a worker; when it is full the connections that want work are not read.
pub const JOBS_WAITING_MAX: usize = 1024;

/// Jobs of one shard with the workers, by count and by cost: enough to keep some cores busy until the
/// shard's next turns, and so few that another namespace's job is not long in coming.
pub const JOBS_UNDER_WAY_MAX: usize = 256;
pub const JOBS_UNDER_WAY_COST_MAX: usize = 16 * 1024 * 1024;

/// Publications of one room that are encoded at a time.
pub const ROOM_JOBS_MAX: usize = 4;

/// What may wait in the line of one room behind what is being encoded.
pub const LINE_MAX: usize = 1024;

/// Bytes of publications in all lines of a shard. Above it publishes to them are refused (111).
pub const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long a client waits for what its job brings: the SDKs' command time-out.
pub const JOB_PATIENCE: Duration = Duration::from_secs(5);

/// Work is counted in bytes of JSON read or written: 1.0 ns each, whether of 16 KiB or of a MiB
/// (measured as what follows, docs/performance.md). A signature checked with a public key:
pub const VERIFY_COST: usize = 20 * 1024;

/// A byte compressed, at levels 1 to 9.
pub const DEFLATE_COSTS: [usize; 9] = [2, 3, 4, 5, 6, 6, 8, 10, 13];

/// A byte that came compressed: about four are written for it, and read.
pub const INFLATE_COST: usize = 8;

/// A byte compared for a difference, of the publication and of the one before.
pub const DELTA_COST: usize = 6;

/// One client in an answer about presence.
pub const PRESENT_COST: usize = 128;

/// Encoding of one publication that costs more goes to the workers. Handing it over costs the shard less
/// than 1 us and its readers 12 us where a worker is idle, so it would pay from some 20 KiB on; but workers
/// run below everything else, and where all cores are busy a job waits. Chosen: an eighth of a slice, which
/// the other rooms of the shard do not feel.
pub const ENCODE_INLINE_COST_MAX: usize = 128 * 1024;

/// Messages from clients over it are read by the workers, and so are compressed ones that expand to
/// more.
pub const READ_INLINE_BYTES_MAX: usize = 64 * 1024;

/// Answers (history, presence) that cost more to encode go to the workers.
pub const ANSWER_INLINE_COST_MAX: usize = 128 * 1024;

/// How long a job waits for the workers, which run below everything else, until it is run at
/// normal priority. Chosen: far below a client's 5 s command time-out, far above a busy slice.
pub const JOB_WAIT_MAX: Duration = Duration::from_millis(100);

/// How often the oldest waiting job's age is looked at while there is one.
pub const JOB_WAIT_LOOK: Duration = Duration::from_millis(25);

/// How long the rescuer stays awake with nothing waiting: under load it is not woken for each job.
pub const RESCUER_LINGER: Duration = Duration::from_secs(1);

/// How often a worker tries to put a job's end into a full in-tray, and the pause between two
/// tries: together twice the age at which a shard counts as dead.
pub const JOB_DELIVERY_TRIES: u32 = 10_000;
pub const JOB_DELIVERY_RETRY: Duration = Duration::from_millis(1);

/// How long the control plane waits for a channel's home. Chosen: the SDKs' command time-out.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Body of one request to the server API. Chosen: a broadcast to 30,000 channels fits.
pub const API_BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long such a body may take to arrive.
pub const API_BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Publications of one API request that are on their way at a time (protocol page, section 1.12).
pub const PUBLICATIONS_TOGETHER_MAX: usize = 1024;

/// Commands of one API request. Chosen: a backend's day of changes is sent in some requests, and the
/// answers to the largest one are some megabytes.
pub const BATCH_COMMANDS_MAX: usize = 10_000;

/// Commands of a parallel batch that are run at a time. Chosen: the shards' in-trays take many such.
pub const BATCH_PARALLEL_MAX: usize = 64;

/// How long the result of a publish with an idempotency key is kept (protocol page, section 1.4).
pub const IDEMPOTENT_RESULT_TTL: Duration = Duration::from_secs(300);

/// Such results kept by one shard, by count and by bytes; past them the oldest go early. Chosen: 870 publishes
/// a second keep their five minutes.
pub const IDEMPOTENT_RESULTS_MAX: usize = 256 * 1024;
pub const IDEMPOTENT_RESULTS_BYTES_MAX: usize = 96 * 1024 * 1024;

/// Bytes of an idempotency key, and of a version's epoch. Chosen: far above a UUID or a hash.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 1024;
pub const VERSION_EPOCH_BYTES_MAX: usize = 255;

/// Names in one answer to the API's `channels`. Chosen: 6 MB of JSON; further ones are asked for by its cursor.
pub const CHANNELS_PAGE_MAX: usize = 100_000;

/// Bytes of a pattern of channels.
pub const CHANNEL_GLOB_BYTES_MAX: usize = 1024;

/// Channels that a survey looks at in one turn, and looks that one of them counts for besides when it is taken
/// into a sorted page. Of 1,000,000 channels on two shards 1,000 are listed in 0.4 s and 100,000 in 1.5 s, and
/// another client's command takes 0.03 ms meanwhile (p99 0.16 ms), as it does without (measured).
pub const SURVEY_LOOKS_PER_TURN: usize = 2048;
pub const SURVEY_TAKE_LOOKS: usize = 3;

/// Surveys that wait on a shard.
pub const SURVEYS_MAX: usize = 4;

/// Requests that the control plane handles at a time; further ones wait in their sockets.
pub const CONTROL_REQUESTS_MAX: usize = 1024;

/// Until the internal port tries to accept again after it could not.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Clients told to go in one second of a drain, at most, unless the shutdown time-out asks for
/// more. Chosen: what another node of two cores takes in without a queue at its door.
pub const DRAIN_CLIENTS_PER_SECOND: u64 = 500;

/// How long a process that leaves its port to another one goes on accepting those who have begun to connect. Chosen:
/// above a handshake's round trip, and below the second after which TCP repeats what it refused to hear meanwhile.
pub const PORT_HANDOVER: Duration = Duration::from_millis(500);

/// How often the log says how far a drain has come.
pub const DRAIN_REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// How long a node waits until its goodbye has come back to it.
pub const NODE_GOODBYE_TIMEOUT: Duration = Duration::from_millis(250);

/// Age of a shard's last turn above which the node is not alive. Chosen: fifty times what one
/// connection may cost another (design: 100 ms), and shorter than a client's ping interval.
pub const HEARTBEAT_AGE_MAX: Duration = Duration::from_secs(5);

/// Frames that one client message may come in. A fragment costs about 0.1 us and no memory
/// beyond its bytes; a 64 MiB message in fragments of 4 KiB still passes.
pub const MESSAGE_FRAGMENTS_MAX: usize = 16 * 1024;

/// The same for an echo connection: Autobahn's cases 9.3.1 and 9.4.1 send 4 MiB in 65,536 frames.
pub const ECHO_MESSAGE_FRAGMENTS_MAX: usize = 128 * 1024;

/// Readiness events taken from a shard's poll set at a time. Those that do not fit come next time.
/// Chosen: a turn's reads are bounded far below it.
pub const POLL_EVENTS_MAX: usize = 1024;

/// Sets of events taken up in one turn, while they come full: a storm of 16,000 is known of in one
/// turn, at some 50 ns an event.
pub const POLLS_PER_TURN: usize = 16;

/// Sockets that have ended and are read to their end in one turn, and sockets that are closed. At
/// some 15 us for both (docs/performance.md) half a millisecond; 1,500 that vanish at once are gone
/// in 50 turns.
pub const ENDS_PER_TURN: usize = 32;

/// What a command counts for in a turn's share of work, which is told in bytes: those read, and
/// those of replies. A byte of a reply costs about 1 ns, a small command about 1 us.
pub const COMMAND_WORK_BYTES: usize = 1024;

/// Connections that share a turn's work at least: one that asks for more yields to the others.
pub const WORK_SHARES: usize = 8;

/// Messages taken from one lane, and from the in-tray, in one turn; one costs a microsecond or few,
/// and what it makes others wait for is sliced on its own.
pub const TURN_MESSAGES_MAX: usize = 256;

/// How long a shard waits for room in a full lane or in the workers' queue: nobody rings when
/// there is room again.
pub const ROOM_RETRY: Duration = Duration::from_millis(1);

/// The longest sleep of a shard without work, so that its heartbeat tells a stalled thread.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Connections of one shard between accept and upgrade, or speaking plain HTTP. At about 20 KiB
/// each (hyper's buffers) 20 MiB.
pub const DOOR_CONNECTIONS_MAX: usize = 1024;

/// Connections that the kernel completes ahead of accept; it cuts this to net.core.somaxconn.
pub const LISTEN_BACKLOG: i32 = 4096;

/// Send buffer of a client's socket; the kernel doubles it. Chosen: some dozens of milliseconds
/// of a fast reader, and a slow one is noticed before megabytes wait out of our sight.
pub const SOCKET_SEND_BYTES: usize = 128 * 1024;

/// Silence after which the kernel probes a peer, and the time between its probes. They only catch
/// what pings do not: peers that vanish while they speak plain HTTP.
pub const SOCKET_KEEPALIVE: Duration = Duration::from_secs(60);

/// Connections turned away with 503 at a time when descriptors have run out, and the pause before
/// the next try.
pub const SHED_CONNECTIONS_MAX: usize = 128;
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often the files of certificates are looked at. A new pair is taken at the second look that
/// finds it, so within two of these.
pub const CERTIFICATE_LOOK: Duration = Duration::from_secs(1);

/// CPU time that a shard gives to TLS handshakes between two turns, begun steps excepted. Chosen: a
/// step takes 0.1 to 0.2 ms with an ECDSA key (about 1 ms with RSA-2048), so an open connection waits
/// half a millisecond more while thousands shake hands, and a turn without work costs a hundredth.
pub const HANDSHAKE_SHARE: Duration = Duration::from_micros(300);

/// Plaintext sealed at a time, and so what is sealed for a peer that does not read. One record is
/// the most that TLS has (RFC 8446, section 5.1).
pub const TLS_SEAL_BYTES_MAX: usize = 16 * 1024;

/// Records of answers that wait for a peer which asks and does not read: far more than a handshake.
pub const TLS_WAITING_BYTES_MAX: usize = 64 * 1024;

/// What is kept of a record, or of a handshake message in several, until its end has come: a record
/// is 16 KiB and some, and so is the longest chain of client certificates that is taken.
pub const TLS_PARTIAL_BYTES_MAX: usize = 20 * 1024;

/// Read at a time from a TLS connection in the door.
pub const TLS_READ_BYTES: usize = 4 * 1024;

/// What may arrive behind the head of an upgrade: in hyper's buffer, and decrypted but unread.
pub const READ_AHEAD_BYTES_MAX: usize = HEAD_BYTES_MAX + TLS_PARTIAL_BYTES_MAX + TLS_READ_BYTES;

const _: () = assert!(READ_AHEAD_BYTES_MAX <= READ_SCRATCH_BYTES, "bytes read ahead with a head fit the scratch");
const _: () = assert!(TLS_PARTIAL_BYTES_MAX < READ_SCRATCH_BYTES, "a partial record leaves room for its rest");
const _: () = assert!(TLS_PARTIAL_BYTES_MAX > 16 * 1024 + 2048 + 5, "the longest record of TLS 1.2 fits");
const _: () = assert!(HEAD_BYTES_MAX >= 8192, "hyper's smallest buffer");
const _: () = assert!(LANE_SLOTS > LANE_SLOTS_CONTROL + LANE_SLOTS_DELIVERY, "publishes need slots too");
const _: () = assert!(JWKS_FETCH_TIMEOUT.as_millis() < JOB_PATIENCE.as_millis(), "who waits for keys is told so");
const _: () = assert!(SLICE_BYTES_MAX >= READ_SCRATCH_BYTES, "one message fits a slice");
const _: () = assert!(BATCH_PARALLEL_MAX * 16 <= TRAY_SLOTS, "one batch leaves room in the tray");
const _: () = assert!(
    JOB_DELIVERY_RETRY.as_millis() as u64 * JOB_DELIVERY_TRIES as u64 >= 2 * HEARTBEAT_AGE_MAX.as_millis() as u64,
    "a worker outwaits a shard that still lives"
);
