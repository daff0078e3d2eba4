# SPDX-License-Identifier: MIT
"""Private Cyrus and Courier. Their packages conflict with Dovecot's, so they are never installed: what
the machine lacks of them is downloaded, unpacked into a folder without its maintainer scripts, and
started there by chroot. The machine's own shared libraries are copied in; nothing is mounted.

Neither keeps passwords here. Both ask a daemon on a socket whether a password is right (saslauthd,
authdaemond), and these daemons are threads of the test: any user has the one password.
"""
import glob
import imaplib
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading

import mails
import rig

imaplib._MAXLINE = 50_000_000  # its 1,000,000 octets are shorter than a line of many messages


class Unavailable(Exception):
    """Why a server cannot be had on this machine."""


# What would come along and is not needed to serve IMAP.
NOT_NEEDED = re.compile(r"libclamav|libmspack|lib.*-perl$|libmail|libgnutls-dane|libunbound|libevent")


class Root:
    """A folder with the packages of a server in it, ready for chroot."""

    def __init__(self, directory, packages):
        self.directory = directory
        for program in ("apt-get", "dpkg", "ldd", "chroot"):
            if not shutil.which(program):
                raise Unavailable(f"no {program} on this machine")
        os.makedirs(directory)
        self.unpack(self.missing(packages))
        for name in ("dev", "etc", "run", "tmp", "mail", "var/lib", "var/spool"):
            os.makedirs(self.path(name), exist_ok=True)
        os.chmod(self.path("tmp"), 0o1777)
        self.devices()
        # Files inside are looked up by these alone: no /etc/nsswitch.conf means "files".
        self.write("etc/passwd", f"root:x:0:0::/:/\nowner:x:{rig.OWNER.pw_uid}:{rig.OWNER.pw_gid}::/:/\n")
        self.write("etc/group", f"root:x:0:\nowner:x:{rig.OWNER.pw_gid}:\n")
        self.write("etc/hosts", "127.0.0.1 localhost\n")

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w", encoding="utf-8") as out:
            out.write(text)

    def apt(self, *argv):
        done = subprocess.run(["apt-get", "-q", *argv], cwd=self.directory, capture_output=True, timeout=300,
                              env=dict(os.environ, LC_ALL="C", DEBIAN_FRONTEND="noninteractive"), check=False)
        if done.returncode:
            raise Unavailable(f"apt-get {argv[0]}: {done.stderr.decode()[-300:].strip()}")
        return done.stdout.decode()

    def missing(self, packages):
        """The packages, and the libraries that they need and the machine has not."""
        plan = ["install", "-s", "--no-install-recommends", *packages, "dovecot-core-"]
        try:
            text = self.apt(*plan)
        except Unavailable:  # no lists yet, or old ones
            self.apt("update")
            text = self.apt(*plan)
        found = re.findall(r"^Inst (\S+)", text, re.M)
        return [name for name in found if name in packages or
                name.startswith("lib") and not NOT_NEEDED.match(name)]

    def unpack(self, names):
        try:
            self.apt("download", *names)
        except Unavailable:  # a list that names a version which was replaced since
            self.apt("update")
            self.apt("download", *names)
        for package in glob.glob(self.path("*.deb")):
            rig.run("dpkg", "-x", package, self.directory)
            os.unlink(package)

    def devices(self):
        for name, minor in (("null", 3), ("zero", 5), ("random", 8), ("urandom", 9)):
            try:
                os.mknod(self.path("dev/" + name), 0o20666, os.makedev(1, minor))
                os.chmod(self.path("dev/" + name), 0o666)
                with open(self.path("dev/null"), "wb") as null:
                    null.write(b"x")
            except OSError as error:
                raise Unavailable(f"no devices in {self.directory}: {error.strerror}") from error

    def bring_libraries(self, *programs):
        """Copies what these programs of the root need, by what the loader would find."""
        folders = {os.path.dirname(p) for p in glob.glob(self.path("**/*.so*"), recursive=True)}
        search = ":".join(sorted(folders))
        for program in programs:
            told = rig.run("ldd", self.path(program), env={"LD_LIBRARY_PATH": search, "PATH": os.environ["PATH"]})
            for line in told.stdout.decode().splitlines():
                words = line.split()
                if "not found" in line:
                    raise Unavailable(f"{words[0]} is missing for {program}")
                library = next((word for word in words if word.startswith("/")), None)
                if library and not library.startswith(self.directory):
                    self.bring(library)

    def bring(self, path):
        """Copies a file of the machine to the same place in the root."""
        inside = self.path(path.lstrip("/"))
        if not os.path.lexists(inside):
            os.makedirs(os.path.dirname(inside), exist_ok=True)
            shutil.copy(path, inside)

    def command(self, *argv):
        return [shutil.which("chroot"), self.directory, *argv]


