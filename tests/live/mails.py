# SPDX-License-Identifier: MIT
"""Messages that have broken mail programs, and what must become of them on the wire."""
import hashlib
import random
import re


def head(name, more=b""):
    return (b"X-Live: " + name.encode() + b"\nFrom: a@example.com\nTo: b@example.com\n"
            b"Subject: " + name.encode() + b"\nMessage-ID: <" + name.encode() + b"@live>\n" + more)


def big(size):
    chance = random.Random(4)
    lines = []
    while size > 0:
        lines.append(chance.randbytes(chance.choice((1, 38, 490, 490, 490))).hex().encode() + b"\n")
        size -= len(lines[-1])
    return b"".join(lines)


def tricky(size_of_big=20_000_000):
    """Name to octets as they lie in the store, in order."""
    bodies = {
        "plain": b"\nHello,\n\nworld.\n",
        "dots": b"\n.\n..\n...\n.leading\n..two\nin. the .middle\n.\n.\n",
        "lone-dot-end": b"\nlast line is a dot\n.\n",
        "dot-no-newline": b"\nlast line is a dot without newline\n.",
        "crlf": b"\nlines end\nproperly\n".replace(b"\n", b"\r\n"),
        "mixed": b"\nlf\ncrlf\r\nlf\n\r\n\n.\r\n.\n",
        "bare-cr": b"\na\rb\r\rc\r\r\n\r.\r\n.\rx\n",
        "final-cr": b"\nends in a CR\r",
        "nul": b"\nbefore\0after\n\0\n.\0\nend\n",
        "no-final-newline": b"\nno newline at the end",
        "long-line": b"\n" + b"x" * 100_000 + b"\n." + b"y" * 100_000 + b"\n",
        "eight-bit": b"\n" + bytes(range(128, 256)) + b"\n\xff\xfe\n",
        "empty-body": b"\n",
        "no-blank-line": b"",
        "from-line": b"\nFrom the start\n>From quoted\n",
        "blank-lines": b"\n" + b"\n" * 50,
        "chunk-border": b"\n" + b"z" * 16_200 + b"\n.\n" * 20_000,
        "big": b"\n" + big(size_of_big),
    }
    more = {"eight-bit": b"X-Raw: Gr\xfc\xdfe \xe2\x82\xac\n"}
    found = {name: head(name, more.get(name, b"")) + body for name, body in bodies.items()}
    found["crlf"] = found["crlf"].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return found


def plain(count):
    """Some small messages, in order."""
    return [head(f"m{number}") + f"\nbody of {number}\n".encode() * 3 for number in range(1, count + 1)]


def name_of(octets):
    return re.match(rb"X-Live: (\S+)", octets)[1].decode()


def with_crlf(stored):
    return re.sub(rb"(?<!\r)\n", b"\r\n", stored)


def over_imap(stored):
    """What Dovecot serves by IMAP: CRLF line ends, and 0x80 for the NUL that IMAP cannot carry."""
    return with_crlf(stored).replace(b"\0", b"\x80")


def by_imap(stored, kind):
    """What a server of that kind serves by IMAP of what lies in its store, or was appended."""
    if kind == "dovecot":
        return over_imap(stored)
    octets = with_crlf(stored)
    return octets[:-1] if kind == "courier" and octets.endswith(b"\r") else octets


def in_store(stored, store):
    """The message in octets with CRLF, as the POP3 server gets it from that store."""
    if store in ("maildir.live", "peer.live"):
        return with_crlf(stored)
    return by_imap(stored, kind_of(store))


def kind_of(store):
    """The server that has the mail of a store."""
    name = store.partition(".")[0]
    return name if name in ("cyrus", "courier") else "dovecot"


# Why a server has no such message.
REFUSED = {("nul", "cyrus"): "Cyrus takes no NUL"}


def held(stored, store):
    """Of these messages those that the server takes."""
    return {name: octets for name, octets in stored.items() if (name, kind_of(store)) not in REFUSED}


def over_pop(stored, store):
    """What a client must have in the end: that, and a last line that is ended."""
    octets = in_store(stored, store)
    return octets if octets.endswith(b"\r\n") else octets + b"\r\n"


def size(stored, store):
    """What LIST says: what the client gets; an IMAP server does not count the end of a last line
    that it was not given."""
    own = store == "maildir.live"
    return len(over_pop(stored, store) if own else in_store(stored, store))


def top(octets, lines, store):
    """Header, blank line and so many lines of a message with CRLF line ends. A blank line that is
    missing is sent all the same (C-12); Dovecot's POP3 server does not."""
    end = octets.find(b"\r\n\r\n")
    if end < 0:
        return octets if store == "peer.live" else octets + b"\r\n"
    end += 4
    for _ in range(lines):
        newline = octets.find(b"\r\n", end)
        if newline < 0:
            return octets
        end = newline + 2
    return octets[:end]


def digest(octets):
    """What is compared: an assertion that prints 20 MB helps nobody."""
    return f"{len(octets)}:{hashlib.sha256(octets).hexdigest()}"
