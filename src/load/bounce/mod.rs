//! `throng bench bounce`: the members of a room leave and come back all the time; how much of that the others
//! are told, and whether everybody knows who is there once it is over.
//!
//! - `roster`: who is there, as one member knows by what it is told; `witness`: that member, on a thread of its own;
//! - `load`: the run; `report`: its answer as figures and as a table; `page`: its page.

mod load;
mod page;
mod report;
mod roster;
mod witness;

pub use load::{BounceOptions, run};
pub use report::BounceReport;
pub use roster::Roster;
