# SPDX-License-Identifier: MIT
"""Guessing passwords is slow, then futile, and costs nobody else anything (B-08, L-03).

Clients come from different loopback addresses, and `trusted` names none of these. What is slow is
told by the order of events, never by a clock.
"""
import re
import select
import signal

import pytest

import auth_rig
import mails
import rig
from pop import Pop
from relay import Relay

pytestmark = pytest.mark.popgate_only


@pytest.fixture
def guarded(new_gate, dovecot):
    """guarded(settings): a popgate before a relay, with users by their local password, and passed."""
    made = []

    def make(settings):
        made.append(Relay(dovecot.imap))
        upstream = f"upstream=imap://127.0.0.1:{made[-1].port} login=%n"
        if "trusted" not in settings:
            settings += "trusted = 192.0.2.1\n"
        gate = new_gate("drain = 1\n" + settings, stores={
            "local.live": f"{upstream} password={{plain}}{rig.PASSWORD} local={rig.local_secret()}",
            "passed.live": upstream})
        auth_rig.skip_if_absent(gate)
        gate.start()
        gate.relay = made[-1]
        return gate

    yield make
    for relay in made:
        relay.close()


def ask(gate, name, password, source):
    """Sends a login and does not wait for the answer."""
    client = Pop(gate.clear, source=source, timeout=60)
    client.send(f"USER {name}\r\nPASS {password}\r\n".encode())
    assert client.line().startswith(b"+OK")
    return client


def try_once(gate, name, password, source):
    with ask(gate, name, password, source) as client:
        return client.line().decode()


def answered(clients):
    return select.select([client.sock for client in clients], [], [], 0)[0]


def asked_upstream(gate):
    return gate.relay.saw(rb"(?i)^\S+ (LOGIN|AUTHENTICATE) ")


def test_each_failure_costs_more(guarded, dovecot, user):
    """Who has failed before waits longer than who has not, also in another session."""
    gate = guarded("failure_delay = 1\nfailures = 10\nblock_after = 0\n")
    name = f"{user}@local.live"
    for _ in range(2):  # 1 s, 2 s
        assert try_once(gate, name, "wrong", "127.0.0.2").startswith("-ERR [AUTH]")
    with ask(gate, name, "wrong", "127.0.0.2") as old, ask(gate, "another@local.live", "wrong", "127.0.0.3") as new:
        assert new.line().startswith(b"-ERR [AUTH]")
        assert not answered([old])
        assert old.line().startswith(b"-ERR [AUTH]")


def test_a_block(guarded, dovecot, user):
    dovecot.fill(user, mails.plain(1))
    gate = guarded("failure_delay = 0\nblock_after = 5\nblock = 3\n")
    name = f"{user}@local.live"
    said = {try_once(gate, name, f"wrong{number}", "127.0.0.2") for number in range(6)}
    asked = asked_upstream(gate)
    said.add(try_once(gate, name, rig.PASSWORD, "127.0.0.2"))  # right, but nobody looks
    assert len(said) == 1 and said.pop().startswith("-ERR [AUTH]")
    assert asked_upstream(gate) == asked == 0
    for source in ("127.0.0.3", "127.0.0.4"):  # others are not slowed by it
        assert try_once(gate, name, rig.PASSWORD, source).startswith("+OK")
    rig.wait_until(lambda: try_once(gate, name, rig.PASSWORD, "127.0.0.2").startswith("+OK"), 60,
                   "the end of the block")


def test_guessing_from_everywhere(guarded, dovecot, user):
    """200 failing sessions at once, each from its own address, all at one user: he himself comes in by
    the address that he is known at, and so does everybody else, before any of them is answered."""
    dovecot.fill(user, mails.plain(1))
    dovecot.fill(user + "b", mails.plain(1))
    gate = guarded("failure_delay = 15\n")
    name = f"{user}@local.live"
    assert try_once(gate, name, rig.PASSWORD, "127.0.0.5").startswith("+OK")
    guesses = [ask(gate, name, "wrong", f"127.0.1.{number + 1}") for number in range(200)]
    try:
        assert try_once(gate, name, rig.PASSWORD, "127.0.0.5").startswith("+OK")
        assert try_once(gate, f"{user}b@local.live", rig.PASSWORD, "127.0.0.6").startswith("+OK")
        assert not answered(guesses)
        gate.signal(signal.SIGUSR1)  # all of them are still there
        rig.wait_until(lambda: len(re.findall(r"peer=127\.0\.1\.", gate.log())) >= 200, what="the list of sessions")
        gate.signal(signal.SIGTERM)  # which waits for `drain`, not for answers that are held back
        assert gate.process.wait(10) == 0
    finally:
        for client in guesses:
            client.close()


def test_a_refused_password_is_not_asked_again(guarded, dovecot, user):
    """The provider hears a wrong password once; another one, and the right one, at once."""
    dovecot.fill(user, mails.plain(1))
    gate = guarded("failure_delay = 0\n")
    name = f"{user}@passed.live"
    dovecot_says_no = "wrong-" + rig.PASSWORD
    for number in range(4):
        assert try_once(gate, name, dovecot_says_no, f"127.0.0.{number + 2}").startswith("-ERR [AUTH]")
    assert asked_upstream(gate) == 1
    assert try_once(gate, name, "other-" + rig.PASSWORD, "127.0.0.2").startswith("-ERR [AUTH]")
    assert asked_upstream(gate) == 2
    assert try_once(gate, name, rig.PASSWORD, "127.0.0.2").startswith("+OK")


def test_trusted_addresses_are_exempt(guarded, dovecot, user):
    dovecot.fill(user, mails.plain(1))
    gate = guarded("failure_delay = 0\nblock_after = 5\ntrusted = 127.0.0.2\n")
    name = f"{user}@local.live"
    for number in range(12):
        assert try_once(gate, name, f"wrong{number}", "127.0.0.2").startswith("-ERR [AUTH]")
    assert try_once(gate, name, rig.PASSWORD, "127.0.0.2").startswith("+OK")


def test_the_log_cannot_be_forged(guarded):
    """One line for each failure, whatever the name holds."""
    gate = guarded("failure_delay = 0\n")
    names = ['a" event=login user="root', "b event=login-failed peer=192.0.2.9:1", "c\\", "d\x7f", "e\u2028f", "%s%n"]
    for number, name in enumerate(names):
        with Pop(gate.clear, source=f"127.0.0.{number + 10}") as client:
            if client.cmd("USER " + name).startswith("+OK"):
                client.err("PASS wrong")
    for line in gate.log().splitlines():
        bare = re.sub(r'"(\\.|[^"\\])*"', '""', line)
        assert "root" not in bare and "192.0.2.9" not in bare, line
        assert len(re.findall(r"(?:^| )event=", bare)) == 1, line
