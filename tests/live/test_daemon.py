# SPDX-License-Identifier: MIT
"""The daemon's life: restart, reload, drain, a server that dies, and what its log says."""
import os
import shutil
import signal
import socket
import ssl
import time

import pytest

import mails
import rig
from pop import Pop

pytestmark = pytest.mark.popgate_only


def login(gate, user, store):
    client = Pop(gate.clear)
    client.login(f"{user}@{store}", rig.PASSWORD)
    return client


def uidls(gate, user, store):
    with login(gate, user, store) as client:
        found = client.listing("UIDL")
        client.ok("QUIT")
    return found


def certificate_name(gate, authority):
    context = ssl.create_default_context(cafile=authority.ca)
    with Pop(gate.tls, context) as client:
        return dict(pair[0] for pair in client.sock.getpeercert()["subject"])["commonName"]


def test_uidls_outlive_a_restart(store, new_gate, upstream, user):
    upstream.fill(user, mails.plain(3))
    gate = new_gate()
    gate.start()
    before = uidls(gate, user, store)
    assert len(before) == 3
    assert gate.stop() == 0
    gate.start()
    assert uidls(gate, user, store) == before


def test_it_gives_its_rights_up(new_gate):
    gate = new_gate()
    gate.start()
    with open(f"/proc/{gate.process.pid}/status", encoding="ascii") as status:
        fields = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
    assert fields["Uid"].split() == [str(rig.OWNER.pw_uid)] * 4
    assert fields["Gid"].split() == [str(rig.OWNER.pw_gid)] * 4
    assert fields["Groups"].split() in ([], [str(rig.OWNER.pw_gid)])
    assert os.stat(gate.path("state")).st_uid == rig.OWNER.pw_uid


def test_drain_lets_sessions_end(store, new_gate, upstream, direct, user):
    upstream.fill(user, mails.plain(3))
    gate = new_gate("drain = 20")
    gate.start()
    with login(gate, user, store) as client:
        client.ok("DELE 2")
        gate.signal(signal.SIGTERM)
        rig.wait_until(lambda: not rig.listens(gate.clear), what="the end of listening")
        assert mails.name_of(client.multi("RETR 3")) == "m3"
        client.ok("QUIT")
    assert gate.process.wait(10) == 0
    assert direct(user).names() == ["m1", "m3"]


def test_drain_ends(store, new_gate, upstream, direct, user):
    upstream.fill(user, mails.plain(3))
    gate = new_gate("drain = 1")
    gate.start()
    with login(gate, user, store) as client:
        client.ok("DELE 2")
        began = time.monotonic()
        gate.signal(signal.SIGTERM)
        client.at_end()
        assert gate.process.wait(10) == 0
        assert 0.5 < time.monotonic() - began < 5
    assert direct(user).names() == ["m1", "m2", "m3"]


def test_a_drain_ends_handshakes(new_gate):
    gate = new_gate("drain = 1")
    gate.start()
    begun = b"\x16\x03\x01"  # of a ClientHello that never comes
    with socket.create_connection(("127.0.0.1", gate.tls)) as implicit, Pop(gate.clear) as stls:
        stls.ok("STLS")
        stls.send(begun)
        implicit.sendall(begun)
        time.sleep(0.2)
        gate.signal(signal.SIGTERM)
        assert gate.process.wait(10) == 0


def test_a_handshake_has_one_deadline(new_gate):
    gate = new_gate()
    gate.start()
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", gate.tls)) as client:
        client.settimeout(3)
        for octet in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(9):
            try:
                client.send(bytes([octet]))
                if not client.recv(1):
                    break
            except socket.timeout:
                pass
            except ConnectionError:
                break
    assert 25 < time.monotonic() - began < 40


def long_map(name, entry):
    return "".join(f"u{number} {entry}\n" for number in range(200000)) + f"{name} {entry}\n"


def test_a_reload_asked_for_during_a_reload(new_gate, dovecot, user):
    dovecot.fill(user, mails.plain(1))
    entry = f"upstream=imap://127.0.0.1:{dovecot.imap} login={user}"
    gate = new_gate(stores={"imap.live": entry})
    gate.start()
    gate.set_map(long_map("first", entry))
    gate.signal(signal.SIGHUP)
    time.sleep(0.1)
    gate.set_map(long_map("second", entry))
    gate.signal(signal.SIGHUP)

    def is_second():
        with Pop(gate.clear) as client:
            return client.try_login("second", rig.PASSWORD).startswith("+OK")
    rig.wait_until(is_second, seconds=30, what="the newer of two maps")


