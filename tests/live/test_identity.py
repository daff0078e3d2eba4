# SPDX-License-Identifier: MIT
"""UIDLs that stay: over restarts, other names of the host, and a server that numbers its mail anew."""
import glob
import imaplib
import os
import signal
import time

import pytest

import mails
import rig
from pop import Pop

pytestmark = pytest.mark.popgate_only

MANY = 1000


def uidls(gate, name):
    """The UIDLs of a session, in order, after which popgate has learned all that it wants."""
    with Pop(gate.clear) as client:
        client.login(name, rig.PASSWORD)
        found = list(client.listing("UIDL").values())
        client.ok("QUIT")
    rig.wait_until(lambda: not gate.connections(), 60, "the end of the session")
    return found


def named(gate, name):
    """{message name: UIDL}"""
    with Pop(gate.clear) as client:
        client.login(name, rig.PASSWORD)
        found = {mails.name_of(client.multi(f"TOP {number} 0")): uidl
                 for number, uidl in client.listing("UIDL").items()}
        client.ok("QUIT")
    rig.wait_until(lambda: not gate.connections(), 60, "the end of the session")
    return found


def connect(server, user):
    """A process of the server that was just told to end may still take a login with it."""
    for _ in range(5):
        try:
            return server.connect(user)
        except imaplib.IMAP4.abort:
            time.sleep(0.2)
    return server.connect(user)


def validity(server, user, folder="INBOX"):
    imap = connect(server, user)
    imap.select(folder, readonly=True)
    found = int(imap.untagged_responses["UIDVALIDITY"][0])
    imap.logout()
    return found


def renumber(server, user):
    """Gives all messages of a Dovecot or Courier new UIDs under a new UIDVALIDITY, as an operator
    does who restores a mailbox from its files."""
    before, top = validity(server, user), server.maildir(user)
    if server.kind == "dovecot":
        for pid in server.children():  # none may have the index open and in its memory
            with open(f"/proc/{pid}/cmdline", "rb") as title:
                if b"/imap\0" in title.read():
                    os.kill(pid, signal.SIGTERM)
        for path in glob.glob(os.path.join(top, "dovecot*")):
            os.unlink(path)
        with open(os.path.join(top, "dovecot-uidlist"), "w", encoding="ascii") as out:
            out.write(f"3 V{before + 1} N1 G0123456789abcdef0123456789abcdef\n")
    else:
        with open(os.path.join(top, "courierimapuiddb"), "w", encoding="ascii") as out:
            out.write(f"1 {before + 1} 1\n")
    for name in os.listdir(top):
        if name.startswith(("dovecot", "courier")):
            os.chown(os.path.join(top, name), rig.OWNER.pw_uid, rig.OWNER.pw_gid)
    assert validity(server, user) != before


def recreate(server, user, count):
    """The same messages in a folder of the same name that is not the same folder (Cyrus)."""
    imap = server.connect(user)
    for argv in (("CREATE", "Kept"), ("SELECT", "Box"), ("COPY", "1:*", "Kept"), ("CLOSE",), ("DELETE", "Box"),
                 ("RENAME", "Kept", "Box")):
        kind, text = getattr(imap, argv[0].lower())(*argv[1:])
        assert kind == "OK", (argv, text)
    assert imap.select("Box")[1] == [str(count).encode()]
    imap.logout()


def gate_before(new_gate, server, path="", attributes=""):
    gate = new_gate(stores={})
    gate.set_map(f"@id.live upstream=imap://127.0.0.1:{server.imap}{path} login=%n {attributes}\n")
    gate.start()
    return gate


def test_a_new_uidvalidity_on_dovecot(new_gate, dovecot, user):
    """1,000 messages, no new UIDL."""
    dovecot.fill(user, mails.plain(MANY))
    gate, name = gate_before(new_gate, dovecot), f"{user}@id.live"
    before = uidls(gate, name)
    assert len(set(before)) == MANY
    renumber(dovecot, user)
    assert uidls(gate, name) == before
    assert uidls(gate, name) == before
    gate.stop()
    gate.start()
    assert uidls(gate, name) == before


def test_a_new_uidvalidity_and_other_mail(new_gate, dovecot, user):
    """What came and what went meanwhile is told apart from what stayed."""
    dovecot.fill(user, mails.plain(20))
    gate, name = gate_before(new_gate, dovecot), f"{user}@id.live"
    before = named(gate, name)
    top = dovecot.maildir(user)
    for path in glob.glob(os.path.join(top, "*", "1700000003.*")):  # m4
        os.unlink(path)
    path = os.path.join(top, "new", "1600000000.M1P1.live")  # and an older one
    with open(path, "wb") as out:
        out.write(mails.head("restored") + b"\nback\n")
    os.chown(path, rig.OWNER.pw_uid, rig.OWNER.pw_gid)
    renumber(dovecot, user)
    after = named(gate, name)
    assert after.pop("restored") not in before.values()
    before.pop("m4")
    assert after == before


def test_new_ids_if_that_is_wanted(new_gate, dovecot, user):
    dovecot.fill(user, mails.plain(5))
    gate, name = gate_before(new_gate, dovecot, attributes="uidvalidity=new-ids"), f"{user}@id.live"
    before = uidls(gate, name)
    renumber(dovecot, user)
    after = uidls(gate, name)
    assert len(set(after)) == 5 and not set(after) & set(before)


