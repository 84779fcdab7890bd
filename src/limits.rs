//! Numbers that two or more modules use, each with its unit, its source and its relations.
//!
//! A number that only one module needs lives in that module.

/// Longest payload of a control frame. Source: RFC 6455 §5.5.
pub const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;

/// Longest reason text of a close frame: the control payload less its two-byte code.
/// Source: RFC 6455 §5.5.1.
pub const CLOSE_REASON_BYTES_MAX: usize = CONTROL_PAYLOAD_BYTES_MAX - 2;

/// Longest header of a frame: 2 bytes, an 8-byte length, a 4-byte mask. Source: RFC 6455 §5.2.
pub const FRAME_HEADER_BYTES_MAX: usize = 14;

/// Longest upgrade request, from its first byte to the empty line. Longer ones get 431.
pub const UPGRADE_BYTES_MAX: usize = 8 * 1024;

/// Longest message a client may send, by default. Source: Centrifugo v6 `websocket.message_size_limit`.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Bytes one connection may have queued before it is closed as slow, by default.
/// Source: Centrifugo v6 `client.queue_max_size`.
pub const BACKLOG_BYTES_MAX: usize = 1024 * 1024;

/// Longest answer to one command in bytes, by default. Half of a backlog, so that it alone never
/// closes a connection as slow, and a link of 1 Mbit/s takes it in seconds.
pub const ANSWER_BYTES_MAX: usize = BACKLOG_BYTES_MAX / 2;

/// Longest room name in bytes, by default. Source: Centrifugo v6 `channel.max_length`.
pub const CHANNEL_BYTES_MAX: usize = 255;

/// Rooms one connection may be a member of, by default. Source: Centrifugo v6 `client.channel_limit`.
pub const CHANNEL_LIMIT: usize = 128;

/// Most shards one process may have: a shard is a thread with its own listeners and descriptors.
pub const SHARDS_MAX: usize = 1024;

/// Threads of a server beside its shards before anybody asks it anything: the first, the committer and those
/// of the store. Source: /proc/PID/task of a server with a store.
pub const THREADS_BESIDE_SHARDS: u64 = 8;

/// Threads that the runtime makes at most for calls that wait or walk all rooms, and ends when they are idle;
/// one that cannot be made leaves its call to the others. Source: tokio's own default.
pub const RUNTIME_THREADS_MAX: usize = 512;

/// Kernel memory of one idle connection on the server's side in bytes: TCP socket, socket inode,
/// dentry, file, epoll item and wait entry. Source: /proc/slabinfo on Linux 6.18 (x86-64),
/// 2,368 + 832 + 192 + 192 + 128 + 64 bytes; a thirty-second more for slabs that are not full.
pub const KERNEL_BYTES_PER_CONNECTION: u64 = 3_776 + 118;

/// User memory of one idle connection with one subscription in bytes, at most.
/// Source: `throng bench idle`.
pub const USER_BYTES_PER_CONNECTION: u64 = 160;

// A close frame (2-byte header: server frames carry no mask) always fits in an empty backlog.
const _: () = assert!(2 + CONTROL_PAYLOAD_BYTES_MAX <= BACKLOG_BYTES_MAX);
// What a client may send to a room fits in the backlog of the room's members.
const _: () = assert!(MESSAGE_BYTES_MAX < BACKLOG_BYTES_MAX);
