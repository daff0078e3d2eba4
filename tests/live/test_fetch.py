# SPDX-License-Identifier: MIT
"""Clients that nobody here wrote fetch, keep, poll again and delete a mailbox of tricky messages,
byte-exact, over clear, STLS and TLS."""
import os
import poplib
import subprocess

import pytest

import mails
import rig
from pop import Pop

poplib._MAXLINE = 1 << 20  # its 2,048 octets are shorter than lines that exist

TRANSPORTS = ["clear", "stls", "tls"]
BIG = mails.tricky()
SMALL = {name: octets for name, octets in BIG.items() if name != "big"}


def expected(stored, store):
    return [mails.digest(mails.over_pop(octets, store)) for octets in stored.values()]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_curl(transport, store, gate, upstream, authority, direct, user, tmp_path):
    big = mails.held(BIG, store)
    upstream.fill(user, big.values())
    assert [mails.digest(o) for o in direct(user).fetch()] == \
        [mails.digest(mails.by_imap(o, upstream.kind)) for o in big.values()]
    url = f"pop3s://localhost:{gate.tls}" if transport == "tls" else f"pop3://localhost:{gate.clear}"
    common = ["curl", "-sS", "--max-time", "60", "--cacert", authority.ca, "-4", "--login-options",
              "AUTH=PLAIN", "-u", f"{gate.login(user, store)}:{rig.PASSWORD}"]
    if transport == "stls":
        common.append("--ssl-reqd")
    rig.run(*common, f"{url}/[1-{len(big)}]", "-o", str(tmp_path / "#1"))
    got = [mails.digest((tmp_path / str(n + 1)).read_bytes()) for n in range(len(big))]
    assert got == expected(big, store)

    # what was not deleted is still there; what is deleted, and only that, goes
    uidls = rig.run(*common, "-X", "UIDL", url + "/").stdout.split(b"\r\n")[:-1]
    assert len({line.split()[1] for line in uidls}) == len(big)
    rig.run(*common, "-X", "DELE", f"{url}/2", "-I")
    left = list(big)
    del left[1]
    assert direct(user).names() == left
    again = rig.run(*common, "-X", "UIDL", url + "/").stdout.split(b"\r\n")[:-1]
    assert [line.split()[1] for line in again] == \
        [line.split()[1] for line in uidls if not line.startswith(b"2 ")]


def connect_poplib(gate, transport, context):
    if transport == "tls":
        return poplib.POP3_SSL("localhost", gate.tls, context=context)
    client = poplib.POP3("localhost", gate.clear)
    if transport == "stls":
        client.stls(context)
    return client


def fetch_by_poplib(client, number):
    return b"".join(line + b"\r\n" for line in client.retr(number)[1])


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_poplib(transport, any_store, gate, upstream, context, direct, user):
    # poplib itself eats a CR that begins a line; that one message is left to the others
    stored = {name: octets for name, octets in mails.held(BIG, any_store).items() if name != "bare-cr"}
    if any_store not in ("imaps.live", "maildir.live"):
        del stored["big"]
    upstream.fill(user, stored.values())
    for what in ("first", "again"):
        client = connect_poplib(gate, transport, context)
        client.user(gate.login(user, any_store))
        client.pass_(rig.PASSWORD)
        count, octets = client.stat()
        sizes = [int(line.split()[1]) for line in client.list()[1]]
        assert count == len(stored) and octets == sum(sizes)
        if what == "first" or hasattr(gate, "is_peer"):
            assert sizes == [mails.size(o, any_store) for o in stored.values()]
        else:  # measured by then (F-07)
            assert sizes == [len(mails.over_pop(o, any_store)) for o in stored.values()]
        fetched = count if what == "first" else count - 1
        got = [mails.digest(fetch_by_poplib(client, n + 1)) for n in range(fetched)]
        assert got == expected(stored, any_store)[:fetched], what
        if what == "again":
            for number in range(1, count):
                client.dele(number)
        client.quit()
    assert direct(user).names() == [list(stored)[-1]]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_octets(transport, any_store, gate, upstream, context, user):
    """The same by a client that shows each octet of the stuffed reply."""
    small = mails.held(SMALL, any_store)
    upstream.fill(user, small.values())
    client = Pop(gate.tls if transport == "tls" else gate.clear,
                 context if transport == "tls" else None)
    if transport == "stls":
        client.stls(context)
    with client:
        client.login(gate.login(user, any_store), rig.PASSWORD)
        for number, stored in enumerate(small.values(), 1):
            want = mails.over_pop(stored, any_store)
            assert mails.digest(client.multi(f"RETR {number}")) == mails.digest(want)
            for lines in (0, 1, 3, 1000000):
                want_top = mails.top(want, lines, any_store)
                assert mails.digest(client.multi(f"TOP {number} {lines}")) == \
                    mails.digest(want_top), (number, lines)
        client.ok("QUIT")
        assert client.at_end()


