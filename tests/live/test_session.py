# SPDX-License-Identifier: MIT
"""What a session may do to a mailbox, and what it must not."""
import base64
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

import mails
import rig
from pop import Pop


def login(gate, user, store, **more):
    client = Pop(gate.clear, **more)
    client.login(gate.login(user, store), rig.PASSWORD)
    return client


def login_soon(gate, user, store, seconds=10):
    """Logs in as soon as the lock of a former session is gone."""
    end = time.monotonic() + seconds
    while True:
        client = Pop(gate.clear)
        reply = client.try_login(gate.login(user, store), rig.PASSWORD)
        if reply.startswith("+OK"):
            return client
        client.close()
        assert "[IN-USE]" in reply and time.monotonic() < end, reply
        time.sleep(0.05)


def test_capabilities(gate):
    with Pop(gate.clear) as client:
        capa = client.multi("CAPA").decode().split("\r\n")
    for needed in ("TOP", "UIDL", "USER", "STLS", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"):
        assert needed in capa
    assert any(line.startswith("SASL") and "PLAIN" in line for line in capa)


def test_quit_deletes_exactly_what_is_marked(store, gate, upstream, direct, user):
    upstream.fill(user, mails.plain(5))
    with login(gate, user, store) as client:
        for number in (2, 4, 5):
            client.ok(f"DELE {number}")
        client.err("DELE 2")
        client.err("RETR 4")
        assert client.stat()[0] == 2
        client.ok("QUIT")
    assert direct(user).names() == ["m1", "m3"]


def test_rset_takes_marks_back(store, gate, upstream, direct, user):
    upstream.fill(user, mails.plain(3))
    with login(gate, user, store) as client:
        client.ok("DELE 1")
        client.ok("DELE 2")
        client.ok("RSET")
        client.ok("DELE 3")
        assert client.stat()[0] == 2
        client.ok("QUIT")
    assert direct(user).names() == ["m1", "m2"]


def test_nothing_goes_without_quit(store, gate, upstream, direct, user):
    upstream.fill(user, mails.plain(3))
    ways = [Pop.close, Pop.reset, lambda c: (c.send(b"QUIT"), c.close())]
    if not hasattr(gate, "is_peer"):  # which takes that for QUIT
        ways.append(lambda c: (c.send(b"QUIT now\r\n"), c.close()))
    for leave in ways:
        client = login_soon(gate, user, store)
        uidls = client.listing("UIDL")
        client.ok("DELE 1")
        leave(client)
        with login_soon(gate, user, store) as client:
            assert client.listing("UIDL") == uidls
            client.ok("QUIT")
    assert direct(user).names() == ["m1", "m2", "m3"]


@pytest.mark.parametrize("leave", [Pop.close, Pop.reset], ids=["close", "reset"])
def test_quit_counts_though_the_client_vanishes(leave, store, gate, upstream, direct, user):
    upstream.fill(user, mails.plain(3))
    client = login(gate, user, store)
    client.ok("DELE 2")
    client.send(b"QUIT\r\n")
    leave(client)
    there = direct(user)
    rig.wait_until(lambda: there.names() == ["m1", "m3"], what="the deletion")


def test_pipelining(any_store, gate, upstream, direct, user):
    upstream.fill(user, mails.plain(2))
    with Pop(gate.clear) as client:
        name = gate.login(user, any_store)
        client.send(f"USER {name}\r\nPASS {rig.PASSWORD}\r\nSTAT\r\nLIST\r\nUIDL\r\nRETR 1\r\n"
                    "DELE 1\r\nNOOP\r\nQUIT\r\n".encode())
        for _ in range(3):
            assert client.line().startswith(b"+OK")
        for _ in range(2):
            assert client.line().startswith(b"+OK")
            assert len(client.body().splitlines()) == 2
        assert client.line().startswith(b"+OK")
        assert client.body() == mails.over_pop(mails.plain(2)[0], any_store)
        for _ in range(3):
            assert client.line().startswith(b"+OK")
        assert client.at_end()
    assert direct(user).names() == ["m2"]


def test_uidls_stay(store, gate, upstream, user):
    upstream.fill(user, mails.plain(4))
    with login(gate, user, store) as client:
        first = client.listing("UIDL")
        assert len(set(first.values())) == 4
        for number, uidl in first.items():
            assert re.fullmatch(r"[\x21-\x7e]{1,70}", uidl)
            assert client.ok(f"UIDL {number}").split() == ["+OK", str(number), uidl]
        client.ok("DELE 2")
        client.ok("QUIT")
    with login(gate, user, store) as client:
        assert list(client.listing("UIDL").values()) == [first[1], first[3], first[4]]


def test_seen_is_set_on_quit_alone(store, gate, upstream, direct, user):
    upstream.fill(user, mails.plain(3))
    with login(gate, user, store) as client:
        client.multi("RETR 1")
        client.multi("TOP 2 0")
        client.close()
    with login_soon(gate, user, store) as client:
        client.multi("RETR 1")
        client.multi("TOP 2 0")
        client.ok("QUIT")
    flags = direct(user).flags()
    assert flags["m1"] == {b"\\Seen"}
    assert flags["m3"] == set()


@pytest.mark.popgate_only
def test_top_and_a_lost_session_set_no_seen(store, gate, upstream, direct, user):
    upstream.fill(user, mails.plain(2))
    with login(gate, user, store) as client:
        client.multi("RETR 1")
        client.multi("TOP 2 1")
    with login_soon(gate, user, store) as client:
        client.multi("TOP 2 1")
        client.ok("QUIT")
    assert set(map(frozenset, direct(user).flags().values())) == {frozenset()}


@pytest.mark.popgate_only
def test_what_others_marked_survives(store, gate, upstream, direct, user):
    upstream.fill(user, mails.plain(4))
    other = direct(user)
    other.delete_flag("m2")
    with login(gate, user, store) as client:
        assert client.stat()[0] == 3  # C-04: hidden
        other.delete_flag("m3")  # after our snapshot: stays shown
        assert client.stat()[0] == 3
        assert mails.name_of(client.multi("RETR 2")) == "m3"
        client.ok("DELE 3")
        client.ok("QUIT")
    flags = direct(user).flags()
    assert sorted(flags) == ["m1", "m2", "m3"]
    assert b"\\Deleted" in flags["m2"] and b"\\Deleted" in flags["m3"]
    assert b"\\Deleted" not in flags["m1"]


@pytest.mark.popgate_only
def test_what_others_removed_is_gone_and_no_more(store, gate, upstream, direct, user):
    upstream.fill(user, mails.plain(3))
    other = direct(user)
    with login(gate, user, store) as client:
        other.delete_flag("m2")
        other.imap.expunge()
        assert len(client.listing("LIST")) == 3  # G-03
        assert "[" not in client.err("RETR 2")
        assert mails.name_of(client.multi("RETR 3")) == "m3"
        client.ok("DELE 2")
        client.ok("DELE 3")
        client.ok("QUIT")
    assert direct(user).names() == ["m1"]


def test_wrong_password(any_store, gate, upstream, user):
    upstream.fill(user, mails.plain(1))
    with Pop(gate.clear) as client:
        name = gate.login(user, any_store)
        assert client.try_login(name, "wrong").startswith("-ERR [AUTH]")
        assert client.try_login(name, "").startswith("-ERR")
        client.login(name, rig.PASSWORD)
        client.ok("QUIT")


@pytest.mark.popgate_only
def test_unknown_names_look_like_wrong_passwords(gate, dovecot, user):
    dovecot.fill(user, mails.plain(1))
    with Pop(gate.clear) as client:
        wrong = client.try_login(f"{user}@maildir.live", "wrong")
        assert wrong.startswith("-ERR [AUTH]")
        assert client.try_login("nobody@nowhere.live", "wrong") == wrong
        # three failures and the door is shut (B-08)
        assert client.try_login("../etc@maildir.live", "wrong") == wrong
        assert client.at_end()


@pytest.mark.popgate_only
def test_names_cannot_leave_their_folder(gate):
    for name in ("..", "../x", ".hidden", "a/b", "a\\b"):
        with Pop(gate.clear) as client:
            assert client.try_login(f"{name}@maildir.live", rig.PASSWORD).startswith("-ERR [AUTH]")


def test_auth_plain_and_login(store, gate, upstream, user):
    upstream.fill(user, mails.plain(1))
    name = gate.login(user, store)
    encode = lambda text: base64.b64encode(text.encode()).decode()
    plain = encode(f"\0{name}\0{rig.PASSWORD}")
    with Pop(gate.clear) as client:
        client.ok("AUTH PLAIN " + plain)
        client.ok("QUIT")
    with Pop(gate.clear) as client:
        assert client.cmd("AUTH PLAIN").startswith("+ ")
        client.ok(plain)
        client.ok("QUIT")
    with Pop(gate.clear) as client:
        assert client.cmd("AUTH LOGIN").startswith("+ ")
        assert client.cmd(encode(name)).startswith("+ ")
        client.ok(encode(rig.PASSWORD))
        client.ok("QUIT")
    with Pop(gate.clear) as client:
        wrong = encode("\0" + name + "\0wrong")
        assert client.cmd("AUTH PLAIN " + wrong).startswith("-ERR [AUTH]")


@pytest.mark.popgate_only
def test_two_sessions(store, gate, upstream, user):
    upstream.fill(user, mails.plain(1))
    name = gate.login(user, store)
    with login(gate, user, store) as first, Pop(gate.clear) as second:
        reply = second.try_login(name.upper() if store == "imaps.live" else name, rig.PASSWORD)
        assert reply.startswith("-ERR [IN-USE]"), reply
        first.ok("NOOP")
        first.ok("QUIT")
        second.login(name, rig.PASSWORD)
        second.ok("QUIT")


HOLDER = """
import sys, time
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
from pop import Pop
client = Pop(int(sys.argv[2]))
client.login(sys.argv[3], sys.argv[4])
client.ok("DELE 1")
print("in", flush=True)
time.sleep(60)
"""


def test_the_lock_dies_with_its_client(store, gate, upstream, direct, user):
    upstream.fill(user, mails.plain(2))
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, os.path.dirname(__file__),
                               str(gate.clear), gate.login(user, store), rig.PASSWORD],
                              stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"in\n"
        with Pop(gate.clear) as client:
            reply = client.try_login(gate.login(user, store), rig.PASSWORD)
            assert reply.startswith("-ERR [IN-USE]")
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        began = time.monotonic()
        with login_soon(gate, user, store) as client:
            assert time.monotonic() - began < 10
            assert client.stat()[0] == 2
            client.ok("QUIT")
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


