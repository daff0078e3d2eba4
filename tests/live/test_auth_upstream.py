# SPDX-License-Identifier: MIT
"""How popgate logs in upstream, before a Dovecot that knows every mechanism and says in its log which
one it was (J-06 to J-11)."""
import os
import re

import pytest

import auth_rig
import mails
import rig
import sasl
from pop import Pop
from sasl import Who

pytestmark = pytest.mark.popgate_only

EXTERNAL = "pebbles"


def entries(dovecot, authority, pair):
    """Map entries by name; each user's mailbox upstream has the same name."""
    tls = f"upstream=imaps://localhost:{dovecot.imaps} ca={authority.ca} login=%n"
    starttls = f"upstream=imap+starttls://localhost:{dovecot.imap} ca={authority.ca} login=%n"
    stored = f"local={{plain}}{rig.PASSWORD} password={{plain}}{rig.PASSWORD}"
    found = {name: f"{tls} {stored} auth={name}" for name in ("login", "plain", "scram-sha-1", "scram-sha-256")}
    found |= {
        "unsaid": f"{tls} {stored}",
        "unsaid-clear": f"upstream=imap://127.0.0.1:{dovecot.imap} login=%n {stored}",
        "list": f"{tls} {stored} auth=scram-sha-256-plus,scram-sha-1,plain",
        "starttls": f"{starttls} {stored} auth=scram-sha-256",
        "absent": f"{tls} {stored} auth=scram-sha-256-plus",
        "wrong": f"{tls} local={{plain}}{rig.PASSWORD} password={{plain}}other auth=scram-sha-256",
        "mastered": f"{tls} local={{plain}}{rig.PASSWORD} master={auth_rig.MASTER} auth=scram-sha-256 "
                    f"password={{plain}}{auth_rig.MASTER_PASSWORD}",
        "mastered-plain": f"{tls} local={{plain}}{rig.PASSWORD} master={auth_rig.MASTER} auth=plain "
                          f"password={{plain}}{auth_rig.MASTER_PASSWORD}",
        EXTERNAL: f"{tls} local={{plain}}{rig.PASSWORD} cert={pair[0]} key={pair[1]} auth=external",
        "passed": f"{tls} auth=scram-sha-256,scram-sha-1,xoauth2,oauthbearer,plain",
        "passed-xoauth2": f"{tls} auth=xoauth2,plain",
        "passed-oauthbearer": f"{tls} auth=oauthbearer,plain",
    }
    return found


@pytest.fixture(scope="module")
def gate(top, program, authority, auth_dovecot):
    server = rig.Popgate(os.path.join(top, "upstream-auth"), program, authority, {}, auth_rig.SETTINGS)
    pair = authority.issue(EXTERNAL)
    server.set_map("".join(f"{name} {text}\n" for name, text in entries(auth_dovecot, authority, pair).items()))
    auth_rig.skip_if_absent(server)
    server.start()
    yield server
    auth_rig.check_secrets(server, {auth_rig.MASTER_PASSWORD}, auth_dovecot.tokens.secrets)


def logins(dovecot, user):
    """The mechanisms by which a user has logged in upstream, in order."""
    return re.findall(rf"imap-login: Info: Login: user=<{user}>, method=([A-Z0-9-]+),", dovecot.log())


def opens(gate, dovecot, name, login=sasl.user_pass, who=None):
    """Fetches a message, and says how popgate has logged in for it."""
    dovecot.fill(name, mails.plain(1))
    before = len(logins(dovecot, name))
    with Pop(gate.tls, gate.context) as pop:
        reply = login(pop, who or Who(name, rig.PASSWORD), "tls")
        assert reply.startswith("+OK"), reply
        assert mails.name_of(pop.multi("RETR 1")) == "m1"
        pop.ok("QUIT")
    rig.wait_until(lambda: len(logins(dovecot, name)) > before, what="Dovecot's line")
    return logins(dovecot, name)[before:]


@pytest.fixture(autouse=True)
def with_context(gate, context):
    gate.context = context


@pytest.mark.parametrize("name,method", [
    ("login", "PLAIN"),  # the command; Dovecot calls it so
    ("plain", "PLAIN"), ("scram-sha-1", "SCRAM-SHA-1"), ("scram-sha-256", "SCRAM-SHA-256"),
    ("unsaid", "PLAIN"), ("unsaid-clear", "SCRAM-SHA-256"), ("list", "SCRAM-SHA-1"), ("starttls", "SCRAM-SHA-256"),
    ("mastered", "SCRAM-SHA-256"), ("mastered-plain", "PLAIN"), (EXTERNAL, "EXTERNAL"),
])
def test_stored(name, method, gate, auth_dovecot):
    assert opens(gate, auth_dovecot, name) == [method]


@pytest.mark.parametrize("way,name,method", [
    ("XOAUTH2", "passed-xoauth2", "XOAUTH2"), ("XOAUTH2", "passed-oauthbearer", "OAUTHBEARER"),
    ("OAUTHBEARER", "passed-xoauth2", "XOAUTH2"), ("OAUTHBEARER", "passed-oauthbearer", "OAUTHBEARER"),
    ("SCRAM-SHA-1", "passed", "SCRAM-SHA-1"), ("SCRAM-SHA-256", "passed", "SCRAM-SHA-256"),
    ("PLAIN", "passed-xoauth2", "PLAIN"), ("LOGIN", "passed-oauthbearer", "PLAIN"),
])
def test_passed(way, name, method, gate, auth_dovecot, tokens):
    """J-07: wrapped anew as the upstream needs it."""
    who = Who(name, rig.PASSWORD, tokens.access(name))
    assert opens(gate, auth_dovecot, name, sasl.MECHANISMS[way], who) == [method]


def refusal(gate, name, login=sasl.user_pass, who=None):
    with Pop(gate.tls, gate.context) as pop:
        return login(pop, who or Who(name, rig.PASSWORD), "tls")


def test_what_the_map_pins_is_not_replaced(gate, auth_dovecot):
    """J-08: no downgrade to a mechanism that shows the password."""
    auth_dovecot.fill("absent", mails.plain(1))
    assert refusal(gate, "absent").startswith("-ERR [SYS/PERM]")
    assert not logins(auth_dovecot, "absent")


def test_a_stored_secret_that_is_refused(gate, auth_dovecot):
    """B-07: it is the operator's business."""
    auth_dovecot.fill("wrong", mails.plain(1))
    assert refusal(gate, "wrong").startswith("-ERR [SYS/PERM]")
    assert refusal(gate, "wrong", who=Who("wrong", "nonsense")).startswith("-ERR [AUTH]")


def test_a_token_that_ends(gate, auth_dovecot, tokens):
    """A client's own token is the client's own fault."""
    auth_dovecot.fill("passed", mails.plain(1))
    for way in ("XOAUTH2", "OAUTHBEARER"):
        token = tokens.access("passed")
        assert sasl.MECHANISMS[way](Pop(gate.tls, gate.context), Who("passed", token=token), "tls").startswith("+OK")
        tokens.expire("passed")
        assert refusal(gate, "passed", sasl.MECHANISMS[way], Who("passed", token=token)).startswith("-ERR [AUTH]")


def test_a_large_token(gate, auth_dovecot, tokens):
    """J-06: some providers' are longer than a POP3 command line. Dovecot itself takes 8192 octets of base64."""
    auth_dovecot.fill("passed", mails.plain(1))
    reply = refusal(gate, "passed", sasl.MECHANISMS["XOAUTH2"], Who("passed", token="x" * 6000))
    assert reply.startswith("-ERR [AUTH]")
