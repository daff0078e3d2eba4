# SPDX-License-Identifier: MIT
"""The policies of the map against real servers and a Maildir: what becomes of deleted and of retrieved
messages, what is shown and in which order."""
import imaplib
import os

import pytest

import mails
import others
import rig
from conftest import server_of
from pop import Pop

pytestmark = pytest.mark.popgate_only

class Mailbox:
    """A popgate whose map has these attributes, before one server, or before the Maildir that the server
    looks at from its other side."""

    def __init__(self, gate, server, user, is_local):
        self.gate, self.server, self.user, self.is_local = gate, server, user, is_local

    def use(self, attributes):
        """Restarts it with other attributes and the same state."""
        self.gate.stop()
        upstream = f"imap://127.0.0.1:{self.server.imap} login=%n"
        if self.is_local:
            upstream = f"maildir:{self.server.mail}/%n/Maildir local={rig.local_secret()}"
        self.gate.set_map(f"@policy.live upstream={upstream} {attributes}\n")
        self.gate.start()

    def login(self):
        client = Pop(self.gate.clear)
        client.login(f"{self.user}@policy.live", rig.PASSWORD)
        return client

    def shown(self):
        """The names of a session, by number."""
        with self.login() as client:
            names = [mails.name_of(client.multi(f"TOP {number} 0")) for number in client.listing("LIST")]
            client.ok("QUIT")
        return names

    def delete(self, *numbers):
        """The reply to QUIT."""
        with self.login() as client:
            for number in numbers:
                client.ok(f"DELE {number}")
            return client.cmd("QUIT")

    def folder(self, name):
        """What lies in a folder, or None if there is none."""
        imap = self.server.connect(self.user)
        try:
            if imap.select(imaplib.IMAP4._quote(imap, name), readonly=True)[0] != "OK":
                return None
            answer = imap.fetch("1:*", "(BODY.PEEK[HEADER])")[1]
            return [mails.name_of(part[1]) for part in answer if isinstance(part, tuple)]
        finally:
            imap.logout()

    def below(self, name):
        """Folders of Courier lie below its INBOX."""
        return "INBOX." + name if self.server.kind == "courier" else name


@pytest.fixture(params=["dovecot", "cyrus", "courier", "maildir"])
def imap_server(request):
    """Each IMAP server there is, and Dovecot once more, for its Maildir."""
    return server_of(request, "dovecot" if request.param == "maildir" else request.param)


@pytest.fixture
def box(request, new_gate, imap_server, user):
    imap_server.fill(user, mails.plain(6))
    is_local = request.node.callspec.params["imap_server"] == "maildir"
    return Mailbox(new_gate(stores={}), imap_server, user, is_local)


def special(box, name, attribute):
    """Makes a folder with a special use, where the server can."""
    imap = box.server.connect(box.user)
    listed = imap.list()[1]
    if not any(attribute.lower().encode() in line.lower() for line in listed if line):
        pytest.skip(f"{box.server.kind} has no folder with {attribute}")
    imap.logout()
    return name


def test_expunge(box):
    box.use("delete=expunge")
    assert box.delete(2, 5).startswith("+OK")
    assert box.folder("INBOX") == ["m1", "m3", "m4", "m6"] == box.shown()


def test_trash(box):
    """Found by its attribute, not by its name."""
    folder = special(box, "Trash", "\\Trash")
    box.use("delete=trash create=yes" if box.is_local else "delete=trash")
    assert box.delete(2, 5).startswith("+OK")
    assert box.folder("INBOX") == ["m1", "m3", "m4", "m6"] == box.shown()
    assert box.folder(folder) == ["m2", "m5"]


def test_trash_that_is_missing(box):
    """Nothing is removed that could not be moved, and the client is told."""
    if box.server.kind != "courier" and not box.is_local:
        pytest.skip(f"{box.server.kind} has one")
    box.use("delete=trash")
    assert box.delete(2).startswith("-ERR")
    assert box.folder("INBOX") == [f"m{n}" for n in range(1, 7)]


