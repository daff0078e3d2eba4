# SPDX-License-Identifier: MIT
"""The front door as others see it: OpenSSL's client before each kind of listener, and fail2ban before
the log (B-12, A-20, L-03)."""
import os
import re
import shutil
import signal
import socket
import subprocess

import pytest

import mails
import rig
from pop import Pop

pytestmark = pytest.mark.popgate_only

VERSIONS = {"1.0": "-tls1", "1.1": "-tls1_1", "1.2": "-tls1_2", "1.3": "-tls1_3"}
FILTER = os.path.join(os.path.dirname(__file__), "..", "..", "contrib", "fail2ban", "popgate.conf")


class Seen:
    """What openssl s_client saw."""

    def __init__(self, text):
        self.text = text
        self.greeted = "+OK POP3 ready" in text or "+OK bye" in text
        version = re.search(r"^(?:New|Reused), (?!\(NONE\))[^,]+, Cipher is", text, re.M)
        self.version = re.search(r"^\s*Protocol *: (\S+)|^(?:New|Reused), (TLSv1\.3)", text, re.M) if version else None
        self.version = self.version and (self.version[1] or self.version[2])
        self.is_resumed = bool(re.search(r"^Reused, ", text, re.M))
        subject = re.search(r"^subject=.*CN ?= ?([^,\n]*)", text, re.M)
        self.subject = subject and subject[1]


