"""What the runs say: medians, ratios of neighbours, and the Markdown and JSON that are kept.

A ratio is always throng's figure divided by the other server's. For a cost, below 1 means that throng is
cheaper; for a rate, above 1 means that throng does more.
"""

import os
import pathlib
import platform
import re
import shlex
import statistics
import subprocess
import sys
import time

from servers import ROOT

# A run with a fault that is longer than this is cut in the table; the JSON has all of it.
FAULT_CHARACTERS_MAX = 60


def cpu(report):
    return report.get("server_cpu_ns_per_delivery")


def user(report):
    """User bytes of a connection at the server: the growth of its PSS."""
    return side(report, "server").get("user_bytes_per_connection") or report.get("server_user_bytes_per_connection")


def kernel(report):
    """Kernel bytes of a connection: the server's end, or both if the ends were not told apart."""
    return (side(report, "server").get("kernel_bytes_per_connection")
            or side(report, "both").get("kernel_bytes_per_connection") or report.get("kernel_slab_bytes_per_pair"))


def side(report, which):
    return report.get("account", {}).get(which, {})


def ends(session):
    """Whose kernel bytes the runs counted."""
    reports = [run["report"] for run in session.runs if run["scenario"] == "idle" and run["report"]]
    told_apart = [side(report, "server").get("kernel_bytes_per_connection") is not None for report in reports]
    if reports and all(told_apart):
        return "server's end"
    return "both ends" if not any(told_apart) else "server's end or both: see peers.json"


def columns(session):
    """Title, scenario, figure and number of decimals of each column."""
    fanouts = sorted((name for name in session.options.scenarios if name.startswith("fanout-")),
                     key=lambda name: int(name.removeprefix("fanout-")))
    result = [(f"CPU ns per delivery, {name.removeprefix('fanout-')} in flight", name, cpu, 0) for name in fanouts]
    if fanouts:
        result.append((f"deliveries/s, {fanouts[-1].removeprefix('fanout-')} in flight", fanouts[-1],
                       lambda report: report.get("deliveries_per_second"), 0))
    if "idle" in session.options.scenarios:
        result += [("user bytes per idle connection", "idle", user, 0),
                   (f"kernel bytes, {ends(session)}", "idle", kernel, 0)]
    if "connects" in session.options.scenarios:
        result += [("server CPU µs per connect", "connects",
                    lambda report: report.get("server_cpu_us_per_connect"), 1),
                   ("accepts/s", "connects", lambda report: report.get("connects_per_second"), 0)]
    if "storm" in session.options.scenarios:
        result += [("server CPU µs per connect in a storm", "storm",
                    lambda report: report.get("server_cpu_us_per_connect"), 1),
                   ("back per second in a storm", "storm", lambda report: report.get("connects_per_second"), 0)]
    return result


def of(session, scenario, name):
    return [run for run in session.runs if run["scenario"] == scenario and run["server"] == name]


def faults(runs):
    """In few words what was wrong with some of `runs`; empty if nothing was."""
    wrong = [run["wrong"] for run in runs if run["wrong"]]
    if not wrong:
        return ""
    text = " ".join(wrong[0].split()).replace("|", "/")
    text = text if len(text) <= FAULT_CHARACTERS_MAX else text[:FAULT_CHARACTERS_MAX] + "…"
    return f"{text} ({len(wrong)} of {len(runs)} runs)"


def ratios(session, scenario, name, figure):
    """Ratios of neighbours. In `idle`, where every server runs once per round, those of one round."""
    all_runs = {run["id"]: run for run in session.runs}
    by_round = {run["pair"]: run for run in of(session, scenario, "throng")}
    result = []
    for run in of(session, scenario, name):
        ours = all_runs.get(run["after"]) if scenario != "idle" else by_round.get(run["pair"])
        values = [one["report"] and not one["wrong"] and figure(one["report"]) for one in (ours, run) if one]
        if len(values) == 2 and all(values):
            result.append(values[0] / values[1])
    return result


def value(session, scenario, name, figure):
    """The median of a figure over runs without a fault, or None."""
    reports = [run["report"] for run in of(session, scenario, name) if run["report"] and not run["wrong"]]
    values = [figure(report) for report in reports if figure(report) is not None]
    return statistics.median(values) if values else None


def cell(session, name, column):
    _, scenario, figure, decimals = column
    # Whom the short run before fan-out could not measure was not measured any further.
    runs = of(session, scenario, name) or (of(session, "probe", name) if scenario.startswith("fanout-") else [])
    if not runs:
        return ""
    if fault := faults(runs):
        return f"**{fault}**"
    middle = value(session, scenario, name, figure)
    if middle is None:
        return "unknown"
    found = ratios(session, scenario, name, figure) if name != "throng" else []
    ratio = f" ({short(statistics.median(found))})" if found else ""
    return f"{middle:,.{decimals}f}{ratio}"


def short(ratio):
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.2g}"


