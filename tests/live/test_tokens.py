# SPDX-License-Identifier: MIT
"""OAuth 2.0 towards the provider: enrolment, refresh, rotation, revocation, providers that are slow or
lie, crashes at the worst moment; before a real HTTPS token server and a Dovecot that asks it (J-10)."""
import concurrent.futures
import os
import re
import select
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

import auth_rig
import mails
import rig
from pop import Pop
from relay import Relay
from token_server import TokenServer

pytestmark = pytest.mark.popgate_only

CLIENT, CLIENT_SECRET = "popgate-live", "cS+/=&-client-secret%"


def profile(name, server, authority, more=""):
    return (f"\n[oauth {name}]\ntoken_url = {server.url}/token\ndevice_url = {server.url}/device\n"
            f"authorize_url = {server.url}/authorize\nclient_id = {CLIENT}\nscope = mail\n"
            f"ca_file = {authority.ca}\n{more}\n")


@pytest.fixture
def server(tokens):
    """The token server, with nothing left of other tests."""
    tokens.reset()
    yield tokens
    tokens.reset()


@pytest.fixture
def provider(auth_dovecot):
    """A Dovecot that asks it."""
    return auth_dovecot


class Office:
    """A popgate whose users have tokens."""

    def __init__(self, gate, server):
        self.gate, self.server = gate, server

    def popgate(self, *argv, **more):
        return rig.run(self.gate.program, "-c", self.gate.config, *argv, check=False, **more)

    def enrol(self, name, user, *options):
        """By device code, as a person would with a browser; what it said."""
        process = subprocess.Popen([self.gate.program, "-c", self.gate.config, "enrol", *options, name],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = b""
        for line in process.stdout:
            said += line
            code = re.search(rb"\b([B-Z]{4}-[B-Z]{4})\b", line)
            if code:
                self.server.approve(code[1].decode(), user)
        assert process.wait(60) == 0, said
        return said.decode()

    def login(self, name, password=rig.PASSWORD):
        """The reply; "" if the connection was cut."""
        with Pop(self.gate.clear, timeout=90) as pop:
            try:
                reply = pop.try_login(name, password)
            except ConnectionError:
                return ""
            if reply.startswith("+OK"):
                assert mails.name_of(pop.multi("RETR 1")) == "m1"
                pop.ok("QUIT")
            return reply


@pytest.fixture
def office(new_gate, authority, server, provider):
    """office(*names): each enrolled already, unless `enrolled` is false."""
    def make(*names, enrolled=True, settings="", upstream=None, more="", entries=""):
        upstream = upstream or f"imaps://localhost:{provider.imaps}"
        gate = new_gate(auth_rig.SETTINGS + settings + profile("test", server, authority, more), stores={})
        auth_rig.set_token_key(gate, "token.key")
        gate.set_map(entries + "".join(
            f"{name} upstream={upstream} ca={authority.ca} login={name} oauth=test lock=shared connections=60 "
            f"local={{plain}}{rig.PASSWORD}\n" for name in names))
        gate.secrets += [server.secrets, {CLIENT_SECRET}]
        auth_rig.skip_if_absent(gate)
        found = Office(gate, server)
        for name in names:
            provider.fill(name, mails.plain(1))
        if enrolled:
            with concurrent.futures.ThreadPoolExecutor() as pool:
                list(pool.map(found.enrol, names, names))
        gate.start()
        return found
    server.configure(interval=0)
    yield make


def test_from_nothing_to_a_served_mailbox(office, server, provider):
    at = office("alice", enrolled=False)
    assert at.login("alice").startswith("-ERR [SYS/PERM]")  # nobody has enrolled it
    said = at.enrol("alice", "alice")
    assert server.url + "/verify" in said
    assert at.login("alice").startswith("+OK")  # the daemon was running all the time
    assert re.search(r"Login: user=<alice>, method=(XOAUTH2|OAUTHBEARER),", provider.log())
    listed = at.popgate("tokens")
    assert listed.returncode == 0, listed.stderr
    assert b"alice" in listed.stdout and b"test" in listed.stdout
    for secret in server.secrets:
        assert secret.encode() not in listed.stdout and secret not in said
    assert server.counts["refresh_token"] == 0  # the token of the enrolment served


def test_who_says_no(office, server):
    at = office("alice", enrolled=False)
    process = subprocess.Popen([at.gate.program, "-c", at.gate.config, "enrol", "alice"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    rig.wait_until(server.user_codes, what="a code")
    server.deny(server.user_codes()[0])
    said = process.communicate(timeout=60)
    assert process.returncode == 1 and said[1].startswith(b"popgate: ")
    assert at.login("alice").startswith("-ERR [SYS/PERM]")


def test_by_a_browser(office, server, authority):
    at = office("alice", enrolled=False)
    server.configure(browser_user="alice")
    process = subprocess.Popen([at.gate.program, "-c", at.gate.config, "enrol", "--browser", "alice"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = b""
    while b"/authorize?" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    url = re.search(rb"https://\S*/authorize\?\S+", said)[0].decode()
    back = browse(url, authority)
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(back).query)
    asked = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)
    assert urllib.parse.urlsplit(back).hostname in ("127.0.0.1", "::1") and query["state"] == asked["state"]
    forged = back.replace("state=", "state=x")  # somebody else's answer does not count
    for address in (forged, back):
        try:
            urllib.request.urlopen(address, timeout=30).read()
        except urllib.error.HTTPError:
            pass
    assert process.wait(60) == 0, process.stdout.read()
    process.stdout.close()
    assert at.login("alice").startswith("+OK")


def browse(url, authority):
    """Where the provider sends the browser."""
    import ssl

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_):
            return None
    context = ssl.create_default_context(cafile=authority.ca)
    try:
        urllib.request.build_opener(Stay, urllib.request.HTTPSHandler(context=context)).open(url, timeout=30)
    except urllib.error.HTTPError as answer:
        return answer.headers["Location"]
    raise AssertionError("not sent on")


def test_a_wrong_password_touches_nothing(office, server):
    at = office("alice")
    server.expire("alice")
    requests = len(server.requests)
    for _ in range(3):
        assert at.login("alice", "wrong").startswith("-ERR [AUTH]")
    assert len(server.requests) == requests
    assert at.login("alice").startswith("+OK")


def test_fifty_logins_one_refresh(office, server, provider):
    at = office("alice")
    server.expire("alice")  # earlier than was promised: all fifty are refused upstream
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(at.login, ["alice"] * 50))
    assert [reply for reply in replies if not reply.startswith("+OK")] == []
    assert server.counts["refresh_token"] == 1


def test_before_it_ends(office, server):
    """A token that lives shortly is renewed before a server refuses it; a restart asks nobody."""
    server.configure(expires_in=3)
    at = office("alice")
    assert at.login("alice").startswith("+OK")
    server.configure(expires_in=3600)
    rig.wait_until(lambda: at.login("alice").startswith("+OK") and server.counts["refresh_token"] == 1,
                   what="a refresh")
    assert "expired" not in at.gate.log()
    at.gate.stop()
    at.gate.start()
    assert at.login("alice").startswith("+OK")
    assert server.counts["refresh_token"] == 1


def test_a_rotated_token_is_stored_before_use(office, server, provider):
    """Killed when it would use the new access token for the first time, with a provider that is strict."""
    relay = Relay(provider.imap)
    at = office("alice", upstream=f"imap://127.0.0.1:{relay.port}")
    server.configure(rotation=True, expires_in=3)
    server.expire("alice")
    old = set(server.refresh_tokens)

    def kill():
        at.gate.process.kill()
        at.gate.process.wait()
    server.fault("token", "call", function=lambda: relay.at("up", rb"AUTHENTICATE", "before", kill))
    try:
        assert at.login("alice") == ""
        assert relay.was_reached and len(server.refresh_tokens) == 2
        for token in old:
            del server.refresh_tokens[token]
        relay.go_on()
        at.gate.start()
        rig.wait_until(lambda: at.login("alice").startswith("+OK") and server.counts["refresh_token"] > 1, 30,
                       "a refresh by the new token")
        assert "invalid_grant" not in at.gate.log()
    finally:
        relay.close()


def test_a_crash_between_response_and_store(office, server):
    """The provider has rotated, and nobody has heard of it."""
    at = office("alice")
    server.configure(rotation=True)
    server.expire("alice")
    server.fault("token", "call", function=lambda: (at.gate.process.kill(), at.gate.process.wait()))
    assert at.login("alice") == ""
    at.gate.start()
    rig.wait_until(lambda: at.login("alice").startswith("+OK"), 60, "a login")


def test_the_end_waits_for_what_was_rotated(office, server, provider):
    """Told twice to end when the provider has rotated for work in the background."""
    relay = Relay(provider.imap)
    server.configure(rotation=True, expires_in=3)
    at = office("alice", upstream=f"imap://127.0.0.1:{relay.port}", settings="replay = 1s\n")
    process, was_there = at.gate.process, []
    try:
        relay.at("up", rb"UID STORE .*\\Deleted", "before", lambda: None)
        with Pop(at.gate.clear, timeout=90) as pop:
            pop.login("alice", rig.PASSWORD)
            pop.ok("DELE 1")
            pop.ok("QUIT")
        assert relay.was_reached

        def end():
            at.gate.signal(signal.SIGTERM)
            rig.wait_until(lambda: "event=draining" in at.gate.log(), what="the drain")
            at.gate.signal(signal.SIGTERM)
            time.sleep(2)
            was_there.append(process.poll() is None)
            for token in old:
                server.refresh_tokens.pop(token, None)
        old = set(server.refresh_tokens)
        server.fault("token", "call", function=end)
        assert process.wait(60) == 0 and was_there == [True]
        relay.go_on()
        at.gate.start()
        server.expire("alice")
        with Pop(at.gate.clear, timeout=90) as pop:
            pop.login("alice", rig.PASSWORD)  # by the refresh token that came last
            pop.ok("QUIT")
        assert "invalid_grant" not in at.gate.log()
    finally:
        relay.close()


def test_revoked(office, server):
    """invalid_grant is the operator's business, once; the provider is left in peace."""
    at = office("alice")
    server.revoke("alice")
    assert {at.login("alice")[:15] for _ in range(5)} == {"-ERR [SYS/PERM]"}
    assert server.counts["refresh_token"] == 1
    alarms = [line for line in at.gate.log().splitlines() if "level=alarm" in line]
    assert len(alarms) == 1 and "alice" in alarms[0] and "enrol" in alarms[0], alarms
    at.enrol("alice", "alice")
    assert at.login("alice").startswith("+OK")


def test_forgotten(office, server):
    """Removed under a daemon's feet: its next login has no token, other mailboxes have theirs."""
    at = office("alice", "bob")
    assert at.login("alice").startswith("+OK")
    forgot = at.popgate("tokens", "--forget", "alice")
    assert forgot.returncode == 0 and b"alice test" in forgot.stdout, forgot
    assert b"event=token-forgotten" in forgot.stderr and b"user=alice" in forgot.stderr
    assert at.login("alice").startswith("-ERR [SYS/PERM]")
    assert at.login("bob").startswith("+OK")
    assert server.counts["refresh_token"] == 0
    listed = at.popgate("tokens").stdout
    assert b"alice" not in listed and b"bob" in listed
    again = at.popgate("tokens", "--forget", "alice")
    assert again.returncode == 1 and b"no token is stored for alice" in again.stderr
    assert at.popgate("tokens", "--forget").returncode == 2
    at.enrol("alice", "alice")
    assert at.login("alice").startswith("+OK")


# What a provider does, what a client hears meanwhile, and whether the next try may succeed at once.
FAULTS = {
    "string_expiry": ({}, "+OK"), "rotate": ({}, "+OK"), "slow": ({"seconds": 2}, "+OK"),
    "close": ({}, "-ERR [SYS/TEMP]"), "status": ({"code": 503}, "-ERR [SYS/TEMP]"),
    "garbage": ({}, "-ERR [SYS/TEMP]"), "cut": ({}, "-ERR [SYS/TEMP]"), "missing": ({}, "-ERR [SYS/TEMP]"),
    "huge": ({"octets": 1_000_000}, "-ERR [SYS/TEMP]"), "lose": ({}, "-ERR [SYS/TEMP]"),
    "replace": ({"field": "access_token", "value": "a\r\nb"}, "-ERR [SYS/TEMP]"),
}


def test_providers_that_err(new_gate, authority, provider, server):
    """Each user has a token server of his own, as far as popgate can tell, and all err at once."""
    servers = {kind: TokenServer(*authority.issue("tokens-" + kind)) for kind in FAULTS}
    text = "".join(profile(kind.replace("_", "-"), one, authority) for kind, one in servers.items())
    gate = new_gate(auth_rig.SETTINGS + text, stores={})
    auth_rig.set_token_key(gate, "token.key")
    gate.set_map("".join(f"{kind} upstream=imaps://localhost:{provider.imaps} ca={authority.ca} login={kind} "
                         f"oauth={kind.replace('_', '-')} local={{plain}}{rig.PASSWORD}\n" for kind in FAULTS))
    gate.secrets.append(server.secrets)
    auth_rig.skip_if_absent(gate)
    try:
        for kind, one in servers.items():
            one.access_tokens, one.secrets = server.access_tokens, server.secrets  # one provider
            one.configure(interval=0)
            one.start()
            provider.fill(kind, mails.plain(1))
        with concurrent.futures.ThreadPoolExecutor(len(FAULTS)) as pool:
            list(pool.map(lambda kind: Office(gate, servers[kind]).enrol(kind, kind), FAULTS))
            servers["lose"].configure(rotation=True)
            for kind, (options, _) in FAULTS.items():
                server.expire(kind)
                servers[kind].fault("token", kind, **options)
            gate.start()
            login = Office(gate, server).login
            replies = dict(zip(FAULTS, pool.map(login, FAULTS)))
            assert {kind: reply for kind, reply in replies.items() if not reply.startswith(FAULTS[kind][1])} == {}
            failed = [kind for kind, reply in replies.items() if reply.startswith("-ERR")]
            list(pool.map(lambda kind: rig.wait_until(lambda: login(kind).startswith("+OK"), 90, kind), failed))
    finally:
        for one in servers.values():
            one.stop()


def test_a_provider_that_hangs_delays_nobody_else(office, server):
    at = office("alice", "bob", "carol")
    server.expire("alice")
    server.expire("bob")
    server.fault("token", "hold")
    with Pop(at.gate.clear, timeout=90) as pop:
        pop.send(f"USER alice\r\nPASS {rig.PASSWORD}\r\n".encode())
        pop.line()
        rig.wait_until(lambda: server.now_parallel == 1, what="the refresh")
        assert at.login("carol").startswith("+OK")
        assert at.login("bob").startswith("+OK")
        assert not select.select([pop.sock], [], [], 0)[0]
        server.release()
        assert pop.line().startswith(b"+OK")


def test_a_stranger_s_token_server(office, server, authority):
    """B-13 holds for it too: the refresh token is not told to whom we cannot verify."""
    at = office("alice", enrolled=True)
    at.gate.stop()
    with open(at.gate.config, encoding="utf-8") as conf:
        text = conf.read().replace(f"ca_file = {authority.ca}", f"ca_file = {authority.stranger()}")
    at.gate.write("popgate.conf", text)
    server.expire("alice")
    requests = server.counts["token"]
    at.gate.start()
    assert at.login("alice").startswith("-ERR [SYS/PERM]")
    assert server.counts["token"] == requests


def test_no_key_no_enrolment(office, server):
    at = office("alice", enrolled=False)
    at.gate.stop()
    auth_rig.set_token_key(at.gate, None)
    done = at.popgate("enrol", "alice")
    assert done.returncode == 1 and b"key" in done.stderr
    assert not server.requests


def test_another_key(office, server):
    """What another key has sealed is not opened, and not thrown away."""
    at = office("alice")
    at.gate.stop()
    auth_rig.set_token_key(at.gate, "another.key")
    at.gate.start()
    assert at.login("alice").startswith("-ERR [SYS/PERM]")
    at.gate.stop()
    auth_rig.set_token_key(at.gate, "token.key")
    at.gate.start()
    assert at.login("alice").startswith("+OK")


def test_grants_without_a_user(new_gate, top, authority, provider, server):
    """Client credentials and a service account: nobody enrols them."""
    key = os.path.join(top, "service.pem")
    rig.run("openssl", "genrsa", "-out", key, "2048")
    server.keys["service@example.com"] = os.path.join(top, "service.pub")
    rig.run("openssl", "rsa", "-in", key, "-pubout", "-out", server.keys["service@example.com"])
    os.chown(key, rig.OWNER.pw_uid, rig.OWNER.pw_gid)
    os.chmod(key, 0o600)
    server.client(CLIENT, CLIENT_SECRET)
    server.client_user[CLIENT] = "dora"
    gate = new_gate(auth_rig.SETTINGS +
                    profile("app", server, authority,
                            f"grant = client-credentials\nclient_secret = \"{CLIENT_SECRET}\"") +
                    profile("service", server, authority, f"grant = service-account\nkey_file = {key}\n"
                                                          "issuer = service@example.com"), stores={})
    auth_rig.set_token_key(gate, "token.key")
    gate.set_map("".join(f"{name} upstream=imaps://localhost:{provider.imaps} ca={authority.ca} login={name} "
                         f"oauth={oauth} local={{plain}}{rig.PASSWORD}\n"
                         for name, oauth in (("dora", "app"), ("emil", "service"))))
    gate.secrets += [server.secrets, {CLIENT_SECRET}]
    auth_rig.skip_if_absent(gate)
    gate.start()
    for name in ("dora", "emil"):
        provider.fill(name, mails.plain(1))
        assert Office(gate, server).login(name).startswith("+OK")
    assert server.counts["client_credentials"] == 1
    assert server.counts["urn:ietf:params:oauth:grant-type:jwt-bearer"] == 1
