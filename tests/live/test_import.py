# SPDX-License-Identifier: MIT
"""`popgate import-uidl`: a mailbox moves from one Dovecot, whose POP3 UIDLs are made of names that no
other server knows, to another in another order; clients must not see that."""
import os
import random
import subprocess

import pytest

import mails
import rig
from pop import Pop

pytestmark = pytest.mark.popgate_only

DOMAIN = "imap.live"


class OldDovecot(rig.Dovecot):
    """A Dovecot that makes UIDLs in a way of its own."""

    uidl_format = "%g"

    def write(self, name, text, mode=0o644):
        if name == "dovecot.conf":
            text = text.replace("pop3_lock_session", f"pop3_uidl_format = {self.uidl_format}\npop3_lock_session", 1)
        return super().write(name, text, mode)


@pytest.fixture(scope="module")
def old(top, authority):
    server = OldDovecot(os.path.join(top, "old-dovecot"), authority)
    server.start()
    yield server
    server.stop()


def mail(number, size=1):
    return mails.head(f"i{number}", b"Date: Mon, 1 Jan 2024 00:00:00 +0000\n") + b"\n" + b"some words here\n" * size


def uidls(port, user):
    """{name of the message: [UIDL, ...]}, in order."""
    found = {}
    with Pop(port) as client:
        client.login(user, rig.PASSWORD)
        for number, uidl in client.listing("UIDL").items():
            found.setdefault(mails.name_of(client.multi(f"TOP {number} 0")), []).append(uidl)
        client.ok("QUIT")
    return found


