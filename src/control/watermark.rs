//! Memory as new connections are let in by: looked at a few times a second, told to the shards by one flag.
//!
//! What is nearest to its end counts: the box, by what the kernel calls available, or a control group
//! that the server is in, by its limit. Either may end the server, and everybody whom it serves.
//!
//! Invariant: the flag changes at `memory_max_percent` and then only `SPAN_PERCENT` below it, so that it does
//! not flap; each change is logged once.
//!
//! Absent on purpose: closing anybody. Who is served goes on being served.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::config;
use crate::doctor::Groups;
use crate::host::tree::{Tree, Unreadable};
use crate::shard::Gate;

/// How often the memory is looked at. One look reads a few files of `/proc` and `/sys`: a tenth of a
/// millisecond or two.
const INTERVAL: Duration = Duration::from_millis(250);

/// How far the memory has to fall before connections are let in again.
const SPAN_PERCENT: f64 = 2.0;

/// What is known of the memory, for whoever scrapes.
#[derive(Debug, Clone, Default)]
pub(super) struct MemoryGauges {
    used: Gauge<f64, AtomicU64>,
    refusing: Gauge,
}

impl MemoryGauges {
    /// Has `registry` tell it.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "memory_used_ratio",
            "Part of the memory in use, of the box or of the control group that is nearest to its limit; 0 unless \
             admission.memory_max_percent is set",
            self.used.clone(),
        );
        registry.register(
            "memory_refusing",
            "1 while new connections are refused because of admission.memory_max_percent",
            self.refusing.clone(),
        );
    }
}

/// How much of the memory is used, and of which.
#[derive(Debug, Clone, PartialEq)]
struct Fill {
    /// A part of 1.
    used: f64,
    /// The file of the limit, or the box.
    of: String,
}

impl Display for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} % of the memory is in use ({})", self.used * 100.0, self.of)
    }
}

/// What looks at the memory.
#[derive(Debug)]
pub(super) struct Watermark {
    tree: Tree,
    groups: Groups,
    max_percent: u32,
    gate: Arc<Gate>,
    gauges: MemoryGauges,
    is_above: bool,
    /// The last look could not tell; said once.
    is_blind: bool,
}

impl Watermark {
    /// One for a server with `config`, whose shards have `gate`; none if nobody asked for it.
    pub(super) fn new(config: &config::Admission, gate: Arc<Gate>, gauges: MemoryGauges) -> Option<Self> {
        (config.memory_max_percent > 0)
            .then(|| Self::on(Tree::live(), config.memory_max_percent, gate, gauges))
    }

    fn on(tree: Tree, max_percent: u32, gate: Arc<Gate>, gauges: MemoryGauges) -> Self {
        let groups = Groups::of(&tree, "/proc/self").unwrap_or_else(|error| {
            tracing::warn!("control groups cannot be seen, only the memory of the box is watched: {error}");
            Groups::default()
        });
        Watermark { tree, groups, max_percent, gate, gauges, is_above: false, is_blind: false }
    }

    /// Looks at the memory again and again. The first look is done when this returns: whoever comes first is
    /// judged by it.
    pub(super) fn start(mut self) -> impl Future<Output = ()> {
        self.look();
        async move {
            let mut interval = tokio::time::interval(INTERVAL);
            loop {
                interval.tick().await;
                self.look();
            }
        }
    }

    fn look(&mut self) {
        match self.fill() {
            Ok(fill) => {
                self.is_blind = false;
                self.judge(&fill);
            }
            // The last that was known stands.
            Err(error) if !self.is_blind => {
                self.is_blind = true;
                tracing::warn!("how much memory is in use cannot be told: {error}");
            }
            Err(_) => {}
        }
    }

    /// The memory that is nearest to its end.
    fn fill(&self) -> Result<Fill, Unreadable> {
        let total = self.tree.size_bytes("/proc/meminfo", "MemTotal")?;
        let available = self.tree.size_bytes("/proc/meminfo", "MemAvailable")?;
        let used = total.saturating_sub(available) as f64 / total.max(1) as f64;
        let of_box = Fill { used, of: "MemAvailable".to_owned() };
        let group = self.groups.memory_fullest(&self.tree, total);
        let of_group = group.map(|limit| Fill { used: limit.used_part(), of: limit.path });
        Ok(of_group.filter(|group| group.used > of_box.used).unwrap_or(of_box))
    }

