# SPDX-License-Identifier: MIT
"""Mailboxes stay open behind their sessions: what a second poll says to the server, and what it must not
get wrong (M-09 to M-11, B-21)."""
import os
import re
import time

import pytest

import mails
import rig
from pop import Pop

pytestmark = pytest.mark.popgate_only

NAME = "%s@warm.live"


@pytest.fixture
def user(numbers):
    return f"warm{next(numbers)}"


@pytest.fixture
def make(new_gate, relay, user, dovecot):
    def make(settings, entry=""):
        dovecot.fill(user, mails.plain(3))
        made = new_gate(settings="drain = 1\n" + settings, stores={})
        made.set_map(f"{NAME % user} upstream=imap://127.0.0.1:{relay.port} login={user} {entry}\n")
        made.start()
        return made

    return make


def poll(gate, relay, user, password=rig.PASSWORD):
    """Number and octets, UIDLs, and what was said to the server for them."""
    del relay.commands[:]
    with Pop(gate.clear) as client:
        client.login(NAME % user, password)
        found = client.stat(), client.listing("UIDL")
        said = [command.split(" ", 1)[-1] for command in relay.commands]
        client.ok("QUIT")
    return found, said


def poll_until(gate, relay, user, is_it):
    """A mailbox is parked a moment after QUIT was answered, and what is to be learned of messages takes a
    session or two: so polls until one is as it should be."""
    found = []

    def again():
        found[:] = poll(gate, relay, user)
        return is_it(*found)

    rig.wait_until(again, 60, "the poll that was wanted")
    return found[0]


def settle(gate, relay, user):
    return poll_until(gate, relay, user, lambda _, said: said in ([], ["NOOP"]))


def logs_in(said):
    return any(command.startswith("LOGIN") for command in said)


def test_a_poll_is_one_question(make, relay, user):
    gate = make("fresh = 0\nkeep = 5m\n")
    first, said = poll(gate, relay, user)
    assert logs_in(said) and first[0][0] == 3
    assert poll_until(gate, relay, user, lambda _, said: said == ["NOOP"]) == first


def test_in_idle_a_poll_is_no_question(make, relay, user, dovecot):
    gate = make("keep = 5m\n")
    first = settle(gate, relay, user)

    def rested(found, said):
        """Two seconds without a client make it IDLE; whoever comes while that begins logs in."""
        if said:
            rig.wait_until(lambda: relay.saw(b"IDLE"), 20, "IDLE")
        return not said and found == first

    poll_until(gate, relay, user, rested)
    with dovecot.connect(user) as other:
        other.append("INBOX", None, None, b"Subject: new\r\n\r\nnew\r\n")
    found = poll_until(gate, relay, user, lambda found, _: found[0][0] == 4)  # Dovecot tells of it, soon
    assert {number: found[1][number] for number in (1, 2, 3)} == first[1]


def test_what_changes_is_seen(make, relay, user, dovecot):
    gate = make("fresh = 0\nkeep = 5m\n")
    first = settle(gate, relay, user)
    with dovecot.connect(user) as other:
        other.select("INBOX")
        other.store("2", "+FLAGS.SILENT", r"(\Deleted)")
        poll_until(gate, relay, user, lambda found, _: found[0][0] == 2)
        other.expunge()
    found, said = poll(gate, relay, user)
    kept = [first[1][1], first[1][3]]
    assert list(found[1].values()) == kept, (first, found, said)
    with Pop(gate.clear) as client:
        client.login(NAME % user, rig.PASSWORD)
        client.ok("DELE 1")
        client.ok("QUIT")
    found = poll_until(gate, relay, user, lambda _, said: not logs_in(said))
    assert list(found[1].values()) == kept[1:]


def test_a_wrong_password_is_wrong(make, relay, user):
    gate = make("keep = 5m\nfailure_delay = 0\nrefused_memory = 0\n")
    settle(gate, relay, user)
    with Pop(gate.clear) as client:
        client.ok(f"USER {NAME % user}")
        assert client.err("PASS wrong").startswith("-ERR [AUTH]")
    assert relay.saw(b"LOGIN"), "the server was asked"
    assert poll_until(gate, relay, user, lambda _, said: not logs_in(said))[0][0] == 3


