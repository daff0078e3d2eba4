# SPDX-License-Identifier: MIT
"""Logins of a POP3 client, one function per mechanism, written from the RFCs and from nothing of
popgate's. Each takes a Pop, a Who and says the last reply; a server that breaks the protocol on the
way (a wrong server signature, a challenge too many) is an AssertionError."""
import base64
import hashlib
import hmac
import json
import re
import secrets
import subprocess


class Who:
    """A user as a client knows him."""

    def __init__(self, name, password="", token=""):
        self.name, self.password, self.token = name, password, token

    def wrong(self):
        return Who(self.name, self.password and self.password + "x", self.token and self.token[:-3] + "xxx")


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def challenge(reply):
    """The decoded challenge of a "+ " line."""
    assert reply.startswith("+ "), reply
    return base64.b64decode(reply[2:], validate=True)


def is_refusal(reply):
    return reply.startswith("-ERR")


def user_pass(pop, who, transport):
    reply = pop.cmd("USER " + who.name)
    return reply if is_refusal(reply) else pop.cmd("PASS " + who.password)


def apop(pop, who, transport):
    stamp = re.search(rb"<[^<> ]+@[^<> ]+>", pop.greeting)
    digest = hashlib.md5((stamp[0] if stamp else b"<none@none>") + who.password.encode()).hexdigest()
    return pop.cmd(f"APOP {who.name} {digest}")


def plain(pop, who, transport):
    return pop.cmd("AUTH PLAIN " + b64(f"\0{who.name}\0{who.password}"))


def login(pop, who, transport):
    reply = pop.cmd("AUTH LOGIN")
    for asked, said in ((b"Username:", who.name), (b"Password:", who.password)):
        if is_refusal(reply):
            return reply
        assert challenge(reply) == asked, reply
        reply = pop.cmd(b64(said))
    return reply


def cram_md5(pop, who, transport):
    reply = pop.cmd("AUTH CRAM-MD5")
    if is_refusal(reply):
        return reply
    digest = hmac.new(who.password.encode(), challenge(reply), "md5").hexdigest()
    return pop.cmd(b64(f"{who.name} {digest}"))


def xoauth2(pop, who, transport):
    """With an initial response in a line of its own, as Microsoft wants it."""
    reply = pop.cmd("AUTH XOAUTH2")
    if is_refusal(reply):
        return reply
    assert challenge(reply) == b""
    reply = pop.cmd(b64(f"user={who.name}\1auth=Bearer {who.token}\1\1"))
    if reply.startswith("+ "):
        assert json.loads(challenge(reply))["status"]
        reply = pop.cmd("")
    return reply


def oauthbearer(pop, who, transport):
    reply = pop.cmd("AUTH OAUTHBEARER " +
                    b64(f"n,a={who.name},\1host=localhost\1port=110\1auth=Bearer {who.token}\1\1"))
    if reply.startswith("+ "):
        assert json.loads(challenge(reply))["status"]  # RFC 7628 section 3.2.2
        reply = pop.cmd(b64(b"\1"))
    return reply


def external(pop, who, transport):
    return pop.cmd("AUTH EXTERNAL " + (b64(who.name) or "="))


def scram(pop, who, name, digest, gs2="n,,", binding=b"", lie=None):
    """RFC 5802; in the end the server has proved itself too."""
    nonce, user = secrets.token_urlsafe(18), who.name.replace("=", "=3D").replace(",", "=2C")
    first = f"n={user},r={nonce}"
    reply = pop.cmd(f"AUTH {name} " + b64(gs2 + first))
    if is_refusal(reply):
        return reply
    server_first = challenge(reply).decode()
    got = dict(part.split("=", 1) for part in server_first.split(","))
    assert got["r"].startswith(nonce) and len(got["r"]) >= len(nonce) + 18, "a short nonce"
    assert int(got["i"]) >= 4096
    salted = hashlib.pbkdf2_hmac(digest, who.password.encode(), base64.b64decode(got["s"]), int(got["i"]))
    key = hmac.new(salted, b"Client Key", digest).digest()
    last = f"c={b64(gs2.encode() + binding)},r={got['r']}"
    signed = f"{first},{server_first},{last}".encode()
    proof = hmac.new(hashlib.new(digest, key).digest(), signed, digest).digest()
    reply = pop.cmd(b64(f"{last},p={b64(bytes(a ^ b for a, b in zip(key, proof)))}"))
    if not reply.startswith("+ "):
        assert is_refusal(reply), f"no proof of the server's: {reply}"
        return reply
    proved = hmac.new(hmac.new(salted, b"Server Key", digest).digest(), signed, digest).digest()
    final = challenge(reply).decode()
    if final.startswith("e="):
        return pop.cmd("")
    assert final == "v=" + b64(proved), "the server does not know the password"
    return pop.cmd("")


def scram_sha_1(pop, who, transport):
    return scram(pop, who, "SCRAM-SHA-1", "sha1")


def scram_sha_256(pop, who, transport):
    return scram(pop, who, "SCRAM-SHA-256", "sha256")


def plus(name, digest):
    """Bound to the TLS below: to TLS 1.2's first Finished, or to the exporter of Exported."""
    def login_plus(pop, who, transport):
        kind, binding = pop.binding()
        return scram(pop, who, name, digest, f"p={kind},,", binding)
    return login_plus


# By the name that CAPA has for it; for USER and APOP their own.
MECHANISMS = {
    "USER": user_pass, "APOP": apop, "PLAIN": plain, "LOGIN": login, "CRAM-MD5": cram_md5,
    "SCRAM-SHA-1": scram_sha_1, "SCRAM-SHA-1-PLUS": plus("SCRAM-SHA-1-PLUS", "sha1"),
    "SCRAM-SHA-256": scram_sha_256, "SCRAM-SHA-256-PLUS": plus("SCRAM-SHA-256-PLUS", "sha256"),
    "XOAUTH2": xoauth2, "OAUTHBEARER": oauthbearer, "EXTERNAL": external,
}


class Exported:
    """As Pop, over TLS 1.3 by `openssl s_client`, which tells what Python's ssl does not: the exporter
    of RFC 9266."""

    def __init__(self, port, ca, starttls=False):
        argv = ["openssl", "s_client", "-connect", f"localhost:{port}", "-servername", "localhost", "-tls1_3",
                "-CAfile", ca, "-verify_return_error", "-ign_eof", "-crlf",
                "-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32"]
        self.process = subprocess.Popen(argv + (["-starttls", "pop3"] if starttls else []), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.exported = self.until(rb"Keying material: ([0-9A-F]{64})")
        self.greeting = b"" if starttls else self.until(rb"(\+OK.*)")

    def until(self, pattern):
        for line in self.process.stdout:
            found = re.search(pattern, line.rstrip(b"\r\n"))
            if found:
                return found[1]
        raise AssertionError("openssl s_client ended")

    def binding(self):
        return "tls-exporter", bytes.fromhex(self.exported.decode())

    def cmd(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()
        return self.until(rb"^(\+(?: .*|OK.*)|-ERR.*)$").decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
