# SPDX-License-Identifier: MIT
"""Several loops: a mailbox lives on one of them, and its clients move there with all that they hold."""
import concurrent.futures
import os
import random
import re
import signal
import ssl
import threading
import time

import pytest

import auth_rig
import mails
import rig
import sasl
from pop import Pop
from sasl import Who

pytestmark = pytest.mark.popgate_only

WORKERS = 4
USERS = [f"w{number}" for number in range(12)]
STRESS_S = float(os.environ.get("STRESS_S", "5"))  # seconds
LOCAL_WAYS = sorted(auth_rig.LOCAL["plain"][1])


def entries(root, users=USERS):
    secret = auth_rig.LOCAL["plain"][0](rig.PASSWORD)
    return "".join(f"{user} upstream=maildir:{root}/{user}/Maildir local={secret}\n" for user in users)


@pytest.fixture
def crew(new_gate, dovecot):
    """Makes a started popgate of several workers: Maildirs of USERS, the rest passed through to Dovecot."""
    def make(settings="drain = 2\nfailures = 100\nblock_after = 0", has_rest=True):
        gate = new_gate(f"workers = {WORKERS}\n{settings}")
        for user in USERS:
            rig.fill_maildir(os.path.join(gate.path("mail"), user, "Maildir"), mails.plain(2))
        rest = f"* upstream=imap://127.0.0.1:{dovecot.imap} login=%n\n" if has_rest else ""
        gate.set_map(entries(gate.path("mail")) + rest)
        gate.start()
        return gate
    return make


def connect(gate, transport, context):
    if transport == "tls":
        return Pop(gate.tls, context)
    pop = Pop(gate.clear)
    if transport == "stls":
        greeting = pop.greeting
        pop.stls(context)
        pop.greeting = greeting
    return pop


