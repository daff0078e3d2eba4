# SPDX-License-Identifier: MIT
"""Fixtures of the live tests. POPGATE names the program (default ./popgate); with LIVE_PEER=1 the same
tests, as far as they make sense, run against Dovecot's own POP3 server."""
import sys

sys.dont_write_bytecode = True

import base64
import imaplib
import itertools
import os
import shutil
import ssl
import tempfile

import pytest

import mails
import rig

IS_PEER = bool(os.environ.get("LIVE_PEER"))
STORES = ["peer.live"] if IS_PEER else ["imap.live", "starttls.live", "imaps.live", "maildir.live"]
MAIN_STORES = ["peer.live"] if IS_PEER else ["imaps.live", "maildir.live"]


def pytest_configure(config):
    config.addinivalue_line("markers", "popgate_only: makes no sense against another server")


def pytest_collection_modifyitems(items):
    for item in items:
        if IS_PEER and item.get_closest_marker("popgate_only"):
            item.add_marker(pytest.mark.skip(reason="of popgate alone"))


@pytest.fixture(scope="session")
def program():
    path = os.path.abspath(os.environ.get("POPGATE", "./popgate"))
    if not IS_PEER and not os.access(path, os.X_OK):
        pytest.exit(f"no program {path}: build it, or name it by POPGATE", 2)
    return path


@pytest.fixture(scope="session")
def top(request):
    if os.geteuid():
        pytest.exit("the live tests start servers that give rights up: they need root", 2)
    for needed in ("dovecot", "openssl", "curl", "fetchmail"):
        if not shutil.which(needed):
            pytest.exit(f"{needed} is missing: ./bootstrap check installs it", 2)
    path = tempfile.mkdtemp(prefix="popgate-live-")
    os.chmod(path, 0o755)
    failed = request.session.testsfailed
    yield path
    if request.session.testsfailed == failed:
        shutil.rmtree(path, ignore_errors=True)
    else:
        print(f"\nlogs are left in {path}")


@pytest.fixture(scope="session")
def authority(top):
    return rig.Authority(os.path.join(top, "tls"))


@pytest.fixture(scope="session")
def context(authority):
    return ssl.create_default_context(cafile=authority.ca)


@pytest.fixture(scope="session")
def dovecot(top, authority):
    server = rig.Dovecot(os.path.join(top, "dovecot"), authority)
    server.start()
    yield server
    server.stop()


def check_log(gate):
    """No secret in the log, in any form that a careless line would give it."""
    log = gate.log()
    # base64 at each of its three alignments, without the characters that the neighbours change
    forms = [base64.b64encode(b"x" * shift + rig.PASSWORD.encode()).decode()[4:-4] for shift in range(3)]
    for form in [rig.PASSWORD] + forms:
        assert form not in log
    for line in log.splitlines():
        assert "AddressSanitizer" not in line and "runtime error" not in line, line


@pytest.fixture(scope="session")
def gate(top, program, authority, dovecot):
    """The popgate that most tests share."""
    if IS_PEER:
        yield rig.Peer(dovecot)
        return
    server = rig.Popgate(os.path.join(top, "popgate"), program, authority,
                         rig.stores_of(dovecot, authority), "drain = 1")
    server.start()
    yield server
    status = server.stop()
    assert status == 0, f"popgate ended with {status}"
    check_log(server)


@pytest.fixture
def new_gate(request, top, program, authority, dovecot):
    """Makes a popgate of the test's own: new_gate(settings="", stores=None), not yet started."""
    made = []

    def make(settings="drain = 1", stores=None, pair=None):
        directory = tempfile.mkdtemp(prefix="popgate-", dir=top)
        os.chmod(directory, 0o755)
        stores_now = rig.stores_of(dovecot, authority) if stores is None else stores
        made.append(rig.Popgate(directory, program, authority, stores_now, settings, pair))
        return made[-1]

    yield make
    for server in made:
        server.stop()
        if os.path.exists(server.log_file):
            check_log(server)


@pytest.fixture(scope="session")
def numbers():
    return itertools.count(1)


@pytest.fixture
def user(numbers):
    """A user name that nobody used before."""
    return f"user{next(numbers)}"


@pytest.fixture(params=MAIN_STORES)
def store(request):
    return request.param


@pytest.fixture(params=STORES)
def any_store(request):
    return request.param


class Direct:
    """A user's mailbox by plain IMAP: what is really there."""

    def __init__(self, dovecot, user):
        self.imap = imaplib.IMAP4("127.0.0.1", dovecot.imap)
        self.imap.login(user, dovecot.password)
        self.imap.select("INBOX")

    def fetch(self):
        """All messages, by number."""
        count = int(self.imap.select("INBOX")[1][0])
        if not count:
            return []
        answer = self.imap.fetch("1:*", "(BODY.PEEK[])")[1]
        return [part[1] for part in answer if isinstance(part, tuple)]

    def names(self):
        return [mails.name_of(octets) for octets in self.fetch()]

    def flags(self):
        """{name: set of flags}"""
        names, found = self.names(), {}
        for number, name in enumerate(names, 1):
            answer = self.imap.fetch(str(number), "(FLAGS)")[1][0]
            found[name] = set(imaplib.ParseFlags(answer)) - {b"\\Recent"}
        return found

    def delete_flag(self, name):
        number = self.names().index(name) + 1
        assert self.imap.store(str(number), "+FLAGS", "(\\Deleted)")[0] == "OK"

    def close(self):
        self.imap.logout()


@pytest.fixture
def direct(dovecot):
    opened = []

    def open_one(user):
        opened.append(Direct(dovecot, user))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()