def test_refuse_if_that_is_wanted(new_gate, dovecot, user):
    dovecot.fill(user, mails.plain(5))
    gate, name = gate_before(new_gate, dovecot, attributes="uidvalidity=refuse"), f"{user}@id.live"
    before = uidls(gate, name)
    renumber(dovecot, user)
    with Pop(gate.clear) as client:
        assert client.try_login(name, rig.PASSWORD).startswith("-ERR [SYS/")
    gate.set_map(f"@id.live upstream=imap://127.0.0.1:{dovecot.imap} login=%n uidvalidity=match\n")
    gate.stop()
    gate.start()
    assert uidls(gate, name) == before


def test_a_new_uidvalidity_on_courier(new_gate, servers, user):
    if "courier" not in servers:
        pytest.skip("no Courier here")
    server = servers["courier"]
    server.fill(user, mails.plain(50))
    gate, name = gate_before(new_gate, server), f"{user}@id.live"
    before = named(gate, name)
    renumber(server, user)
    assert named(gate, name) == before


def test_a_new_uidvalidity_on_cyrus(new_gate, servers, user):
    """Cyrus names messages by EMAILID, and a copy keeps it."""
    if "cyrus" not in servers:
        pytest.skip("no Cyrus here")
    server = servers["cyrus"]
    server.fill(user, mails.plain(50))
    imap = server.connect(user)
    imap.create("Box")
    imap.select("INBOX")
    assert imap.copy("1:*", "Box")[0] == "OK"
    imap.logout()
    gate, name = gate_before(new_gate, server, "/Box"), f"{user}@id.live"
    before, was = named(gate, name), validity(server, user, "Box")
    rig.wait_until(lambda: int(time.time()) > was + 1, what="another second, which is Cyrus' next UIDVALIDITY")
    recreate(server, user, 50)
    assert validity(server, user, "Box") != was
    assert named(gate, name) == before


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_ids_outlive_the_process(way, new_gate, imap_server, user):
    imap_server.fill(user, mails.plain(5))
    gate, name = gate_before(new_gate, imap_server), f"{user}@id.live"
    before = uidls(gate, name)
    for _ in range(2):
        if way == "stop":
            assert gate.stop() == 0
        else:
            with Pop(gate.clear) as client:
                client.login(name, rig.PASSWORD)
                client.ok("DELE 1")
                gate.process.kill()
                gate.process.wait()
        gate.start()
        assert uidls(gate, name) == before


def test_another_name_of_the_host(new_gate, imap_server, user):
    """An alias keeps ids (E-02); another folder and another account have others."""
    imap_server.fill(user, mails.plain(5))
    gate, name = gate_before(new_gate, imap_server), f"{user}@id.live"
    before = uidls(gate, name)
    gate.set_map(f"@id.live upstream=imap://localhost:{imap_server.imap} login=%n\n")
    gate.stop()
    gate.start()
    assert uidls(gate, name) == before
    assert named(gate, name) == dict(zip([f"m{n}" for n in range(1, 6)], before))


def test_another_folder(new_gate, imap_server, user):
    imap_server.fill(user, mails.plain(5))
    folder = "INBOX.Other" if imap_server.kind == "courier" else "Other"
    imap = imap_server.connect(user)
    assert imap.create(folder)[0] == "OK"
    imap.select("INBOX")
    assert imap.copy("1:3", folder)[0] == "OK"
    imap.logout()
    gate, name = gate_before(new_gate, imap_server), f"{user}@id.live"
    before = uidls(gate, name)
    gate.set_map(f"other@id.live upstream=imap://127.0.0.1:{imap_server.imap}/{folder} login={user}\n")
    gate.stop()
    gate.start()
    after = uidls(gate, "other@id.live")
    assert len(set(after)) == 3 and not set(after) & set(before)


def test_another_account(new_gate, imap_server, numbers):
    """Equal UIDs, perhaps an equal UIDVALIDITY, and other mail."""
    users = [f"user{next(numbers)}" for _ in range(2)]
    for user in users:
        imap_server.fill(user, mails.plain(3))
    gate, found = gate_before(new_gate, imap_server), []
    for user in users:
        found += uidls(gate, f"{user}@id.live")
    assert len(set(found)) == 6


@pytest.mark.parametrize("attributes", ["", "delete=never seen=never"])
def test_a_fresh_maildir_under_courier(attributes, new_gate, servers, user):
    """N-12: nobody has opened it by IMAP, so its UIDVALIDITY is made by the first who may keep it."""
    if "courier" not in servers:
        pytest.skip("no Courier here")
    server = servers["courier"]
    server.fill(user, mails.plain(5))
    assert not os.path.exists(os.path.join(server.maildir(user), "courierimapuiddb"))
    gate, name = gate_before(new_gate, server, attributes=attributes), f"{user}@id.live"
    first = uidls(gate, name)
    assert len(set(first)) == 5
    assert uidls(gate, name) == first
    gate.stop()
    gate.start()
    assert uidls(gate, name) == first
