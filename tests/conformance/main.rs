//! RFC 6455 as a peer sees it, in the order of the Autobahn suite's sections: framing (1), pings (2),
//! reserved bits (3), opcodes (4), fragmentation (5), UTF-8 (6), closing (7), sizes (9, 10).
//!
//! Judged is `examples/echo.rs`, run as a process, by a client that shares no code with the server.
//!
//! Absent on purpose: sections 12 and 13. No extension is offered, so no reserved bit is ever legal.

mod closing;
mod echo;
mod fragments;
mod framing;
mod peer;
mod sizes;
mod text;
