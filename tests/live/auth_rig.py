# SPDX-License-Identifier: MIT
"""A Dovecot that knows every mechanism, and secrets for the map's local= in every form."""
import base64
import ctypes
import hashlib
import hmac
import os
import re
import urllib.parse

import pytest

import rig

MASTER, MASTER_PASSWORD = "chief", "Zr8-oBerst-2q"
MECHANISMS = "plain login scram-sha-1 scram-sha-256 xoauth2 oauthbearer external cram-md5"


# Of a popgate that shall look at each wrong password anew.
SETTINGS = "drain = 1\nupstream_refusals = 0\nrefused_memory = 0\n"


class AuthDovecot(rig.Dovecot):
    """Passwords and SCRAM for any user by the one password; XOAUTH2 and OAUTHBEARER by tokens of
    `tokens`, looked at there; EXTERNAL by client certificates of `authority`, whose common name is the
    user; MASTER for everybody, as user*chief or by an authorization identity."""

    def __init__(self, directory, authority, tokens):
        super().__init__(directory, authority)
        self.authority, self.tokens = authority, tokens
        self.mechanisms = MECHANISMS

    def authentication(self):
        oauth = self.write("oauth2.conf", f"""
introspection_mode = post
introspection_url = {self.tokens.url}/introspect
force_introspection = yes
username_attribute = username
active_attribute = active
active_value = true
tls_ca_cert_file = {self.authority.ca}
""")
        masters = self.write("masters", f"{MASTER}:{{PLAIN}}{MASTER_PASSWORD}\n")
        return f"""
auth_mechanisms = {self.mechanisms}
auth_master_user_separator = *
auth_verbose = yes
auth_ssl_username_from_cert = yes
ssl_ca = <{self.authority.ca}
ssl_require_crl = no
ssl_verify_client_cert = yes
ssl_cert_username_field = commonName
passdb {{
  driver = passwd-file
  master = yes
  mechanisms = plain login scram-sha-256
  args = {masters}
}}
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {oauth}
}}
passdb {{
  driver = static
  mechanisms = external
  args = nopassword=y
}}
passdb {{
  driver = static
  mechanisms = plain login scram-sha-1 scram-sha-256 cram-md5
  args = password={{PLAIN}}{self.password}
}}"""


def scram_secret(password, digest="sha256", iterations=4096):
    """A local= secret for SCRAM (RFC 5803 has the same parts)."""
    salt = b"saltsaltsaltsalt"
    salted = hashlib.pbkdf2_hmac(digest, password.encode(), salt, iterations)
    client = hmac.new(salted, b"Client Key", digest).digest()
    server = hmac.new(salted, b"Server Key", digest).digest()
    parts = [base64.b64encode(part).decode() for part in (salt, hashlib.new(digest, client).digest(), server)]
    return "{scram-sha-256}" + ",".join([str(iterations), *parts])


def argon2_secret(password):
    """By libargon2; None where there is none."""
    try:
        library = ctypes.CDLL("libargon2.so.1")
    except OSError:
        return None
    out, salt, size = ctypes.create_string_buffer(256), b"livetestsalt", ctypes.c_size_t
    status = library.argon2id_hash_encoded(
        ctypes.c_uint32(1), ctypes.c_uint32(1024), ctypes.c_uint32(1), password.encode(), size(len(password.encode())),
        salt, size(len(salt)), size(32), out, size(len(out)))
    assert status == 0, status
    return "{argon2id}" + out.value.decode()


# Kinds of local secret by name: how to make one of a password, and the mechanisms that it can answer.
BY_PASSWORD = {"USER", "PLAIN", "LOGIN"}
LOCAL = {
    "plain": (lambda password: "{plain}" + password,
              BY_PASSWORD | {"APOP", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256",
                             "SCRAM-SHA-256-PLUS"}),
    "yescrypt": (rig.local_secret, BY_PASSWORD),
    "argon2id": (argon2_secret, BY_PASSWORD),
    "scram-sha-256": (scram_secret, BY_PASSWORD | {"SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"}),
}
# Kinds of pass-through: SCRAM is relayed where auth= says that the upstream knows it.
PASSED = {
    "passed": BY_PASSWORD | {"XOAUTH2", "OAUTHBEARER"},
    "relayed": BY_PASSWORD | {"SCRAM-SHA-1", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER"},
}


def skip_if_absent(gate):
    """Skips the test if this build of popgate says that it cannot do what the files ask for."""
    done = rig.run(gate.program, "-c", gate.config, "check", check=False)
    said = done.stderr.decode()
    if "not supported by this build" in said:
        pytest.skip("absent: " + re.sub(r"^.*?: (?=[^/])", "", said.splitlines()[0]))
    assert done.returncode == 0, said


def forms(secret):
    """A secret as a careless line would give it: plain, base64 at each alignment, URL-encoded, hex."""
    octets = secret.encode()
    # base64 without the characters that the neighbours change
    found = {base64.b64encode(b"x" * shift + octets).decode()[4:-4] for shift in range(3)}
    found |= {octets.hex(), urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret), secret}
    return {form for form in found if len(form) >= 6}


def check_text(text, secrets, where):
    """None of them there, in any form."""
    for secret in secrets:
        for form in forms(secret):
            at = text.find(form)
            assert at < 0, f"a secret in {where}: ...{text[max(0, at - 200):at + 100]}"


def check_process(gate):
    """No secret of its own in what others may see of a running popgate, and no core would be written;
    nor in its state, where tokens are sealed."""
    secrets = set().union(*gate.secrets)
    if gate.process and gate.process.poll() is None:
        for name in ("cmdline", "environ"):
            with open(f"/proc/{gate.process.pid}/{name}", encoding="utf-8", errors="replace") as seen:
                check_text(seen.read(), secrets, name)
        with open(f"/proc/{gate.process.pid}/limits", encoding="ascii") as limits:
            assert re.search(r"^Max core file size +0 +0 ", limits.read(), re.M)
    for top, _, files in os.walk(gate.path("state")):
        for name in filter(lambda name: os.path.isfile(os.path.join(top, name)), files):
            with open(os.path.join(top, name), encoding="latin-1") as stored:
                check_text(stored.read(), secrets, name)


def check_secrets(gate, *more):
    """For the end of a popgate that tests share: stopped, with nothing told."""
    gate.secrets += more
    check_process(gate)
    assert gate.stop() == 0
    check_text(gate.log(), set().union(*gate.secrets), "log")
    assert "AddressSanitizer" not in gate.log() and "runtime error" not in gate.log()


def set_token_key(gate, name):
    """Tokens are kept under the key of that name from now on, which is made if it is not there; None:
    under none."""
    with open(gate.config, encoding="utf-8") as conf:
        text = re.sub(r"^token_key = .*\n", "", conf.read(), flags=re.M)
    if name:
        key = gate.path(name)
        if not os.path.exists(key):
            with open(key, "wb") as out:
                out.write(os.urandom(32).hex().encode())
        os.chown(key, rig.OWNER.pw_uid, rig.OWNER.pw_gid)
        os.chmod(key, 0o600)
        text = text.replace("[popgate]\n", f"[popgate]\ntoken_key = {key}\n", 1)
    gate.write("popgate.conf", text, 0o640)
    os.chown(gate.config, 0, rig.OWNER.pw_gid)
