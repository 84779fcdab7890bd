//! What a process spent between two moments, thread by thread, and which side was the bottleneck.
//!
//! A thread that computes all the time is a bottleneck however idle its process is on the whole. The
//! kernel says for each thread how long it ran (`/proc/PID/task/TID/schedstat`), and how busy the machine
//! was on the whole (`/proc/stat`): what neither side used, somebody else took from both.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::probe::Probe;

/// A thread that ran this share of the time is saturated: the rest is what one look can be off.
const SATURATED: f64 = 0.92;
/// The machine is saturated when both sides together keep this share of its cores busy: interrupts and
/// kernel threads, which belong to neither, take the rest.
const MACHINE_SATURATED: f64 = 0.9;
/// Others disturb when the machine is saturated and they took this share of its cores.
const OTHERS_SHARE: f64 = 0.2;
/// Ticks of `/proc/stat` in a second: USER_HZ, which is 100 on every architecture that Linux has today.
const TICKS_PER_SECOND: f64 = 100.0;

/// Run time of every thread of a process at one moment.
#[derive(Debug, Clone)]
pub struct CostSample {
    at: Instant,
    threads: HashMap<u32, Duration>,
}

impl CostSample {
    /// Looks at process `pid`; one that is gone has no threads.
    pub fn of(pid: u32) -> Self {
        let mut threads = HashMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let Some(thread) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let text = fs::read_to_string(entry.path().join("schedstat")).unwrap_or_default();
            let run_ns = text.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
            threads.insert(thread, Duration::from_nanos(run_ns.unwrap_or(0)));
        }
        Self { at: Instant::now(), threads }
    }

    /// Seconds from `before` to this look.
    fn seconds_since(&self, before: &Self) -> f64 {
        self.at.duration_since(before.at).as_secs_f64()
    }

    /// What was spent from `before` to this look.
    pub fn since(&self, before: &Self) -> Cost {
        let seconds = self.seconds_since(before);
        let spent = self.threads.iter().map(|(thread, now)| {
            now.saturating_sub(before.threads.get(thread).copied().unwrap_or_default()).as_secs_f64()
        });
        let (mut total, mut busiest) = (0.0, 0.0_f64);
        for spent in spent {
            total += spent;
            busiest = busiest.max(spent);
        }
        if seconds <= 0.0 {
            return Cost::default();
        }
        Cost { cpu_seconds: total, cores: total / seconds, busiest_thread: busiest / seconds }
    }
}

/// What a process spent over some time.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Cost {
    /// CPU time of its threads that were alive at the end.
    pub cpu_seconds: f64,
    /// The same per second: cores kept busy.
    pub cores: f64,
    /// Share of the time that its busiest thread ran, 0 to 1.
    pub busiest_thread: f64,
}

/// What kept the figures from being better.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bottleneck {
    /// Nothing was saturated: the load was all there was.
    #[default]
    None,
    /// A thread of the server ran all the time.
    Server,
    /// A thread of the generator ran all the time, and none of the server's did.
    Generator,
    /// Both sides together used every core of this machine.
    Machine,
    /// Something else on this machine took the time that both sides lacked.
    Others,
}

impl Bottleneck {
    /// Judges by what both sides spent, on a machine of `cores` cores of which `busy` were, if that is known.
    pub fn judge(server: Option<Cost>, generator: Cost, busy: Option<f64>, cores: usize) -> Self {
        // A server that is not seen is among the others.
        let others =
            server.and(busy).map_or(0.0, |busy| busy - server.unwrap_or_default().cores - generator.cores);
        let server = server.unwrap_or_default();
        let is_busy = busy.is_some_and(|busy| busy >= MACHINE_SATURATED * cores as f64);
        if is_busy && others >= OTHERS_SHARE * cores as f64 {
            Self::Others
        } else if server.cores + generator.cores >= MACHINE_SATURATED * cores as f64 {
            Self::Machine
        } else if server.busiest_thread >= SATURATED {
            Self::Server
        } else if generator.busiest_thread >= SATURATED {
            Self::Generator
        } else {
            Self::None
        }
    }

    /// A sentence for the table's reader.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::None => "nothing was saturated",
            Self::Server => "the server was the bottleneck",
            Self::Generator => "the generator was the bottleneck, not the server: give it more --threads",
            Self::Others => "the machine was, by something else: run again without that",
            Self::Machine => "the machine was: server and generator together used all of its cores",
        }
    }
}

