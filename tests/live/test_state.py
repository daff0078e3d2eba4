# SPDX-License-Identifier: MIT
"""The state directory in trouble: killed, full, read-only, damaged. See docs/operations.md, which promises
what is tested here."""
import os
import shutil
import signal
import subprocess
import time

import pytest

import mails
import rig
from pop import Pop

pytestmark = pytest.mark.popgate_only
STORE = "imap.live"


def login(gate, user, store=STORE):
    client = Pop(gate.clear)
    client.login(f"{user}@{store}", rig.PASSWORD)
    return client


def uidls(gate, user, store=STORE):
    with login(gate, user, store) as client:
        found = client.listing("UIDL")
        client.ok("QUIT")
    return found


def data(gate):
    return gate.path("state", "data.mdb")


def refusal(gate, *command):
    """What a command that must fail says."""
    done = rig.run(gate.program, "-c", gate.config, *(command or ("serve",)), check=False)
    assert done.returncode == 1, done
    return done.stderr.decode()


@pytest.fixture
def small_disk():
    """Puts a small disk of its own under a gate's state directory: small_disk(gate)."""
    mounted = []

    def put(gate):
        path = gate.path("state")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", path], check=False)
        if done.returncode:
            pytest.skip("a tmpfs cannot be mounted here")
        mounted.append(path)
        return path

    yield put
    for path in mounted:
        subprocess.run(["umount", "-l", path], check=True)


def fill(path):
    """Takes all the room that is left; the file that does."""
    name = os.path.join(path, "ballast")
    with open(name, "wb", buffering=0) as out:
        for size in (65536, 1):
            try:
                while out.write(b"x" * size):
                    pass
            except OSError:
                pass
    return name


def delete_one(gate, user, number=1):
    """DELE and QUIT; the reply to QUIT."""
    with login(gate, user) as client:
        client.ok(f"DELE {number}")
        return client.cmd("QUIT")


def test_kill_and_restart(new_gate, dovecot, user):
    dovecot.fill(user, mails.plain(5))
    gate = new_gate()
    gate.start()
    before = uidls(gate, user)
    assert os.stat(data(gate)).st_mode & 0o777 == 0o600
    for _ in range(5):
        with login(gate, user):
            gate.signal(signal.SIGKILL)
            gate.process.wait()
        gate.start()
        assert uidls(gate, user) == before
    assert gate.stop() == 0
    gate.start()
    assert uidls(gate, user) == before
    assert "state-" not in gate.log()


def test_losing_it_changes_no_uidl(new_gate, dovecot, user):
    dovecot.fill(user, mails.plain(5))
    gate = new_gate()
    gate.start()
    before = uidls(gate, user)
    assert gate.stop() == 0
    for name in os.listdir(gate.path("state")):
        os.unlink(gate.path("state", name))
    gate.start()
    assert uidls(gate, user) == before


def test_full_disk(new_gate, small_disk, dovecot, user):
    many = 2000  # what is written down of so many needs more room than earlier transactions have left in the file

    def delete_all_but_one():
        with login(gate, user) as client:
            for number in range(1, many):
                client.ok(f"DELE {number}")
            return client.cmd("QUIT")

    def count():
        return len(os.listdir(os.path.join(dovecot.maildir(user), "cur")))

    dovecot.fill_many(user, many)
    gate = new_gate()
    path = small_disk(gate)
    gate.start()
    before = uidls(gate, user)
    # What is learned behind the session is written down, too.
    rig.wait_until(lambda: not gate.connections(), 30, "the end of the session")
    ballast = fill(path)
    # Reading goes on; what cannot be written down is not begun.
    assert uidls(gate, user) == before
    assert delete_all_but_one().startswith("-ERR [SYS/TEMP]")
    assert count() == many
    assert "event=state-failed level=alarm doing=write" in gate.log()
    os.unlink(ballast)
    assert delete_all_but_one().startswith("+OK")
    assert count() == 1
    assert "event=state-well" in gate.log()
    assert list(uidls(gate, user).values()) == list(before.values())[-1:]


def test_start_on_a_full_disk(new_gate, small_disk, dovecot, user):
    gate = new_gate()
    path = small_disk(gate)
    ballast = fill(path)
    assert "make room first" in refusal(gate)
    os.unlink(ballast)
    dovecot.fill(user, mails.plain(2))
    gate.start()
    before = uidls(gate, user)
    assert gate.stop() == 0
    fill(path)
    gate.start()
    assert uidls(gate, user) == before


def test_read_only(new_gate, small_disk, dovecot, direct, user):
    dovecot.fill(user, mails.plain(3))
    gate = new_gate()
    path = small_disk(gate)
    gate.start()
    before = uidls(gate, user)
    assert gate.stop() == 0
    rig.run("mount", "-o", "remount,ro", path)
    gate.start()
    assert "event=state-read-only level=alarm" in gate.log()
    assert uidls(gate, user) == before
    assert delete_one(gate, user).startswith("-ERR [SYS/TEMP]")
    assert direct(user).names() == ["m1", "m2", "m3"]
    assert "cannot be written" in refusal(gate, "check")
    assert gate.stop() == 0


