# SPDX-License-Identifier: MIT
"""Every way to log in, in clear, by STLS and by TLS, for each kind of secret and in pass-through: a way
works exactly if CAPA (for APOP the greeting) says so, the right credential opens the mailbox, every
wrong one hears the same (A-19, B-05, B-09, B-23, J-01 to J-07; Table 3)."""
import concurrent.futures
import os
import re
import ssl
import tempfile

import pytest

import auth_rig
import mails
import rig
import sasl
from pop import Pop
from sasl import Who

pytestmark = pytest.mark.popgate_only

USER, CERTIFIED = "wilma", "fred@example.com"
TOKENS = {"XOAUTH2", "OAUTHBEARER"}
SHOWN = auth_rig.BY_PASSWORD | TOKENS  # what an eavesdropper could use again
KINDS = [*auth_rig.LOCAL, *auth_rig.PASSED, "certificate"]
TRANSPORTS = ["refusing", "clear", "stls", "tls"]


def map_of(kind, auth_dovecot):
    """An entry for USER, whose secret is of that kind."""
    upstream = f"upstream=imaps://localhost:{auth_dovecot.imaps} ca={auth_dovecot.authority.ca} login={USER}"
    if kind == "passed":
        return f"{USER} {upstream}\n"
    if kind == "relayed":
        # that the server knows SCRAM is for the map to say: who is offered it does not fall back
        return f"{USER} {upstream} auth=scram-sha-256,scram-sha-1,oauthbearer\n"
    stored = f"{upstream} password={{plain}}{rig.PASSWORD}"
    if kind == "certificate":
        return f"{CERTIFIED} {stored}\n"
    secret = auth_rig.LOCAL[kind][0](rig.PASSWORD)
    if not secret:
        pytest.skip(f"this machine cannot make a secret {{{kind}}}")
    return f"{USER} {stored} local={secret}\n"


@pytest.fixture(scope="module")
def gates(top, program, authority, auth_dovecot):
    """gates(kind): a popgate whose map knows that kind of secret alone."""
    made = {}

    def gate_of(kind):
        if kind not in made:
            directory = tempfile.mkdtemp(prefix=f"auth-{kind}-", dir=top)
            os.chmod(directory, 0o755)
            text = map_of(kind, auth_dovecot)
            more = f"client_ca = {authority.ca}" if kind == "certificate" else ""
            gate = rig.Popgate(directory, program, authority, {}, auth_rig.SETTINGS, tls_more=more)
            gate.set_map(text)
            auth_rig.skip_if_absent(gate)
            gate.start()
            made[kind] = gate
        return made[kind]

    yield gate_of
    for gate in made.values():
        auth_rig.check_secrets(gate, auth_dovecot.tokens.secrets)


@pytest.fixture(scope="module")
def contexts(authority):
    """By TLS version: with and without a client's certificate."""
    def make(version, name=None):
        context = ssl.create_default_context(cafile=authority.ca)
        context.minimum_version = context.maximum_version = version
        if name:
            context.load_cert_chain(*authority.issue("client-" + name.replace("@", "-"), "email:" + name))
        return context
    return {"1.2": make(ssl.TLSVersion.TLSv1_2), "1.3": make(ssl.TLSVersion.TLSv1_3),
            "certified": make(ssl.TLSVersion.TLSv1_3, CERTIFIED),
            "stranger": make(ssl.TLSVersion.TLSv1_3, "nobody@example.com")}


def connect(gate, transport, context):
    if transport == "tls":
        return Pop(gate.tls, context)
    pop = Pop(gate.strict if transport == "refusing" else gate.clear)
    if transport == "stls":
        greeting = pop.greeting
        pop.stls(context)
        pop.greeting = greeting  # APOP is over the one timestamp that there is
    return pop


def capa(pop):
    """{name: set of words}"""
    lines = [line.split() for line in pop.multi("CAPA").decode().splitlines()]
    assert len({words[0] for words in lines}) == len(lines), "a line twice"
    return {words[0]: words[1:] for words in lines}