@pytest.mark.parametrize("name", SMALL)
def test_each_alone(name, store, gate, upstream, user):
    """Says by name which server does not take what."""
    refused = mails.REFUSED.get((name, upstream.kind))
    if refused:
        pytest.skip(refused)
    upstream.fill(user, [SMALL[name]])
    with Pop(gate.clear) as client:
        client.login(gate.login(user, store), rig.PASSWORD)
        assert mails.digest(client.multi("RETR 1")) == mails.digest(mails.over_pop(SMALL[name], store))
        client.ok("QUIT")


def fetchmail(gate, transport, authority, name, home, *options):
    """Polls once; (exit status, the messages it delivered)."""
    out = home / f"out{len(list(home.iterdir()))}"
    out.mkdir(parents=True)
    ssl = {"clear": "sslproto ''", "stls": "sslproto TLS1.2+", "tls": "ssl sslproto TLS1.2+"}
    port = gate.tls if transport == "tls" else gate.clear
    rc = home / "rc"
    rc.write_text(f"""
poll localhost protocol pop3 port {port} timeout 30 uidl
  user "{name}" password "{rig.PASSWORD}" is root here
  {ssl[transport]} sslcertck sslcertfile "{authority.ca}"
  no rewrite no dropdelivered no dropstatus {" ".join(options)} mda "cat >{out}/$$"
""")
    rc.chmod(0o600)
    done = subprocess.run(["fetchmail", "-f", str(rc), "--nosyslog", "--invisible"], timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          env=dict(os.environ, FETCHMAILHOME=str(home), LC_ALL="C"))
    return done.returncode, [path.read_bytes() for path in out.iterdir()], done.stdout


def body(octets):
    """What fetchmail leaves alone: the body, but for its line ends."""
    octets = octets.replace(b"\r\n", b"\n")
    return octets.split(b"\n\n", 1)[1].rstrip(b"\n") if b"\n\n" in octets else b""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_fetchmail(transport, store, gate, upstream, authority, direct, user, tmp_path):
    # fetchmail itself breaks long lines and has its own ways with NUL, CR and a missing body
    stored = {name: octets for name, octets in mails.held(BIG, store).items() if name not in
              ("nul", "bare-cr", "final-cr", "no-blank-line", "long-line", "chunk-border")}
    upstream.fill(user, stored.values())
    poll = lambda *options: fetchmail(gate, transport, authority, gate.login(user, store),
                                      tmp_path, *options)
    status, got, said = poll("keep")
    assert status == 0, said
    assert {mails.name_of(o[o.index(b"X-Live:"):]): mails.digest(body(o)) for o in got} == \
        {name: mails.digest(body(mails.over_pop(o, store))) for name, o in stored.items()}
    status, got, said = poll("keep")
    assert (status, got) == (1, []), said  # 1: nothing new, known by UIDL
    assert direct(user).names() == list(stored)
    status, got, said = poll("fetchall", "no keep")
    assert (status, len(got)) == (0, len(stored)), said
    assert direct(user).names() == []
