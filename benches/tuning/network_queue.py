"""net.core.netdev_max_backlog: packets dropped between two ends of loopback when everybody is told something at once."""

import pathlib

import linux
import serving

QUESTION = "A message to 15,000 members over loopback: does net.core.netdev_max_backlog drop packets?"
ROOT = "sets net.core.netdev_max_backlog of the machine for some seconds, and puts it back"
THRONG = True
SECONDS = 60

MEMBERS = 15000
ROUNDS = 3
LENGTHS = [100, 1000, 16384]


def measure(throng):
    found = {length: [] for length in LENGTHS}
    for _ in range(ROUNDS):
        for length in LENGTHS:
            with linux.setting("net.core.netdev_max_backlog", length):
                found[length].append(linux.apart(loaded, throng))
    rows = [[f"{length:,}", *(linux.median([one[index] for one in found[length]]) for index in range(4))]
            for length in LENGTHS]
    return [linux.table(f"throng bench fanout --members {MEMBERS} --in-flight 4 --seconds 2, 2 shards; medians of {ROUNDS} in turn",
                        ["netdev_max_backlog", "packets dropped (softnet_stat)", "segments sent again (RetransSegs)",
                         "deliveries per second", "server CPU ns per delivery"], rows,
                        "Dropped packets are counted for the whole machine, segments for the namespace.")]


def dropped():
    """Second column of /proc/net/softnet_stat, over all processors."""
    return sum(int(line.split()[1], 16) for line in pathlib.Path("/proc/net/softnet_stat").read_text().splitlines())


def loaded(throng):
    before = dropped()
    report = serving.bench(throng, "fanout", "--members", str(MEMBERS), "--in-flight", "4", "--seconds", "2", serve="--shards 2")
    return [dropped() - before, linux.counters()["RetransSegs"], serving.figure(report, "deliveries_per_second"),
            serving.figure(report, "server_cpu_ns_per_delivery")]