    fn judge(&mut self, fill: &Fill) {
        let max_percent = f64::from(self.max_percent);
        // A low limit has as narrow a span in proportion.
        let below = max_percent - SPAN_PERCENT.min(max_percent / 2.0);
        let bound = if self.is_above { below } else { max_percent };
        let is_above = fill.used * 100.0 >= bound;
        self.gauges.used.set(fill.used);
        if is_above == self.is_above {
            return;
        }
        self.is_above = is_above;
        self.gate.set_lacks_memory(is_above);
        self.gauges.refusing.set(is_above.into());
        if is_above {
            tracing::warn!(
                "{fill}: new connections are refused until it is below {below} % (admission.memory_max_percent = {})",
                self.max_percent
            );
        } else {
            tracing::info!("{fill}: new connections are let in again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// A box that is removed with its test.
    struct Made(PathBuf);

    impl Made {
        fn new(name: &str, files: &[(&str, &str)]) -> Made {
            let made =
                Made(std::env::temp_dir().join(format!("throng-watermark-{}-{name}", std::process::id())));
            drop(fs::remove_dir_all(&made.0));
            files.iter().for_each(|(path, text)| made.write(path, text));
            made
        }

        fn write(&self, path: &str, text: &str) {
            let place = self.0.join(&path[1..]);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, text).unwrap();
        }

        /// Says how much of 1000 kB is available.
        fn available(&self, kib: u32) {
            self.write("/proc/meminfo", &format!("MemTotal: 1000 kB\nMemAvailable: {kib} kB\n"));
        }

        fn watermark(&self, max_percent: u32) -> Watermark {
            Watermark::on(Tree::recorded(&self.0), max_percent, Arc::default(), MemoryGauges::default())
        }
    }

    impl Drop for Made {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn new_connections_are_refused_at_the_limit_and_let_in_two_percent_below_it() {
        let made = Made::new("span", &[]);
        made.available(500);
        let mut watermark = made.watermark(95);
        for (available, is_above) in
            [(51, false), (50, true), (0, true), (70, true), (71, false), (51, false)]
        {
            made.available(available);
            watermark.look();
            assert_eq!(watermark.is_above, is_above, "{available}");
            assert_eq!(watermark.gauges.refusing.get(), i64::from(is_above));
            let used = 1.0 - f64::from(available) / 1000.0;
            assert!((watermark.gauges.used.get() - used).abs() < 1e-9, "{available}");
        }
        fs::remove_file(made.0.join("proc/meminfo")).unwrap();
        watermark.look();
        assert!(!watermark.is_above && watermark.is_blind, "what cannot be read changes nothing");
    }

    #[test]
    fn a_limit_of_one_percent_is_still_one() {
        let made = Made::new("one", &[]);
        made.available(500);
        let mut watermark = made.watermark(1);
        watermark.look();
        assert!(watermark.is_above);
        made.available(996);
        watermark.look();
        assert!(!watermark.is_above);
    }

    #[test]
    fn the_limit_of_a_control_group_counts_if_it_is_nearer_and_its_page_cache_does_not() {
        let v2 = [
            ("/proc/self/cgroup", "0::/a/b\n"),
            ("/proc/self/mountinfo", "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
            ("/sys/fs/cgroup/a/memory.max", "409600\n"),
            ("/sys/fs/cgroup/a/memory.current", "389120\n"),
            ("/sys/fs/cgroup/a/memory.stat", "active_file 0\ninactive_file 0\n"),
            // Less is left of it, and yet it is the emptier one.
            ("/sys/fs/cgroup/a/b/memory.max", "4096\n"),
            ("/sys/fs/cgroup/a/b/memory.current", "2048\n"),
        ];
        let v1 = [
            ("/proc/self/cgroup", "4:memory:/a\n"),
            ("/proc/self/mountinfo", "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"),
            ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "409600\n"),
            ("/sys/fs/cgroup/memory/a/memory.usage_in_bytes", "389120\n"),
            ("/sys/fs/cgroup/memory/a/memory.stat", "total_active_file 0\ntotal_inactive_file 0\n"),
        ];
        for (name, files, limit, stat) in [
            ("v2", &v2[..], "/sys/fs/cgroup/a/memory.max", "inactive_file 204800"),
            ("v1", &v1[..], "/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "total_inactive_file 204800"),
        ] {
            let made = Made::new(name, files);
            made.available(900);
            let mut watermark = made.watermark(95);
            assert_eq!(watermark.fill().unwrap(), Fill { used: 0.95, of: limit.to_owned() });
            watermark.look();
            assert!(watermark.is_above, "{name}");
            made.write(&limit.replace("max", "stat").replace("limit_in_bytes", "stat"), stat);
            watermark.look();
            assert!(!watermark.is_above, "{name}: what it can give back is room");
            made.available(10);
            assert_eq!(watermark.fill().unwrap(), Fill { used: 0.99, of: "MemAvailable".to_owned() });
        }
    }
}