def announced(pop):
    """The ways that the server says are there now."""
    told = capa(pop)
    mechanisms = told.get("SASL", [])
    assert len(set(mechanisms)) == len(mechanisms) and "SASL" not in told or mechanisms
    assert pop.multi("AUTH").decode().split() == mechanisms, "a bare AUTH tells something else than CAPA"
    return set(mechanisms) | ({"USER"} & set(told)) | ({"APOP"} if re.search(rb"<.*@.*>", pop.greeting) else set())


def expected(kind, transport, has_certificate=False):
    """Table 3 and J-03."""
    if kind == "certificate":
        ways = set(auth_rig.BY_PASSWORD) | ({"EXTERNAL"} if has_certificate else set())
    else:
        ways = set(auth_rig.PASSED[kind] if kind in auth_rig.PASSED else auth_rig.LOCAL[kind][1])
    if transport == "refusing":
        ways -= SHOWN
    if transport in ("refusing", "clear"):
        ways -= TOKENS | {"SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"}
    return ways


def credentials(name, who, tokens):
    """Right, and all that are wrong, by what they are."""
    right = Who(who, rig.PASSWORD, tokens.access(who) if name in TOKENS else "")
    wrong = {"wrong": right.wrong(), "unknown": Who("nobody-" + who, right.password, right.token)}
    if name in TOKENS:
        wrong["another's"] = Who(who, token=tokens.access("another"))
        wrong["expired"] = Who(who, token=tokens.access(who, expires_in=-1))
    return right, wrong


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("kind", KINDS)
def test_table(kind, transport, gates, contexts, auth_dovecot, tokens):
    """All deviations of one cell of the table are shown together."""
    gate, wrong, refusals, rights, bads = gates(kind), [], set(), [], []
    auth_dovecot.fill(USER, mails.plain(1))
    context = contexts["1.2"]  # whose channel binding Python knows
    with connect(gate, transport, context) as pop:
        ways = announced(pop)
        if ways != expected(kind, transport):
            wrong.append(f"announced {sorted(ways)}, expected {sorted(expected(kind, transport))}")
        if pop.cmd("AUTH NONESUCH")[:4] != "-ERR":
            wrong.append("an unknown mechanism is not refused")
    if kind == "certificate":  # nobody has a password there
        ways = set()
    for name, login in sasl.MECHANISMS.items():
        right, bad = credentials(name, USER, tokens)
        rights.append((name, login, "right", right))
        bads += [(name, login, what, who) for what, who in bad.items()]

    def attempt(name, login, what, who):
        with connect(gate, transport, context) as pop:
            if name.endswith("-PLUS") and transport in ("refusing", "clear"):
                reply = pop.cmd("AUTH " + name)  # nothing to bind it to
            else:
                reply = login(pop, who, transport)
            return reply, judge(f"{name} {what}", reply, name in ways, what == "right", pop)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:  # most of it is waiting
        refused = list(pool.map(lambda case: attempt(*case), bads))
    for reply, found in refused + [attempt(*case) for case in rights]:
        wrong += found
        if "[AUTH]" in reply:
            refusals.add(reply)
    assert wrong == []
    assert len(refusals) <= 1, "refusals differ"  # B-05


def judge(what, reply, is_announced, is_right, pop):
    """What is wrong with a reply."""
    if is_right and is_announced:
        if not reply.startswith("+OK") or not pop.cmd("STAT").startswith("+OK 1 "):
            return [f"{what}: announced, but {reply}"]
        pop.ok("QUIT")
    elif is_announced and not reply.startswith("-ERR [AUTH]"):
        return [f"{what}: {reply}"]
    elif not reply.startswith("-ERR"):
        return [f"{what}: not announced, but {reply}"]
    return []


