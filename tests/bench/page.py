"""docs/performance.md: its prose is written by hand, its figures by `make bench`, each kind between two marks of its name."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any


def write(path: Path, figures: dict[str, Any]) -> list[str]:
    """Puts what was measured into the page; the names of what was written."""
    page, written = path.read_text(), []
    for name, text in TEXTS.items():
        if name not in figures:
            continue
        begin, end = f"<!-- bench: {name} -->\n", f"<!-- end of {name} -->"
        if begin not in page or end not in page:
            raise ValueError(f"{path} lacks the marks of {name}")
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}Measured {figures['day']}, {figures['machine']}.\n\n{text(figures[name])}\n{end}{after}"
        written.append(name)
    path.write_text(page)
    return written


def table(head: str, rows: list[str]) -> str:
    """A table of Markdown; each row without its outer bars."""
    columns = head.count("|") + 1
    return "\n".join([f"| {head} |", "|" + "---|" * columns, *(f"| {row} |" for row in rows)])


def media_text(rows: list[dict[str, Any]]) -> str:
    """hushwire-media and rtpengine by turns."""
    lines = []
    for row in rows:
        ours, theirs = row["hushwire"], row["rtpengine"]
        late = max(ours["lateness_p99_us"], theirs["lateness_p99_us"]) / 1000
        lines.append(
            f"{row['case']} | {row['calls']} | {ours['us_per_packet']:.2f} | {theirs['us_per_packet']:.2f} | {row['ratio']:.3f} "
            f"| {ours['p99_us'] / 1000:.2f} | {theirs['p99_us'] / 1000:.2f} | {ours['loss_pct']:.3f} | {late:.2f} | {ours['kb_per_call']}"
        )
    head = "load | calls | us/packet | rtpengine | ratio | p99 ms | rtpengine p99 ms | loss % | generator late p99 ms | kB/call"
    return table(head, lines)


def flat_text(rows: list[dict[str, Any]]) -> str:
    """From 100 to 1,200 calls, the relay's core left to itself and kept awake."""
    lines = []
    for row in rows:
        cores = row["asleep"], row["awake"]
        lines.append(
            f"{row['case']} | {row['calls']} | {_each(cores, 'us_per_packet', 1, 2)} | {_each(cores, 'p99_us', 1000, 2)} "
            f"| {_each(cores, 'loss_pct', 1, 3)} | {_each(cores, 'lateness_p99_us', 1000, 2)} "
            f"| {row['asleep']['kb_per_call']:.1f} | {max(core['seal_lag_ms'] for core in cores) or '-'}"
        )
    head = (
        "load | calls | us/packet | core kept awake | p99 ms | awake | loss % | awake | generator late p99 ms | awake "
        "| kB/call | sealed behind at most, ms"
    )
    verdicts = [
        f"{case}: {_spread(rows, case, 'asleep'):.2f}, core kept awake {_spread(rows, case, 'awake'):.2f}"
        for case in dict.fromkeys(row["case"] for row in rows)
    ]
    return (
        f"{table(head, lines)}\n\nDearest to cheapest: {'; '.join(verdicts)} (the bar: 1.15 from 100 to 1,200 calls). Core kept awake: "
        "something else runs on it whenever it would sleep, and touches no memory. Sealed behind: the longest that any packet waited to be "
        "in the file."
    )


def _each(cores: tuple[dict[str, Any], ...], name: str, unit: int, digits: int) -> str:
    """One figure of each, as cells."""
    return " | ".join(f"{core[name] / unit:.{digits}f}" for core in cores)


def _spread(rows: list[dict[str, Any]], case: str, core: str) -> float:
    """How much dearer the dearest size of a load is than its cheapest."""
    costs = [row[core]["us_per_packet"] for row in rows if row["case"] == case]
    return float(max(costs) / min(costs))


