# SPDX-License-Identifier: MIT
"""The real parts of a live test: a private certificate authority, a private Dovecot, popgate.

Everything lies in one temporary directory, listens on loopback, and is ended by its process id. Both
servers run as root and give their rights up, as in production: mail belongs to `nobody`.
"""
import ctypes
import imaplib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time

PASSWORD = "Kw7-gEheim-9x"  # of every test user
SCRIPT_PASSWORD = "secret"  # the same in tests/transcript
OWNER = pwd.getpwnam("nobody")
KEEP = os.environ.get("POPGATE_KEEP", "0")  # likewise: most tests wait for the end of upstream connections
WORKERS = os.environ.get("POPGATE_WORKERS", "auto")  # of every popgate that a test does not say it for


GIVEN = set()  # the kernel may name a port that nobody listens on yet a second time


def free_port():
    while True:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        if port not in GIVEN:
            GIVEN.add(port)
            return port


def wait_until(is_true, seconds=10, what="it"):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if is_true():
            return
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {seconds} s")


def listens(port):
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex(("127.0.0.1", port)) == 0


def greets(port):
    """Whether a server there says something by itself, in clear."""
    with socket.socket() as sock:
        sock.settimeout(1)
        try:
            sock.connect(("127.0.0.1", port))
            return bool(sock.recv(1))
        except OSError:
            return False


def run(*argv, check=True, **more):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, **more)
    if check and done.returncode:
        raise AssertionError(f"{argv}: status {done.returncode}: {done.stderr[-2000:]!r}")
    return done


class Authority:
    """A certificate authority, and certificates for localhost and 127.0.0.1 by it."""

    def __init__(self, directory):
        self.directory = directory
        os.makedirs(directory)
        self.ca, self.ca_key = self.path("ca.pem"), self.path("ca.key")
        self._new_ca(self.ca, self.ca_key)

    def path(self, name):
        return os.path.join(self.directory, name)

    @staticmethod
    def _new_ca(cert, key):
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "30", "-subj", "/CN=live test CA", "-keyout", key, "-out", cert)

    def stranger(self):
        """Another authority, which nothing here was signed by."""
        self._new_ca(self.path("stranger.pem"), self.path("stranger.key"))
        return self.path("stranger.pem")

    def issue(self, name, alternatives="DNS:localhost,IP:127.0.0.1"):
        """Makes NAME.pem and NAME.key; the pair's paths."""
        cert, key = self.path(name + ".pem"), self.path(name + ".key")
        request, names = self.path(name + ".csr"), self.path(name + ".ext")
        with open(names, "w", encoding="ascii") as out:
            out.write(f"subjectAltName={alternatives}\n")
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        run("openssl", "x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.ca_key,
            "-CAcreateserial", "-days", "30", "-extfile", names, "-out", cert)
        os.chown(key, 0, OWNER.pw_gid)
        os.chmod(key, 0o640)
        return cert, key


class Server:
    """A child process that listens, with its log in a file."""

    def __init__(self, directory):
        self.directory = directory
        os.makedirs(directory, exist_ok=True)
        self.process = None
        self.log_file = os.path.join(directory, "log")

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def write(self, name, text, mode=0o644):
        with open(self.path(name), "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(self.path(name), mode)
        return self.path(name)

    def launch(self, argv, *ports, environment=None):
        """Starts it, and waits until it greets on these ports."""
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd=self.directory, env=environment)
        end = time.monotonic() + 20
        while not all(greets(port) for port in ports):
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"{argv[0]} did not start: {self.log()[-3000:]}")
            time.sleep(0.02)

    def log(self):
        with open(self.log_file, encoding="utf-8", errors="replace") as log:
            return log.read()

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, seconds=15):
        """Ends it politely, then not; its exit status."""
        if not self.process:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        status, self.process = self.process.returncode, None
        return status


def fill_maildir(top, messages, flags=()):
    """A new Maildir; order, and so the UIDs that a server gives, by the names."""
    home = os.path.dirname(top)
    shutil.rmtree(home, ignore_errors=True)
    for name in ("new", "cur", "tmp"):
        os.makedirs(os.path.join(top, name), exist_ok=True)  # a server may still be there
    for number, octets in enumerate(messages):
        has = flags[number] if flags else ""
        folder, info = ("cur", ":2," + has) if has or number % 2 else ("new", "")
        name = f"{1700000000 + number}.M{number}P1.live{info}"
        with open(os.path.join(top, folder, name), "wb") as out:
            out.write(octets)
    own(home)


