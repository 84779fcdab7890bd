//! `throng bench publish`: many connections publish to many rooms; how many publishes per second the server
//! acknowledges, how long each waits for that, and what its store and the disk under it did meanwhile.
//!
//! - `course`: whose turn which room is; `receipts`: what was answered; `writers`: the connections;
//! - `load`: the run; `page`: its page.
//!
//! A publish counts when its answer is read. Absent on purpose: history reads, which would be another
//! question; whether an acknowledged publish survives is the crash program's.

mod course;
mod load;
mod page;
mod receipts;
mod writers;

pub use load::{PublishOptions, PublishReport, drain, run};
pub use receipts::{InFlight, Receipts};
pub use writers::{IN_FLIGHT_MAX, Load, Writers, WritersPlan};