def test_the_end_waits_for_a_reload(new_gate, dovecot, user):
    entry = f"upstream=imap://127.0.0.1:{dovecot.imap} login={user}"
    gate = new_gate(stores={"imap.live": entry})
    gate.start()
    gate.set_map(long_map("last", entry))
    gate.signal(signal.SIGHUP)
    time.sleep(0.05)
    gate.signal(signal.SIGTERM)
    assert gate.process.wait(20) == 0
    assert "event=reloaded" in gate.log()


def test_reload(new_gate, dovecot, authority, user):
    dovecot.fill(user, mails.plain(1))
    entry = f"upstream=imaps://localhost:{dovecot.imaps} ca={authority.ca} login={user}"
    gate = new_gate(stores={"imaps.live": entry})
    gate.start()

    def refused(name):
        with Pop(gate.clear) as client:
            return client.try_login(name, rig.PASSWORD).startswith("-ERR")

    with login(gate, user, "imaps.live") as client:
        assert refused("new")
        gate.set_map(f"new {entry}\n")
        gate.signal(signal.SIGHUP)
        rig.wait_until(lambda: "[IN-USE]" in Pop(gate.clear).try_login("new", rig.PASSWORD),
                       what="the new map")
        client.ok("NOOP")  # sessions keep what they logged in with
        assert client.stat()[0] == 1
        client.ok("QUIT")
    assert refused(f"{user}@imaps.live")

    gate.set_map(f"new {entry}\nbroken nonsense=1\nother upstream=gopher://x\n")
    said = len(gate.log())
    gate.signal(signal.SIGHUP)
    rig.wait_until(lambda: f"{gate.path('map')}:2" in gate.log()[said:] and
                   f"{gate.path('map')}:3" in gate.log()[said:], what="the refusal of a bad map")
    with Pop(gate.clear) as client:
        client.login("new", rig.PASSWORD)
        client.ok("QUIT")


def test_reload_of_certificates(new_gate, authority, context):
    gate = new_gate()
    gate.start()
    first = certificate_name(gate, authority)
    cert, key = authority.issue("renewed")
    for new, old in ((cert, gate.cert), (key, gate.key)):
        shutil.copy2(new, old)
        os.chown(old, 0, rig.OWNER.pw_gid)
    with Pop(gate.tls, context) as client:
        gate.signal(signal.SIGHUP)
        rig.wait_until(lambda: certificate_name(gate, authority) == "renewed",
                       what="the new certificate")
        client.multi("CAPA")  # who came before stays
    assert first != "renewed"
    with open(gate.cert, "w", encoding="ascii") as out:
        out.write("no certificate\n")
    said = len(gate.log())
    gate.signal(signal.SIGHUP)
    rig.wait_until(lambda: gate.cert in gate.log()[said:], what="the refusal of a bad certificate")
    assert certificate_name(gate, authority) == "renewed"


def test_usr1_lists_sessions(new_gate, dovecot, user):
    dovecot.fill(user, mails.plain(1))
    gate = new_gate()
    gate.start()
    with login(gate, user, "imaps.live") as client, Pop(gate.clear):
        said = len(gate.log())
        gate.signal(signal.SIGUSR1)
        rig.wait_until(lambda: f"user={user}@imaps.live" in gate.log()[said:].replace('"', ""),
                       what="the list")
        peer = "%s:%d" % client.sock.getsockname()
        rig.wait_until(lambda: peer in gate.log()[said:], what="the peer in the list")
        client.ok("QUIT")


def test_the_log_has_one_name_for_all_spellings(new_gate, dovecot, user):
    dovecot.fill(user, mails.plain(1))
    gate = new_gate()
    gate.start()
    with Pop(gate.clear) as client:
        client.login(f"{user.upper()}%IMAP.live", rig.PASSWORD)
        client.ok("QUIT")
    said = [line for line in gate.log().splitlines() if line.startswith("event=login ")]
    assert f"user={user}@imap.live" in said[0]


