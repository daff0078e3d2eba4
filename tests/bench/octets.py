# SPDX-License-Identifier: MIT
"""Bodies on their way: one large message, and many small ones watched for a slow one."""
import statistics

from peers import (IMAPC, bench, compare, cpu_per_mb, mb_per_s, median, pid_of, popload, rig_need, serve_nginx,
                   serve_popgate, serve_relay)
from tool import Choice, say, spread, status_kib

BIG = ["-f", "3001", "-k", "1", "-n", "1", "-c", "1", "big"]


def growth(name, *how):
    """Says how much memory the first session with a large message takes."""
    pid = pid_of(name)
    rss = status_kib(pid, "VmRSS")
    popload(name, *how, *BIG)
    kib = status_kib(pid, "VmHWM") - rss
    say("memory: growth in its first such session", kib / 1024, "MB", "<= 2", kib <= 2048)


def first_octet(found, ours, other):
    first = {t: [j["ttfb_ms"]["p50"] for j in found[t]] for t in (ours, other)}
    later = statistics.median(x - y for x, y in zip(first[ours], first[other]))
    say("first octet: popgate", statistics.median(first[ours]), "ms", note=spread(first[ours]), keep=False)
    say("first octet: later than %s" % other, later, "ms", "<= 10", later <= 10)


def retr_big():
    rig_need()
    ours, relay = serve_popgate("popgate"), serve_relay()
    growth(ours)
    found = bench(3 * Choice.rounds, "big", ours, relay, "direct")
    compare(found, ours, relay, "speed", "MB/s", mb_per_s, (">=", 0.9))
    compare(found, ours, relay, "CPU", "ms/MB", cpu_per_mb, ("<=", 1.5))
    first_octet(found, ours, "direct")
    if not Choice.peer:
        return
    imapc = IMAPC % 0
    rig_need(imapc)
    found = bench(Choice.rounds, "big", ours, imapc)
    compare(found, ours, imapc, "CPU", "ms/MB", cpu_per_mb, ("<=", 1 / 8))
    say("memory: peak RSS, imapc", max(j["servers"]["p"]["peak_one_kb"] for j in found[imapc]) / 1024, "MB", keep=False)


def retr_tls():
    rig_need()
    ours, nginx = serve_popgate("popgate-uptls", uptls=True), serve_nginx()
    growth(ours, "-T")
    found = bench(3 * Choice.rounds, "big/tls", ours, nginx, "direct")
    compare(found, ours, nginx, "speed, TLS on both sides", "MB/s", mb_per_s, (">=", 0.85))
    compare(found, ours, nginx, "CPU, TLS on both sides", "ms/MB", cpu_per_mb, ("<=", 1.3))
    first_octet(found, ours, "direct")


def stall():
    rig_need()
    clear, tls = serve_popgate("popgate"), serve_popgate("popgate-uptls", uptls=True)
    work = ["-f", "1", "-k", "5", "-n", "5", "-c", "1", "-W", "1", "drain"]
    popload(clear, *work)  # the upstream's first touch of these mailboxes is not measured
    for name, more in (("direct", []), (clear, []), ("direct", ["-T"]), (tls, ["-T"])):
        j = popload(name, *more, *work)
        ms = j.get("retr_ms") or j["fetch_ms"]
        note = "p50 %.3g, p95 %.3g, p99 %.3g ms, n=%d" % (ms["p50"], ms["p95"], ms["p99"], ms["n"])
        say("slowest RETR: %s%s" % (name, " TLS" if more else ""), ms["max"], "ms",
            "< 40" if name != "direct" else None, ms["max"] < 40, note, keep=name != "direct")


FIGURES = {"retr-big": (retr_big, 120), "retr-tls": (retr_tls, 150), "stall": (stall, 60)}