/// Server and generator since one moment.
#[derive(Debug, Clone)]
pub struct Contest {
    server: Option<(Probe, CostSample)>,
    own: CostSample,
    busy_ticks: Option<u64>,
}

/// What both sides spent in a contest.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    /// The server, if its process is known.
    pub server: Option<Cost>,
    /// This process.
    pub client: Cost,
    /// How long it took.
    pub seconds: f64,
    /// Who was saturated.
    pub bottleneck: Bottleneck,
}

impl Contest {
    /// Begins with the `server`, if its process is known, and this process as they are now.
    pub fn begin(server: Option<Probe>) -> Self {
        let server = server.map(|probe| (probe, CostSample::of(probe.pid())));
        Self { server, own: CostSample::of(std::process::id()), busy_ticks: busy_ticks() }
    }

    /// What was spent until now.
    pub fn spent(&self) -> Spent {
        let server = self.server.as_ref().map(|(probe, before)| CostSample::of(probe.pid()).since(before));
        let own = CostSample::of(std::process::id());
        let (client, seconds) = (own.since(&self.own), own.seconds_since(&self.own));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let ticks = self.busy_ticks.zip(busy_ticks()).map(|(before, after)| after.saturating_sub(before));
        let busy = ticks.map(|ticks| ticks as f64 / TICKS_PER_SECOND / seconds);
        Spent { server, client, seconds, bottleneck: Bottleneck::judge(server, client, busy, cores) }
    }
}

/// Ticks that all cores of this machine were busy since it started.
fn busy_ticks() -> Option<u64> {
    parse_busy(&fs::read_to_string("/proc/stat").ok()?)
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal, and guests that
/// are in the first two already.
fn parse_busy(stat: &str) -> Option<u64> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace();
    let ticks: Vec<u64> = fields.map_while(|field| field.parse().ok()).take(8).collect();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some(ticks.iter().sum::<u64>() - idle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(cores: f64, busiest_thread: f64) -> Cost {
        Cost { cpu_seconds: cores, cores, busiest_thread }
    }

    #[test]
    fn a_saturated_thread_is_a_bottleneck_however_idle_its_process_is() {
        let judge = |server, generator| Bottleneck::judge(Some(server), generator, None, 8);
        assert_eq!(judge(cost(0.5, 0.3), cost(0.5, 0.3)), Bottleneck::None);
        assert_eq!(judge(cost(1.5, 0.99), cost(0.5, 0.3)), Bottleneck::Server);
        assert_eq!(judge(cost(0.5, 0.3), cost(1.0, 0.99)), Bottleneck::Generator);
        assert_eq!(judge(cost(1.5, 0.99), cost(1.5, 0.99)), Bottleneck::Server);
        assert_eq!(judge(cost(4.0, 0.8), cost(3.9, 0.8)), Bottleneck::Machine);
        assert_eq!(Bottleneck::judge(None, cost(1.0, 0.95), None, 8), Bottleneck::Generator);
    }

    #[test]
    fn what_others_take_is_theirs_only_where_the_machine_had_no_more_to_give() {
        let judge = |server, busy| Bottleneck::judge(server, cost(1.0, 0.3), Some(busy), 8);
        assert_eq!(judge(Some(cost(1.0, 0.3)), 7.9), Bottleneck::Others);
        assert_eq!(judge(Some(cost(1.0, 0.3)), 6.0), Bottleneck::None);
        assert_eq!(judge(Some(cost(6.0, 0.9)), 7.9), Bottleneck::None);
        assert_eq!(judge(None, 7.9), Bottleneck::None, "they may be the server");
    }

    #[test]
    fn busy_is_all_but_idle_and_waiting_for_a_disk() {
        assert_eq!(parse_busy("cpu  10 1 20 1000 500 3 4 5 2 2\ncpu0 1\n"), Some(43));
        assert_eq!(parse_busy("intr 5"), None);
        assert!(busy_ticks().is_some());
    }

    #[test]
    fn this_process_is_seen_to_run_and_one_that_is_gone_spends_nothing() {
        let before = CostSample::of(std::process::id());
        let mut sum = 0_u64;
        while CostSample::of(std::process::id()).since(&before).cpu_seconds == 0.0 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let spent = CostSample::of(std::process::id()).since(&before);
        assert!(spent.cores > 0.0 && spent.busiest_thread <= spent.cores);
        let gone = CostSample::of(u32::MAX).since(&CostSample::of(u32::MAX));
        assert_eq!(gone.cpu_seconds, 0.0);
    }
}
