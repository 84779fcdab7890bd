//! What is the kernel's and the machine's own: its version, its clock, its pages.

use crate::doctor::case::{Case, kernel_version};
use crate::doctor::finding::{Finding, Status};
use crate::host::tree::{Why, unexpected};

const PROC: &str = "proc";
const KERNEL: &str = "kernel";
const CLOCK: &str = "clocksource";
const PAGES: &str = "huge-pages";

/// What throng uses that not every kernel has: since which version, what, and how a kernel without it is
/// judged: throng runs on it. Source of the first: Linux commit c125e80b8868.
const FEATURES: [(u64, u64, &str, Status); 4] = [
    (4, 6, "SO_REUSEPORT listeners of TCP that are found in constant time", Status::Warn),
    (5, 14, "net.ipv4.tcp_migrate_req: a full shard's queue moves to another", Status::Warn),
    (6, 1, "an established hash of a network namespace's own", Status::Pass),
    (6, 2, "counting descriptors without listing them", Status::Pass),
];

/// Whether `/proc` is mounted, which nearly everything is read from; nothing to say if it is.
pub fn proc(case: &Case<'_>) -> Vec<Finding> {
    if case.place.has_proc {
        return Vec::new();
    }
    let why = "nearly everything is read from there; `mount -t proc proc /proc`, as root";
    vec![Finding::cannot_tell(PROC, "/proc is not mounted", why)]
}

/// The version of the kernel against what throng uses of it.
pub fn kernel(case: &Case<'_>) -> Vec<Finding> {
    let release = match case.tree.sysctl("kernel.osrelease") {
        Ok(release) => release,
        Err(error) => return vec![case.cannot_tell(KERNEL, &error)],
    };
    let Some(version) = kernel_version(&release) else {
        let why = "the kernel's name of itself does not begin with a version, so what it can do is not known";
        return vec![Finding::cannot_tell(KERNEL, format!("`{release}`"), why)];
    };
    let missing: Vec<_> = FEATURES.iter().filter(|(major, minor, ..)| version < (*major, *minor)).collect();
    // Fail comes before warn, and that before pass.
    let worst = missing.iter().map(|(.., status)| *status).min_by_key(|status| *status as u8);
    let mut finding = Finding::new(KERNEL, worst.unwrap_or(Status::Pass), format!("Linux {release}"))
        .needed("5.14 or later")
        .fix("a newer kernel");
    finding.why = if missing.is_empty() {
        "it has everything that throng uses".to_owned()
    } else {
        let names: Vec<_> =
            missing.iter().map(|(major, minor, what, _)| format!("{what} ({major}.{minor})")).collect();
        format!("it is without {}", names.join(", "))
    };
    vec![finding]
}

/// The clock that `clock_gettime` reads: some need a system call, and microseconds.
pub fn clocksource(case: &Case<'_>) -> Vec<Finding> {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let current = match case.tree.text(path) {
        Ok(current) => current,
        Err(error) => return vec![case.cannot_tell(CLOCK, &error)],
    };
    // Those that the vDSO reads without a system call. Source: `vdso_clock_mode` in Linux's drivers.
    let fast = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", "timebase", "tod"];
    let slow = ["hpet", "acpi_pm", "refined-jiffies", "jiffies", "pit", "xen"];
    let finding = if fast.contains(&current.as_str()) {
        Finding::new(CLOCK, Status::Pass, current)
    } else if slow.contains(&current.as_str()) {
        Finding::new(CLOCK, Status::Warn, current)
    } else {
        return vec![Finding::cannot_tell(CLOCK, current, "a clock that this doctor does not know")];
    };
    vec![
        finding
            .needed("one that is read without a system call, such as tsc")
            .why("a server asks for the time in every turn of its loop; a slow clock costs microseconds each time")
            .fix("`echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource`, if available_clocksource lists it"),
    ]
}

/// Transparent huge pages: `always` rounds the server's memory up to 2 MiB pages.
pub fn huge_pages(case: &Case<'_>) -> Vec<Finding> {
    let path = "/sys/kernel/mm/transparent_hugepage/enabled";
    let text = match case.tree.text(path) {
        Ok(text) => text,
        Err(error)
            if error.why == Why::Missing
                && case.tree.exists("/sys/kernel/mm")
                && !case.place.in_container =>
        {
            let why = "the kernel was built without transparent huge pages";
            return vec![Finding::new(PAGES, Status::Pass, "none in this kernel").why(why)];
        }
        Err(error) => return vec![case.cannot_tell(PAGES, &error)],
    };
    let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(chosen, _)| chosen);
    let finding = match chosen {
        Some("always") => Finding::new(PAGES, Status::Warn, "always"),
        Some(chosen @ ("madvise" | "never")) => Finding::new(PAGES, Status::Pass, chosen),
        _ => return vec![case.cannot_tell(PAGES, &unexpected(path, &text))],
    };
    vec![
        finding
            .needed("madvise or never")
            .why(
                "with `always` memory that connections gave back stays in pages of 2 MiB that are partly used, and \
                 khugepaged stalls threads while it copies",
            )
            .fix(format!("`echo madvise > {path}`")),
    ]
}
