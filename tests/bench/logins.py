# SPDX-License-Identifier: MIT
"""Logins and polls: their CPU, and their round trips to an upstream that is far away."""
import re
import statistics
import subprocess
import time

from peers import IMAPC, bench, compare, cpu_per_session, popload, rig_need, serve_popgate, serve_relay
from tool import (Choice, fail, free_port, knows_key, need_popgate, popgate_files, POPGATE, say, say_pairs,
                  scratch, skip, spread, start)

COLD, WARM = "keep = 0\n", "keep = 10m\n"
LATER_S = 4  # s after a poll: the connection that was kept is in IDLE


def cold():
    """Lines of [popgate] by which no connection is kept."""
    return COLD if knows_key(COLD) else ""


def login():
    imapc = IMAPC % 0
    rig_need(imapc)
    ours = serve_popgate("popgate", more=cold())
    compare(bench(3 * Choice.rounds, "login", ours, imapc), ours, imapc, "CPU", "ms/sess", cpu_per_session, ("<=", 1 / 6))
    compare(bench(Choice.rounds, "login/tls", ours, imapc), ours, imapc, "CPU, TLS client", "ms/sess", cpu_per_session)


def login_warm():
    if not knows_key(WARM):
        skip("this popgate keeps no connections")
    imapc = IMAPC % 0
    rig_need(imapc)
    ours, relay = serve_popgate("popgate-warm", more=WARM), serve_relay()
    found = bench(3 * Choice.rounds, "login", ours, imapc, relay)
    compare(found, ours, imapc, "CPU, connection kept", "ms/sess", cpu_per_session, ("<=", 1 / 12))
    compare(found, ours, relay, "CPU, connection kept", "ms/sess", cpu_per_session)


def poll():
    imapc = IMAPC % 0
    rig_need(imapc)
    ours = serve_popgate("popgate", more=cold())
    found = bench(Choice.rounds, "poll-first", ours, imapc)
    compare(found, ours, imapc, "CPU, first poll", "ms", cpu_per_session, ("<=", 1 / 10))
    found = bench(Choice.rounds, "poll", ours, imapc)
    compare(found, ours, imapc, "CPU, later polls", "ms", cpu_per_session)


# --- round trips ----------------------------------------------------------------------------------

POLL = ["-f", "1001", "-k", "1", "-c", "1"]  # 1,000 messages, unchanged


def trips(name, rtt, what, goal=None, count=3):
    ms = popload(name, *POLL, "-n", str(count), "poll")["session_ms"]["p50"]
    count = round(ms / rtt)
    say("round trips of %d ms: %s" % (rtt, what), count, "", None if goal is None else "<= %d" % goal, count <= (goal or 0), "%.0f ms" % ms)


def poll_delay_at(rtt):
    far = "direct-%dms" % rtt
    rig_need(far, *([IMAPC % rtt] if Choice.peer else []))
    names = [("TLS", cold(), True), ("clear", cold(), False)]
    for what, more, tls in names:
        ours = serve_popgate("popgate-%s-%dms" % (what.lower(), rtt), rtt=rtt, uptls=tls, more=more)
        trips(ours, rtt, "first of all, %s" % what, count=1)
        trips(ours, rtt, "cold, %s" % what, 4 if tls else None)
    trips(far, rtt, "direct IMAP, clear")
    if Choice.peer:
        trips(IMAPC % rtt, rtt, "imapc, clear", count=1)
    if not knows_key(WARM):
        print("  (no warm polls: this popgate keeps no connections)", flush=True)
        return
    ours = serve_popgate("popgate-warm-%dms" % rtt, rtt=rtt, uptls=True, more=WARM)
    popload(ours, *POLL, "-n", "1", "poll")
    trips(ours, rtt, "connection kept", 1)
    time.sleep(LATER_S)
    trips(ours, rtt, "connection kept, in IDLE", 0, count=1)


def poll_delay():
    for rtt in (50,) if Choice.quick else (50, 100):
        poll_delay_at(rtt)


# --- every core -----------------------------------------------------------------------------------

def workers():
    for lines in ("workers = 1\n", "workers = 2\n"):
        if not knows_key(lines):
            skip("this popgate has one loop")
    rig_need()
    one, two = (serve_popgate("popgate-%s" % n, more="workers = %d\n" % w + cold()) for n, w in (("one", 1), ("two", 2)))
    found = bench(3 * Choice.rounds, "login", two, one)
    compare(found, two, one, "CPU, two workers against one", "ms/sess", cpu_per_session, ("<=", 1.15))


def full_handshakes(port, clients, seconds):
    """Full handshakes a second that some clients get done at once."""
    command = ["openssl", "s_time", "-connect", "127.0.0.1:%d" % port, "-new", "-time", str(seconds)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(clients)]
    texts = [p.communicate(timeout=seconds + 30)[0].decode() for p in running]
    counts = [re.search(r"^(\d+) connections in (\d+) real seconds", text, re.M) for text in texts]
    if not all(counts):
        fail("openssl s_time: " + texts[0][-300:])
    return sum(int(c.group(1)) / int(c.group(2)) for c in counts)


def handshakes():
    need_popgate()
    folder, pair = scratch(), []
    done = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:%d" % 4096, "-nodes", "-days", "30", "-subj", "/CN=localhost",
                           "-keyout", folder + "/key.pem", "-out", folder + "/cert.pem"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if done.returncode:
        skip("openssl makes no certificate")
    has_workers = knows_key("workers = 2\n")
    for count in (1, 2) if has_workers else (1,):
        ports, own = (free_port(), free_port()), "%s/%d" % (folder, count)
        more = "workers = %d\n" % count if has_workers else ""
        conf = popgate_files(own, "imap://127.0.0.1:1", ports[0], (ports[1], folder + "/cert.pem", folder + "/key.pem"), more)
        start([POPGATE, "-c", conf, "serve"], own + "/log", ports[1])
        pair.append(ports[1])
    seconds, found = 1 if Choice.quick else 4, [[] for _ in pair]
    for n in range(1 if Choice.quick else Choice.rounds):
        for at in (0, 1)[:len(pair)] if n % 2 else (1, 0)[-len(pair):]:
            found[at].append(full_handshakes(pair[at], 4, seconds))
    if has_workers:
        say_pairs("full handshakes, RSA-4096, two workers", "1/s", found[1], found[0], "one worker", (">=", 1.5))
    else:
        say("full handshakes, RSA-4096", statistics.median(found[0]), "1/s", note=spread(found[0]))


FIGURES = {"login": (login, 120), "login-warm": (login_warm, 150), "poll": (poll, 90), "poll-delay": (poll_delay, 120),
           "workers": (workers, 120), "handshakes": (handshakes, 90)}
