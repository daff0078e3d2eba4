# SPDX-License-Identifier: MIT
"""What others do to the mailbox in the middle of a session, by a second IMAP connection (G-01, G-03,
G-09, C-04), on each server."""
import pytest

import mails
import others
import rig
from pop import Pop

pytestmark = pytest.mark.popgate_only

NEW = mails.plain(9)[8]


def expunge(other, name):
    other.delete_flag(name)
    assert other.imap.expunge()[0] == "OK"


def move(other, name):
    """By MOVE where there is one; else as clients do without it."""
    folder = "INBOX.Elsewhere" if other.server.kind == "courier" else "Elsewhere"
    assert other.imap.create(folder)[0] == "OK"
    number = str(other.names().index(name) + 1)
    if b"MOVE" in other.imap.capability()[1][0].split():
        kind, text = other.imap.xatom("MOVE", number, folder)
        assert kind == "OK", text
    else:
        assert other.imap.copy(number, folder)[0] == "OK"
        expunge(other, name)


WAYS = {"expunge": expunge, "move": move}


def login(gate, user, store):
    client = Pop(gate.clear)
    client.login(gate.login(user, store), rig.PASSWORD)
    return client


@pytest.fixture
def box(imap_store, gate, upstream, direct, user):
    """A session on four messages, and another client on the same."""
    upstream.fill(user, mails.plain(4))
    other = direct(user)
    with login(gate, user, imap_store) as client:
        yield client, other


def later(gate, user, store):
    """The names that the next session shows."""
    with login(gate, user, store) as client:
        names = [mails.name_of(client.multi(f"TOP {n} 0")) for n in client.listing("LIST")]
        client.ok("QUIT")
    return names


@pytest.mark.parametrize("way", WAYS)
def test_gone_before_retr_and_top(way, box):
    client, other = box
    before = client.listing("LIST"), client.listing("UIDL"), client.stat()
    WAYS[way](other, "m2")
    assert mails.name_of(client.multi("RETR 1")) == "m1"
    assert "[SYS/" not in client.err("RETR 2")
    assert "[SYS/" not in client.err("TOP 2 0")
    assert mails.name_of(client.multi("RETR 3")) == "m3"
    assert mails.name_of(client.multi("TOP 4 1")) == "m4"
    assert (client.listing("LIST"), client.listing("UIDL"), client.stat()) == before
    client.ok("QUIT")
    assert other.names() == ["m1", "m3", "m4"]


@pytest.mark.parametrize("way", WAYS)
def test_gone_before_dele(way, box):
    client, other = box
    WAYS[way](other, "m2")
    client.ok("NOOP")
    client.ok("DELE 2")
    client.ok("DELE 3")
    client.ok("QUIT")
    assert other.names() == ["m1", "m4"]


@pytest.mark.parametrize("way", WAYS)
def test_gone_before_quit(way, box):
    client, other = box
    client.ok("DELE 2")
    client.ok("DELE 4")
    WAYS[way](other, "m2")
    client.ok("QUIT")
    assert other.names() == ["m1", "m3"]


def test_all_gone_before_quit(box):
    client, other = box
    for number in (1, 2, 3, 4):
        client.ok(f"DELE {number}")
        expunge(other, f"m{number}")
    client.ok("QUIT")
    assert other.names() == []


def test_new_mail_is_of_the_next_session(box, gate, user, imap_store):
    client, other = box
    before = client.listing("UIDL"), client.stat()
    others.append(other.imap, "INBOX", NEW)
    expunge(other, "m1")
    others.append(other.imap, "INBOX", mails.plain(8)[7])
    assert mails.name_of(client.multi("RETR 4")) == "m4"
    assert (client.listing("UIDL"), client.stat()) == before
    client.err("RETR 5")
    client.ok("DELE 4")
    client.ok("QUIT")
    assert other.names() == ["m2", "m3", "m9", "m8"]
    assert later(gate, user, imap_store) == ["m2", "m3", "m9", "m8"]


def test_deleted_set_by_others(box, gate, user, imap_store):
    """C-04 and G-09: shown on in this session, hidden in the next; only our own marks expunge."""
    client, other = box
    other.delete_flag("m2")
    other.delete_flag("m3")
    assert client.stat()[0] == 4
    assert mails.name_of(client.multi("RETR 2")) == "m2"
    client.ok("DELE 3")
    client.ok("DELE 4")
    client.ok("QUIT")
    assert "m2" in other.names() and b"\\Deleted" in other.flags()["m2"]
    assert "m4" not in other.names() and "m1" in other.names()
    assert later(gate, user, imap_store) == ["m1"]


def test_deleted_taken_back_by_others(gate, upstream, direct, user, imap_store):
    """What bore it at login stays hidden in the session, and is there in the next."""
    upstream.fill(user, mails.plain(3), ["", "T", ""])
    other = direct(user)
    with login(gate, user, imap_store) as client:
        assert client.stat()[0] == 2
        assert other.imap.store("2", "-FLAGS", "(\\Deleted)")[0] == "OK"
        assert client.stat()[0] == 2
        assert mails.name_of(client.multi("RETR 2")) == "m3"
        client.ok("DELE 1")
        client.ok("QUIT")
    assert other.names() == ["m2", "m3"]
    assert later(gate, user, imap_store) == ["m2", "m3"]


def test_deleted_taken_back_before_quit(box):
    """Who marks what we have marked, and takes it back, changes nothing."""
    client, other = box
    client.ok("DELE 2")
    other.delete_flag("m2")
    assert other.imap.store("2", "-FLAGS", "(\\Deleted)")[0] == "OK"
    client.ok("QUIT")
    assert other.names() == ["m1", "m3", "m4"]
