# SPDX-License-Identifier: MIT
"""Replays tests/transcript/*.pop3 against popgate before a real Dovecot. Their format is described in
tests/transcript/script.h; files that need a store's faults are for the scripted store alone."""
import glob
import os
import re

import pytest

import rig
from pop import Pop

pytestmark = pytest.mark.popgate_only

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "transcript")
FILES = sorted(glob.glob(os.path.join(FOLDER, "*.pop3")))
PASSWORD = rig.SCRIPT_PASSWORD
# Ways in which a Dovecot is no scripted store.
OF_THE_STORE = {"fail", "alert", "read-only", "every-way"}
ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\", "{": b"{"}


def unescape(text, uidl):
    out, at = b"", 0
    while at < len(text):
        char = text[at]
        if char == "\\" and text[at + 1] == "x":
            out, at = out + bytes([int(text[at + 2:at + 4], 16)]), at + 4
        elif char == "\\":
            out, at = out + ESCAPES[text[at + 1]], at + 2
        elif char == "{":
            end = text.index("}", at)
            inner, at = text[at + 1:end], end + 1
            if inner.startswith("uidl "):
                out += uidl(int(inner[5:])).encode()
            else:
                repeated, count = inner.rsplit("*", 1)
                out += unescape(repeated, uidl) * int(count)
        else:
            out, at = out + char.encode(), at + 1
    return out


def made_up(size):
    head, line = b"Subject: x\r\n\r\n", b"The quick brown fox jumps.\r\n"
    return (head + line * (size // len(line) + 1))[:size - 2] + b"\r\n"


class Script:
    def __init__(self, path):
        self.flags, self.values, self.users, self.drop = set(), {}, [], []
        self.steps, self.why_not = [], None
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                self.read(line.rstrip("\n"))
        for message in self.drop:
            if message["octets"] is None:
                message["octets"] = b"".join(message["lines"])
        self.drop.sort(key=lambda message: message["uid"])
        self.judge()

    def read(self, line):
        if line.startswith("@"):
            word, _, rest = line[1:].partition(" ")
            if word == "drop":
                self.read_drop(rest)
            elif word == "user":
                self.read_user(rest)
            elif word in ("tls", "close", "lost"):
                self.steps.append((word, None))
            elif rest:
                self.values[word] = rest
            else:
                self.flags.add(word)
        elif line.startswith("|"):
            self.drop[-1]["lines"].append(self.whole_line(line[2:] if line[1:2] == " " else line[1:],
                                                          None))
        elif line.startswith(("C:", "S:")):
            self.steps.append((line[0], line[3:] if line[2:3] == " " else line[2:]))

    @staticmethod
    def whole_line(text, uidl):
        if text.endswith("\\c"):
            return unescape(text[:-2], uidl)
        return unescape(text, uidl) + b"\r\n"

    def read_drop(self, text):
        words, _, body = text.partition("body=")
        message = {"octets": unescape(body, None) if body else None, "lines": [], "hidden": False}
        for word in words.split():
            name, _, value = word.partition("=")
            if name == "uid":
                message["uid"] = int(value)
            elif name == "size":
                message["octets"] = made_up(int(value))
            elif name == "hidden":
                message["hidden"] = True
            else:
                self.why_not = f"needs {name}= of a message"
        self.drop.append(message)

    def read_user(self, text):
        text, _, reject = text.partition("reject=")
        name, *words = text.split()
        user = {"name": name, "reject": reject or None}
        user.update(word.split("=", 1) for word in words)
        self.users.append(user)
        if "fail" in user:
            self.why_not = "needs accounts that fail"

    def judge(self):
        self.users = self.users or [{"name": "joe", "reject": None}]
        needed = OF_THE_STORE & (self.flags | set(self.values))
        if needed:
            self.why_not = "needs @" + ", @".join(sorted(needed))
        if self.values.get("password", PASSWORD) != PASSWORD:
            self.why_not = "needs another password"
        if any(re.search(r"[\x00-\x1f]", user["reject"] or "") for user in self.users):
            self.why_not = "a map holds no such text"
        if "refuse-clear" in self.flags and not self.flags & {"certificate", "secure"}:
            self.why_not = "no listener refuses passwords in clear and has no certificate"
        if any(not (m["octets"] or b"x\r\n").endswith(b"\n") or b"\0" in (m["octets"] or b"")
               for m in self.drop):
            self.why_not = "an IMAP server has its own size for such a message"

    def uids(self, word):
        return [int(uid) for uid in self.values[word].replace("none", "").split()]

    def opener(self):
        """A name and password that open the mailbox."""
        for user in self.users:
            if not user["reject"] and user.get("stored", PASSWORD) == PASSWORD:
                return user["name"], user.get("local", PASSWORD)
        return None

    def map(self, server, login):
        text = ""
        policy = " delete=never" * ("keep" in self.flags) + " seen=never" * ("unseen" in self.flags)
        for user in self.users:
            text += f'"{user["name"]}" upstream=imap://127.0.0.1:{server.imap} login={login}{policy}'
            if "local" in user:
                text += f' local={rig.local_secret(user["local"])}'
                text += f' password={{plain}}{user.get("stored", PASSWORD)}'
            if user["reject"]:
                text += f' reject="{user["reject"]}"'
            text += "\n"
        return text


@pytest.fixture(scope="module")
def own_dovecot(top, authority):
    """It has one password alone, so the scripts' needs a Dovecot of its own."""
    server = rig.Dovecot(os.path.join(top, "transcripts"), authority, PASSWORD)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def mine(imap_server, own_dovecot):
    return own_dovecot if imap_server.kind == "dovecot" else imap_server


@pytest.fixture(scope="module")
def pair(authority):
    return authority.issue("transcripts")


class Actor:
    """Says and hears what the script has, in its order."""

    def __init__(self, script, gate, context, uidl):
        self.script, self.context, self.uidl = script, context, uidl
        secure = "secure" in script.flags
        port = gate.tls if secure else gate.strict if "refuse-clear" in script.flags else \
            gate.clear if "certificate" in script.flags else gate.bare
        self.pop = Pop.__new__(Pop)
        self.pop.open(port, context if secure else None)
        self.unsaid = b""

    def flush(self):
        if self.unsaid:
            self.pop.send(self.unsaid)
            self.unsaid = b""

    def hear(self, text):
        self.flush()
        if text.endswith("..."):
            want = unescape(text[:-3], self.uidl)
            got = self.pop.file.readline()
            assert got.startswith(want) and got.endswith(b"\r\n"), (got, want)
        else:
            want = self.script.whole_line(text, self.uidl)
            got = self.pop.file.read(len(want))
            assert got == want

    def play(self):
        ended = False
        for kind, text in self.script.steps:
            if kind == "C":
                self.unsaid += self.script.whole_line(text, self.uidl)
            elif kind == "S":
                self.hear(text)
            elif kind == "tls":
                self.flush()
                self.pop.wrap(self.context)
            elif kind == "close":
                self.flush()
                assert self.pop.at_end()
                ended = True
            else:
                self.flush()
                self.pop.reset()
                return
        self.flush()
        if not ended:
            self.pop.half_close()
            assert self.pop.at_end()
        self.pop.close()


def uidl_finder(script, gate, context):
    """Asks the UIDLs in a session before, if the script speaks of any."""
    if not any(kind == "S" and "{uidl" in text for kind, text in script.steps):
        return None
    name, password = script.opener()
    with Pop(gate.tls, context) as client:
        client.login(name, password)
        found = list(client.listing("UIDL").values())
        client.ok("QUIT")
    shown = [message["uid"] for message in script.drop if not message["hidden"]]
    return dict(zip(shown, found)).__getitem__


@pytest.mark.parametrize("path", FILES, ids=[os.path.basename(path)[:-5] for path in FILES])
def test_transcript(path, new_gate, mine, pair, context, user):
    script = Script(path)
    if script.why_not:
        pytest.skip(script.why_not)
    mine.fill(user, [message["octets"] for message in script.drop],
                     ["T" if message["hidden"] else "" for message in script.drop])
    gate = new_gate(stores={}, pair=pair, tls_more="auth = plain, login")
    gate.set_map(script.map(mine, user))
    gate.start()
    uidl = uidl_finder(script, gate, context)
    holder = None
    if "locked" in script.flags:
        holder = Pop(gate.tls, context)
        holder.login(*script.opener())
    Actor(script, gate, context, uidl).play()
    if holder:
        holder.close()
    # what is left is asked when popgate has let go of it
    assert gate.stop() == 0
    flags = mine.flags(user)
    place = {number: message["uid"] for number, message in enumerate(script.drop, 1)}
    if "left" in script.values:
        assert [place[number] for number in flags] == script.uids("left")
    if "seen" in script.values:
        assert [place[number] for number, have in flags.items() if "S" in have] == script.uids("seen")


def test_there_are_transcripts():
    assert FILES and not [path for path in FILES if re.search(r"\s", path)]
