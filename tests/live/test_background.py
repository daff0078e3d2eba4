# SPDX-License-Identifier: MIT
"""What is done without a client gives way to one (G-08): the journal is being replayed over a server that
does not answer, and a client logs in."""
import re
import socketserver
import threading
import time

import pytest

import rig
from pop import Pop

pytestmark = pytest.mark.popgate_only

MAIL = b"Subject: one\r\nMessage-ID: <one@x>\r\n\r\nbody\r\n"


class Server(socketserver.ThreadingTCPServer):
    """An IMAP server with two messages. `loses`: the connection ends at a command that deletes; `sleeps`: the
    next question after SELECT is never answered, and that is noted in `asleep`."""

    allow_reuse_address = daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Talk)
        self.loses, self.sleeps = True, False
        self.asleep, self.logins = threading.Event(), 0
        self.uids = [1, 2]
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Talk(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        self.say("* OK [CAPABILITY IMAP4rev1 UIDPLUS] hello")
        for line in self.rfile:
            tag, _, command = line.decode().rstrip("\r\n").partition(" ")
            if not self.answer(tag, command):
                return

    def answer(self, tag, command):
        server = self.server
        if command.startswith("LOGIN"):
            server.logins += 1
            self.say(f"{tag} OK [CAPABILITY IMAP4rev1 UIDPLUS] in")
            return True
        if command.startswith("SELECT"):
            self.say(f"* {len(server.uids)} EXISTS")
            self.say("* OK [UIDVALIDITY 9] uids")
            self.say(f"{tag} OK [READ-WRITE] selected")
            return True
        if server.sleeps:
            server.sleeps = False
            server.asleep.set()
            self.rfile.read()  # until it is cut
            return False
        if server.loses and "STORE" in command:
            return False
        self.do(command)
        self.say(f"{tag} OK done")
        return True

    def do(self, command):
        server = self.server
        if command.startswith("UID FETCH"):
            for number, uid in enumerate(server.uids, 1):
                has_header = "HEADER" in command
                text = f"* {number} FETCH (UID {uid} RFC822.SIZE {len(MAIL)} FLAGS ()"
                if has_header:
                    text += " BODY[HEADER.FIELDS (MESSAGE-ID DATE FROM SUBJECT)] {0}\r\n"
                self.say(text + ")")
        elif command.startswith("UID SEARCH DELETED"):
            self.say("* SEARCH")
        elif command.startswith("UID SEARCH"):
            asked = re.findall(r"UID (\d+)", command[len("UID SEARCH"):])
            self.say("* SEARCH" + "".join(f" {uid}" for uid in server.uids if str(uid) in asked))
        elif command.startswith("UID EXPUNGE"):
            gone = int(command.split()[2])
            if gone in server.uids:
                self.say(f"* {server.uids.index(gone) + 1} EXPUNGE")
                server.uids.remove(gone)


def test_a_replay_gives_way(new_gate):
    server = Server()
    gate = new_gate("drain = 1\nreplay = 1s", stores={
        "fake.live": f"upstream=imap://127.0.0.1:{server.server_address[1]} login=joe "
                     f"password={{plain}}upstream local={rig.local_secret()}"})
    gate.start()
    with Pop(gate.clear) as client:
        client.login("joe@fake.live", rig.PASSWORD)
        client.ok("DELE 2")
        client.ok("QUIT")  # journalled: the connection is lost at each STORE
    assert server.uids == [1, 2]
    server.loses, server.sleeps = False, True
    assert server.asleep.wait(30), "no replay in the background"
    began = time.monotonic()
    with Pop(gate.clear) as client:
        client.login("joe@fake.live", rig.PASSWORD)
        waited = time.monotonic() - began
        assert client.stat()[0] == 1
        client.ok("QUIT")
    assert waited < 5, f"the client waited {waited:.1f} s"  # 30 s where nothing is cut
    assert server.uids == [1]
    server.shutdown()
    server.server_close()


def test_no_login_while_a_session_lasts(new_gate):
    server = Server()
    gate = new_gate("drain = 1\nreplay = 1s", stores={
        "fake.live": f"upstream=imap://127.0.0.1:{server.server_address[1]} login=joe "
                     f"password={{plain}}upstream local={rig.local_secret()}"})
    gate.start()
    with Pop(gate.clear) as client:
        client.login("joe@fake.live", rig.PASSWORD)
        client.ok("DELE 2")
        client.ok("QUIT")
    with Pop(gate.clear) as client:
        client.login("joe@fake.live", rig.PASSWORD)  # its own replay is lost, too
        before = server.logins
        time.sleep(3.5)  # three passes
        assert server.logins == before
        client.ok("QUIT")
    server.loses = False
    rig.wait_until(lambda: server.uids == [1], what="the replay")
    server.shutdown()
    server.server_close()
