# SPDX-License-Identifier: MIT
"""The commands beside the daemon, and what is refused before it starts."""
import os
import signal
import socket

import pytest

import mails
import rig
from pop import Pop

pytestmark = pytest.mark.popgate_only


@pytest.fixture
def popgate(program):
    def call(*argv, **more):
        return rig.run(program, *argv, check=False, **more)
    return call


def test_check(popgate, new_gate):
    gate = new_gate()
    done = popgate("-c", gate.config, "check")
    assert done.returncode == 0, done.stderr
    assert not os.path.exists(gate.path("state", "control"))


def test_check_names_every_error(popgate, new_gate):
    gate = new_gate()
    gate.set_map("one upstream=gopher://x\ntwo upstrem=imaps://imap.example.com\n"
                 "three upstream=maildir:/x/%n\none upstream=imaps://imap.example.com\n")
    done = popgate("-c", gate.config, "check")
    assert done.returncode == 1
    for line in (1, 2, 3, 4):
        assert f"popgate: {gate.path('map')}:{line}: ".encode() in done.stderr
    assert b"upstream" in done.stderr.split(b"map:2:")[1].split(b"\n")[0]  # did you mean

    with open(gate.config, "a", encoding="ascii") as out:
        out.write("adress = 127.0.0.1:1\n")
    done = popgate("-c", gate.config, "check")
    assert done.returncode == 1
    assert b"popgate.conf:" in done.stderr and b"address" in done.stderr
    assert popgate("-c", gate.path("nowhere"), "check").returncode == 1


def test_serve_refuses_what_check_refuses(popgate, new_gate):
    gate = new_gate()
    gate.set_map("one upstream=gopher://x\n")
    done = popgate("-c", gate.config, "serve")
    assert done.returncode == 1
    assert f"{gate.path('map')}:1:".encode() in done.stderr


@pytest.mark.parametrize("mode,secret,good", [
    (0o640, True, True), (0o600, True, False), (0o644, True, False), (0o644, False, True),
    (0o660, False, False), (0o642, False, False),
])
def test_permissions_of_the_map(mode, secret, good, popgate, new_gate):
    """0600 root: the user it drops to could not read it at a reload."""
    gate = new_gate()
    text = "one upstream=imaps://imap.example.com"
    if secret:
        text += f" password={{plain}}{rig.PASSWORD} local={rig.local_secret()}"
    gate.set_map(text + "\n", mode)
    done = popgate("-c", gate.config, "check")
    assert (done.returncode == 0) == good, done.stderr
    assert good or gate.path("map").encode() in done.stderr
    assert rig.PASSWORD.encode() not in done.stderr + done.stdout


def test_check_sees_what_a_reload_could_not_list(popgate, new_gate):
    gate = new_gate()
    os.mkdir(gate.path("map.d"))
    gate.set_map("%include map.d/*.map\n")
    gate.write("map.d/one.map", "one upstream=imaps://imap.example.com\n")
    for mode, status in ((0o755, 0), (0o711, 1)):
        os.chmod(gate.path("map.d"), mode)
        done = popgate("-c", gate.config, "check")
        assert done.returncode == status, done.stderr
    assert f"{gate.path('map')}:1: ".encode() in done.stderr


def test_the_listeners_of_the_map_exist(popgate, new_gate):
    gate = new_gate(stores={})
    gate.start()
    gate.set_map("one upstream=imaps://imap.example.com listener=nosuch\n")
    gate.signal(signal.SIGHUP)
    rig.wait_until(lambda: "reload-failed" in gate.log(), what="the refusal")
    gate.stop()
    for command in ("check", "serve"):
        done = popgate("-c", gate.config, command)
        assert done.returncode == 1
        assert f"popgate: {gate.path('map')}:1: listener=nosuch".encode() in done.stderr


def test_query(popgate, new_gate):
    gate = new_gate()
    gate.set_map(f"%defaults delete=never\n%profile isp upstream=imaps://imap.isp.example/Scans\n"
                 f"joe use=isp login=joe@isp.example\n  password={{plain}}{rig.PASSWORD} "
                 f"local={rig.local_secret()}\n@example.org upstream=imap+starttls://mail.example.org\n")
    done = popgate("-c", gate.config, "query", "JOE")
    assert done.returncode == 0, done.stderr
    said = done.stdout.decode()
    for needed in ("imaps://imap.isp.example/Scans", "joe@isp.example", "never", "map:1", "map:2"):
        assert needed in said
    assert rig.PASSWORD not in said and "$y$" not in said
    done = popgate("-c", gate.config, "query", "any@example.org")
    assert done.returncode == 0 and b"mail.example.org" in done.stdout
    assert popgate("-c", gate.config, "query", "stranger").returncode == 1


def test_passwd(popgate, new_gate, dovecot, user):
    dovecot.fill(user, mails.plain(1))
    done = popgate("passwd", input=rig.PASSWORD.encode() + b"\n")
    assert done.returncode == 0 and done.stdout.startswith(b"{yescrypt}$y$")
    assert done.stdout != popgate("passwd", input=rig.PASSWORD.encode() + b"\n").stdout
    scram = popgate("passwd", "--scram", input=rig.PASSWORD.encode() + b"\n")
    assert scram.returncode == 0 and scram.stdout.startswith(b"{scram-sha-256}")
    gate = new_gate(stores={})
    entry = f"upstream=maildir:{dovecot.maildir(user)}"
    gate.set_map(f"yes {entry} local={done.stdout.decode().strip()}\n"
                 f"scram {entry} local={scram.stdout.decode().strip()}\n")
    gate.start()
    with Pop(gate.clear) as client:
        assert client.try_login("yes", "wrong").startswith("-ERR [AUTH]")
        client.login("yes", rig.PASSWORD)
        client.ok("QUIT")


def test_usage(popgate):
    for argv in (["frobnicate"], ["check", "surplus"], ["query"], ["-x"], []):
        done = popgate(*argv)
        assert done.returncode == 2 and done.stderr, argv
    for argv in (["--help"], ["-h"], ["--version"]):
        done = popgate(*argv)
        assert done.returncode == 0 and b"popgate" in done.stdout


def test_url(program, top, dovecot, user, authority):
    """The first thing that a newcomer types. Its port is fixed, so another program may have it."""
    if rig.listens(1110):
        pytest.skip("port 1110 is taken")
    dovecot.fill(user, mails.plain(2))
    server = rig.Server(os.path.join(top, "url"))
    server.launch([program, f"imap://127.0.0.1:{dovecot.imap}"], 1110)
    try:
        with Pop(1110) as client:
            assert client.try_login(user, "wrong").startswith("-ERR [AUTH]")
            client.login(user, rig.PASSWORD)
            assert mails.name_of(client.multi("RETR 2")) == "m2"
            client.ok("QUIT")
        assert "127.0.0.1:1110" in server.log()
        assert rig.PASSWORD not in server.log()
        server.signal(signal.SIGINT)
        assert server.process.wait(10) == 0
    finally:
        server.stop()


def test_url_says_nothing_that_is_not_so(popgate):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", 1110))
            sock.listen()
        except OSError:
            pass  # another program has it: just as good
        done = popgate("imaps://imap.example.com")
    assert done.returncode == 1
    assert b"cannot listen on 127.0.0.1:1110" in done.stderr and b"log in" not in done.stderr


def test_url_refuses_nonsense(popgate):
    for url in ("imap://imap.example.com", "gopher://x", "imaps://", "imaps://u:p@host"):
        done = popgate(url)
        assert done.returncode in (1, 2) and done.stderr, url
