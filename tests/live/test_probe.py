# SPDX-License-Identifier: MIT
"""popgate probe: what it tells of a real mailbox, and that it leaves no trace there."""
import re

import pytest

import mails
import rig
from pop import Pop

pytestmark = pytest.mark.popgate_only


@pytest.fixture
def probe(program):
    def call(gate, *argv, password=rig.PASSWORD):
        done = rig.run(program, "-c", gate.config, "probe", *argv, check=False,
                       input=(password + "\n").encode())
        assert rig.PASSWORD.encode() not in done.stdout + done.stderr
        return done.returncode, done.stdout.decode(), done.stderr.decode()
    return call


def lines(said):
    """{key: [values]}"""
    found = {}
    for line in said.splitlines():
        key, value = line.split(": ", 1)
        found.setdefault(key, []).append(value)
    return found


def test_tells(probe, new_gate, dovecot, direct, user):
    dovecot.fill(user, mails.plain(7))
    before = direct(user).flags()
    gate = new_gate()
    for domain, tls in (("imap.live", False), ("starttls.live", True), ("imaps.live", True)):
        status, said, wrong = probe(gate, "--password-stdin", f"{user}@{domain}")
        assert status == 0, wrong
        told = lines(said)
        assert told["login"] == [f"{user}, with the client's password"]
        assert told["address"][0] in (f"127.0.0.1:{dovecot.imap}", f"127.0.0.1:{dovecot.imaps}",
                                      f"[::1]:{dovecot.imap}", f"[::1]:{dovecot.imaps}")
        assert ("tls" in told) == tls and ("certificate" in told) == tls
        if tls:
            assert told["tls"][0].startswith("TLSv1.3, ")
            assert re.search(r"20\d\d", told["certificate expires"][0])
        assert "Dovecot" in told["greeting"][0] and told["id"] == ["Dovecot"]
        assert "UIDPLUS" in told["capabilities"][0].split()
        assert told["quirks"] == ["dovecot, by what the server says"]
        assert told["longest command line"] == ["64000 octets"]
        assert told["folder"] == ["INBOX"]
        assert int(told["uidvalidity"][0]) > 0 and told["exists"] == ["7"]
        assert told["uidnext"] == ["8"] and "highestmodseq" in told
        assert told["if UIDs change"] == \
            ["messages are recognised by a hash of their headers, with their sizes"]
        assert told["delete"] == ["UID EXPUNGE"]
        assert 0 < int(told["round trips"][0]) < 10
        assert "time, login" in told
        assert told["messages"] == ["7"] and int(told["octets"][0]) > 0
        assert len(told["uidl"]) == 6 and told["uidl"][5] == "2 more"
    assert direct(user).flags() == before


def test_uidls_are_those_of_a_session(probe, new_gate, dovecot, user):
    dovecot.fill(user, mails.plain(3))
    gate = new_gate()
    gate.start()
    with Pop(gate.clear) as client:
        client.login(f"{user}@imap.live", rig.PASSWORD)
        uidls = [line.decode() for line in client.multi("UIDL").splitlines()]
        client.ok("QUIT")
    status, said, wrong = probe(gate, "--password-stdin", f"{user}@imap.live")  # while it runs
    assert status == 0, wrong
    assert [value.split(",")[0] for value in lines(said)["uidl"]] == uidls


def test_what_the_map_would_do(probe, new_gate, dovecot, user):
    dovecot.fill(user, mails.plain(1))
    gate = new_gate()
    entry = f"upstream=imap://127.0.0.1:{dovecot.imap} login={user}"
    gate.set_map(f"never {entry} delete=never\nhide {entry} delete=hide\nflag {entry} delete=flag\n"
                 f"archive {entry} delete=archive:Old\n"
                 f"gmail {entry} quirks=gmail delete=expunge\nnew {entry} uidvalidity=new-ids\n"
                 f"form {entry} uidl=dovecot:%08Xu%08Xv\n")
    for name, key, value in (
            ("never", "delete", "DELE is refused"),
            ("hide", "delete", "nothing is done on the server"),
            ("flag", "delete", "the flag \\Deleted"),
            ("archive", "delete", "UID MOVE to Old"),
            ("gmail", "quirks", "gmail, as the map says"),
            ("gmail", "delete", "UID EXPUNGE"),
            ("new", "if UIDs change", "all messages are new"),
            ("form", "uidls", "in the form %08Xu%08Xv")):
        status, said, wrong = probe(gate, name, "--password-stdin")
        assert status == 0, wrong
        assert value in lines(said)[key][0], (name, said)


def test_stored_secret_and_maildir(probe, new_gate, dovecot, user):
    dovecot.fill(user, mails.plain(2))
    gate = new_gate()
    gate.set_map(f"imap upstream=imap://127.0.0.1:{dovecot.imap} login={user} "
                 f"password={{plain}}{rig.PASSWORD} local={rig.local_secret()}\n"
                 f"maildir upstream=maildir:{dovecot.maildir(user)} local={rig.local_secret()}\n")
    status, said, wrong = probe(gate, "imap", password="not asked for")
    assert status == 0, wrong
    assert lines(said)["login"] == [f"{user}, with the map's secret"]
    status, said, wrong = probe(gate, "maildir")
    assert status == 0, wrong
    assert lines(said)["messages"] == ["2"]


def test_says_what_is_wrong(probe, new_gate, dovecot, user):
    dovecot.fill(user, mails.plain(1))
    gate = new_gate()
    gate.set_map(f"good upstream=imap://127.0.0.1:{dovecot.imap} login={user}\n"
                 f"nofolder upstream=imap://127.0.0.1:{dovecot.imap}/Nowhere login={user}\n"
                 f"nocert upstream=imaps://localhost:{dovecot.imaps} login={user}\n"
                 f"closed upstream=imap://127.0.0.1:1 login={user}\n"
                 f"gone upstream=imap://127.0.0.1:{dovecot.imap} reject=moved\n")
    for name, password, word in (
            ("good", "wrong", "refused the login"), ("nofolder", rig.PASSWORD, "mail server"),
            ("nocert", rig.PASSWORD, "certificate"), ("closed", rig.PASSWORD, "refused"),
            ("gone", "x", "moved"), ("stranger", "x", "no such name in the map")):
        status, _, wrong = probe(gate, "--password-stdin", name, password=password)
        assert status == 1 and "popgate: probe: " in wrong and word in wrong, (name, wrong)
    assert probe(gate, "good")[0] == 1  # a password is neither on a terminal nor announced
    for argv in ([], ["a", "b"], ["--frobnicate", "a"]):
        assert probe(gate, *argv)[0] == 2