@pytest.mark.parametrize("kind", ["plain", "scram-sha-256"])
@pytest.mark.parametrize("transport", ["stls", "tls"])
def test_bound_to_tls_1_3(kind, transport, gates, authority, auth_dovecot):
    """SCRAM-PLUS by the exporter of RFC 9266, as `openssl s_client` sees it."""
    auth_dovecot.fill(USER, mails.plain(1))
    gate = gates(kind)
    port = gate.tls if transport == "tls" else gate.clear
    for who, good in ((Who(USER, rig.PASSWORD), True), (Who(USER, "wrong"), False)):
        with sasl.Exported(port, authority.ca, starttls=transport == "stls") as pop:
            reply = sasl.MECHANISMS["SCRAM-SHA-256-PLUS"](pop, who, transport)
            assert reply.startswith("+OK" if good else "-ERR [AUTH]"), reply
            if good:
                assert pop.cmd("STAT").startswith("+OK 1 ")


def test_binding_that_lies(gates, contexts, auth_dovecot):
    """Somebody in between has another TLS; or he hides that the server knows -PLUS."""
    auth_dovecot.fill(USER, mails.plain(1))
    gate, who = gates("plain"), Who(USER, rig.PASSWORD)
    for gs2, name, binding in (("p=tls-unique,,", "SCRAM-SHA-256-PLUS", bytes(12)),
                               ("p=tls-nonesuch,,", "SCRAM-SHA-256-PLUS", b"x"),
                               ("n,,", "SCRAM-SHA-256-PLUS", b""),
                               ("y,,", "SCRAM-SHA-256", b""),
                               ("n,a=another,", "SCRAM-SHA-256", b"")):
        with connect(gate, "tls", contexts["1.2"]) as pop:
            reply = sasl.scram(pop, who, name, "sha256", gs2, binding)
            assert reply.startswith("-ERR"), (gs2, name, reply)
    with connect(gate, "clear", None) as pop:  # there we offer none, so that is the truth
        assert sasl.scram(pop, who, "SCRAM-SHA-256", "sha256", "y,,").startswith("+OK")


@pytest.mark.parametrize("transport", ["stls", "tls"])
def test_certificate(transport, gates, contexts, auth_dovecot):
    auth_dovecot.fill(USER, mails.plain(1))
    gate = gates("certificate")
    for name in ("", CERTIFIED):
        with connect(gate, transport, contexts["certified"]) as pop:
            assert "EXTERNAL" in announced(pop)
            assert sasl.external(pop, Who(name), transport).startswith("+OK")
            assert pop.stat()[0] == 1
            assert "EXTERNAL" in capa(pop)["SASL"]  # as before the login (RFC 5034 section 3)
            pop.ok("QUIT")
    for context, name in (("certified", USER), ("stranger", ""), ("stranger", CERTIFIED)):
        with connect(gate, transport, contexts[context]) as pop:
            assert sasl.external(pop, Who(name), transport).startswith("-ERR [AUTH]"), (context, name)
    with connect(gate, transport, contexts["certified"]) as pop:  # the certificate alone is no password
        assert pop.try_login(CERTIFIED, rig.PASSWORD).startswith("-ERR [AUTH]")
    with connect(gate, transport, contexts["1.3"]) as pop:  # no certificate, no such way
        assert "EXTERNAL" not in announced(pop)
        assert sasl.external(pop, Who(CERTIFIED), transport).startswith("-ERR")


def test_capa_at_every_point(gates, contexts, auth_dovecot):
    """A-19: the same SASL line before and after everything that may come between."""
    auth_dovecot.fill(USER, mails.plain(1))
    for transport in TRANSPORTS:
        with connect(gates("plain"), transport, contexts["1.3"]) as pop:
            first = capa(pop)
            points = [lambda: pop.cmd("USER " + USER), lambda: pop.cmd("PASS wrong"),
                      lambda: pop.cmd("AUTH NONESUCH"), lambda: pop.cmd("AUTH SCRAM-SHA-256") and pop.cmd("*"),
                      lambda: sasl.scram_sha_256(pop, Who(USER, rig.PASSWORD), transport)]
            for number, act in enumerate(points):
                act()
                now = capa(pop)
                if number == len(points) - 1:  # TRANSACTION
                    pop.stat()
                    first.pop("STLS", None)
                assert now == first, (transport, number)
            assert ("STLS" in capa(pop)) is False


