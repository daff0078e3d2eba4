# SPDX-License-Identifier: MIT
"""kill -9 at each point of UPDATE: what was promised is done, once, and nothing else is.

Points on the wire are found by a relay before Dovecot; those between a write and its fsync by
strace(1), which kills the process at the n-th call of a kind. See relay.py for the words."""
import os
import shutil
import subprocess
import time

import pytest

import mails
import others
import rig
from pop import Pop

pytestmark = pytest.mark.popgate_only

GONE, STAY = ["m2", "m4", "m6"], ["m1", "m3", "m5", "m7"]  # m3 bears another client's \\Deleted
STORE, EXPUNGE = rb"UID STORE .*\\Deleted", rb"(?i)UID EXPUNGE"
POINTS = {
    "store-not-sent": ("up", STORE, "before"),
    "store-done-unanswered": ("up", STORE, "after"),
    "store-answer-withheld": ("down", rb"OK .*(Store|STORE)", "before"),
    "store-answered": ("down", rb"OK .*(Store|STORE)", "after"),
    "expunge-not-sent": ("up", EXPUNGE, "before"),
    "expunge-done-unanswered": ("up", EXPUNGE, "after"),
    "first-removal-told": ("down", rb"^\* \d+ EXPUNGE|^\* VANISHED", "after"),
    "expunge-answer-withheld": ("down", rb"OK .*(Expunge|EXPUNGE)", "before"),
    "expunge-answered": ("down", rb"OK .*(Expunge|EXPUNGE)", "after"),
    "seen-not-sent": ("up", rb"UID STORE .*\\Seen", "before"),
    "seen-done-unanswered": ("up", rb"UID STORE .*\\Seen", "after"),
    "logout-not-sent": ("up", rb" LOGOUT", "before"),
}


def kill(gate):
    gate.process.kill()
    gate.process.wait()


def restart(gate):
    gate.process = None
    gate.start()


def session(gate, name):
    """Logs in when the lock is free; the UIDLs by message name."""
    with Pop(gate.clear) as client:
        client.login(name, rig.PASSWORD)
        uidls = client.listing("UIDL")
        found = {mails.name_of(client.multi(f"TOP {number} 0")): uidl for number, uidl in uidls.items()}
        client.ok("QUIT")
    return found


class Mailbox:
    """Seven messages; a session has marked three, fetched one, and will say QUIT."""

    def __init__(self, gate, dovecot, direct, user, port):
        self.gate, self.direct, self.name = gate, direct, f"{user}@crash.live"
        dovecot.fill(user, mails.plain(7), ["", "", "T", "", "", "", ""])
        gate.set_map(f"@crash.live upstream=imap://127.0.0.1:{port} login=%n\n")
        gate.start()
        self.user, self.uidls = user, session(gate, self.name)
        assert sorted(self.uidls) == sorted(set(GONE + STAY) - {"m3"})
        self.client = Pop(gate.clear)
        self.client.login(self.name, rig.PASSWORD)
        numbers = {uidl: number for number, uidl in self.client.listing("UIDL").items()}
        self.client.multi(f"RETR {numbers[self.uidls['m5']]}")
        for name in GONE:
            self.client.ok(f"DELE {numbers[self.uidls[name]]}")

    def quit(self):
        """The reply, "" if the connection ended without one."""
        self.client.send(b"QUIT\r\n")
        try:
            reply = self.client.line().decode()
        except ConnectionError:
            reply = ""
        self.client.close()
        return reply

    def check(self, reply, is_promised):
        """After the restart, in sessions that follow one another. `is_promised`: the crash was
        behind the journal, so the deletions are done though nobody was told."""
        first = session(self.gate, self.name)
        if is_promised or reply.startswith("+OK"):
            assert sorted(first) == sorted(set(STAY) - {"m3"})
        assert set(first.items()) <= set(self.uidls.items())
        assert set(self.uidls) - set(first) in (set(), set(GONE))  # all or nothing is shown
        gone, there = set(self.uidls) - set(first), self.direct(self.user)
        rig.wait_until(lambda: set(there.names()) == set(GONE + STAY) - gone, what="the deletion")
        assert b"\\Deleted" in there.flags()["m3"]
        # What was done is not done again: the same message, come anew, stays.
        for name in sorted(gone):
            others.append(there.imap, "INBOX", mails.plain(7)[int(name[1]) - 1])
        for _ in range(2):
            again = session(self.gate, self.name)
            assert sorted(again) == sorted(set(self.uidls))
            assert not {again[name] for name in gone} & set(self.uidls.values())
        assert set(there.names()) == set(GONE + STAY)


