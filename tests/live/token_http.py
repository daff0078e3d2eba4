# SPDX-License-Identifier: MIT
"""What token_server.py hears and says by HTTPS, and how it misbehaves.

Faults, each for the next `times` requests (default 1) to an endpoint (device, authorize, token,
introspect, tokeninfo), in the order in which they were set:

	slow seconds=n     answers after so long
	hold               answers after release()
	close              closes the connection without an answer; nothing was done
	lose               does what was asked, and closes without an answer
	cut                half of the answer, then the end
	status code=n      that status with a page of HTML; nothing was done
	garbage            status 200 and JSON that is none
	string_expiry      expires_in is a string
	missing field=x    the answer lacks it (default access_token)
	replace field=x value=y
	huge octets=n      the answer is that long (default 50,000,000)
	error error=x      an OAuth error; nothing was done
	rotate             a new refresh token (always, if `rotation` is set)
	call               calls `function` after the answer was decided and before it leaves (in-process)
"""
import http.server
import json
import time
import urllib.parse

CONTROL = ("fault", "release", "grant", "access", "approve", "deny", "revoke", "expire", "configure")


class Refused(Exception):
    """An error of RFC 6749 section 5.2."""

    def __init__(self, error, status=400):
        super().__init__(error)
        self.error, self.status = error, status


class Done(Exception):
    """The connection was dealt with otherwise."""


class Request:
    """One request as it came: for tests to look at."""

    def __init__(self, endpoint, form, headers):
        self.endpoint, self.form, self.headers = endpoint, form, headers
        self.time = time.monotonic()

    def __repr__(self):
        return f"<{self.endpoint} {self.form.get('grant_type', '')}>"


class Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    owner = None

    def handle_error(self, request, client_address):
        """A client that hangs up, or refuses our certificate, is no news."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def setup(self):
        self.request.settimeout(30)
        self.request = self.server.owner.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self):
        super().finish()
        self.request.close()  # the listener knows the socket below alone

    def log_message(self, *_):
        """Requests are kept in `requests`."""

    def do_GET(self):
        path, _, query = self.path.partition("?")
        self.serve(path, query)

    def do_POST(self):
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size).decode()
        if self.path.startswith("/control/"):
            return self.control(self.path[len("/control/"):], json.loads(body or "{}"))
        path, _, query = self.path.partition("?")
        return self.serve(path, "&".join(filter(None, (query, body))))

    def control(self, name, options):
        owner = self.server.owner
        if name not in CONTROL:
            return self.say(404, b"{}")
        return self.say(200, json.dumps(getattr(owner, name)(**options)).encode())

    def serve(self, path, query):
        owner, endpoint = self.server.owner, path.strip("/")
        if endpoint == "control/counts":
            return self.say(200, json.dumps(owner.counts).encode())
        if not hasattr(owner, "at_" + endpoint):
            return self.say(404, b"{}")
        request = Request(endpoint, dict(urllib.parse.parse_qsl(query, keep_blank_values=True)), self.headers)
        with owner.guard:
            owner.requests.append(request)
            owner.counts.update(filter(None, (endpoint, request.form.get("grant_type"))))
            fault = owner.faults[endpoint].popleft() if owner.faults[endpoint] else (None, {})
            owner.now_parallel += 1
            owner.most_parallel = max(owner.most_parallel, owner.now_parallel)
        try:
            self.perform(owner, request, *fault)
        except Done:
            self.close_connection = True
        finally:
            with owner.guard:
                owner.now_parallel -= 1

    def perform(self, owner, request, kind, options):
        self.before(owner, request, kind, options)
        status = 200
        try:
            if kind == "error":
                raise Refused(options["error"], options.get("code", 400))
            answer = getattr(owner, "at_" + request.endpoint)(request)
        except Refused as refusal:
            status, answer = refusal.status, {"error": refusal.error, "error_description": "of a test"}
        if request.endpoint == "authorize" and isinstance(answer, str):
            return self.say(302, b"", location=answer)
        self.after(owner, request, kind, options, answer)
        return self.say(status, json.dumps(answer).encode())

    def before(self, owner, request, kind, options):
        """The faults by which nothing is done."""
        if kind == "slow":
            owner.held.wait(options["seconds"])  # the end of a test ends it too
        elif kind == "hold":
            owner.held.wait(60)
        if kind == "close":
            raise Done
        if kind == "status":
            self.say(options.get("code", 500), b"<html>no JSON here</html>", "text/html")
            raise Done
        if kind == "garbage":
            self.say(200, b'{"access_token": "half\xff\x00, "expires_in"')
            raise Done

    def after(self, owner, request, kind, options, answer):
        """The faults that spoil the answer."""
        if kind == "string_expiry" and "expires_in" in answer:
            answer["expires_in"] = str(answer["expires_in"])
        elif kind == "missing":
            answer.pop(options.get("field", "access_token"), None)
        elif kind == "replace":
            answer[options["field"]] = options["value"]
        elif kind == "rotate" and "access_token" in answer:
            answer.setdefault("refresh_token", None)
            with owner.guard:
                answer["refresh_token"] = owner.rotate(request.form["refresh_token"])
        elif kind == "call":
            options["function"]()
        elif kind == "lose":
            raise Done
        elif kind == "huge":
            self.say_huge(options.get("octets", 50_000_000))
            raise Done
        elif kind == "cut":
            body = json.dumps(answer).encode()
            self.say(200, body[:len(body) // 2], length=len(body))
            raise Done

    def say(self, status, body, kind="application/json", location=None, length=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("Cache-Control", "no-store")
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)

    def say_huge(self, octets):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(octets))
        self.end_headers()
        self.wfile.write(b'{"access_token": "')
        left = octets - 18
        while left > 0:  # ends early when the client has had enough
            self.wfile.write(b"x" * min(left, 65536))
            left -= 65536