@pytest.mark.popgate_only
def test_passwords_are_not_taken_in_clear_where_forbidden(gate, dovecot, context, user):
    dovecot.fill(user, mails.plain(1))
    name = gate.login(user, "imaps.live")
    with Pop(gate.strict) as client:
        assert "USER" not in client.multi("CAPA").decode().split("\r\n")
        refusal = client.err(f"USER {name}")
        assert client.err("USER nobody@nowhere.live") == refusal
        assert "[AUTH]" not in refusal
        client.err("AUTH PLAIN")
        client.stls(context)
        assert "USER" in client.multi("CAPA").decode().split("\r\n")
        assert "STLS" not in client.multi("CAPA").decode().split("\r\n")
        client.err("STLS")
        client.login(name, rig.PASSWORD)
        client.ok("QUIT")


@pytest.mark.popgate_only
def test_stls_injection(gate, dovecot, user):
    with Pop(gate.clear) as client:
        client.send(f"STLS\r\nUSER {user}@imaps.live\r\n".encode())
        rest = client.file.read()
    assert rest.count(b"\r\n") <= 1 and b"password" not in rest.lower()


@pytest.mark.popgate_only
def test_stls_forgets_the_name(gate, dovecot, context, user):
    dovecot.fill(user, mails.plain(1))
    with Pop(gate.clear) as client:
        client.ok(f"USER {user}@imaps.live")
        client.stls(context)
        assert "[AUTH]" not in client.err(f"PASS {rig.PASSWORD}")