class Answerer:
    """A daemon on a Unix socket, played by threads: answer(connection) for each connection."""

    def __init__(self, path, answer):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.answer = answer
        self.sock = socket.socket(socket.AF_UNIX)
        # A path of a socket has 107 octets at most, a temporary folder may be longer.
        here = os.open(os.path.dirname(path), os.O_PATH)
        self.sock.bind(f"/proc/self/fd/{here}/{os.path.basename(path)}")
        os.close(here)
        os.chmod(path, 0o777)
        self.sock.listen(64)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection = self.sock.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.one, args=(connection,), daemon=True).start()

    def one(self, connection):
        with connection:
            try:
                self.answer(connection.makefile("rb"), connection)
            except (OSError, ValueError, struct.error):
                pass

    def stop(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


class Syslog:
    """Writes what is logged to /dev/log in the root into a file."""

    def __init__(self, root, file):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        here = os.open(root.path("dev"), os.O_PATH)
        self.sock.bind(f"/proc/self/fd/{here}/log")
        os.close(here)
        os.chmod(root.path("dev/log"), 0o666)
        self.file = open(file, "ab", buffering=0)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            line = self.sock.recv(8192)
            if not line:
                return
            self.file.write(line.rstrip(b"\n\0") + b"\n")

    def stop(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join(5)
        self.sock.close()
        self.file.close()


def append(imap, folder, octets, flags=""):
    """imaplib's own append() turns a CR into a CRLF."""
    imap.literal = mails.with_crlf(octets)
    kind, text = imap._simple_command("APPEND", folder, f"({flags})")
    assert kind == "OK", text


LETTERS = {"F": "\\Flagged", "S": "\\Seen", "T": "\\Deleted"}


def flag_names(letters):
    return " ".join(LETTERS[letter] for letter in letters)


class Other(rig.Server):
    """What Cyrus and Courier have in common: mail comes in by IMAP."""

    def __init__(self, directory, password=rig.PASSWORD):
        super().__init__(directory)
        if os.geteuid():
            raise Unavailable("not root, so no chroot")
        self.password = password
        self.helpers = []  # what it asks and where it logs
        self.passwords = (password, rig.SCRIPT_PASSWORD)
        self.imap = rig.free_port()
        self.root = Root(self.path("root"), self.packages)

    def children(self):
        """Process ids of all that runs in the root."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{pid}/root") == self.root.directory:
                    found.append(int(pid))
            except OSError:
                pass
        return found

    def end_children(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.children():
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass
            try:
                rig.wait_until(lambda: not self.children(), 3)
                return
            except AssertionError:
                pass
        raise AssertionError(f"processes are left in {self.root.directory}")

    def stop(self, seconds=15):
        super().stop(seconds)
        self.end_children()
        while self.helpers:
            self.helpers.pop().stop()

    def connect(self, user):
        imap = imaplib.IMAP4("127.0.0.1", self.imap)
        imap.login(user, self.password)
        return imap

    def open(self, user):
        """A connection to a mailbox that nobody used before."""
        imap = self.connect(user)
        assert imap.select("INBOX")[1] == [b"0"], f"{user} has mail already"
        return imap

    def fill(self, user, messages, flags=()):
        """Gives `user`, who is new, these messages (octets) in this order, UIDs 1, 2, 3 ... `flags`
        are Maildir letters for each."""
        imap = self.open(user)
        for number, octets in enumerate(messages):
            append(imap, "INBOX", octets, flag_names(flags[number]) if flags else "")
        imap.logout()

    def flags(self, user):
        """{number at the filling: Maildir letters} of the messages that are still there."""
        imap, found = self.connect(user), {}
        if imap.select("INBOX", readonly=True)[1] != [b"0"]:
            for line in imap.fetch("1:*", "(UID FLAGS)")[1]:
                has = imaplib.ParseFlags(line)
                letters = "".join(c for c, name in LETTERS.items() if name.encode() in has)
                found[int(re.search(rb"UID (\d+)", line)[1])] = letters
        imap.logout()
        return found


class Cyrus(Other):
    kind = "cyrus"
    packages = ("cyrus-imapd", "cyrus-common", "libsasl2-modules")

    def start(self):
        root = self.root
        bin_ = "usr/lib/cyrus/bin/"
        modules = [path for name in ("libplain.so", "liblogin.so") for top in (root.directory, "")
                   for path in glob.glob(f"{top}/usr/lib/*/sasl2/{name}")]
        if not modules:
            raise Unavailable("no SASL modules")
        for module in modules:
            if not module.startswith(root.directory):
                root.bring(module)
        root.bring_libraries(bin_ + "master", bin_ + "imapd", bin_ + "ctl_cyrusdb")
        for name in ("var/lib/cyrus/db", "var/lib/cyrus/socket", "var/lib/cyrus/user", "var/lib/cyrus/log",
                     "var/lib/cyrus/msg", "var/lib/cyrus/quota", "var/lib/cyrus/sieve", "run/cyrus/proc",
                     "run/cyrus/lock", "run/cyrus/socket", "mail/default"):
            os.makedirs(root.path(name), exist_ok=True)
        for top in ("var/lib/cyrus", "run/cyrus", "mail"):
            for folder, _, _ in os.walk(root.path(top)):
                os.chown(folder, rig.OWNER.pw_uid, rig.OWNER.pw_gid)
        # It does not start without a list of time zones, though IMAP needs none of them.
        root.write("usr/share/zoneinfo/zone.tab", "GB\t+513030-0000731\tEurope/London\n")
        root.write("etc/imapd.conf", """
cyrus_user: owner
cyrus_group: owner
configdirectory: /var/lib/cyrus
proc_path: /run/cyrus/proc
mboxname_lockpath: /run/cyrus/lock
defaultpartition: default
partition-default: /mail/default
admins: admin
altnamespace: yes
unixhierarchysep: yes
autocreate_quota: 0
autocreate_post: no
autocreate_inbox_folders: Trash | Archive
xlist-trash: Trash
xlist-archive: Archive
munge8bit: no
reject8bit: no
expunge_mode: immediate
delete_mode: immediate
conversations: no
skiplist_unsafe: yes
allowplaintext: yes
sasl_mech_list: PLAIN LOGIN
sasl_pwcheck_method: saslauthd
sasl_saslauthd_path: /run/sasl/mux
failedloginpause: 0
maxlogins_per_user: 0
maxlogins_per_host: 0
""")
        root.write("etc/cyrus.conf", f"""
START {{
  recover cmd="/usr/lib/cyrus/bin/ctl_cyrusdb -r"
}}
SERVICES {{
  imap cmd="/usr/lib/cyrus/bin/imapd -U 100" listen="127.0.0.1:{self.imap}" prefork=2 maxchild=200
}}
EVENTS {{
}}
""")
        self.helpers = [Syslog(root, self.path("syslog")), Answerer(root.path("run/sasl/mux"), self.check)]
        self.launch(root.command("/" + bin_ + "master", "-D", "-C", "/etc/imapd.conf", "-M", "/etc/cyrus.conf"),
                    self.imap)

    def fill(self, user, messages, flags=()):
        """As above, many in one APPEND (RFC 3502): one by one is a disk's flush each."""
        imap, messages = self.open(user), list(messages)
        for first in range(0, len(messages), 100):
            octets = []
            for number, message in enumerate(messages[first:first + 100], first):
                message = mails.with_crlf(message)
                letters = flags[number] if flags else ""
                octets += [f" ({flag_names(letters)}) {{{len(message)}+}}\r\n".encode(), message]
            imap.send(b"fill APPEND INBOX" + b"".join(octets) + b"\r\n")
            answer = imap.readline()
            while not answer.startswith(b"fill "):
                answer = imap.readline()
            assert answer.startswith(b"fill OK"), answer
        imap.logout()

    def check(self, read, write):
        """saslauthd's protocol: user, password, service and realm, each with its length before it."""
        words = []
        for _ in range(4):
            size, = struct.unpack("!H", read.read(2))
            words.append(read.read(size).decode())
        answer = b"OK" if words[1] in self.passwords else b"NO"
        write.sendall(struct.pack("!H", len(answer)) + answer)


class Courier(Other):
    kind = "courier"
    packages = ("courier-imap", "courier-base", "courier-authlib", "libcourier-unicode4", "libgamin0",
                "gamin")
    socket = "run/courier/authdaemon/socket"

    def start(self):
        root = self.root
        programs = ("usr/sbin/couriertcpd", "usr/lib/courier/courier/imaplogin", "usr/bin/imapd", "usr/libexec/gam_server")
        root.bring_libraries(*programs)
        os.chown(root.path("mail"), rig.OWNER.pw_uid, rig.OWNER.pw_gid)
        environment = {
            "PATH": "/usr/bin:/bin",
            "IMAP_CAPABILITY": "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES "
                               "SORT QUOTA IDLE",
            "IMAP_KEYWORDS": "1", "IMAP_ACL": "1", "IMAP_CHECK_ALL_FOLDERS": "0", "IMAP_OBSOLETE_CLIENT": "0",
            "IMAP_USELOCKS": "1", "IMAP_ENHANCEDIDLE": "0", "IMAP_IDLE_TIMEOUT": "60", "IMAP_UMASK": "022",
            "IMAP_MAILBOX_SANITY_CHECK": "1", "IMAP_TRASHFOLDERNAME": "Trash", "IMAP_MOVE_EXPUNGE_TO_TRASH": "0",
            "MAILDIRPATH": "Maildir", "HEADERFROM": "X-IMAP-Sender",
        }
        self.helpers = [Syslog(root, self.path("syslog")), Answerer(root.path(self.socket), self.check)]
        self.launch(root.command("/" + programs[0], "-address=127.0.0.1", "-maxprocs=200", "-maxperip=200",
                                 "-nodnslookup", "-noidentlookup", str(self.imap), "/" + programs[1], "/" + programs[2],
                                 "Maildir"), self.imap, environment=environment)

    def check(self, read, write):
        """authdaemond's protocol: variables, "AUTH size", then service, kind, name and password, a line each."""
        command, _, size = read.readline().partition(b" ")
        while command.startswith(b"TCP"):  # where the client is
            command, _, size = read.readline().partition(b" ")
        lines = read.read(int(size)).split(b"\n") if command == b"AUTH" else []
        if len(lines) < 4 or lines[3].decode() not in self.passwords:
            write.sendall(b"FAIL\n")
            return
        name = lines[2].decode()
        home = "/mail/" + name
        write.sendall(f"UID={rig.OWNER.pw_uid}\nGID={rig.OWNER.pw_gid}\nHOME={home}\n"
                      f"ADDRESS={name}\nMAILDIR={home}/Maildir\n.\n".encode())

    def maildir(self, user):
        return self.root.path(f"mail/{user}/Maildir")

    def fill(self, user, messages, flags=()):
        """By files, as an MTA delivers: lines end in LF. Courier sends a CR before each LF, whatever
        was there."""
        rig.fill_maildir(self.maildir(user), [octets.replace(b"\r\n", b"\n") for octets in messages], flags)
