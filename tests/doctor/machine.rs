//! Checks of the kernel and the machine: version, clock, huge pages.

use throng::doctor::Status;

use crate::made::{Made, expect};

#[test]
fn a_kernel_is_judged_by_what_it_lacks() {
    let made = Made::new();
    let kernel = |release: &str| {
        made.set("kernel.osrelease", release);
        made.worst("kernel")
    };
    expect(&kernel("6.18.44-fc-v669"), Status::Pass, &["Linux 6.18.44-fc-v669", "everything"]);
    expect(&kernel("5.15.0-91-generic"), Status::Pass, &["(6.1)", "(6.2)"]);
    expect(&kernel("5.10.0"), Status::Warn, &["tcp_migrate_req", "a newer kernel"]);
    expect(&kernel("3.10.0-1160.el7.x86_64"), Status::Warn, &["SO_REUSEPORT listeners of TCP"]);
    expect(&kernel("4.5.7"), Status::Warn, &["(4.6)"]);
    let fix = kernel("4.6.0");
    assert!(!fix.why.contains("SO_REUSEPORT"), "{fix:?}");
    for odd in ["gvisor", "", "6", "v6.1"] {
        expect(&kernel(odd), Status::CannotTell, &["does not begin with a version"]);
    }
    made.remove("/proc/sys/kernel/osrelease");
    expect(&made.worst("kernel"), Status::CannotTell, &["kernel.osrelease is not known"]);
}

#[test]
fn a_clock_is_fast_slow_or_unknown() {
    let made = Made::new();
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    for (name, status) in
        [("kvm-clock", Status::Pass), ("hpet", Status::Warn), ("sundial", Status::CannotTell)]
    {
        made.write(path, name);
        expect(&made.worst("clocksource"), status, &[name]);
    }
    made.remove(path);
    expect(&made.worst("clocksource"), Status::CannotTell, &["does not exist here"]);
}

#[test]
fn huge_pages_that_are_always_used_are_a_warning() {
    let made = Made::new();
    let path = "/sys/kernel/mm/transparent_hugepage/enabled";
    expect(&made.worst("huge-pages"), Status::Pass, &["madvise"]);
    made.write(path, "[always] madvise never\n");
    expect(&made.worst("huge-pages"), Status::Warn, &["`echo madvise > "]);
    made.write(path, "whatever\n");
    expect(&made.worst("huge-pages"), Status::CannotTell, &["says `whatever`"]);
    made.remove("/sys/kernel/mm/transparent_hugepage");
    expect(&made.worst("huge-pages"), Status::Pass, &["none in this kernel"]);
    made.process("self", "ns/pid", "pid:[4026532183]");
    expect(&made.worst("huge-pages"), Status::CannotTell, &["the container hides it"]);
}