def test_odd_lines(gate, upstream, store, user):
    upstream.fill(user, mails.plain(2))
    with login(gate, user, store) as client:
        for line in ("RETR 0", "RETR 3", "RETR -1", "RETR 1a", "RETR 99999999999999999999", "RETR",
                     "DELE 0x1", "NONSENSE", "LIST 9", "UIDL 9", "TOP 1 -1"):
            client.err(line)
        assert client.stat()[0] == 2
        client.ok("QUIT")


def test_an_empty_mailbox(any_store, gate, upstream, user):
    upstream.fill(user, [])
    with login(gate, user, any_store) as client:
        assert client.stat() == (0, 0)
        assert client.multi("LIST") == b"" and client.multi("UIDL") == b""
        client.err("RETR 1")
        client.ok("QUIT")


def test_a_thousand_messages(store, gate, upstream, direct, user):
    upstream.fill(user, mails.plain(1000))
    with login(gate, user, store) as client:
        assert client.stat()[0] == 1000
        assert len(set(client.listing("UIDL").values())) == 1000
        client.send(b"".join(b"DELE %d\r\n" % n for n in range(1, 1001) if n % 10))
        for _ in range(900):
            assert client.line().startswith(b"+OK")
        client.ok("QUIT")
    assert direct(user).names() == [f"m{n}" for n in range(10, 1001, 10)]


@pytest.mark.popgate_only
def test_a_client_that_reads_slowly_gets_it_all(store, gate, upstream, user):
    stored = mails.tricky()["big"]
    upstream.fill(user, [stored])
    with login(gate, user, store) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.send(b"RETR 1\r\n")
        time.sleep(1)
        assert client.line().startswith(b"+OK")
        assert mails.digest(client.body()) == mails.digest(mails.over_pop(stored, store))
        client.ok("QUIT")