def own(top):
    """Gives a tree to the owner of mail."""
    for directory, _, files in os.walk(top):
        os.chown(directory, OWNER.pw_uid, OWNER.pw_gid)
        for name in files:
            os.chown(os.path.join(directory, name), OWNER.pw_uid, OWNER.pw_gid)


class Dovecot(Server):
    """IMAP for popgate to read from, POP3 to compare with; any user with the one password."""

    kind = "dovecot"

    def __init__(self, directory, authority, password=PASSWORD):
        super().__init__(directory)
        self.password = password
        self.instance = "-".join(self.directory.split(os.sep)[-2:])
        self.cert, self.key = authority.issue("dovecot-" + os.path.basename(directory))
        self.imap, self.imaps, self.pop3, self.pop3s = (free_port() for _ in range(4))
        self.mail = self.path("mail")
        os.makedirs(self.mail)
        os.chown(self.mail, OWNER.pw_uid, OWNER.pw_gid)

    def authentication(self):
        """Who may log in, and how."""
        return f"""
auth_mechanisms = plain login
passdb {{
  driver = static
  args = password={self.password}
}}"""

    def start(self):
        for name in ("run", "state"):
            os.makedirs(self.path(name), exist_ok=True)
        config = self.write("dovecot.conf", f"""
protocols = imap pop3
listen = 127.0.0.1
base_dir = {self.path("run")}
state_dir = {self.path("state")}
instance_name = {self.instance}
log_path = {self.log_file}
default_internal_user = dovecot
default_login_user = dovenull
mail_uid = {OWNER.pw_uid}
mail_gid = {OWNER.pw_gid}
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:~/Maildir
mail_max_userip_connections = 0
mail_fsync = never
disable_plaintext_auth = no
auth_failure_delay = 0
pop3_lock_session = yes
pop3_no_flag_updates = no
ssl = yes
ssl_cert = <{self.cert}
ssl_key = <{self.key}
{self.authentication()}
userdb {{
  driver = static
  args = uid={OWNER.pw_uid} gid={OWNER.pw_gid} home={self.mail}/%u
}}
namespace inbox {{
  inbox = yes
  mailbox Trash {{
    special_use = \\Trash
    auto = create
  }}
  mailbox Archive {{
    special_use = \\Archive
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {self.imap}
  }}
  inet_listener imaps {{
    port = {self.imaps}
    ssl = yes
  }}
  service_count = 0
}}
service imap {{
  service_count = 100
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {self.pop3}
  }}
  inet_listener pop3s {{
    port = {self.pop3s}
    ssl = yes
  }}
  service_count = 0
}}
service pop3 {{
  service_count = 100
}}
""")
        self.launch(["dovecot", "-F", "-c", config], self.imap)

    def children(self):
        """Process ids of all that the master started: their titles begin with the instance's name."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as title:
                    if title.read().startswith(f"dovecot-{self.instance}/".encode()):
                        found.append(int(pid))
            except OSError:
                pass
        return found

    def stop(self, seconds=15):
        super().stop(seconds)
        # The children outlive their master by a moment, and serve who is connected.
        for pid in self.children():
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        wait_until(lambda: not self.children(), what="the end of Dovecot")

    def connect(self, user):
        imap = imaplib.IMAP4("127.0.0.1", self.imap)
        imap.login(user, self.password)
        return imap

    def maildir(self, user):
        return os.path.join(self.mail, user, "Maildir")

    def fill(self, user, messages, flags=()):
        """A new Maildir for `user` with these messages (octets), in this order; Dovecot will give them
        the UIDs 1, 2, 3 ... `flags` are the Maildir's, for each."""
        fill_maildir(self.maildir(user), messages, flags)

    def fill_many(self, user, count):
        """So many messages as links to few files, indexed: for tests of listing alone."""
        fill_maildir(self.maildir(user), [])
        octets, links = b"Subject: one of many\n\nLook at the number.\n", 50_000  # ext4 has 65,000
        for number in range(count):  # with the size in the name Dovecot opens none of them
            path = os.path.join(self.maildir(user), "cur", f"{1700000000 + number}.M0P1.live,S={len(octets)}:2,S")
            if number % links:
                os.link(first, path)
                continue
            first = path
            with open(first, "wb") as out:
                out.write(octets)
            os.chown(first, OWNER.pw_uid, OWNER.pw_gid)
        imap = self.connect(user)
        assert imap.select("INBOX")[1] == [str(count).encode()]
        imap.fetch("1:*", "(RFC822.SIZE)")
        imap.logout()

    def flags(self, user):
        """{number at the filling: letters} of the messages that are still there, by the file names."""
        found = {}
        for folder in ("new", "cur"):
            for name in os.listdir(os.path.join(self.maildir(user), folder)):
                base, _, letters = name.partition(":2,")
                found[int(base.split(".")[0]) - 1700000000 + 1] = letters
        return dict(sorted(found.items()))