def told(gate, event):
    """Fields of each line of an event."""
    lines = [line for line in gate.log().splitlines() if line.startswith(f"event={event} ")]
    return [dict(re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)', line)) for line in lines]


def report(gate):
    """{user: worker} of all sessions that are logged in, as SIGUSR1 tells it."""
    before = len(told(gate, "sessions"))
    skipped = len(told(gate, "session"))
    gate.signal(signal.SIGUSR1)
    rig.wait_until(lambda: len(told(gate, "sessions")) > before, what="the report")
    return {fields["user"]: int(fields["worker"]) for fields in told(gate, "session")[skipped:]
            if fields["state"] == "transaction"}


@pytest.fixture(scope="module")
def old_tls(authority):
    """TLS 1.2, whose channel binding Python knows."""
    context = ssl.create_default_context(cafile=authority.ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@pytest.mark.parametrize("transport", ["clear", "stls", "tls"])
def test_every_way_in(crew, old_tls, transport):
    """Refused once and then let in, for users of all workers, on one connection."""
    gate = crew(has_rest=False)

    def attempt(way, name):
        with connect(gate, transport, old_tls) as pop:
            who, run = Who(name, rig.PASSWORD), sasl.MECHANISMS[way]
            refused = run(pop, who.wrong(), transport)
            assert refused.startswith("-ERR [AUTH]"), (way, name, refused)
            nobody = run(pop, Who("nobody-" + name, rig.PASSWORD + "x"), transport)
            assert nobody.startswith("-ERR [AUTH]"), (way, nobody)
            right = run(pop, who, transport)
            assert right.startswith("+OK"), (way, name, right)
            assert pop.stat()[0] == 2
            assert mails.name_of(pop.multi("RETR 2")) == "m2"
            pop.ok("QUIT")

    ways = [way for way in LOCAL_WAYS if transport != "clear" or not way.endswith("-PLUS")]
    cases = [(way, USERS[(nth + turn) % len(USERS)]) for turn in (0, 5) for nth, way in enumerate(ways)]
    for way, name in cases:
        attempt(way, name)


def test_mailboxes_are_spread_and_stay(crew, context):
    gate = crew()
    report(gate)
    begun = int(told(gate, "sessions")[-1]["served"])  # whoever looked whether it listens
    found = []
    for _ in range(2):
        clients = [Pop(gate.clear) for _ in USERS]
        for client, user in zip(clients, USERS):
            client.login(user, rig.PASSWORD)
        found.append(report(gate))
        for client in clients:
            client.ok("QUIT")
            client.close()
    assert sorted(found[0]) == sorted(USERS)
    assert found[0] == found[1]
    assert len(set(found[0].values())) > 1

    def is_empty():
        report(gate)
        return told(gate, "sessions")[-1]["active"] == "0"

    rig.wait_until(is_empty, 30, "the end of all sessions")
    sums = told(gate, "sessions")[-1]
    assert int(sums["workers"]) == WORKERS
    assert int(sums["served"]) - begun == 2 * len(USERS)


def test_one_lock_for_all(crew, context):
    """Whoever accepted it, and by whatever name: a mailbox has one session."""
    gate = crew()
    root = gate.path("mail")
    secret = auth_rig.LOCAL["plain"][0](rig.PASSWORD)
    aliases = [f"alias{number}" for number in range(4)]
    gate.set_map(entries(root) + "".join(
        f"{alias} upstream=maildir:{root}/{USERS[0]}/Maildir local={secret}\n" for alias in aliases))
    before = len(told(gate, "reloaded"))
    gate.signal(signal.SIGHUP)
    rig.wait_until(lambda: len(told(gate, "reloaded")) > before, what="the reload")

    def attempt(case):
        name, transport = case
        with connect(gate, transport, context) as pop:
            return pop.try_login(name, rig.PASSWORD)

    with Pop(gate.clear) as holder:
        holder.login(USERS[0], rig.PASSWORD)
        cases = [(name, transport) for name in aliases + [USERS[0]] for transport in ("clear", "stls", "tls")]
        with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
            replies = list(pool.map(attempt, cases))
        assert all(reply.startswith("-ERR [IN-USE]") for reply in replies), replies
        holder.ok("QUIT")
    assert attempt((aliases[0], "tls")).startswith("+OK")


def test_pass_through(crew, context, dovecot):
    """`*`: nobody but the upstream knows who is right; commands may wait in line behind the claim."""
    gate = crew()
    names = [f"passed{number}" for number in range(8)]
    for name in names:
        dovecot.fill(name, mails.plain(3))
    for name in names:
        for transport in ("clear", "tls"):
            with connect(gate, transport, context) as pop:
                assert pop.try_login(name, "not the password").startswith("-ERR [AUTH]")
                pop.send(f"USER {name}\r\nPASS {rig.PASSWORD}\r\nSTAT\r\nLIST 3\r\nQUIT\r\n".encode())
                replies = [pop.line() for _ in range(5)]
                assert all(reply.startswith(b"+OK") for reply in replies), replies
                assert replies[2].split()[1] == b"3"


def test_reload_is_everywhere(crew):
    gate = crew()
    root = gate.path("mail")
    for turn in range(3):
        gate.set_map(entries(root, USERS[:turn + 1]))
        before = len(told(gate, "reloaded"))
        gate.signal(signal.SIGHUP)
        rig.wait_until(lambda: len(told(gate, "reloaded")) > before, what="the reload")
        for number, user in enumerate(USERS):
            with Pop(gate.clear) as pop:
                reply = pop.try_login(user, rig.PASSWORD)
                assert reply.startswith("+OK" if number <= turn else "-ERR [AUTH]"), (turn, user, reply)
                pop.cmd("QUIT")


def test_drain(crew):
    """Sessions of all workers may end; those that do not are cut; then all is told in one sum."""
    gate = crew("drain = 5")
    clients = {user: Pop(gate.clear) for user in USERS}
    for user, client in clients.items():
        client.login(user, rig.PASSWORD)
    early = Pop(gate.clear)
    gate.signal(signal.SIGTERM)
    rig.wait_until(lambda: not rig.listens(gate.clear), what="the end of listening")
    late = USERS[-3:]
    for client in clients.values():
        client.ok("DELE 1")
    for user in USERS[:-3]:
        clients[user].ok("QUIT")
    for user in late:
        clients[user].at_end()
    assert early.at_end()
    assert gate.process.wait(10) == 0
    for user in USERS:
        left = sum(len(os.listdir(os.path.join(gate.path("mail"), user, "Maildir", folder))) for folder in ("cur", "new"))
        assert left == (2 if user in late else 1), user
    assert int(told(gate, "stopped")[-1]["served"]) > len(USERS)


def test_second_signal_cuts(crew):
    gate = crew("drain = 60")
    clients = [Pop(gate.clear) for _ in USERS]
    for client, user in zip(clients, USERS):
        client.login(user, rig.PASSWORD)
    gate.signal(signal.SIGTERM)
    rig.wait_until(lambda: not rig.listens(gate.clear), what="the end of listening")
    gate.signal(signal.SIGTERM)
    assert gate.process.wait(10) == 0


def test_names_of_nobody_live_somewhere(crew):
    """One answer for all, whatever the name, and however the connection moved before."""
    gate = crew(has_rest=False)
    with Pop(gate.clear) as pop:
        replies = {pop.try_login(f"nobody{number}", "x") for number in range(20)}
        replies |= {pop.try_login(USERS[number], "x") for number in range(6)}
        assert len(replies) == 1
        pop.login(USERS[0], rig.PASSWORD)
        pop.ok("QUIT")


def test_stress(crew, context):
    """Many clients that come, are refused, are let in and go, over reloads and into a drain."""
    gate = crew("drain = 1\nfailures = 100\nblock_after = 0\nmax_sessions = 1000")
    end = time.monotonic() + STRESS_S
    wrong, done, is_drained = [], [0], threading.Event()

    def judge(reply, expected):
        if not reply and is_drained.is_set():
            raise OSError("cut")
        if not reply.startswith(expected):
            wrong.append(reply)

    def client(number):
        chance = random.Random(number)
        while time.monotonic() < end and not wrong:
            user, transport = chance.choice(USERS), chance.choice(["clear", "stls", "tls"])
            try:
                with connect(gate, transport, context) as pop:
                    for _ in range(chance.randrange(3)):
                        judge(pop.try_login(chance.choice(USERS + ["nobody"]), "wrong"), "-ERR [AUTH]")
                    if chance.random() < 0.1:
                        pop.reset()
                        continue
                    reply = pop.try_login(user, rig.PASSWORD)
                    if reply.startswith("-ERR [IN-USE]"):
                        continue
                    judge(reply, "+OK")
                    assert mails.name_of(pop.multi("RETR 1")) == "m1"
                    if chance.random() < 0.8:
                        pop.ok("QUIT")
                    done[0] += 1
            except (OSError, AssertionError) as error:
                if not is_drained.is_set():
                    wrong.append(repr(error))
                return

    threads = [threading.Thread(target=client, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    while time.monotonic() < end - 1:
        time.sleep(0.3)
        gate.signal(signal.SIGHUP)
        gate.signal(signal.SIGUSR1)
    is_drained.set()
    gate.signal(signal.SIGTERM)
    for thread in threads:
        thread.join(60)
    assert gate.process.wait(90) == 0
    assert wrong == []
    assert done[0] > 20
    assert told(gate, "reloaded")