def test_archive(box):
    folder = box.below("Old Mail")
    box.use(f'delete="archive:{folder}" create=no')
    assert box.delete(1).startswith("-ERR")
    assert "m1" in box.folder("INBOX") and box.folder(folder) is None
    box.use(f'delete="archive:{folder}" create=yes')
    assert box.delete(2, 3).startswith("+OK")
    assert not {"m2", "m3"} & set(box.folder("INBOX"))
    assert {"m2", "m3"} <= set(box.folder(folder))
    assert len(set(box.folder(folder))) == len(box.folder(folder)), "copied twice"


def test_flag(box, direct):
    box.use("delete=flag")
    assert box.delete(2).startswith("+OK")
    assert box.shown() == ["m1", "m3", "m4", "m5", "m6"]
    flags = direct(box.user).flags()
    assert [name for name, has in flags.items() if b"\\Deleted" in has] == ["m2"]


def test_hide(box, direct):
    box.use("delete=hide")
    assert box.delete(2, 3).startswith("+OK")
    assert box.shown() == ["m1", "m4", "m5", "m6"]
    flags = direct(box.user).flags()
    assert len(flags) == 6 and not any(b"\\Deleted" in has for has in flags.values())
    box.use("delete=hide")  # and after a restart
    assert box.shown() == ["m1", "m4", "m5", "m6"]


def test_never(box, direct):
    box.use("delete=never")
    with box.login() as client:
        assert "[SYS/PERM]" in client.err("DELE 1")
        client.ok("QUIT")
    assert len(direct(box.user).names()) == 6


@pytest.mark.parametrize("seen,quits,expected", [
    ("never", True, []), ("on-quit", True, ["m2"]), ("on-quit", False, []),
    ("on-retr", True, ["m2"]), ("on-retr", False, ["m2"]),
])
def test_seen(seen, quits, expected, box, direct):
    box.use(f"seen={seen}")
    with box.login() as client:
        client.multi("RETR 2")
        client.multi("TOP 3 0")
        client.ok("NOOP")
        if quits:
            client.ok("QUIT")
    rig.wait_until(lambda: not box.gate.connections(), what="the end of the session")
    flags = direct(box.user).flags()
    assert [name for name, has in flags.items() if b"\\Seen" in has] == expected


def test_delete_never_and_seen_never_change_nothing(box, direct):
    """EXAMINE where it may be (C-02); ids that stay in any case."""
    box.use("delete=never seen=never")
    with box.login() as client:
        first = client.listing("UIDL")
        client.multi("RETR 1")
        client.ok("QUIT")
    with box.login() as client:
        assert client.listing("UIDL") == first
        client.ok("QUIT")
    assert not any(direct(box.user).flags().values())


def test_order(box):
    box.use("order=newest")
    assert box.shown() == ["m6", "m5", "m4", "m3", "m2", "m1"]
    assert box.delete(1).startswith("+OK")
    assert box.folder("INBOX") == ["m1", "m2", "m3", "m4", "m5"]


def test_newest(box):
    """A message that was too old once is never shown later."""
    box.use("newest=3")
    assert box.shown() == ["m4", "m5", "m6"]
    assert box.delete(3).startswith("+OK")
    assert box.shown() == ["m4", "m5"]
    assert box.folder("INBOX") == ["m1", "m2", "m3", "m4", "m5"]


def test_keep_newest(box):
    box.use("keep_newest=2")
    assert box.delete(1, 5, 6).startswith("+OK")
    assert box.shown() == ["m2", "m3", "m4"]
    assert box.folder("INBOX") == ["m2", "m3", "m4", "m5", "m6"]
    imap = box.server.connect(box.user)
    for octets in mails.plain(8)[6:]:
        others.append(imap, "INBOX", octets)
    imap.logout()
    # m5 and m6 are no longer among the newest two
    assert box.shown() == ["m2", "m3", "m4", "m7", "m8"]
    rig.wait_until(lambda: box.folder("INBOX") == ["m2", "m3", "m4", "m7", "m8"], what="their removal")


def test_delete_after_retr(box):
    """delete_after=0 (D-16): at the QUIT of the session that has retrieved, and CAPA says so."""
    box.use("delete_after=0")
    with box.login() as client:
        assert "EXPIRE 0" in client.multi("CAPA").decode().split("\r\n")
        client.multi("RETR 2")
        client.multi("TOP 3 0")
    rig.wait_until(lambda: not box.gate.connections(), what="the end of the session")
    assert len(box.folder("INBOX")) == 6  # no QUIT
    with box.login() as client:
        client.multi("RETR 2")
        client.multi("TOP 3 0")
        client.ok("QUIT")
    assert box.folder("INBOX") == ["m1", "m3", "m4", "m5", "m6"]


