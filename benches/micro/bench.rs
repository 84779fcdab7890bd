//! One bench: criterion's timing, and beside it the allocations of an iteration.
//!
//! Invariant: nothing is counted while criterion measures, and nothing is timed while allocations
//! are counted.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion, Throughput};

use crate::counting::count_into;

/// Iterations over which allocations are counted.
const COUNTED: u64 = 10_000;

/// Iterations before that, so that buffers have the size which they keep.
const WARM_UP: u64 = 100;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// A bench that was run.
pub struct Row {
    /// The noun that it is about; criterion's group.
    pub group: &'static str,
    /// What is done to it.
    pub name: String,
    /// What one iteration handles, if a rate makes sense.
    pub throughput: Option<Throughput>,
    /// Calls of the allocator in one iteration.
    pub allocations: f64,
}

/// Takes benches one by one.
pub struct Bench {
    criterion: Criterion,
    /// The benches that were run so far.
    pub rows: Vec<Row>,
}

impl Bench {
    /// A suite that is measured by `criterion`.
    pub fn new(criterion: Criterion) -> Self {
        Bench { criterion, rows: Vec::new() }
    }

    /// Measures `work`, over and over on the same `state`.
    pub fn work<S, T>(
        &mut self,
        group: &'static str,
        name: impl Into<String>,
        throughput: Option<Throughput>,
        mut state: S,
        mut work: impl FnMut(&mut S) -> T,
    ) {
        let mut once = |state: &mut S| drop(black_box(work(state)));
        let was_run = self.time(group, name, throughput, |bencher| bencher.iter(|| once(&mut state)));
        if was_run {
            (0..WARM_UP).for_each(|_| once(&mut state));
            self.count(|| {
                count_here(true);
                (0..COUNTED).for_each(|_| once(&mut state));
                count_here(false);
            });
        }
    }

    /// Measures `work` alone, before which `prepare` is called each time. The clock is read twice for
    /// each iteration, which adds about 40 ns: not for small work.
    pub fn prepared<S>(
        &mut self,
        group: &'static str,
        name: impl Into<String>,
        throughput: Option<Throughput>,
        mut state: S,
        mut prepare: impl FnMut(&mut S),
        mut work: impl FnMut(&mut S),
    ) {
        let mut once = |state: &mut S, is_counted| {
            prepare(state);
            count_here(is_counted);
            let start = Instant::now();
            work(state);
            let time = start.elapsed();
            count_here(false);
            time
        };
        let was_run = self.time(group, name, throughput, |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| once(&mut state, false)).sum());
        });
        if was_run {
            for _ in 0..WARM_UP {
                once(&mut state, false);
            }
            self.count(|| {
                for _ in 0..COUNTED {
                    once(&mut state, true);
                }
            });
        }
    }

    /// Measures `work`, which does the given number of iterations, says how long they took, and counts
    /// its threads' allocations by `count_here` if its second argument says so.
    pub fn custom(
        &mut self,
        group: &'static str,
        name: impl Into<String>,
        throughput: Option<Throughput>,
        work: impl Fn(u64, bool) -> Duration,
    ) {
        let was_run = self.time(group, name, throughput, |bencher| {
            bencher.iter_custom(|iterations| work(iterations, false))
        });
        if was_run {
            self.count(|| {
                work(COUNTED, true);
            });
        }
    }

    /// Lets criterion measure; `false` if its filter left the bench out.
    fn time(
        &mut self,
        group: &'static str,
        name: impl Into<String>,
        throughput: Option<Throughput>,
        mut measure: impl FnMut(&mut Bencher<'_>),
    ) -> bool {
        let name = name.into();
        let mut was_run = false;
        let mut benches = self.criterion.benchmark_group(group);
        if let Some(throughput) = &throughput {
            benches.throughput(throughput.clone());
        }
        benches.bench_function(&name, |bencher| {
            was_run = true;
            measure(bencher);
        });
        benches.finish();
        if was_run {
            self.rows.push(Row { group, name, throughput, allocations: 0.0 });
        }
        was_run
    }

    /// Notes how many allocations `work`, which does `COUNTED` iterations, made for the last row.
    fn count(&mut self, work: impl FnOnce()) {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        work();
        let count = ALLOCATIONS.load(Ordering::Relaxed) - before;
        let row = self.rows.last_mut().expect("a bench was run");
        row.allocations = count as f64 / COUNTED as f64;
        println!("{:<24}allocations per iteration: {}\n", "", allocations(row.allocations));
    }
}

/// Begins or ends the count of this thread's allocations.
pub fn count_here(is_counted: bool) {
    count_into(is_counted.then_some(&ALLOCATIONS));
}

/// Allocations per iteration, to be read by people. Fewer than one in two hundred iterations is a
/// buffer that grew once.
pub fn allocations(per_iteration: f64) -> String {
    let text = format!("{per_iteration:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The throughput of an iteration over `bytes` bytes.
pub fn bytes(bytes: usize) -> Option<Throughput> {
    Some(Throughput::Bytes(bytes as u64))
}

/// The throughput of an iteration over `elements` of whatever the bench is about.
pub fn elements(elements: usize) -> Option<Throughput> {
    Some(Throughput::Elements(elements as u64))
}