def import_uidl(gate, *argv, passwords=(rig.PASSWORD, rig.PASSWORD)):
    done = subprocess.run([gate.program, "-c", gate.config, "import-uidl", "--password-stdin", *argv],
                          input="".join(word + "\n" for word in passwords).encode(),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    said = done.stdout.decode() + done.stderr.decode()
    for word in passwords:
        assert word not in said
    lines = dict(line.split(": ", 1) for line in done.stdout.decode().splitlines() if ": " in line)
    return done.returncode, lines, said


@pytest.mark.parametrize("scheme", ["pop3", "pop3+starttls", "pop3s"])
def test_from_an_old_server(new_gate, dovecot, old, authority, user, scheme):
    """200 messages: 190 single ones, two pairs of copies, a group of three of which one is gone, and
    three that are no longer there; the new mailbox has ten that the old one never had."""
    singles = [mail(number, 1 + number % 50) for number in range(190)]
    pairs = [mail(300), mail(300), mail(301), mail(301)]
    threes = [mail(302)] * 3
    gone = [mail(number) for number in range(400, 403)]
    old.fill(user, singles + pairs + threes + gone)
    moved = singles + pairs + threes[:2] + [mail(number) for number in range(500, 510)]
    random.Random(7).shuffle(moved)
    dovecot.fill(user, moved)
    before = uidls(old.pop3, user)
    gate = new_gate()
    gate.start()
    name = f"{user}@{DOMAIN}"
    own = uidls(gate.clear, name)
    url = {"pop3": f"pop3://{user}@127.0.0.1:{old.pop3}",
           "pop3+starttls": f"pop3+starttls://{user}@localhost:{old.pop3}",
           "pop3s": f"pop3s://{user}@localhost:{old.pop3s}"}[scheme]
    more = () if scheme == "pop3" else ("--ca", authority.ca)

    status, lines, said = import_uidl(gate, "--from", url, *more, "--dry-run", name)
    assert status == 0, said
    expected = {"read": "200", "messages": "206", "matched": "194", "ambiguous": "3", "not found": "3",
                "already so": "0", "unfit": "0"}
    assert {key: lines.get(key) for key in expected} == expected, said
    assert lines["would write"] == "194"
    assert uidls(gate.clear, name) == own

    # The daemon runs all the time.
    status, lines, said = import_uidl(gate, "--from", url, *more, name)
    assert status == 0, said
    assert lines["written"] == "194" and lines["taken or gone"] == "0", said
    after = uidls(gate.clear, name)
    for what, was in before.items():
        if what in ("i302", "i400", "i401", "i402"):
            continue
        assert after[what] == was, what
    assert after["i302"] == own["i302"]
    for number in range(500, 510):
        assert after[f"i{number}"] == own[f"i{number}"]
    everything = [uidl for some in after.values() for uidl in some]
    assert len(set(everything)) == len(everything) == 206

    # Once more, after a restart: nothing is left to do.
    assert gate.stop() == 0
    status, lines, said = import_uidl(gate, "--from", url, *more, name)
    assert status == 0 and lines["already so"] == "194" and lines["written"] == "0", said
    gate.start()
    assert uidls(gate.clear, name) == after


def test_from_notes(new_gate, dovecot, user):
    """What fetchmail noted of the same Dovecot's own POP3 server, before popgate came in between."""
    dovecot.fill(user, [mail(number) for number in range(20)])
    before = uidls(dovecot.pop3, user)
    gate = new_gate()
    gate.start()
    name = f"{user}@{DOMAIN}"
    own = uidls(gate.clear, name)
    noted = [some[0] for some in before.values()]
    notes = gate.write("fetchids", "".join(f"{user}@pop.example.com {uidl}\n" for uidl in noted[:15] + ["gone"])
                       + "other@pop.example.com 1\n")
    status, lines, said = import_uidl(gate, "--fetchids", notes, name, passwords=(rig.PASSWORD,))
    assert status == 1 and "--account" in said, said
    status, lines, said = import_uidl(gate, "--fetchids", notes, "--account", f"{user}@pop.example.com", name,
                                      passwords=(rig.PASSWORD,))
    assert status == 0, said
    assert lines["read"] == "16" and lines["written"] == "15" and lines["not found"] == "1", said
    assert lines["form"].startswith("dovecot with"), said
    after = uidls(gate.clear, name)
    for number in range(20):
        assert after[f"i{number}"] == (before if number < 15 else own)[f"i{number}"]

    getmail = gate.write("oldmail", "".join(f"{uidl}\0001700000000\n" for uidl in noted))
    status, lines, said = import_uidl(gate, "--getmail", getmail, name, passwords=(rig.PASSWORD,))
    assert status == 0 and lines["already so"] == "15" and lines["written"] == "5", said
    assert uidls(gate.clear, name) == before


@pytest.mark.parametrize("keep", ["0", "10m"])
def test_of_another_uidvalidity(new_gate, dovecot, user, keep):
    """Nothing is guessed, but a hint tells what may be vouched for. And it makes no difference whether the
    daemon has the mailbox open."""
    dovecot.fill(user, [mail(number) for number in range(5)])
    gate = new_gate(settings=f"keep = {keep}\n")
    gate.start()
    name = f"{user}@{DOMAIN}"
    own = uidls(gate.clear, name)
    for _ in range(3):
        assert uidls(gate.clear, name) == own
    notes = gate.write("popstate.dat", "# POP3 State File\n\n*pop.example.com joe%40example.com\n"
                       + "".join(f"k UID{number}-77 1700000000\n" for number in range(1, 10)))
    status, lines, said = import_uidl(gate, "--popstate", notes, name, passwords=(rig.PASSWORD,))
    assert status == 0 and lines["not found"] == "9" and lines["written"] == "0", said
    assert "--format courier --uidvalidity 77" in said
    assert uidls(gate.clear, name) == own
    status, lines, said = import_uidl(gate, "--popstate", notes, "--format", "courier", "--uidvalidity", "77",
                                      name, passwords=(rig.PASSWORD,))
    assert status == 0 and lines["written"] == "5", said
    assert sorted(uidl for some in uidls(gate.clear, name).values() for uidl in some) == \
        [f"UID{number}-77" for number in range(1, 6)]


@pytest.mark.parametrize("argv, status, words", [
    (("--from", "pop3://joe@pop.example.com", "joe@imap.live"), 2, "--insecure"),
    (("--from", "imap://joe@pop.example.com", "joe@imap.live"), 2, "pop3s://"),
    (("joe@imap.live",), 2, "source"),
    (("--fetchids", "/nowhere", "--from", "pop3s://joe@h", "joe@imap.live"), 2, "one source"),
    (("--fetchids", "/nowhere", "joe@imap.live"), 1, "/nowhere"),
    (("--fetchids", "/nowhere", "joe@nowhere"), 1, "map"),
    (("--fetchids", "/nowhere", "joe@maildir.live"), 1, "files' names"),
    (("--from", "pop3://joe@127.0.0.1:1", "joe@imap.live"), 1, ""),
])
def test_refusals(new_gate, argv, status, words):
    done = import_uidl(new_gate(), *argv)
    assert done[0] == status and words in done[2], done


def test_wrong_passwords(new_gate, dovecot, old, user):
    old.fill(user, [mail(1)])
    dovecot.fill(user, [mail(1)])
    url = f"pop3://{user}@127.0.0.1:{old.pop3}"
    gate = new_gate()
    for passwords, words in (((rig.PASSWORD, "wrong-one"), ""), (("wrong-one", rig.PASSWORD), "old server"),
                             ((rig.PASSWORD,), "password")):
        status, _, said = import_uidl(gate, "--from", url, f"{user}@{DOMAIN}", passwords=passwords)
        assert status == 1 and words in said, said