class Popgate(Server):
    """The daemon. `stores` maps a name's domain to the map's attributes for it; `settings` are lines
    of [popgate], or with their own headings further sections; `tls_more` lines of each listener with
    TLS."""

    def __init__(self, directory, program, authority, stores, settings="", pair=None, tls_more=""):
        super().__init__(directory)
        self.program = program
        self.environment = None  # ours
        self.secrets = [{PASSWORD}]  # sets of what must never be told
        self.cert, self.key = pair or authority.issue("popgate-" + os.path.basename(directory))
        self.clear, self.strict, self.tls, self.bare = (free_port() for _ in range(4))
        os.makedirs(self.path("state"), mode=0o700)
        self.config = self.write("popgate.conf", f"""
[popgate]
map   = {self.path("map")}
state = {self.path("state")}
log   = stderr
user  = {OWNER.pw_name}
cert  = {self.cert}
key   = {self.key}
{"" if "failure_delay" in settings else "failure_delay = 0"}
{"" if "workers" in settings else f"workers = {WORKERS}"}
{"" if "keep" in settings else f"keep = {KEEP}"}
{settings}

[listener clear]
address   = 127.0.0.1:{self.clear}
tls       = starttls
cleartext = allow
{tls_more}

[listener strict]
address   = 127.0.0.1:{self.strict}
tls       = starttls
cleartext = require-tls
{tls_more}

[listener bare]
address   = 127.0.0.1:{self.bare}
tls       = none
cleartext = allow

[listener secure]
address = 127.0.0.1:{self.tls}
tls     = implicit
{tls_more}
""")
        self.set_map("".join(f"@{domain} {text}\n" for domain, text in stores.items()))

    def set_map(self, text, mode=0o640):
        """Replaces the map as an editor would: whole."""
        new = self.write("map.new", text, mode)
        os.chown(new, 0, OWNER.pw_gid)
        os.replace(new, self.path("map"))

    def start(self):
        self.launch([self.program, "-c", self.config, "serve"], self.clear, self.strict, self.bare,
                    environment=self.environment)

    def connections(self):
        """How many connections it has upstream."""
        inodes, found = set(), 0
        for name in os.listdir(f"/proc/{self.process.pid}/fd"):
            try:
                inodes.add(os.readlink(f"/proc/{self.process.pid}/fd/{name}"))
            except OSError:
                pass
        own_ports = (self.clear, self.strict, self.tls, self.bare)
        for path in ("/proc/net/tcp", "/proc/net/tcp6"):
            with open(path, encoding="ascii") as table:
                rows = [line.split() for line in table][1:]
            found += sum(f"socket:[{row[9]}]" in inodes and int(row[1].split(":")[1], 16) not in own_ports
                         for row in rows)
        return found

    def login(self, user, store):
        return f"{user}@{store}"


class Peer:
    """Dovecot's own POP3 server in popgate's place: shows that a test is right."""

    is_peer = True

    def __init__(self, dovecot):
        self.clear, self.strict, self.tls = dovecot.pop3, dovecot.pop3, dovecot.pop3s

    def login(self, user, store):
        return user


def stores_of(dovecot, authority, **others):
    """The kinds of store, by the domain of the POP3 name."""
    found = {
        "imap.live": f"upstream=imap://127.0.0.1:{dovecot.imap} login=%n",
        "starttls.live": f"upstream=imap+starttls://localhost:{dovecot.imap} ca={authority.ca} login=%n",
        "imaps.live": f"upstream=imaps://localhost:{dovecot.imaps} ca={authority.ca} login=%n",
        "maildir.live": f"upstream=maildir:{dovecot.mail}/%n/Maildir local={local_secret()}",
    }
    for server in others.values():
        found[f"{server.kind}.live"] = f"upstream=imap://127.0.0.1:{server.imap} login=%n"
    return found


def local_secret(password=PASSWORD):
    """A password for the map's local=, made by the system's crypt(3)."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    return "{yescrypt}" + library.crypt(password.encode(), b"$y$j75$livetestsalt0000$").decode()
