# SPDX-License-Identifier: MIT
"""How long a refusal takes tells nothing of why it was one (B-05): names that there are and are not,
mechanisms that could have answered for a name and not. Names take turns, by chance. Secrets are as
`popgate passwd` makes them: one that costs less is found out by that. TRIES (environment, 2000) for each
mechanism."""
import math
import os
import random
import statistics
import threading
import time

import rig
import sasl
from pop import Pop

TRIES, AT_ONCE, OF_A_SESSION = int(os.environ.get("TRIES", "2000")), 6, 50
LOCAL = "trusted = 127.0.0.0/8\nfailure_delay = 0\nfailures = 100\nauthorization = 1h\n"
PASSED = "trusted = 127.0.0.0/8\nfailure_delay = 1\nrefused_memory = 0\nupstream_refusals = 0\n"
MECHANISMS = {"PASS": sasl.user_pass, "PLAIN": sasl.plain, "CRAM-MD5": sasl.cram_md5, "SCRAM-SHA-256": sasl.scram_sha_256}


def welch(one, other):
    """Welch's t."""
    spread = statistics.variance(one) / len(one) + statistics.variance(other) / len(other)
    return (statistics.mean(one) - statistics.mean(other)) / math.sqrt(spread) if spread else 0


def timed(client, attempt, name):
    begun = time.perf_counter()
    reply = attempt(client, sasl.Who(name, "wrong"), "clear")
    seconds = time.perf_counter() - begun
    assert reply.startswith("-ERR [AUTH]"), reply
    return 1000 * seconds


def in_turn(gate, attempt, names):
    """{name: [ms]}, one after the other."""
    found = {name: [] for name in names}
    while sum(map(len, found.values())) < TRIES:
        with Pop(gate.clear, timeout=120) as client:
            for name in random.sample(names * (OF_A_SESSION // len(names)), OF_A_SESSION // len(names) * len(names)):
                found[name].append(timed(client, attempt, name))
    return found


def at_once(gate, attempt, names):
    """The same with many at a time, each in a session of its own."""
    found, waiting, lock = {name: [] for name in names}, names * (TRIES // len(names)), threading.Lock()
    random.shuffle(waiting)

    def work():
        while True:
            with lock:
                if not waiting:
                    return
                name = waiting.pop()
            with Pop(gate.clear, timeout=120) as client:
                took = timed(client, attempt, name)
            with lock:
                found[name].append(took)

    threads = [threading.Thread(target=work) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(map(len, found.values())) == TRIES // len(names) * len(names), "a try was lost"
    return found


def tell(say, what, found):
    """One line a name; all are compared with the first."""
    first = None
    for name, values in found.items():
        mean = statistics.mean(values)
        first = first or values
        ratio = mean / statistics.mean(first)
        say(f"{what}: {name.split('@')[0]}", mean, "ms", note="" if first is values else
            f"ratio {ratio:.3f}, median {statistics.median(values) / statistics.median(first):.3f}, t {welch(values, first):+.1f}",
            good=None if first is values else abs(ratio - 1) < 0.05, goal=None if first is values else "within 5 %")


def measure(program, folder, stack, say):
    authority = rig.Authority(os.path.join(folder, "tls"))
    dovecot = rig.Dovecot(os.path.join(folder, "dovecot"), authority)
    stack.append(dovecot.stop)
    dovecot.start()
    upstream = f"upstream=imap://127.0.0.1:{dovecot.imap} login=%n"
    stored = f"{upstream} password={{plain}}x"

    def gate_with(name, settings, text):
        gate = rig.Popgate(os.path.join(folder, name), program, authority, {}, settings, authority.issue(name))
        gate.set_map(text)
        stack.append(gate.stop)
        gate.start()
        return gate

    hashed = rig.run(program, "passwd", input=b"right\n").stdout.decode().strip()
    gate = gate_with("local", LOCAL, f"hashed@bench {stored} local={hashed}\n"
                                     f"plain@bench {stored} local={{plain}}{rig.PASSWORD}\n")
    for what, attempt in MECHANISMS.items():
        tell(say, what, in_turn(gate, attempt, ["plain@bench", "hashed@bench", "nobody@bench"]))
    stack.pop()()
    gate = gate_with("passed", PASSED, f"@passed {upstream}\n")
    tell(say, "pass-through", at_once(gate, sasl.user_pass, ["known@passed", "nobody@elsewhere"]))
    stack.pop()()