def test_delete_after_a_while(box):
    """What was retrieved days ago goes; the clock is the ledger's, so here that is a second."""
    box.use("delete_after=1s")
    with box.login() as client:
        assert any(line.startswith("EXPIRE") for line in client.multi("CAPA").decode().split("\r\n"))
        client.multi("RETR 2")
        client.ok("QUIT")
    assert len(box.folder("INBOX")) == 6

    def polled():
        with box.login() as client:
            client.ok("QUIT")
        return box.folder("INBOX") == ["m1", "m3", "m4", "m5", "m6"]
    rig.wait_until(polled, what="the deletion")
    box.use("delete_after=14d")
    with box.login() as client:
        client.multi("RETR 1")
        client.ok("QUIT")
    assert len(box.shown()) == 5


TWISTED = mails.head("twisted") + b"\nlf\ncrlf\r\n\n.\n..\nno newline at the end"


def test_sizes_exact(box, user):
    """LIST says what RETR sends, before anything was retrieved (F-07)."""
    if box.is_local:
        pytest.skip("the sizes of a Maildir are always exact")
    other = user + "x"
    box.server.fill(other, [TWISTED, *mails.plain(3)])
    box.user = other
    box.use("sizes=exact")
    with box.login() as client:
        sizes = {number: int(size) for number, size in client.listing("LIST").items()}
        for number in sizes:
            assert len(client.multi(f"RETR {number}")) == sizes[number]
        assert client.stat() == (4, sum(sizes.values()))
        client.ok("QUIT")


def test_sizes_are_remembered(box, user):
    if box.is_local:
        pytest.skip("the sizes of a Maildir are always exact")
    other = user + "x"
    box.server.fill(other, [TWISTED, *mails.plain(1)])
    box.user = other
    box.use("sizes=hint")
    with box.login() as client:
        first = client.listing("LIST")
        octets = len(client.multi("RETR 1"))
        assert client.listing("LIST") == first  # F-07: what was shown stays
        client.ok("QUIT")
    with box.login() as client:
        assert int(client.listing("LIST")[1]) == octets
        client.ok("QUIT")


def test_a_maildir_is_counted_once(box, user):
    """Without a size in its name a message is read for its size at the first login alone; one that a
    name lies about until it was retrieved once (K-05)."""
    if not box.is_local:
        pytest.skip("of a Maildir")
    other = user + "x"
    box.server.fill(other, [])
    box.user = other
    folder = os.path.join(box.server.maildir(other), "new")
    octets = mails.plain(1)[0].replace(b"\r\n", b"\n")
    for name in ("1700000001.a", "1700000002.b,W=7"):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(octets)
    os.system(f"chown -R --reference={folder} {folder}")
    exact = len(octets) + octets.count(b"\n")
    box.use("delete=never seen=never")
    with box.login() as client:
        assert client.listing("LIST") == {1: str(exact), 2: "7"}
        assert len(client.multi("RETR 2")) == exact
        client.ok("QUIT")
    # As long as before, but of one line: whoever counted again would say less.
    with open(os.path.join(folder, "1700000001.a"), "wb") as file:
        file.write(b"x" * len(octets))
    with box.login() as client:
        assert client.listing("LIST") == {1: str(exact), 2: str(exact)}
        client.ok("QUIT")


def test_lock_shared(box):
    box.use("lock=shared")
    with box.login() as one, box.login() as two:
        one.ok("DELE 1")
        two.ok("DELE 1")
        two.ok("DELE 2")
        one.ok("QUIT")
        assert two.stat()[0] == 4
        assert mails.name_of(two.multi("RETR 3")) == "m3"
        two.ok("QUIT")
    assert box.folder("INBOX") == ["m3", "m4", "m5", "m6"]
    box.use("lock=exclusive")
    with box.login() as one, Pop(box.gate.clear) as two:
        assert two.try_login(f"{box.user}@policy.live", rig.PASSWORD).startswith("-ERR [IN-USE]")
        one.ok("QUIT")
