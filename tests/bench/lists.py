# SPDX-License-Identifier: MIT
"""Many messages: all of them fetched from far away, a hundred thousand listed; and a large map."""
import os
import statistics
import subprocess
import sys
import time

from logins import cold
from peers import IMAPC, compare, cpu_ms, median, pid_of, popload, rig_need, same_contents, serve_popgate, short
from tool import (HERE, POPGATE, Choice, cpu_of, end_all, fail, free_port, need_popgate, need_root, popgate_files, say, say_pairs,
                  scratch, spread, stack)

MANY = 100000


# --- 200 messages of 20 kB, the upstream 50 ms away -----------------------------------------------

BEFORE = ("greet", "user", "pass", "stat", "uidl", "list", "quit", "login", "select", "sizes", "logout")


def rate(j):
    """Messages a second while they are fetched, what goes before and after left out."""
    ms = j["session_ms"]["p50"] - sum(j[key + "_ms"]["p50"] for key in BEFORE if key + "_ms" in j)
    return 1000 * j["msgs"] / ms


def drain():
    far, imapc = "direct-50ms", IMAPC % 50
    rig_need(far, imapc)
    ours, rounds = serve_popgate("popgate-50ms", rtt=50), 1 if Choice.quick else Choice.rounds
    box = ["-f", "1501", "-k", "1", "-n", "1", "-c", "1"]
    few = ["-m", "30"]  # one by one takes the peers a round trip each: 30 tell as much as 200
    popload(ours, *box, "-W", "1", *few, "drain")
    one = [popload(ours, *box, "-W", "1", "drain") for _ in range(rounds)]
    all_at_once = {t: [] for t in (ours, far)}
    for _ in range(rounds):
        for t in all_at_once:
            all_at_once[t].append(popload(t, *box, "-W", "0", "drain"))
    same_contents("drain", {**all_at_once, "one by one": one})
    rates = [rate(j) for j in one]
    say("one by one: popgate", statistics.median(rates), "msgs/s", ">= 250", statistics.median(rates) >= 250, spread(rates))
    for t in (imapc, far):
        say("one by one: %s" % short(t), rate(popload(t, *box, "-W", "1", *few, "drain")), "msgs/s", keep=False)
    say_pairs("all at once", "msgs/s", [rate(j) for j in all_at_once[ours]], [rate(j) for j in all_at_once[far]], short(far), (">=", 0.8))
    if Choice.peer:
        say("all at once: %s" % short(imapc), rate(popload(imapc, *box, "-W", "0", "drain")), "msgs/s", keep=False)


# --- 100,000 messages -----------------------------------------------------------------------------

REST_S, SESSIONS = 60, 12


def rest(pid):
    """Until the process has done next to nothing for a second. Returns the CPU that it has used, in seconds."""
    end, begun = time.monotonic() + REST_S, cpu_of(pid)
    while time.monotonic() < end:
        before = cpu_of(pid)
        time.sleep(1)
        if cpu_of(pid) - before < 0.005:
            return before - begun
    fail("%d does not come to rest in %d s" % (pid, REST_S))


def learn(ours, work):
    """Until popgate knows of the mailbox what it wants to know: by what its messages are recognised, so many of them
    after each session."""
    for _ in range(SESSIONS):
        if rest(pid_of(ours)) < 0.05:
            return
        popload(ours, *work)
    fail("after %d sessions there is still something to be learned" % SESSIONS)


def listing():
    """UIDL and LIST by a popgate that never saw the mailbox, and by the same again."""
    rig_need()
    found = {"first": [], "again": [], "direct": []}
    work = ["-f", "2001", "-k", "1", "-n", "1", "-c", "1", "list"]
    popload("direct", *work)
    for _ in range(1 if Choice.quick else Choice.rounds):
        at = len(stack)
        ours = serve_popgate("popgate-list", more=cold())
        found["direct"].append(popload("direct", *work))
        found["first"].append(popload(ours, *work))
        learn(ours, work)
        found["again"].append(popload(ours, *work))
        end_all(at)
    ms = lambda j: j["session_ms"]["p50"]
    compare(found, "first", "direct", "time, first", "ms", ms, ("<=", 1.3))
    say("time, again", median(found, "again", ms), "ms", note=spread([ms(j) for j in found["again"]]))
    say("CPU, first", median(found, "first", cpu_ms), "ms", note=spread([cpu_ms(j) for j in found["first"]]))
    used = [cpu_ms(j) for j in found["again"]]
    say("CPU, again", statistics.median(used), "ms", "<= 30", statistics.median(used) <= 30, spread(used))


