//! What the doctor is asked: how many connections, of which server.

use super::running::Running;
use crate::host::listen::SocketOptions;

/// The server whose place is judged, and what is asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// Connections that it shall hold; none: as many as the memory holds.
    pub target: Option<u64>,
    /// Shards; 0 for as many as there are processors to run on.
    pub shards: u64,
    /// Addresses that it listens on, each with a listener in every shard.
    pub addresses: u64,
    /// Each shard has a table of descriptors of its own.
    pub private_tables: bool,
    /// Connections that its configuration allows; 0 for what the box does.
    pub connections_max: u64,
    /// Connections that it asks the kernel to let wait at each listener.
    pub listen_backlog: u64,
    /// `SO_SNDBUF` of its connections in bytes; 0 for the kernel's own tuning.
    pub send_buffer_bytes: u64,
    /// `SO_RCVBUF` of its connections in bytes; 0 for the kernel's own tuning.
    pub receive_buffer_bytes: u64,
    /// The clients are on this box too, so that every connection costs it twice.
    pub with_clients: bool,
    /// Descriptors of each table that are no connections, as counted in a server that starts; none:
    /// by arithmetic.
    pub reserved: Option<u64>,
    /// The server, if it runs already.
    pub running: Option<Running>,
}

impl Default for Setup {
    /// The default configuration, before it is started.
    fn default() -> Self {
        let options = SocketOptions::default();
        Setup {
            target: None,
            shards: 0,
            addresses: 1,
            private_tables: true,
            connections_max: 0,
            listen_backlog: options.listen_backlog.into(),
            send_buffer_bytes: options.send_buffer_bytes.into(),
            receive_buffer_bytes: options.receive_buffer_bytes.into(),
            with_clients: false,
            reserved: None,
            running: None,
        }
    }
}