def markdown(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + " ---: |" * (len(head) - 2)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def report(session):
    """The whole text: how it was measured, the table, and what stands behind it."""
    shown = columns(session)
    head = ["server", "threads that serve", *(title for title, *_ in shown)]
    rows = [[name, server.threads, *(cell(session, name, column) for column in shown)]
            for name, server in session.servers.items()]
    parts = [header(session), markdown(head, rows)]
    if behind := details(session):
        parts.append("Behind the fan-out figures, medians:\n\n" + behind)
    return "\n\n".join(parts)


def details(session):
    head = ["server", "in flight", "round p50 µs", "messages per read", "bytes on the wire per delivery",
            "generator ns per delivery", "server cores", "generator cores"]
    keys = [("messages_per_read", 2), ("wire_bytes_per_delivery", 1), ("client_cpu_ns_per_delivery", 0),
            ("server_cores", 2), ("client_cores", 2)]
    show = lambda number, decimals: "" if number is None else f"{number:,.{decimals}f}"
    rows = []
    for scenario in (name for name in session.options.scenarios if name.startswith("fanout-")):
        for name in session.servers:
            middle = lambda figure: value(session, scenario, name, figure)
            round_us = middle(lambda report: (report.get("round") or {}).get("p50_us"))
            if round_us is not None:
                rows.append([name, scenario.removeprefix("fanout-"), show(round_us, 0),
                             *(show(middle(lambda report: report.get(key)), decimals) for key, decimals in keys)])
    return markdown(head, rows) if rows else ""


def header(session):
    options, here = session.options, origin(session)
    pinned = "servers on CPU 0, generator on CPU 1" if options.pin else "nothing pinned"
    spin = "never sleeps" if options.spin else "sleeps when it has read everything"
    size = f"{session.message_bytes['throng']} bytes per message; " if session.message_bytes else ""
    shorter = [f"{name}: messages of {bytes} bytes, since with what it adds outside of them a delivery is then as "
               "long on the wire" for name, bytes in session.message_bytes.items()
               if bytes != session.message_bytes["throng"]]
    pairs = "1 pair" if options.pairs == 1 else f"{options.pairs} pairs"
    lines = [
        f"command: `{here['command']}`",
        f"commit {here['commit']}; {here['date']}; kernel {here['kernel']}; {here['cores']} cores of {here['cpu']}; "
        f"load average {here['load_before']} before, {here['load_after']} after",
        *(f"{name}: {version}" for name, version in session.versions.items()),
        f"{pairs}; fanout: {options.members} members and the publisher, {size}{options.seconds:g} s "
        f"a run, the generator {spin}; idle, connects and storm: {options.connections} connections; {pinned}",
        "figures are medians; in brackets the median of the ratios of neighbouring runs, throng (1 shard) "
        "divided by this server: below 1, throng costs less; for what is per second above 1, throng does more",
        *shorter, *session.notes,
    ]
    return "\n".join(f"- {line}" for line in lines)


def document(session):
    """All single results, and of each figure the ratio with its range."""
    summary = []
    for title, scenario, figure, _ in columns(session):
        for name in session.servers:
            found = ratios(session, scenario, name, figure) if name != "throng" else []
            summary.append({
                "figure": title, "server": name, "median": value(session, scenario, name, figure),
                "wrong": faults(of(session, scenario, name)),
                "throng_divided_by_it": {"median": statistics.median(found), "min": min(found), "max": max(found)}
                if found else None,
            })
    return {"origin": origin(session), "versions": session.versions, "message_bytes": session.message_bytes,
            "notes": session.notes, "summary": summary, "runs": [without_curves(run) for run in session.runs]}


def without_curves(run):
    """A run as it is kept: what its figures were made of would be a hundred times as long."""
    if isinstance(run, dict):
        return {key: without_curves(part) for key, part in run.items() if key not in ("distribution", "moments", "samples", "curve", "timeline", "whole_over_time")}
    return run


def brief(run):
    """One run on one line, for who watches."""
    if run["wrong"]:
        return run["wrong"]
    report = run["report"]
    if run["scenario"] == "idle":
        memory = user(report)
        return "no figure" if memory is None else f"{memory:,.0f} user bytes a connection"
    spent = cpu(report)
    if spent is not None:
        return f"{spent:,.0f} ns a delivery"
    spent = report.get("server_cpu_us_per_connect")
    return "no figure" if spent is None else f"{spent:.1f} µs a connect"


def origin(session):
    git = lambda *command: subprocess.run(["git", "-C", ROOT, *command], capture_output=True, text=True).stdout
    changes = " (with changes)" if git("status", "--porcelain").strip() else ""
    load = lambda numbers: " ".join(f"{number:.2f}" for number in numbers)
    return {
        "command": shlex.join(["benches/peers/run", *sys.argv[1:]]),
        "commit": git("rev-parse", "--short=12", "HEAD").strip() + changes,
        "date": time.strftime("%Y-%m-%d"),
        "kernel": platform.release(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "load_before": load(session.load_before),
        "load_after": load(os.getloadavg()),
    }


def cpu_model():
    found = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def place():
    """`<date>-<machine>`, the machine as its cores and the family of its processor."""
    family = re.search(r"xeon|epyc|ryzen|core|neoverse|apple|atom", cpu_model().lower())
    return f"{time.strftime('%Y-%m-%d')}-{os.cpu_count()}core-{family[0] if family else platform.machine()}"
