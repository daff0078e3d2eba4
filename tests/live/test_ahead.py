# SPDX-License-Identifier: MIT
"""Messages that are read ahead: the same octets, whatever the client does, and one login."""
import pytest

import mails
import rig
from pop import Pop

pytestmark = pytest.mark.popgate_only

NAME = "ahead@ahead.live"
COUNT = 120


def message(number):
    """Of many sizes, the most of them usual, with dots at places."""
    octets = 200 + (number * 7919) % 9000 + (400_000 if number == 60 else 0)
    lines = [b"line %d of %d" % (n, number) if n % 5 else b".dot %d" % n for n in range(octets // 16)]
    return mails.head(f"m{number}") + b"\n" + b"\n".join(lines) + b"\n"


@pytest.fixture
def stored(dovecot, user):
    made = [message(number) for number in range(1, COUNT + 1)]
    dovecot.fill(user, made)
    return [mails.with_crlf(octets) for octets in made]


@pytest.fixture
def gate(new_gate, relay, user):
    made = new_gate(stores={})
    made.set_map(f"{NAME} upstream=imap://127.0.0.1:{relay.port} login={user}\n")
    made.start()
    return made


@pytest.fixture
def client(gate, stored):
    with Pop(gate.clear) as made:
        made.login(NAME, rig.PASSWORD)
        yield made


def logins(relay):
    return sum(" LOGIN " in command for command in relay.commands)


def bodies(relay):
    return [command for command in relay.commands if "BODY.PEEK[]" in command]


def test_one_by_one(client, stored, relay):
    for number, octets in enumerate(stored, 1):
        assert client.multi(f"RETR {number}") == octets
    client.ok("QUIT")
    assert logins(relay) == 1 and len(bodies(relay)) == COUNT


def test_it_is_ahead(client, stored, relay):
    for number in range(1, 6):
        assert client.multi(f"RETR {number}") == stored[number - 1]
    rig.wait_until(lambda: len(bodies(relay)) > 10, what="FETCHes that nobody asked for yet")


def test_delete_between(client, stored, relay, direct, user):
    for number, octets in enumerate(stored, 1):
        assert client.multi(f"RETR {number}") == octets
        client.ok(f"DELE {number}")
    client.ok("QUIT")
    assert direct(user).fetch() == []
    assert logins(relay) == 1 and len(bodies(relay)) == COUNT


def test_pipelined(client, stored, relay):
    client.send(b"".join(b"RETR %d\r\n" % n for n in range(1, COUNT + 1)))
    for octets in stored:
        assert client.line().startswith(b"+OK")
        assert client.body() == octets
    client.ok("QUIT")
    assert logins(relay) == 1 and len(bodies(relay)) == COUNT


def test_pipelined_in_disorder(client, stored, relay):
    order = [(n * 47) % COUNT + 1 for n in range(COUNT)]
    client.send(b"".join(b"RETR %d\r\nDELE %d\r\nNOOP\r\n" % (n, n) for n in order))
    for n in order:
        assert client.line().startswith(b"+OK")
        assert client.body() == stored[n - 1]
        assert client.line().startswith(b"+OK message") and client.line().startswith(b"+OK")
    assert client.ok("STAT").startswith("+OK 0 0")
    client.ok("RSET")
    client.ok("QUIT")
    assert logins(relay) == 1 and len(bodies(relay)) == COUNT


def test_tops(client, stored, relay):
    for number, octets in enumerate(stored, 1):
        head, _, body = octets.partition(b"\r\n\r\n")
        want = head + b"\r\n\r\n" + b"".join(line + b"\r\n" for line in body.split(b"\r\n")[:2])
        assert client.multi(f"TOP {number} 2") == want
    client.ok("QUIT")
    assert logins(relay) == 1 and len(bodies(relay)) == COUNT


def test_here_and_there(client, stored, relay):
    order = [1, 2, 3, 4, 50, 51, 52, 7, 8, 9, 11, 12, 60, 61, 62, 59, 120, 1, 2, 3]
    for n in order:
        assert client.multi(f"RETR {n}") == stored[n - 1]
        client.multi(f"TOP {n} 0")
        assert client.multi(f"RETR {n}") == stored[n - 1]
    client.ok("QUIT")
    assert logins(relay) == 1


def test_quit_in_the_midst(client, stored, relay, direct, user):
    for number in range(1, 9):
        assert client.multi(f"RETR {number}") == stored[number - 1]
    client.ok("DELE 3")
    client.ok("QUIT")
    assert direct(user).names() == [f"m{n}" for n in range(1, COUNT + 1) if n != 3]
    assert logins(relay) == 1


def test_gone_in_the_midst(gate, client, stored, relay):
    for number in range(1, 9):
        assert client.multi(f"RETR {number}") == stored[number - 1]
    client.send(b"RETR 9\r\nRETR 60\r\n")
    client.close()
    rig.wait_until(lambda: not gate.connections(), what="the end of the session")
    with Pop(gate.clear) as again:
        again.login(NAME, rig.PASSWORD)
        assert again.ok("STAT").startswith(f"+OK {COUNT} ")
        for number in (9, 10, 60):
            assert again.multi(f"RETR {number}") == stored[number - 1]
        again.ok("QUIT")
