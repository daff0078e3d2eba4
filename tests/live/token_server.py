# SPDX-License-Identifier: MIT
"""An OAuth 2.0 server for tests: real HTTPS, real grants, and misbehaviour on demand.

It issues tokens by every grant that popgate knows (device code RFC 8628, authorization code with PKCE
RFC 7636, refresh RFC 6749 section 6, client credentials section 4.4, signed JWT RFC 7523) and answers
Dovecot's oauth2 passdb, by introspection (RFC 7662) or tokeninfo. Tokens hold characters that a
careless client forgets to encode.

In a test:

	server = TokenServer(*authority.issue("tokens"))
	server.start()
	refresh = server.grant("alice")             # what an enrolment would have left
	server.fault("token", "slow", seconds=3)    # the next request there is slow
	server.fault("token", "error", error="invalid_grant", times=2)
	assert server.counts["refresh_token"] == 1
	server.stop()

As a program, for tests in another language: `token_server.py CERT KEY [PORT]` prints its URL; then
POST /control/METHOD with a JSON object of arguments calls that method, and GET /control/counts tells
the counters. Faults are told in token_http.py.
"""
import base64
import collections
import hashlib
import hmac
import json
import os
import secrets
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

from token_http import Handler, Listener, Refused

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
JWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def unpadded(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def from_unpadded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class TokenServer:
    def __init__(self, cert, key, port=0):
        self.guard, self.held, self.secrets = threading.RLock(), threading.Event(), set()
        self.reset()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        self.http = Listener(("127.0.0.1", port), Handler)
        self.http.owner = self
        self.port = self.http.server_address[1]
        self.url = f"https://localhost:{self.port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True)

    def reset(self):
        """As it was at first, but for `secrets`: all that it ever issued."""
        self.held.set()
        self.held = threading.Event()
        self.counts = collections.Counter()  # per endpoint and grant_type
        self.requests = []
        self.faults = collections.defaultdict(collections.deque)
        self.refresh_tokens, self.access_tokens = {}, {}
        self.devices, self.codes, self.clients = {}, {}, {}
        self.keys = {}  # issuer of JWTs: file with its public key
        self.expires_in, self.interval, self.rotation = 3600, 1, False
        self.device_expires_in = 600
        self.browser_user = None  # who is logged in at the authorization endpoint; None: says no
        self.client_user = {}  # client credentials: client_id to user
        self.now_parallel = self.most_parallel = 0  # requests under way

    def start(self):
        self.thread.start()

    def stop(self):
        self.held.set()
        self.http.shutdown()
        self.http.server_close()

    # What tests do and ask.

    def client(self, client_id, secret=None):
        """Registers a client; without any, every client_id is known and public."""
        self.clients[client_id] = secret
        if secret:
            self.secrets.add(secret)

    def configure(self, **settings):
        for name, value in settings.items():
            assert hasattr(self, name), name
            setattr(self, name, value)

    def fault(self, endpoint, kind, times=1, **options):
        for _ in range(times):
            self.faults[endpoint].append((kind, options))

    def release(self):
        """Lets go what is held, now and in future."""
        self.held.set()

    def grant(self, user, client_id="", scope="mail"):
        """A refresh token for a user, as an enrolment gets it."""
        return self.new_refresh(user, client_id, scope)

    def access(self, user, expires_in=None, scope="mail"):
        """An access token for a user, as a client gets it."""
        return self.new_access(user, scope, expires_in)

    def approve(self, user_code, user):
        self.device_of(user_code)["user"] = user

    def deny(self, user_code):
        self.device_of(user_code)["denied"] = True

    def revoke(self, user):
        """No token of the user is good any longer."""
        with self.guard:
            for tokens in (self.refresh_tokens, self.access_tokens):
                for token in [token for token, found in tokens.items() if found["user"] == user]:
                    del tokens[token]

    def expire(self, user):
        """The access tokens alone end, before the time that was promised."""
        with self.guard:
            for found in self.access_tokens.values():
                if found["user"] == user:
                    found["until"] = 0

    def user_codes(self):
        """Of enrolments under way, oldest first."""
        with self.guard:
            return [device["user_code"] for device in self.devices.values() if not device["user"]]

    # Tokens.

    def remember(self, secret):
        self.secrets.add(secret)
        return secret

    def new_refresh(self, user, client_id, scope):
        with self.guard:
            token = self.remember("1//0g" + secrets.token_urlsafe(40) + "+/~.&=%")
            self.refresh_tokens[token] = {"user": user, "client_id": client_id, "scope": scope, "next": None}
            return token

    def new_access(self, user, scope, expires_in=None):
        with self.guard:
            token = self.remember("ya29.a0-" + secrets.token_urlsafe(60) + "~+/_.=")
            seconds = self.expires_in if expires_in is None else expires_in
            self.access_tokens[token] = {"user": user, "scope": scope, "until": time.time() + seconds}
            return token

    def owner_of(self, token):
        """Whose access token it is, if it is good now."""
        with self.guard:
            found = self.access_tokens.get(token)
            return found if found and found["until"] > time.time() else None

    def device_of(self, user_code):
        with self.guard:
            for device in self.devices.values():
                if device["user_code"] == user_code:
                    return device
        raise KeyError(f"no such user code: {user_code}")

    # Endpoints: each takes a Request and returns an object for JSON.

    def check_client(self, request):
        """The client's id, authenticated in the header or the form (RFC 6749 section 2.3.1)."""
        name, secret = request.form.get("client_id"), request.form.get("client_secret")
        kind, _, value = request.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            name, _, secret = base64.b64decode(value).decode().partition(":")
            name, secret = urllib.parse.unquote_plus(name), urllib.parse.unquote_plus(secret)
        if not name or (self.clients and name not in self.clients):
            raise Refused("invalid_client", 401)
        needed = self.clients.get(name)
        if needed and not hmac.compare_digest(needed, secret or ""):
            raise Refused("invalid_client", 401)
        return name

    def at_device(self, request):
        client_id = self.check_client(request)
        code = self.remember(secrets.token_urlsafe(30) + "+/")
        user_code = "-".join("".join(secrets.choice("BCDFGHJKLMNPQRSTVWXZ") for _ in range(4)) for _ in "ab")
        with self.guard:
            self.devices[code] = {
                "client_id": client_id, "user_code": user_code, "user": None, "denied": False, "last": 0.0,
                "scope": request.form.get("scope", ""), "until": time.time() + self.device_expires_in}
        return {"device_code": code, "user_code": user_code, "verification_uri": self.url + "/verify",
                "verification_uri_complete": f"{self.url}/verify?user_code={user_code}",
                "expires_in": self.device_expires_in, "interval": self.interval}

    def at_authorize(self, request):
        """Where to send the browser back to."""
        form = request.form
        back = urllib.parse.urlsplit(form.get("redirect_uri", ""))
        if back.scheme != "http" or back.hostname not in ("127.0.0.1", "::1", "localhost") or back.fragment:
            raise Refused("invalid_request")  # never redirected to a stranger
        answer = {"state": form.get("state", "")}
        challenge = form.get("code_challenge", "")
        if form.get("response_type") != "code" or not answer["state"]:
            answer["error"] = "invalid_request"
        elif form.get("code_challenge_method") != "S256" or len(challenge) != 43:
            answer["error"] = "invalid_request"
        elif not form.get("client_id") or (self.clients and form["client_id"] not in self.clients):
            answer["error"] = "unauthorized_client"
        elif not self.browser_user:
            answer["error"] = "access_denied"
        else:
            answer["code"] = self.remember("4/0A" + secrets.token_urlsafe(30) + "/+")
            self.codes[answer["code"]] = {
                "challenge": challenge, "client_id": form["client_id"], "user": self.browser_user,
                "redirect_uri": form["redirect_uri"], "scope": form.get("scope", "")}
        query = "&".join(filter(None, (back.query, urllib.parse.urlencode(answer))))
        return urllib.parse.urlunsplit(back._replace(query=query))

    def at_token(self, request):
        kind = request.form.get("grant_type", "")
        grants = {"refresh_token": self.by_refresh, DEVICE: self.by_device, JWT: self.by_jwt,
                  "authorization_code": self.by_code, "client_credentials": self.by_client}
        if kind not in grants:
            raise Refused("unsupported_grant_type")
        with self.guard:
            return grants[kind](request)

    def answer(self, user, scope, refresh=None):
        answer = {"access_token": self.new_access(user, scope), "token_type": "Bearer",
                  "expires_in": self.expires_in, "scope": scope}
        if refresh:
            answer["refresh_token"] = refresh
        return answer

    def by_refresh(self, request):
        client_id = self.check_client(request)
        token = request.form.get("refresh_token", "")
        found = self.refresh_tokens.get(token)
        if not found or (found["client_id"] and found["client_id"] != client_id):
            raise Refused("invalid_grant")
        for old in [old for old, its in self.refresh_tokens.items() if its["next"] == token]:
            del self.refresh_tokens[old]  # its successor has arrived
        return self.answer(found["user"], found["scope"], self.rotate(token) if self.rotation else None)

    def rotate(self, token):
        """A new refresh token. The old one is good until the new one is used: nobody knows before
        that it has arrived."""
        found = self.refresh_tokens[token]
        found["next"] = self.new_refresh(found["user"], found["client_id"], found["scope"])
        return found["next"]

    def by_device(self, request):
        client_id = self.check_client(request)
        device = self.devices.get(request.form.get("device_code", ""))
        if not device or device["client_id"] != client_id:
            raise Refused("invalid_grant")
        was, device["last"] = device["last"], time.monotonic()
        if time.time() > device["until"]:
            raise Refused("expired_token")
        if device["denied"]:
            raise Refused("access_denied")
        if was and device["last"] - was < self.interval * 0.9:
            raise Refused("slow_down")
        if not device["user"]:
            raise Refused("authorization_pending")
        del self.devices[request.form["device_code"]]
        return self.answer(device["user"], device["scope"],
                           self.new_refresh(device["user"], client_id, device["scope"]))

    def by_code(self, request):
        client_id = self.check_client(request)
        code = self.codes.pop(request.form.get("code", ""), None)
        verifier = request.form.get("code_verifier", "")
        if not code or code["client_id"] != client_id or code["redirect_uri"] != request.form.get("redirect_uri"):
            raise Refused("invalid_grant")
        if not 43 <= len(verifier) <= 128:
            raise Refused("invalid_request")
        if unpadded(hashlib.sha256(verifier.encode()).digest()) != code["challenge"]:
            raise Refused("invalid_grant")
        return self.answer(code["user"], code["scope"],
                           self.new_refresh(code["user"], client_id, code["scope"]))

    def by_client(self, request):
        client_id = self.check_client(request)
        if not self.clients.get(client_id):
            raise Refused("unauthorized_client")
        return self.answer(self.client_user.get(client_id, client_id), request.form.get("scope", ""))

    def by_jwt(self, request):
        claims = self.check_jwt(request.form.get("assertion", ""))
        return self.answer(claims.get("sub", claims["iss"]), claims.get("scope", request.form.get("scope", "")))

    def check_jwt(self, text):
        """The claims of an RS256 JWT that one of `keys` has signed."""
        try:
            head, body, signature = text.split(".")
            header, claims = json.loads(from_unpadded(head)), json.loads(from_unpadded(body))
            key = self.keys[claims["iss"]]
            now = time.time()
            good = (header["alg"] == "RS256" and claims["aud"] == self.url + "/token" and
                    claims["iat"] <= now + 60 and now < claims["exp"] <= now + 3660)
            is_signed = good and self.is_signed(f"{head}.{body}".encode(), from_unpadded(signature), key)
        except (ValueError, KeyError, TypeError) as error:
            raise Refused("invalid_grant") from error
        if not is_signed:
            raise Refused("invalid_grant")
        return claims

    @staticmethod
    def is_signed(octets, signature, key):
        with tempfile.NamedTemporaryFile() as out:
            out.write(signature)
            out.flush()
            return subprocess.run(["openssl", "dgst", "-sha256", "-verify", key, "-signature", out.name],
                                  input=octets, capture_output=True, check=False).returncode == 0

    def at_introspect(self, request):
        found = self.owner_of(request.form.get("token", ""))
        if not found:
            return {"active": False}
        return {"active": True, "username": found["user"], "email": found["user"], "scope": found["scope"],
                "exp": int(found["until"]), "token_type": "Bearer"}

    def at_tokeninfo(self, request):
        token = request.form.get("access_token") or request.headers.get("Authorization", "")[len("Bearer "):]
        found = self.owner_of(token)
        if not found:
            raise Refused("invalid_token", 401)
        return {"username": found["user"], "email": found["user"], "scope": found["scope"]}


def main():
    server = TokenServer(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    server.start()
    print(server.url, flush=True)
    try:
        while os.read(0, 4096):  # ends with whoever started it
            pass
    except KeyboardInterrupt:
        pass
    server.stop()


if __name__ == "__main__":
    main()