def test_a_server_that_stops_is_no_wrong_password(new_gate, top, authority, user):
    mine = rig.Dovecot(os.path.join(top, "mortal"), authority)
    stored = mails.plain(3)
    mine.fill(user, stored)
    mine.start()
    try:
        gate = new_gate(stores=rig.stores_of(mine, authority))
        gate.start()
        before = uidls(gate, user, "imaps.live")
        client = login(gate, user, "imaps.live")
        client.ok("DELE 1")
        mine.stop()
        assert client.stat()[0] == 2  # promise 2: the snapshot stays
        assert list(client.listing("UIDL").values()) == [before[2], before[3]]
        assert client.err("RETR 2").startswith("-ERR [SYS/TEMP]")
        client.ok("QUIT")  # the promise is on disk (D-09)
        client.close()
        for store in ("imap.live", "starttls.live", "imaps.live"):
            with Pop(gate.clear) as client:
                assert client.try_login(f"{user}@{store}", rig.PASSWORD).startswith("-ERR [SYS/TEMP]")
        mine.start()
        found = []

        def is_up():  # a server that was down is not asked at once again (H-12)
            with Pop(gate.clear) as client:
                if client.try_login(f"{user}@imaps.live", rig.PASSWORD).startswith("+OK"):
                    found.extend(client.listing("UIDL").values())
                    client.ok("QUIT")
            return found
        rig.wait_until(is_up, 60, "a login")
        assert found == [before[2], before[3]]
        rig.wait_until(lambda: list(mine.flags(user)) == [2, 3], what="the deletion that was promised")
    finally:
        mine.stop()


def test_a_stranger_s_certificate_is_refused(new_gate, dovecot, authority, user):
    dovecot.fill(user, mails.plain(1))
    other = authority.stranger()
    gate = new_gate(stores={
        "imaps.live": f"upstream=imaps://localhost:{dovecot.imaps} ca={other} login=%n",
        "starttls.live": f"upstream=imap+starttls://localhost:{dovecot.imap} ca={other} login=%n",
    })
    gate.start()
    for store in ("imaps.live", "starttls.live"):
        with Pop(gate.clear) as client:
            assert client.try_login(f"{user}@{store}", rig.PASSWORD).startswith("-ERR [SYS/PERM]")
    # and no octet of a credential went to the stranger
    assert f"user=<{user}>" not in dovecot.log()


def test_a_wrong_stored_password_is_not_the_client_s_fault(new_gate, dovecot, user):
    dovecot.fill(user, mails.plain(1))
    entry = f"upstream=imap://127.0.0.1:{dovecot.imap} login={user} local={rig.local_secret()}"
    gate = new_gate(stores={})
    gate.set_map(f"good {entry} password={{plain}}{rig.PASSWORD}\nbad {entry} password={{plain}}other\n")
    gate.start()
    with Pop(gate.clear) as client:
        assert client.try_login("bad", rig.PASSWORD).startswith("-ERR [SYS/PERM]")
        client.login("good", rig.PASSWORD)
        client.ok("QUIT")


def test_a_missing_maildir_is_no_wrong_password(gate, user):
    with Pop(gate.clear) as client:
        reply = client.try_login(f"{user}@maildir.live", rig.PASSWORD)
        assert reply.startswith("-ERR [SYS/PERM]"), reply
        assert client.try_login(f"{user}@maildir.live", "wrong").startswith("-ERR [AUTH]")


def test_delete_never(new_gate, dovecot, authority, direct, user):
    dovecot.fill(user, mails.plain(1))
    gate = new_gate(stores={store: text + " delete=never"
                            for store, text in rig.stores_of(dovecot, authority).items()})
    gate.start()
    for store in ("imaps.live", "maildir.live"):
        with login(gate, user, store) as client:
            assert client.err("DELE 1").startswith("-ERR [SYS/PERM]")
            client.ok("QUIT")
    assert direct(user).names() == ["m1"]


def test_many_sessions_at_once(gate, dovecot, numbers):
    users = [f"user{next(numbers)}" for _ in range(40)]
    for user in users:
        dovecot.fill(user, mails.plain(2))
    clients = [login(gate, user, "imap.live" if n % 2 else "maildir.live")
               for n, user in enumerate(users)]
    for client in clients:
        client.send(b"RETR 1\r\nDELE 1\r\nQUIT\r\n")
    for client in clients:
        assert client.line().startswith(b"+OK")
        assert mails.name_of(client.body()) == "m1"
        assert client.line().startswith(b"+OK") and client.line().startswith(b"+OK")
        client.close()
