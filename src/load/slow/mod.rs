//! `throng bench slow`: a share of the members stops reading; what the others see, what the server
//! holds for them, how it closes them, and whether they are whole once they read again.
//!
//! - `load`: the run; `report`: its answer as figures and as a table. Its page is with those of the other steady
//!   loads.

mod load;
mod report;

pub use load::{RecoverPlan, SlowOptions, run};
pub use report::{Recovered, SlowReport};
