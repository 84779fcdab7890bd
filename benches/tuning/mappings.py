"""What a server with many shards maps: vm.max_map_count, overcommit, page tables."""

import pathlib
import re

import linux
import serving

QUESTION = "What does throng map with 2, 64 and 1,024 shards: maps, address space, committed and resident memory?"
ROOT = ""
THRONG = True
SECONDS = 8


def measure(throng):
    rows = [[f"{shards:,}", *mapped(throng, shards)] for shards in (2, 64, 1024)]
    keys = ("vm.max_map_count", "vm.overcommit_memory", "vm.overcommit_ratio", "kernel.threads-max", "kernel.pid_max")
    return [
        linux.table("throng serve, no connection yet", ["shards", "maps", "threads", "address space, MiB",
                    "growth of Committed_AS, MiB", "resident, MiB", "page tables, KiB"], rows,
                    "Committed_AS is the machine's, so other programs' noise is in it."),
        linux.table("This machine", ["key", "value"], [[key, linux.read_setting(key)] for key in keys]
                    + [["CommitLimit, MiB", linux.meminfo("CommitLimit") >> 20]]),
    ]


def mapped(throng, shards):
    before = linux.meminfo("Committed_AS")
    server = serving.Throng(throng, f"shards = {shards}\n")
    try:
        status = pathlib.Path(f"/proc/{server.pid}/status").read_text()
        kib = {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+)", status, re.M)}
        maps = len(pathlib.Path(f"/proc/{server.pid}/maps").read_text().splitlines())
        grown = linux.meminfo("Committed_AS") - before
        return [maps, kib["Threads"], round(kib["VmSize"] / 1024), round(grown / 1024 / 1024), round(kib["VmRSS"] / 1024, 1),
                kib["VmPTE"]]
    finally:
        server.stop()
