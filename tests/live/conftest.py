# SPDX-License-Identifier: MIT
"""Fixtures of the live tests. POPGATE names the program (default ./popgate); with LIVE_PEER=1 the same
tests, as far as they make sense, run against Dovecot's own POP3 server."""
import sys

sys.dont_write_bytecode = True

import concurrent.futures
import imaplib
import itertools
import os
import re
import shutil
import signal
import ssl
import tempfile

import pytest

import auth_rig
import mails
import others
import rig
import token_server
from relay import Relay

IS_PEER = bool(os.environ.get("LIVE_PEER"))
STORES = ["peer.live"] if IS_PEER else ["imap.live", "starttls.live", "imaps.live", "maildir.live",
                                            "cyrus.live", "courier.live"]
MAIN_STORES = ["peer.live"] if IS_PEER else ["imaps.live", "maildir.live", "cyrus.live", "courier.live"]
IMAP_STORES = [store for store in MAIN_STORES if store != "maildir.live"]


def pytest_configure(config):
    config.addinivalue_line("markers", "popgate_only: makes no sense against another server")
    for number in (signal.SIGTERM, signal.SIGHUP):  # as ^C: what was started is ended
        signal.signal(number, interrupted)


def interrupted(number, _):
    raise KeyboardInterrupt(signal.Signals(number).name)


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


@pytest.fixture(scope="session")
def tokens(authority):
    """The OAuth 2.0 server that most tests share."""
    server = token_server.TokenServer(*authority.issue("tokens"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def auth_dovecot(top, authority, tokens):
    server = auth_rig.AuthDovecot(os.path.join(top, "dovecot-auth"), authority, tokens)
    server.start()
    yield server
    server.stop()


ABSENT = {}  # kind of server: why this run has none


def pytest_terminal_summary(terminalreporter):
    for kind, reason in ABSENT.items():
        terminalreporter.write_line(f"skipped: all tests with {kind}: {reason}")


@pytest.fixture(scope="session")
def servers(top, dovecot):
    """The servers that this machine can have, by kind."""
    found = {"dovecot": dovecot}
    kinds = {"cyrus": others.Cyrus, "courier": others.Courier} if not IS_PEER else {}

    def make(kind):
        try:
            return kinds[kind](os.path.join(top, kind))
        except others.Unavailable as reason:
            ABSENT[kind] = str(reason)
            return None

    with concurrent.futures.ThreadPoolExecutor() as pool:  # most of it is waiting for packages
        made = list(pool.map(make, kinds))
    try:
        for server in filter(None, made):
            try:
                server.start()
                found[server.kind] = server
            except others.Unavailable as reason:
                ABSENT[server.kind] = str(reason)
        yield found
    finally:
        for server in filter(None, made):
            server.stop()


def server_of(request, kind):
    if kind == "dovecot":
        return request.getfixturevalue("dovecot")
    servers = request.getfixturevalue("servers")
    if kind not in servers:
        pytest.skip(f"no {kind}: {ABSENT[kind]}")
    return servers[kind]


def check_log(gate):
    """No secret in the log, in any form that a careless line would give it."""
    auth_rig.check_text(gate.log(), set().union(*gate.secrets), "log")
    for line in gate.log().splitlines():
        assert not re.search("(Address|Thread)Sanitizer|runtime error", line), line


@pytest.fixture(scope="session")
def gate(top, program, authority, dovecot, servers):
    """The popgate that most tests share."""
    if IS_PEER:
        yield rig.Peer(dovecot)
        return
    server = rig.Popgate(os.path.join(top, "popgate"), program, authority,
                         rig.stores_of(authority=authority, **servers), "drain = 1")
    server.start()
    yield server
    status = server.stop()
    assert status == 0, f"popgate ended with {status}"
    check_log(server)


@pytest.fixture
def new_gate(request, top, program, authority):
    """Makes a popgate of the test's own: new_gate(settings="", stores=None), not yet started."""
    made = []

    def make(settings="drain = 1", stores=None, pair=None, tls_more=""):
        directory = tempfile.mkdtemp(prefix="popgate-", dir=top)
        os.chmod(directory, 0o755)
        stores_now = stores
        if stores is None:
            stores_now = rig.stores_of(authority=authority, **request.getfixturevalue("servers"))
        made.append(rig.Popgate(directory, program, authority, stores_now, settings, pair, tls_more))
        return made[-1]

    yield make
    for server in made:
        try:
            auth_rig.check_process(server)
        finally:
            server.stop()
        if os.path.exists(server.log_file):
            check_log(server)


@pytest.fixture
def relay(dovecot):
    """Before the Dovecot of all tests: sees what is said to it."""
    made = Relay(dovecot.imap)
    yield made
    made.close()


@pytest.fixture(scope="session")
def numbers():
    return itertools.count(1)


@pytest.fixture
def user(numbers):
    """A user name that nobody used before."""
    return f"user{next(numbers)}"


@pytest.fixture(params=MAIN_STORES)
def store(request):
    server_of(request, mails.kind_of(request.param))
    return request.param


@pytest.fixture(params=STORES)
def any_store(request):
    server_of(request, mails.kind_of(request.param))
    return request.param


@pytest.fixture(params=IMAP_STORES)
def imap_store(request):
    server_of(request, mails.kind_of(request.param))
    return request.param


@pytest.fixture
def upstream(request):
    """The server behind the store of this test."""
    name = next(name for name in ("store", "any_store", "imap_store") if name in request.fixturenames)
    return server_of(request, mails.kind_of(request.getfixturevalue(name)))


@pytest.fixture(params=["dovecot"] if IS_PEER else ["dovecot", "cyrus", "courier"])
def imap_server(request):
    """Each IMAP server there is."""
    return server_of(request, request.param)


class Direct:
    """A user's mailbox by plain IMAP: what is really there."""

    def __init__(self, server, user):
        self.server, self.imap = server, server.connect(user)
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
def direct(request, dovecot):
    opened = []
    names = [name for name in ("upstream", "imap_server") if name in request.fixturenames]
    server = request.getfixturevalue(names[0]) if names else dovecot

    def open_one(user):
        opened.append(Direct(server, user))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()