@pytest.mark.parametrize("point", POINTS)
def test_kill_on_the_wire(point, new_gate, relay, dovecot, direct, user):
    gate = new_gate(stores={})
    box = Mailbox(gate, dovecot, direct, user, relay.port)
    relay.at(*POINTS[point], lambda: kill(gate))
    reply = box.quit()
    rig.wait_until(lambda: relay.was_reached, what=f"{point}: {relay.commands}")
    relay.go_on()
    restart(gate)
    box.check(reply, is_promised=True)


KINDS = {"write": "pwrite64,pwritev", "sync": "fdatasync,fsync,msync"}


class Killer:
    """strace, which kills popgate at the n-th system call of a kind from now on."""

    def __init__(self, gate, kind, nth):
        calls = KINDS[kind]
        self.process = subprocess.Popen(["strace", "-qq", "-f", "-p", str(gate.process.pid), "-o", "/dev/null",
                                         "-e", f"trace={calls}",
                                         "-e", f"inject={calls}:signal=KILL:when={nth}"])
        calm = 0  # so often in a row had strace nothing to do with any thread: its grip is complete
        while calm < 10:
            assert self.process.poll() is None, "strace ended"
            calm = calm + 1 if self.has_grip(gate.process.pid) else 0
            time.sleep(0.01)

    def has_grip(self, pid):
        tasks = f"/proc/{pid}/task"
        told = [status_of(f"{tasks}/{task}") for task in os.listdir(tasks)]
        return "State:\tS" in status_of(f"/proc/{self.process.pid}") and \
            not any("TracerPid:\t0\n" in text or "State:\tt" in text for text in told)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def status_of(path):
    with open(path + "/status", encoding="ascii") as status:
        return status.read()


@pytest.fixture
def killer():
    """killer(gate, kind, nth)"""
    if not shutil.which("strace") or \
            subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no strace, or it may not trace here")
    made = []
    yield lambda *arguments: made.append(Killer(*arguments))
    for one in made:
        one.stop()


@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("since", ["quit", "expunge"])
def test_kill_in_the_journal(since, kind, nth, killer, new_gate, relay, dovecot, direct, user):
    """The n-th write or sync after QUIT is what popgate does not do any more; or the n-th after the
    messages are gone, where the journal is erased. Fewer than n are fine as well."""
    gate = new_gate(stores={})
    # One thread of the pool: strace counts in each thread alone.
    gate.environment = dict(os.environ, UV_THREADPOOL_SIZE="1")
    box = Mailbox(gate, dovecot, direct, user, relay.port)
    if since == "quit":
        killer(gate, kind, nth)
    else:
        relay.at("down", rb"OK .*(Expunge|EXPUNGE)", "meanwhile", lambda: killer(gate, kind, nth))
    reply = box.quit()
    rig.wait_until(lambda: gate.process.poll() is not None or not gate.connections(), 20, "UPDATE's end")
    if nth == 1:  # its connections end before it can be buried: strace still holds it
        rig.wait_until(lambda: gate.process.poll() is not None, 10, "a write")
    kill(gate)
    was_sent = relay.saw(STORE) > 0
    restart(gate)
    box.check(reply, is_promised=was_sent)