def look(port, *options):
    """One whole session with QUIT."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-ign_eof",
                           "-cipher", "DEFAULT:@SECLEVEL=0", *options], input=b"QUIT\r\n", check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    return Seen(done.stdout.decode(errors="replace"))


class Listeners:
    """Sections of a popgate.conf, each with a port of its own."""

    def __init__(self, **sections):
        self.text = "drain = 1\n"
        for name, lines in sections.items():
            port = rig.free_port()
            setattr(self, name, port)
            self.text += f"[listener {name}]\naddress = 127.0.0.1:{port}\n{lines}\n"


@pytest.fixture(scope="module")
def papers(authority):
    """Certificates by one authority, and one by a stranger."""
    stranger = rig.Authority(os.path.join(authority.directory, "strangers"))
    found = {name: authority.issue(f"door-{name}", names) for name, names in {
        "mail": "DNS:mail.example", "pop": "DNS:pop.example", "wild": "DNS:*.hosts.example",
        "joe": "email:joe@example.com"}.items()}
    found["stranger"] = stranger.issue("door-stranger", "email:joe@example.com")
    cert, key = (authority.path(f"door-rsa.{ending}") for ending in ("pem", "key"))
    rig.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=door-rsa",
            "-addext", "subjectAltName=DNS:mail.example", "-keyout", key, "-out", cert)
    os.chown(key, 0, rig.OWNER.pw_gid)
    os.chmod(key, 0o640)
    found["rsa"] = cert, key
    return found


def pair(*named):
    """The lines cert = and key = for these."""
    return "".join(f"{word} = {', '.join(files[number] for files in named)}\n"
                   for number, word in enumerate(("cert", "key")))


def test_versions(new_gate):
    """Each listener has its own least version; those below 1.2 are told at the start."""
    listeners = Listeners(**{f"v{number}": f"tls = {how}\ntls_min = 1.{number}\n"
                             for number, how in enumerate(("implicit", "starttls", "starttls", "implicit"))})
    gate = new_gate(listeners.text, stores={})
    gate.start()
    for number, starttls in enumerate(([], ["-starttls", "pop3"], ["-starttls", "pop3"], [])):
        for version, option in VERSIONS.items():
            seen = look(getattr(listeners, f"v{number}"), option, *starttls)
            expected = f"TLSv{version}".replace("TLSv1.0", "TLSv1") if version >= f"1.{number}" else None
            assert seen.version == expected, (number, version, seen.text)
            assert seen.greeted == bool(expected)
    assert "Compression: NONE" in look(listeners.v0, "-tls1_2", "-comp").text
    warned = re.findall(r"event=legacy-tls level=warn listener=(\S+) tls_min=(\S+)", gate.log())
    assert warned == [("v0", "1.0"), ("v1", "1.1")]


def test_no_renegotiation(new_gate):
    gate = new_gate(stores={})
    gate.start()
    with subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{gate.tls}", "-tls1_2"], bufsize=0,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        for line in client.stdout:
            if line.startswith(b"+OK"):
                client.stdin.write(b"R\n")
                break
        assert b"no renegotiation" in client.communicate(timeout=60)[0]


def test_alpn(new_gate):
    gate = new_gate(stores={})
    gate.start()
    for number, starttls in ((gate.tls, []), (gate.clear, ["-starttls", "pop3"])):
        assert "ALPN protocol: pop3" in look(number, "-alpn", "http/1.1,pop3", *starttls).text
        assert look(number, *starttls).greeted
        refused = look(number, "-alpn", "http/1.1", *starttls)
        assert "alert number 120" in refused.text and not refused.version


def test_names_and_kinds_of_keys(new_gate, papers):
    """SNI picks the certificate; RSA and ECDSA of one name both serve (and in TLS 1.2 by the cipher)."""
    listeners = Listeners(many="tls = implicit\n" + pair(*(papers[name] for name in ("mail", "rsa", "pop", "wild"))))
    gate = new_gate(listeners.text, stores={})
    gate.start()
    rsa, ecdsa = ("-sigalgs", "rsa_pss_rsae_sha256"), ("-sigalgs", "ecdsa_secp256r1_sha256")
    for name, kind, shown in (("mail.example", ecdsa, "mail"), ("mail.example", rsa, "rsa"),
                              ("POP.example", ecdsa, "pop"), ("a.hosts.example", ecdsa, "wild"),
                              ("else.example", ecdsa, "mail"), ("else.example", rsa, "rsa"), (None, rsa, "rsa")):
        name = ("-servername", name) if name else ("-noservername",)
        for version in ("-tls1_2", "-tls1_3"):
            seen = look(listeners.many, version, *name, *kind)
            assert seen.subject == f"door-{shown}", (name, kind, version, seen.text)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_resumption(new_gate, tmp_path, version):
    """By ticket, at the listener it came from, over a reload. (How keys are replaced is shown with a clock
    in t_tlsconf.)"""
    listeners = Listeners(other="tls = implicit\n")
    gate = new_gate(listeners.text, stores={})
    gate.start()
    ticket = str(tmp_path / "ticket")
    first = look(gate.tls, version, "-sess_out", ticket)
    assert first.greeted and not first.is_resumed
    assert look(gate.tls, version, "-sess_in", ticket, "-sess_out", ticket).is_resumed
    elsewhere = look(listeners.other, version, "-sess_in", ticket)
    assert elsewhere.greeted and not elsewhere.is_resumed
    gate.signal(signal.SIGHUP)
    rig.wait_until(lambda: "event=reloaded" in gate.log(), what="the reload")
    assert look(gate.tls, version, "-sess_in", ticket).is_resumed


def test_client_certificates(new_gate, authority, papers):
    """Asked for where client_ca is set: a good one and none get in, a bad one does not."""
    listeners = Listeners(asks=f"tls = implicit\nclient_ca = {authority.ca}\n",
                          stls=f"tls = starttls\nclient_ca = {authority.ca}\n")
    gate = new_gate(listeners.text, stores={})
    gate.start()
    for port, starttls in ((listeners.asks, []), (listeners.stls, ["-starttls", "pop3"])):
        for version in ("-tls1_2", "-tls1_3"):
            none = look(port, version, *starttls)
            assert none.greeted and "CN = live test CA" in none.text.split("Acceptable client certificate CA names")[1]
            for who, is_good in (("joe", True), ("stranger", False)):
                cert, key = papers[who]
                seen = look(port, version, "-cert", cert, "-key", key, *starttls)
                assert ("+OK bye" in seen.text) == is_good, (who, version, seen.text)
    assert "Acceptable client certificate" not in look(gate.tls).text


def replace(path, source):
    shutil.copy(source, path + ".new")
    os.chmod(path + ".new", 0o644)
    os.replace(path + ".new", path)


def test_reload(new_gate, authority, papers):
    """Certificates by name, and whom clients may be certified by, are read again; a bad file changes
    nothing, and is named with its line; a session goes on with what it has."""
    gate = new_gate("drain = 1", stores={})
    cert, key, ca = (gate.path(name) for name in ("swap.pem", "swap.key", "swap-ca.pem"))
    for path, source in ((cert, papers["mail"][0]), (key, papers["mail"][1]), (ca, authority.ca)):
        replace(path, source)
    listeners = Listeners(swap=f"tls = implicit\nclient_ca = {ca}\n" + pair(papers["pop"], (cert, key)))
    with open(gate.config, "a", encoding="utf-8") as conf:
        conf.write(listeners.text.replace("drain = 1\n", ""))
    gate.start()
    joe = ["-cert", papers["joe"][0], "-key", papers["joe"][1]]
    assert look(listeners.swap, "-servername", "mail.example", *joe).subject == "door-mail"
    assert look(listeners.swap, *joe).greeted

    def reload(word):
        count = gate.log().count(f"event={word}")
        gate.signal(signal.SIGHUP)
        rig.wait_until(lambda: gate.log().count(f"event={word}") > count, what=word)

    replace(cert, papers["wild"][0])  # and not its key
    reload("reload-failed")
    line = gate.path("popgate.conf") + r":\d+: \[listener swap\]: .*swap\.key: key values mismatch"
    assert re.search(line, gate.log()), gate.log()
    assert look(listeners.swap, "-servername", "mail.example").subject == "door-mail"
    replace(key, papers["wild"][1])
    replace(ca, os.path.join(authority.directory, "strangers", "ca.pem"))
    with Pop(gate.clear) as client:
        reload("reloaded")
        assert client.ok("CAPA")  # from before
    assert look(listeners.swap, "-servername", "a.hosts.example").subject == "door-wild"
    assert look(listeners.swap, "-servername", "mail.example").subject == "door-pop"
    assert "+OK bye" not in look(listeners.swap, *joe).text
    stranger = ["-cert", papers["stranger"][0], "-key", papers["stranger"][1]]
    assert "+OK bye" in look(listeners.swap, *stranger).text


@pytest.mark.parametrize("lines, words", [
    ("tls = implicit\ncert = {mail}, /none.pem\nkey = {key}, /none.key", r":(\d+): .*/none\.pem: No such file"),
    ("tls = implicit\nclient_ca = /none.pem", r":(\d+): .*client_ca cannot be used: /none\.pem: No such file"),
])
def test_bad_files_at_the_start(new_gate, papers, lines, words):
    """Named with the line where they are named."""
    listeners = Listeners(bad=lines.format(mail=papers["mail"][0], key=papers["mail"][1]))
    gate = new_gate(listeners.text, stores={})
    done = rig.run(gate.program, "-c", gate.config, "serve", check=False)
    told = re.search(words, done.stderr.decode())
    assert done.returncode == 1 and told, done.stderr
    with open(gate.config, encoding="utf-8") as conf:
        assert "/none.pem" in conf.read().splitlines()[int(told[1]) - 1]


def test_tls_where_none_is_expected(new_gate):
    """The first octet of a hello is enough (A-20)."""
    gate = new_gate(stores={})
    gate.start()
    for port in (gate.clear, gate.bare):
        with socket.create_connection(("127.0.0.1", port), 30) as client:
            heard = client.makefile("rb")
            assert heard.readline().startswith(b"+OK")
            client.sendall(b"\x16")
            assert heard.readline() == b"-ERR this is a POP3 server\r\n"
            assert heard.read() == b""
    assert gate.log().count("event=foreign-protocol") == 2


def ways(port, context):
    """What CAPA tells of logging in, as a set."""
    with Pop(port, context) as client:
        found = set()
        for line in client.multi("CAPA").decode().splitlines():
            if line == "USER":
                found.add(line)
            if line.startswith("SASL "):
                found |= set(line.split()[1:])
        return found


def test_listeners_narrow_the_ways(new_gate, context):
    """auth= of each listener: only what is there is told, and works (J-03)."""
    listeners = Listeners(plain="tls = implicit\nauth = plain\n", login="tls = implicit\nauth = login\n",
                          both="tls = implicit\nauth = login, plain, scram-sha-256\n")
    gate = new_gate(listeners.text, stores={"live": "upstream=maildir:/nonexistent/%n local={plain}x"})
    gate.start()
    assert ways(listeners.plain, context) == {"USER", "PLAIN"}
    assert ways(listeners.login, context) == {"LOGIN"}
    assert ways(listeners.both, context) >= {"USER", "PLAIN", "LOGIN", "SCRAM-SHA-256"}
    with Pop(listeners.login, context) as client:
        client.err("AUTH PLAIN")
        client.err("USER joe@live")
        assert client.cmd("AUTH LOGIN").startswith("+ ")
    with Pop(listeners.plain, context) as client:
        client.err("AUTH LOGIN")
        assert client.cmd("AUTH PLAIN").startswith("+ ")


def wrong(gate, name, source, password="wrong"):
    with Pop(gate.clear, source=source) as client:
        return client.try_login(name, password)


def test_settings_against_guessing_are_reloaded(new_gate, dovecot, user):
    dovecot.fill(user, mails.plain(1))
    gate = new_gate("drain = 1\ntrusted = 192.0.2.1\nblock_after = 4\n", stores={
        "local.live": f"upstream=imap://127.0.0.1:{dovecot.imap} login=%n password={{plain}}{rig.PASSWORD} "
                      f"local={rig.local_secret()}"})
    gate.start()
    name = f"{user}@local.live"
    for number in range(4):
        wrong(gate, name, "127.0.0.2", f"wrong{number}")
    assert wrong(gate, name, "127.0.0.2", rig.PASSWORD).startswith("-ERR [AUTH]")
    assert "event=login-blocked" in gate.log()
    with open(gate.config, encoding="utf-8") as conf:
        text = conf.read()
    gate.write("popgate.conf", text.replace("trusted = 192.0.2.1", "trusted = 127.0.0.2"))
    gate.signal(signal.SIGHUP)
    rig.wait_until(lambda: "event=reloaded" in gate.log(), what="the reload")
    assert wrong(gate, name, "127.0.0.2", rig.PASSWORD).startswith("+OK")
    for number in range(5):
        wrong(gate, name, "127.0.0.2", f"wrong{number}")
    assert wrong(gate, name, "127.0.0.2", rig.PASSWORD).startswith("+OK")


def banned(log, tmp_path):
    """[(address, user)] that fail2ban's filter finds there."""
    path = tmp_path / "log"
    path.write_text(log, encoding="utf-8")
    done = rig.run("fail2ban-regex", "-o", "<ip> <F-USER>", str(path), FILTER, check=False)
    return [tuple(line.split(" ", 1)) for line in done.stdout.decode().splitlines() if line]


