# SPDX-License-Identifier: MIT
"""A POP3 client that hides nothing: replies as they come, bodies to the octet."""
import re
import socket
import ssl
import struct


class Pop:
    source = "127.0.0.1"  # the address to come from

    def __init__(self, port, context=None, timeout=30, source=source):
        self.source = source
        self.open(port, context, timeout)
        self.greeting = self.line()

    def open(self, port, context=None, timeout=30):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout, (self.source, 0))
        self.file = self.sock.makefile("rb", buffering=1 << 16)
        if context:
            self.wrap(context)

    def wrap(self, context):
        self.file.close()
        self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
        self.file = self.sock.makefile("rb", buffering=1 << 16)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def line(self):
        """One line without its CRLF; b"" at the end of the connection."""
        line = self.file.readline()
        assert not line or line.endswith(b"\r\n"), line[-100:]
        return line[:-2]

    def send(self, octets):
        self.sock.sendall(octets)

    def cmd(self, text):
        self.send(text.encode() + b"\r\n")
        return self.line().decode()

    def ok(self, text):
        reply = self.cmd(text)
        assert reply.startswith("+OK"), (text.split()[0], reply)
        return reply

    def err(self, text):
        reply = self.cmd(text)
        assert reply.startswith("-ERR"), (text.split()[0], reply)
        return reply

    def body(self):
        """The lines of a multi-line reply, un-stuffed, with their CRLF."""
        lines = []
        while True:
            line = self.file.readline()
            assert line.endswith(b"\r\n"), f"ended without the dot after {len(lines)} lines"
            if line == b".\r\n":
                return b"".join(lines)
            lines.append(line[1:] if line.startswith(b".") else line)

    def multi(self, text):
        self.ok(text)
        return self.body()

    def listing(self, text):
        """{number: word} of LIST or UIDL."""
        pairs = (line.split(b" ", 1) for line in self.multi(text).splitlines())
        return {int(number): word.decode() for number, word in pairs}

    def login(self, user, password):
        self.ok("USER " + user)
        return self.ok("PASS " + password)

    def try_login(self, user, password):
        self.cmd("USER " + user)
        return self.cmd("PASS " + password)

    def stls(self, context):
        self.ok("STLS")
        self.wrap(context)

    def binding(self):
        """Name and octets of what binds a login to this TLS of version 1.2 (RFC 5929)."""
        assert self.sock.version() == "TLSv1.2", "Python has no exporter"
        return "tls-unique", self.sock.get_channel_binding("tls-unique")

    def stat(self):
        match = re.match(r"\+OK (\d+) (\d+)", self.ok("STAT"))
        return int(match[1]), int(match[2])

    def at_end(self):
        """Waits until the server has closed; True if it said nothing before."""
        try:
            return self.file.read() == b""
        except (ConnectionError, ssl.SSLError):
            return True

    def half_close(self):
        """Says that nothing more will be said."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Vanishes with an RST instead of a goodbye."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        self.file.close()
        self.sock.close()