def server_first(gate, name, context):
    """What an unproved client is told behind the nonce: salt and iterations."""
    with connect(gate, "tls", context) as pop:
        first = sasl.challenge(pop.cmd("AUTH SCRAM-SHA-256 " + sasl.b64(f"n,,n={name},r=abcdefgh"))).decode()
        pop.cmd("*")
    return re.sub("^r=[^,]*,", "", first)


def test_unknown_names_have_one_salt(gates, contexts):
    """J-05: who asks twice cannot tell an unknown name from a known one."""
    said = [server_first(gates("scram-sha-256"), name, contexts["1.3"]) for name in ("nobody", "nobody", "noone")]
    assert said[0] == said[1] != said[2]
    assert said[0].endswith("i=4096"), "another iteration count than that of the map's entries"


def test_salts_outlive_a_restart(gates, contexts):
    """Nor by asking again when popgate was restarted."""
    gate, names = gates("scram-sha-256"), (USER, "nobody", "noone")
    before = [server_first(gate, name, contexts["1.3"]) for name in names]
    gate.stop()
    gate.start()
    assert [server_first(gate, name, contexts["1.3"]) for name in names] == before


MALFORMED = ["!", "A", "AA", "AAA", "A===", "AA=", "AAA==", "=AAA", "A=AA", "AA=A", "AAAA=", "AAAA==", "AAAA====",
             "AAAAA", "AA==AAAA", "AAA=AAA=", "====", "==", "===", " AAAA", "AAAA ", "AA AA", "AA\tAA", "AAAA\t",
             "AAA-", "AAA_", "AB==", "AAB=", "ÄAAA", "AAAA\0", "AAA\x7f", "AAAA,BBBB", "\"AAAA\"", "AAAA;"]


@pytest.mark.parametrize("transport", ["clear", "tls"])
def test_malformed_base64(transport, gates, contexts):
    """J-01: none of them is taken for something, and the session goes on in step."""
    for way in ("AUTH PLAIN ", "AUTH PLAIN\r\n", "AUTH CRAM-MD5\r\n", "AUTH SCRAM-SHA-256\r\n"):
        for text in MALFORMED:
            with connect(gates("plain"), transport, contexts["1.3"]) as pop:
                if way.endswith("\n"):
                    assert pop.cmd(way[:-2]).startswith("+ ")
                    reply = pop.cmd(text)
                else:
                    reply = pop.cmd(way + text)
                assert reply.startswith("-ERR") and "[AUTH]" not in reply, (way, text, reply)
                assert pop.cmd("CAPA").startswith("+OK") and b"UIDL" in pop.body()


def test_cram_md5_a_hundred_times(gates, contexts, auth_dovecot):
    """Whatever lies in memory behind the digest, it is read as it was said."""
    auth_dovecot.fill(USER, mails.plain(1))
    gate = gates("plain")
    before = len(gate.log())
    for number in range(100):
        name, right = USER + "x" * (number % 5), number % 5 == 0  # all remainders of base64
        with connect(gate, "tls", contexts["1.3"]) as pop:
            reply = sasl.cram_md5(pop, Who(name, rig.PASSWORD), "tls")
            assert reply.startswith("+OK" if right else "-ERR [AUTH]"), (number, reply)
            pop.cmd("QUIT")
    assert "malformed" not in gate.log()[before:]


def test_a_challenge_is_not_used_twice(gates, auth_dovecot):
    """APOP and CRAM-MD5: what was overheard opens nothing."""
    auth_dovecot.fill(USER, mails.plain(1))
    gate, stamps = gates("plain"), set()
    with Pop(gate.clear) as pop:
        first = pop.greeting
    for _ in range(50):
        with Pop(gate.clear) as pop:
            stamps.add(re.search(rb"<[A-Za-z0-9.]+@[A-Za-z0-9.-]+>", pop.greeting)[0])
    assert len(stamps) == 50
    with Pop(gate.clear) as pop:
        pop.greeting = first
        assert sasl.apop(pop, Who(USER, rig.PASSWORD), "clear").startswith("-ERR [AUTH]")
        said = {pop.cmd("AUTH CRAM-MD5")}
        pop.cmd("*")
        said.add(pop.cmd("AUTH CRAM-MD5"))
        assert len(said) == 2
        pop.cmd("*")