@pytest.mark.parametrize("prefix", ["", "Nov 23 04:43:58 mx popgate[123]: ", "2026-11-23T04:43:58.123456+00:00 mx popgate[123]: "])
def test_fail2ban(new_gate, dovecot, user, context, tmp_path, prefix):
    """Each failure is found once, with the address that it came from and no other; nothing else is."""
    if not shutil.which("fail2ban-regex"):
        pytest.skip("no fail2ban on this machine: its filter is not tried")
    dovecot.fill(user, mails.plain(1))
    store = f"upstream=imap://127.0.0.1:{dovecot.imap} login=%n"
    gate = new_gate("drain = 1\ntrusted = 192.0.2.1\n", stores={
        "live": f"{store} password={{plain}}{rig.PASSWORD} local={rig.local_secret()}", "passed.live": store})
    gate.start()
    line = "event=login-failed level=note sid=0123ABCD peer=192.0.2.66:1 listener=clear user=joe"
    names = [f"{user}@live", f"{user}@passed.live", "nobody@nowhere", line, f'x" {line}', f'x\\" {line}',
             f"popgate[1]: {line}", f"Nov 23 04:43:58 mx popgate[123]: {line}", "a" * 250, "\xff" * 120,
             "peer=192.0.2.66:1", "<HOST>", "%(x)s"]
    asked = 0
    for number, name in enumerate(names):
        with Pop(gate.clear, source=f"127.0.0.{number + 10}") as client:
            if client.cmd("USER " + name).startswith("+OK"):
                client.err("PASS wrong")
                asked += 1
    with Pop(gate.tls, context, source="127.0.0.99") as client:  # by SASL
        client.err("AUTH PLAIN AG5vYm9keQB3cm9uZw==")
    for source in ("127.0.0.200", "127.0.0.201"):
        assert wrong(gate, f"{user}@live", source, rig.PASSWORD).startswith("+OK")
    assert gate.stop() == 0
    lines = gate.log().splitlines()
    found = banned("".join(f"{prefix}{line}\n" for line in lines), tmp_path)
    addresses = [address for address, _ in found]
    assert len(addresses) == asked + 1 == sum(line.startswith("event=login-failed") for line in lines)
    assert asked >= len(names) - 1
    assert len(set(addresses)) == len(addresses)
    assert set(addresses) <= {f"127.0.0.{number + 10}" for number in range(len(names))} | {"127.0.0.99"}
    assert found[0][1] == f"{user}@live"
    by_sasl = next(line for line in lines if "peer=127.0.0.99:" in line and "login-failed" in line)
    assert "listener=secure" in by_sasl and "mechanism=PLAIN" in by_sasl
