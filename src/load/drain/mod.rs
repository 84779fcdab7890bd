//! `throng bench drain`: the server is told to end, and closes its connections spread over a time; whether it does
//! so evenly, in which order, and whether anybody is cut off without a close frame.
//!
//! - `spread`: ends of connections as figures; `load`: the run; `report`: its answer as figures and as a table;
//!   `page`: its page.
//!
//! Absent on purpose: clients that come back. Where to is another server's question; see `storm`.

mod load;
mod page;
mod report;
mod spread;

pub use load::{DrainOptions, run};
pub use report::DrainReport;