def test_a_lost_connection_is_nobodys_business(make, relay, user):
    gate = make("keep = 5m\n")
    first = settle(gate, relay, user)
    rig.wait_until(lambda: relay.saw(b"IDLE"), 20, "IDLE")  # then it is parked
    for sock in relay.sockets:
        try:
            sock.shutdown(2)
        except OSError:
            pass
    found, said = poll(gate, relay, user)
    assert found == first and logs_in(said)


def test_a_reload_closes_all(make, relay, user):
    gate = make("keep = 5m\n")
    settle(gate, relay, user)
    gate.signal(1)
    rig.wait_until(lambda: relay.saw(b"LOGOUT"), 20, "LOGOUT")
    assert logs_in(poll(gate, relay, user)[1])


def test_keep_ends(make, relay, user):
    gate = make("keep = 1s\n")
    poll(gate, relay, user)
    rig.wait_until(lambda: relay.saw(b"LOGOUT"), 20, "LOGOUT")


def test_without(make, relay, user):
    gate = make("keep = 0\n")
    for _ in range(2):
        assert logs_in(poll(gate, relay, user)[1])


class Changing(rig.Dovecot):
    """Whose users have the passwords that a file says now."""

    def authentication(self):
        return f"""
auth_mechanisms = plain login
auth_cache_size = 0
passdb {{
  driver = passwd-file
  args = {self.path("passwords")}
}}"""

    def set_password(self, user, password):
        path = self.write("passwords.new", f"{user}:{{PLAIN}}{password}\n")
        os.chmod(path, 0o644)
        self.steps = getattr(self, "steps", 0) + 10  # Dovecot reads a file again when its time is another
        os.utime(path, (1700000000 + self.steps, 1700000000 + self.steps))
        os.replace(path, self.path("passwords"))

    def logins(self, user):
        return self.log().count(f"imap-login: Info: Login: user=<{user}>")


@pytest.fixture
def changing(top, authority):
    server = Changing(os.path.join(top, f"changing-{time.monotonic_ns()}"), authority)
    server.set_password("joe", "old")
    server.start()
    server.fill("joe", mails.plain(2))
    yield server
    server.stop()


def serve(new_gate, server, settings):
    made = new_gate(settings="keep = 5m\ndrain = 1\nfailure_delay = 0\nrefused_memory = 0\n" + settings, stores={})
    made.secrets = []
    made.set_map(f"{NAME % 'joe'} upstream=imap://127.0.0.1:{server.imap} login=joe\n")
    made.start()
    return made


def says(gate, password):
    with Pop(gate.clear) as client:
        client.ok(f"USER {NAME % 'joe'}")
        client.send(f"PASS {password}\r\n".encode())
        said = client.line().decode()
        if said.startswith("+OK"):
            client.ok("QUIT")
    return said


def is_warm(gate, number):
    """The last `number` logins, by the log."""
    found = re.findall(r"event=login .*warm=(\S+)", gate.log())
    return found[-number:]


def test_polls_make_one_login(new_gate, changing):
    gate = serve(new_gate, changing, "fresh = 0\n")
    assert says(gate, "old").startswith("+OK")
    # a mailbox is parked a moment after QUIT was answered

    def is_spared():
        before = changing.logins("joe")
        assert says(gate, "old").startswith("+OK")
        return changing.logins("joe") == before and is_warm(gate, 1) == ["yes"]

    rig.wait_until(is_spared, 30, "a poll without a login")


def test_a_password_that_was_changed_upstream(new_gate, changing):
    """The new one is asked about at once; the old one is good as long as the server's word is."""
    gate = serve(new_gate, changing, "warm_proof = 4s\n")
    assert says(gate, "old").startswith("+OK")
    changing.set_password("joe", "new")
    assert says(gate, "other").startswith("-ERR [AUTH]")
    rig.wait_until(lambda: says(gate, "old").startswith("-ERR [AUTH]"), 30, "the end of the old password")
    assert says(gate, "new").startswith("+OK")
    assert says(gate, "old").startswith("-ERR [AUTH]")
