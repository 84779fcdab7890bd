//! Reports: what a scenario hands over is numbers and names; how they look is decided here.
//!
//! A scenario fills a [`Table`] for the terminal, derives `Serialize` for machines and builds a
//! [`Page`] for a browser; [`Outputs`] opens the files before the run and writes them after it.
//! Every report carries its [`Origin`], without which a figure is worth nothing.
//!
//! - [`number`], [`table`], [`origin`], [`timeline`]: values, and where they come from;
//! - [`axis`], [`plot`], `svg`: a plot as plain data, and its drawing by plotters;
//! - `style`, [`page`]: the single HTML file around the plots; [`figure`]: a plot as a file of its own;
//! - [`output`]: the files.
//!
//! Absent on purpose: scripts, fonts and anything else that a page would fetch. A report is read
//! years later, from a disk, an attachment or a printer.

pub mod axis;
pub mod figure;
pub mod number;
pub mod origin;
pub mod output;
pub mod page;
pub mod plot;
mod style;
mod svg;
pub mod table;
pub mod timeline;

pub use number::{number, per};
pub use origin::Origin;
pub use output::Outputs;
pub use page::{Content, Page};
pub use plot::{Bar, Plot, Scale, Series};
pub use table::Table;
pub use timeline::Timeline;
