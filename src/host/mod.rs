//! What Linux gives and is asked for: descriptors, sockets, processors, memory.
//!
//! Absent on purpose: the event loop. Only `shard` names mio.

pub mod descriptors;
pub mod inherited;
pub mod listen;
pub mod memory;
pub mod processors;
pub mod socket;
pub mod tree;