def live_folder():
    """For figures whose servers are those of the live tests."""
    sys.path.insert(0, os.path.join(HERE, "..", "live"))
    need_popgate()
    need_root()
    return scratch()


def again():
    folder, many = live_folder(), 1000 if Choice.quick else MANY
    import rig as live
    from pop import Pop
    authority = live.Authority(os.path.join(folder, "tls"))
    dovecot = live.Dovecot(os.path.join(folder, "dovecot"), authority)
    stack.append(dovecot.stop)
    dovecot.start()
    dovecot.fill_many("many", many)
    pair, found = authority.issue("bench"), {"first": [], "again": [], "learning": []}

    def poll(gate):
        """Wall seconds, and CPU seconds at its end and when all that follows it is done."""
        begun, cpu = time.monotonic(), cpu_of(gate.process.pid)
        with Pop(gate.clear, timeout=300) as client:
            client.login("many@bench", live.PASSWORD)
            count = client.stat()[0]
            if not count == len(client.listing("UIDL")) == len(client.listing("LIST")) == many:
                fail("again: %d messages" % count)
            client.ok("QUIT")
        seconds, used = time.monotonic() - begun, cpu_of(gate.process.pid) - cpu
        live.wait_until(lambda: not gate.connections(), 300, "the end of the session")
        return seconds, used, cpu_of(gate.process.pid) - cpu - used

    for number in range(1 if Choice.quick else Choice.rounds):
        gate = live.Popgate(os.path.join(folder, "popgate%d" % number), POPGATE, authority,
                            {"bench": "upstream=imap://127.0.0.1:%d login=%%n" % dovecot.imap}, "drain = 1\n" + cold(), pair)
        stack.append(gate.stop)
        gate.start()
        first, _, second = poll(gate), poll(gate), poll(gate)
        found["first"].append(first[:2])
        found["again"].append(second[:2])
        found["learning"].append(first[2])
        stack.pop()()
    for at, what in ((1, "CPU"), (0, "time")):
        say_pairs("%s, polled again" % what, "ms", [1000 * pair[at] for pair in found["again"]],
                  [1000 * pair[at] for pair in found["first"]], "first poll")
    say("CPU: learned after the first, client gone", 1000 * statistics.median(found["learning"]), "ms")


# --- a large map ----------------------------------------------------------------------------------

def query(conf, name):
    """Wall seconds and peak MB of one `popgate query`."""
    begun = time.monotonic()
    p = subprocess.Popen([POPGATE, "-c", conf, "query", name], stdout=subprocess.PIPE)
    text = p.stdout.read().decode()
    _, status, usage = os.wait4(p.pid, 0)
    p.returncode = status
    if status != 0 or "upstream" not in text:
        fail("query %s: %s" % (name, text))
    return time.monotonic() - begun, usage.ru_maxrss / 1024


def map_size():
    need_popgate()
    folder, entries, rounds = scratch(), 1000 if Choice.quick else 1000000, 1 if Choice.quick else Choice.rounds
    conf = popgate_files(folder, "imap://127.0.0.1:1", free_port())
    small = [query(conf, "anyone") for _ in range(rounds)]
    path = os.path.join(folder, "popgate.map")
    with open(path, "w") as f:
        subprocess.run([sys.executable, os.path.join(HERE, "make_map.py"), str(entries)], stdout=f, check=True)
    with open(path) as f:
        key = next(line.split()[0] for line in f if line[0].isalnum())
    large = [query(conf, key) for _ in range(rounds)]
    size = os.path.getsize(path) / 1e6
    seconds = statistics.median(s for s, _ in large) - statistics.median(s for s, _ in small)
    mb = statistics.median(m for _, m in large)
    say("load of %d entries (%.0f MB)" % (entries, size), seconds, "s", note=spread([s for s, _ in large]) + " with start")
    say("peak RSS", mb, "MB", note="%.0f MB with one line; %.0f octets an entry" % (small[0][1], (mb - small[0][1]) * 1.048576e6 / entries))


def refusals():
    folder = live_folder()
    import refusals as work
    work.measure(POPGATE, folder, stack, say)


FIGURES = {"drain": (drain, 120), "list": (listing, 240), "again": (again, 300), "map": (map_size, 120), "refusals": (refusals, 900)}
