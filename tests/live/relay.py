# SPDX-License-Identifier: MIT
"""A TCP relay before an IMAP server that sees every line go by, and can stop the world at one."""
import re
import socket
import threading


class Relay:
    """Listens on `port`, passes on to 127.0.0.1:`target`, and keeps the `commands` that it saw.

    at(direction, pattern, when, act): the next line in that direction ("up": a command, "down": an
    answer) that `pattern` matches calls `act` once. "meanwhile": while it is held; all goes on then.
    "before", "after" it is passed on; then nothing is passed on any more, until go_on(). For a
    command "after" is when its answer has come, which is withheld: it is done, and nobody knows.
    """

    def __init__(self, target):
        self.target, self.commands = target, []
        self.rule, self.is_cut, self.was_reached = None, False, False
        self.guard, self.sockets = threading.Lock(), []
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client = self.sock.accept()[0]
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            self.sockets += [client, server]
            for one, other, direction in ((client, server, "up"), (server, client, "down")):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self.pump, args=(one, other, direction), daemon=True).start()

    def pump(self, one, other, direction):
        try:
            with one.makefile("rb", buffering=1 << 16) as lines:
                for line in lines:
                    if not self.pass_on(line, other, direction):
                        break
        except (OSError, ValueError):
            pass
        for sock in (one, other):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def pass_on(self, line, other, direction):
        """False: it was not, and the connection ends."""
        if direction == "up":
            self.commands.append(line.decode("latin-1").rstrip("\r\n"))
        with self.guard:
            if self.is_cut:
                return False
            when = self.matches(line, direction)
            if when == "after" and direction == "up":  # what is waited for now is its answer
                self.rule = ("down", b"^" + re.escape(line.split(b" ")[0]) + b" ", "before", self.rule[3])
                when = None
            if when in ("before", "meanwhile"):
                self.fire(is_end=when == "before")
                if when == "before":
                    return False
            other.sendall(line)
            if when == "after":
                self.fire(is_end=True)
        return True

    def matches(self, line, direction):
        if self.rule and self.rule[0] == direction and re.search(self.rule[1], line):
            return self.rule[2]
        return None

    def fire(self, is_end):
        act, self.rule = self.rule[3], None
        self.is_cut, self.was_reached = is_end, True
        act()

    def at(self, direction, pattern, when, act):
        self.was_reached = False
        self.rule = (direction, pattern, when, act)

    def go_on(self):
        self.rule, self.is_cut = None, False

    def saw(self, pattern):
        """How many commands matched."""
        return sum(bool(re.search(pattern, command.encode("latin-1"))) for command in list(self.commands))

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        for sock in self.sockets:
            sock.close()
