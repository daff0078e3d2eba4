# SPDX-License-Identifier: MIT
"""100,000 messages: the second poll of an unchanged mailbox lists nothing (M-07)."""
import pytest

import mails
import rig
from pop import Pop
from relay import Relay

pytestmark = pytest.mark.popgate_only

MANY = 100_000
NAME = "many@again.live"


@pytest.fixture(scope="module")
def many(dovecot):
    dovecot.fill_many("many", MANY)
    return dovecot


@pytest.fixture
def relay(many):
    made = Relay(many.imap)
    yield made
    made.close()


@pytest.fixture
def gate(new_gate, relay):
    made = new_gate(stores={})
    made.set_map(f"{NAME} upstream=imap://127.0.0.1:{relay.port} login=many\n")
    made.start()
    return made


def poll(gate, relay):
    """What a client that keeps its mail does; the listings."""
    del relay.commands[:]
    with Pop(gate.clear, timeout=120) as client:
        client.login(NAME, rig.PASSWORD)
        found = client.stat(), client.multi("UIDL"), client.multi("LIST")
        client.ok("QUIT")
    rig.wait_until(lambda: not gate.connections(), 120, "the end of the session")
    return found


FETCH = rb"(?i) FETCH "


def test_the_second_poll_lists_nothing(gate, relay):
    first = poll(gate, relay)
    assert relay.saw(FETCH) and first[0][0] == MANY
    # identities may still be learned, in pieces, for which a session takes the time it has
    for _ in range(3):
        assert poll(gate, relay)[1] == first[1]
    again = poll(gate, relay)
    assert again == first
    assert not relay.saw(FETCH), [command for command in relay.commands if "FETCH" in command]
    assert not relay.saw(rb"(?i)SEARCH (RETURN \(ALL\) )?ALL"), relay.commands
    gate.stop()
    gate.start()
    assert poll(gate, relay) == first
    assert not relay.saw(FETCH), relay.commands


def test_one_more_message_is_one_line(gate, relay, many):
    first = poll(gate, relay)
    imap = many.connect("many")
    imap.append("INBOX", "(\\Seen)", None, mails.with_crlf(mails.head("late") + b"\nlate\n"))
    imap.logout()
    now = poll(gate, relay)
    assert now[0][0] == first[0][0] + 1
    assert now[1].startswith(first[1]) and now[1].count(b"\r\n") == first[1].count(b"\r\n") + 1
    asked = [command for command in relay.commands if "FETCH" in command.upper()]
    assert asked and not any(" 1:" in command for command in asked), asked
