//! Micro benches: what the parts of one delivery cost without sockets, in time and in allocations.
//!
//!     cargo bench --bench micro                     # all, with what changed since the last run
//!     cargo bench --bench micro -- unmask           # those with `unmask` in their name
//!     cargo bench --bench micro -- --table FILE     # the whole suite, five times, as Markdown
//!
//! Each bench prints criterion's lines and then its allocations per iteration, which are counted
//! apart from the timed loop.
//!
//! Absent on purpose: sockets, wake-ups of sleeping threads and cold code. What the kernel costs is
//! measured by `throng bench`; here a loop repeats one thing until all it needs is in the caches,
//! except where a bench's name says that its data is scattered.

mod bench;
mod command;
#[path = "../../tests/common/counting.rs"]
mod counting;
mod encode;
mod fanout;
mod header;
mod inbox;
mod table;
mod unmask;
mod upgrade;
mod utf8;
mod wheel;

use std::time::Duration;

use criterion::Criterion;

use bench::Bench;

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--table");
    if arguments.next().is_some() {
        let file = arguments.next().filter(|file| !file.starts_with('-'));
        return table::write(&file.expect("--table is followed by the file to write"));
    }
    run(&mut Bench::new(criterion().configure_from_args()));
}

/// Settings that keep a run of the whole suite at about a minute.
fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
        .nresamples(10_000)
}

/// Runs every bench that the filter lets through.
fn run(bench: &mut Bench) {
    header::run(bench);
    unmask::run(bench);
    utf8::run(bench);
    encode::run(bench);
    fanout::run(bench);
    wheel::run(bench);
    inbox::run(bench);
    command::run(bench);
    upgrade::run(bench);
}
