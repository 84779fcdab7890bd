//! `throng bench recover`: N clients drop, messages are published to their rooms meanwhile, and all come back
//! for them; whether every one of them is whole, how long that takes, and what the store read for it.
//!
//! - `load`: the run; `report`: its answer as figures and as a table; `page`: its page.
//!
//! Absent on purpose: publishing while clients come back. `storm --history` has that; here everything that a
//! client must be given is known beforehand, so that it can be compared message by message.

mod load;
mod page;
mod report;

pub use load::{RecoverOptions, run};
pub use report::RecoverReport;