def soak_text(figures: dict[str, Any]) -> str:
    """Ten minutes."""
    samples = figures["samples"]
    third = max(len(samples) // 3, 1)
    first, last = (statistics.median(s["rss_kb"] for s in part) for part in (samples[:third], samples[-third:]))
    lines = [f"{s['at_s']} | {s['rss_kb']:,} | {s['descriptors']} | {s['threads']}" for s in samples]
    latency, late = figures["latency_us"], figures["lateness_us"]
    return (
        f"{figures['calls']} recorded calls for {figures['seconds']:g} s: {figures['us_per_packet']:.2f} us a packet, "
        f"loss {figures['loss_pct']:.3f} %, p99 {latency['p99'] / 1000:.2f} ms (generator late by {late['p99'] / 1000:.2f} ms), "
        f"sealed at most {figures['seal_lag_ms']} ms behind. "
        f"Resident memory, median of the last third against the first: {last / first - 1:+.1%}. "
        f"After all calls were closed: {figures['legs_after']} legs, {figures['after']['rss_kb']:,} kB, "
        f"{figures['after']['descriptors']} descriptors, "
        f"ports free again: {'all' if figures['ports_free'] else 'NOT ALL'}.\n\n"
        + table("second | memory kB | descriptors | threads", lines)
    )


def threads_text(figures: dict[str, Any]) -> str:
    """Instructions a packet."""
    one, two = figures["1"], figures["2"]
    return (
        f"{one:,.0f} instructions of hushwire-media a relayed packet with one worker thread, {two:,.0f} with two: {two / one - 1:+.1%} "
        "(RTP-SRTP, counted by cachegrind between two lengths of the same load; the kernel's are not in it)."
    )


def agreement_text(figures: dict[str, Any]) -> str:
    """Two generators."""
    lines = [
        f"{name} | {f['us_per_packet']:.2f} | {f['p50_us'] / 1000:.2f} | {f['p99_us'] / 1000:.2f} "
        f"| {f['loss_pct']:.3f} | {f['late_us'] / 1000:.2f}"
        for name, f in figures["by"].items()
    ]
    head = "generator | us/packet | p50 ms | p99 ms | loss % | late p99 ms"
    return (
        table(head, lines) + f"\n\nThe same {figures['calls']} RTP-SRTP calls by turns, medians of {figures['rounds']}: "
        f"the cost differs by {figures['difference']:+.1%}."
    )


def signalling_text(rows: list[dict[str, Any]]) -> str:
    """Whole calls."""
    lines = [
        f"{r['rate']} | {r['calls']} | {r['failed']} | {r['cpu_ms_per_call']:.2f} | {r['pdd_p50_ms']:.1f} | {r['pdd_p99_ms']:.1f}"
        for r in rows
    ]
    return table("calls/s asked | finished | failed | gateway CPU ms/call | PDD p50 ms | PDD p99 ms", lines)


def asterisk_text(figures: dict[str, Any]) -> str:
    """Whole calls by hushwire and by Asterisk, medians of the rounds."""
    by_rate: dict[int, list[dict[str, Any]]] = {}
    for pair in figures["pairs"]:
        by_rate.setdefault(pair["hushwire"]["rate"], []).append(pair)
    lines = []
    for rate, pairs in by_rate.items():
        ratios = sorted(pair["hushwire"]["cpu_ms_per_call"] / pair["asterisk"]["cpu_ms_per_call"] for pair in pairs)
        cells = [f"{rate}", f"{len(pairs)}"]
        for which in ("hushwire", "asterisk"):
            cells.append(f"{statistics.median(pair[which]['cpu_ms_per_call'] for pair in pairs):.2f}")
        cells.append(f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
        for which in ("hushwire", "asterisk"):
            cells.append(f"{statistics.median(pair[which]['pdd_p50_ms'] for pair in pairs):.1f}")
            cells.append(f"{statistics.median(pair[which]['pdd_p99_ms'] for pair in pairs):.1f}")
            cells.append(f"{sum(pair[which]['failed'] for pair in pairs)}")
        lines.append(" | ".join(cells))
    theirs = figures["version"]
    head = (
        f"calls/s asked | rounds | hushwire ms/call | {theirs} ms/call | ratio | PDD p50 ms | p99 ms | failed "
        "| Asterisk PDD p50 ms | p99 ms | failed"
    )
    return table(head, lines)


def registering_text(figures: list[dict[str, Any]]) -> str:
    """REGISTERs, and the avalanches."""
    return "\n".join(_avalanche(one) for one in figures)


def _avalanche(figures: dict[str, Any]) -> str:
    ninety = f"90 % registered again after {figures['back_90_s']:.1f} s, " if figures["back_90_s"] >= 0 else ""
    return (
        f"- {figures['phones']:,} phones over {figures['transport']}: {figures['first_ms']:.2f} ms of the gateway's CPU for a first "
        f"registration (challenge and row included), {figures['refresh_ms']:.2f} ms for a refresh. The gateway killed and all of them "
        f"registering at once: the first call after {figures['served_again_s']:.1f} s, {ninety}"
        f"{figures['back']:.2%} after {figures['back_all_s']:.1f} s; of {figures['calls']} calls meanwhile "
        f"{figures['calls_succeeded']:.1%} succeeded."
    )


def recorded_text(figures: dict[str, Any]) -> str:
    """Recorded calls through the whole gateway."""
    cpu = ", ".join(f"{name} {spent:.1f} s" for name, spent in figures["cpu_s"].items())
    return (
        f"{figures['calls']} calls at once for {figures['seconds']:g} s, SRTP from the agents, RTP to the carrier, every one recorded: "
        f"{figures['recordings']} recordings ({', '.join(figures['states'])}), the length of each within "
        f"{figures['worst_length_difference_pct']:.2f} % of its call's. Packets: {figures['packets_sent']} sent, "
        f"{figures['packets_received']} received, {figures['packets_recorded']} found in the opened recordings. "
        f"CPU over that time: {cpu}."
    )


def sms_text(figures: dict[str, Any]) -> str:
    """Text messages over one link."""
    cpu, kills = figures["cpu_us"], figures["kills"]
    lines = [
        f"accepted by the bulk endpoint and committed | {figures['accepted_per_s']:,.0f} a second",
        f"and submitted, over one link with window 50 | {figures['submitted_per_s']:,.0f} a second",
        f"and their receipts matched and committed | {figures['receipts_per_s']:,.0f} a second",
        f"CPU of one message, receipt included | API {cpu['api']:.0f} us, `sms` {cpu['sms']:.0f} us, "
        f"all of hushwire's processes {sum(cpu.values()):.0f} us",
        f"received, committed and acknowledged | {figures['inbound_per_s']:,.0f} a second, {figures['inbound_lost']:.0f} lost",
    ]
    if figures["pinned_per_s"] is not None:
        lines.insert(
            4, f"accepted and submitted with all of hushwire's processes pinned to one core | {figures['pinned_per_s']:,.0f} a second"
        )
    if figures["loaded_s"]:
        mb = ", ".join(
            f"{figures[name]:.0f} MB {words}"
            for name, words in (("mb_first", "after a quarter"), ("mb_most", "at its most"), ("mb_last", "at the end"))
        )
        rate = f"{figures['loaded_per_s']:,.0f} a second sent and a quarter as many received"
        lines.append(f"memory of `sms` over {figures['loaded_s']:.0f} s, {rate} | {mb}")
    if kills is not None:
        said = f"{kills['lost']} lost, {kills['doubled']} doubled, at most {kills['most_in_doubt']} in doubt by one"
        lines.append(f"kill -9 of `sms` under load, {kills['kills']} times | {said}")
    return table(f"{figures['messages']:,} messages | ", lines)


def store_text(figures: dict[str, Any]) -> str:
    """Searches, deletions, erasures."""
    timed = {**figures["searches"], "deletion with receipt": figures["deletions"]}
    rows = [f"{name} | {took['p50_ms']:.1f} | {took['p99_ms']:.1f}" for name, took in timed.items()]
    singles = "\n".join(f"- {line}" for line in figures.get("once", []))
    return (
        f"{figures['calls']:,} calls with sealed numbers and {figures['recordings']:,} recordings with keys of their own, in the embedded "
        f"databases of a running `hushwire up`; asked over HTTPS, {figures['asked']} times each, pages of 50 rows, numbers opened "
        f"and each reading logged.\n\n{table('asked | p50 ms | p99 ms', rows)}\n\n{singles}"
    )


def verdict_text(rows: list[dict[str, Any]]) -> str:
    """What the judge costs."""
    lines = [f"{row['rules']} | `{row['destination']}` | {row['uncached_us']:.1f} | {row['cached_us']:.2f}" for row in rows]
    return table("rules | destination | uncached, us | remembered, us", lines)


TEXTS = {
    "media": media_text,
    "flat": flat_text,
    "soak": soak_text,
    "threads": threads_text,
    "agreement": agreement_text,
    "signalling": signalling_text,
    "asterisk": asterisk_text,
    "registering": registering_text,
    "recorded": recorded_text,
    "store": store_text,
    "sms": sms_text,
    "verdict": verdict_text,
}