def test_damaged(new_gate, dovecot, user):
    dovecot.fill(user, mails.plain(3))
    gate = new_gate()
    gate.start()
    before = uidls(gate, user)
    assert gate.stop() == 0
    shutil.copy2(data(gate), gate.path("backup"))
    with open(data(gate), "r+b") as file:
        octets = bytearray(file.read())
        for at in range(2 * 4096, len(octets), 256):
            octets[at] ^= 0x10
        file.seek(0)
        file.write(octets)
    for command in ("serve", "check"):
        words = refusal(gate, command)
        assert f"popgate: {gate.config}:4: state = " in words
        assert "/data.mdb: damaged: page " in words
    # A backup in its place, and all is as it was.
    shutil.copyfile(gate.path("backup"), data(gate))
    gate.start()
    assert uidls(gate, user) == before


@pytest.mark.parametrize("keep", [0, 5000])
def test_cut_short(new_gate, dovecot, user, keep):
    dovecot.fill(user, mails.plain(3))
    gate = new_gate()
    gate.start()
    uidls(gate, user)
    assert gate.stop() == 0
    os.truncate(data(gate), keep)
    assert "cut short" in refusal(gate)


def test_cut_short_under_way(new_gate, dovecot, user):
    """An error for who needs it, not the end of the program."""
    dovecot.fill(user, mails.plain(3))
    gate = new_gate()
    gate.start()
    for _ in range(3):  # who comes again waits for what was learned; the last one learns nothing
        uidls(gate, user)
    os.truncate(data(gate), 8192)
    with Pop(gate.clear) as client:
        reply = client.try_login(f"{user}@{STORE}", rig.PASSWORD)
        assert reply.startswith("-ERR [SYS/TEMP]"), reply
    assert gate.process.poll() is None
    assert "event=state-failed level=alarm doing=read" in gate.log()


def test_one_daemon_a_state(new_gate):
    gate, other = new_gate(), new_gate()
    gate.start()
    with open(other.config, encoding="utf-8") as file:
        text = file.read().replace(other.path("state"), gate.path("state"))
    other.write("popgate.conf", text)
    assert "another popgate serves with it" in refusal(other)
    # Looking at it is allowed.
    assert "no error" in rig.run(gate.program, "-c", gate.config, "check").stdout.decode()
    gate.signal(signal.SIGKILL)
    gate.process.wait()
    other.start()


def test_the_directory(new_gate):
    gate = new_gate()
    os.rmdir(gate.path("state"))
    assert "no error" in rig.run(gate.program, "-c", gate.config, "check").stdout.decode()
    assert not os.path.exists(gate.path("state"))
    gate.start()
    status = os.stat(gate.path("state"))
    assert status.st_mode & 0o777 == 0o700 and status.st_uid == rig.OWNER.pw_uid
    assert gate.stop() == 0
    os.chmod(gate.path("state"), 0o770)
    for command in ("serve", "check"):
        assert "others can write to it: chmod 0700" in refusal(gate, command)
    os.chmod(gate.path("state"), 0o700)
    os.chown(data(gate), 0, 0)
    for command in ("serve", "check"):
        assert "data.mdb" in refusal(gate, command)
    with open(gate.config, encoding="utf-8") as file:
        text = file.read().replace(gate.path("state"), gate.path("not", "there"))
    gate.write("popgate.conf", text)
    for command in ("serve", "check"):
        assert ":4: state = " in refusal(gate, command)


def test_promises_are_kept_without_a_client(top, new_gate, authority, user):
    """The server goes away before QUIT; when it is back, the message goes though nobody logs in."""
    own = rig.Dovecot(os.path.join(top, "dovecot-" + user), authority)
    own.start()
    try:
        own.fill(user, mails.plain(3))
        stored = (f"upstream=imap://127.0.0.1:{own.imap} login=%n local={rig.local_secret()} "
                  f"password={{plain}}{rig.PASSWORD}")
        gate = new_gate("drain = 1\nreplay = 1", {STORE: stored})
        gate.start()
        with login(gate, user) as client:
            client.ok("DELE 2")
            own.stop()
            assert client.cmd("QUIT").startswith("+OK")
        own.start()
        rig.wait_until(lambda: 2 not in own.flags(user), 60, "the promised deletion")
        rig.wait_until(lambda: "event=replayed" in gate.log(), 10, "its line in the log")
        assert list(own.flags(user)) == [1, 3]
        assert gate.stop() == 0
    finally:
        own.stop()


def test_the_end_does_not_wait_for_chores(new_gate, dovecot, user):
    gate = new_gate("drain = 30")
    gate.start()
    began = time.monotonic()
    assert gate.stop() == 0
    assert time.monotonic() - began < 20
