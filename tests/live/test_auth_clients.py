# SPDX-License-Identifier: MIT
"""Clients that nobody here wrote log in by each mechanism they know, and fetch a mailbox. What reads
the secrets is in auth_rig's Dovecot; what they prove is in popgate's map, or there."""
import concurrent.futures
import os
import poplib
import shutil
import ssl
import subprocess

import pytest

import auth_rig
import mails
import rig

pytestmark = pytest.mark.popgate_only

CERTIFIED = "betty@example.com"
STORED = mails.plain(3)


@pytest.fixture(scope="module")
def front(top, program, authority, auth_dovecot):
    """A popgate with a user of each kind, whoever he is."""
    upstream = f"upstream=imaps://localhost:{auth_dovecot.imaps} ca={authority.ca}"
    gate = rig.Popgate(os.path.join(top, "front"), program, authority, {}, auth_rig.SETTINGS,
                       tls_more=f"client_ca = {authority.ca}")
    local = f"{upstream} login=%n password={{plain}}{rig.PASSWORD}"
    gate.set_map(f"@local.live {local} local={{plain}}{rig.PASSWORD}\n"
                 f"@passed.live {upstream} login=%u\n"
                 f"@relayed.live {upstream} login=%u auth=scram-sha-256,scram-sha-1\n{CERTIFIED} {local}\n")
    auth_rig.skip_if_absent(gate)
    gate.start()
    yield gate
    auth_rig.check_secrets(gate, auth_dovecot.tokens.secrets)


@pytest.fixture(scope="module")
def pair(authority):
    return authority.issue("betty", "email:" + CERTIFIED)


class Case:
    """One login of one client."""

    def __init__(self, is_right, gate, authority, home, transport, name, secret, pair):
        self.is_right = is_right
        self.gate, self.ca, self.home, self.transport, self.pair = gate, authority.ca, home, transport, pair
        self.name, self.secret = name, secret
        self.port = gate.tls if transport == "tls" else gate.clear

    def run(self, argv, **more):
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False,
                              cwd=self.home, env=dict(os.environ, HOME=str(self.home), LC_ALL="C"), **more)
        return done.returncode, done.stdout

    def file(self, name, text):
        path = self.home / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)


def found(directory):
    """The messages' names among the files below."""
    names = []
    for top, _, files in os.walk(directory):
        for name in files:
            with open(os.path.join(top, name), "rb") as stored:
                octets = stored.read()
            names.append(mails.name_of(octets[octets.index(b"X-Live:"):]))
    return sorted(names)


def curl(case, way):
    out = case.home / "out"
    numbers = f"[1-{len(STORED)}]" if case.is_right else "1"
    scheme = "pop3s" if case.transport == "tls" else "pop3"
    said = f'url = "{scheme}://localhost:{case.port}/{numbers}"\nlogin-options = "AUTH={way}"\n'
    if way in ("XOAUTH2", "OAUTHBEARER"):
        said += f'oauth2-bearer = "{case.secret}"\nuser = "{case.name}:"\n'
    elif way == "EXTERNAL":
        said += f'user = "{case.name}:"\ncert = "{case.pair[0]}"\nkey = "{case.pair[1]}"\n'
    else:
        said += f'user = "{case.name}:{case.secret}"\n'
    if case.transport == "stls":
        said += "ssl-reqd\n"
    said += f'cacert = "{case.ca}"\noutput = "{out}/#1"\nmax-time = 30\n'
    out.mkdir()
    status, told = case.run(["curl", "-sS", "-4", "-K", case.file("curlrc", said)])
    return status == 0, told, found(out)


def python_poplib(case, way):
    context = ssl.create_default_context(cafile=case.ca)
    client = poplib.POP3("localhost", case.port) if case.transport != "tls" else \
        poplib.POP3_SSL("localhost", case.port, context=context)
    if case.transport == "stls":
        client.stls(context)
    try:
        if way == "APOP":
            client.apop(case.name, case.secret)
        else:
            client.user(case.name)
            client.pass_(case.secret)
    except poplib.error_proto as error:
        client.close()
        return False, str(error), []
    names = [mails.name_of(b"\n".join(client.retr(number + 1)[1])) for number in range(client.stat()[0])]
    client.quit()
    return True, "", sorted(names)


def fetchmail(case, way):
    out = case.home / "out"
    out.mkdir()
    secure = {"clear": "sslproto ''", "stls": "sslproto TLS1.2+", "tls": "ssl sslproto TLS1.2+"}
    rc = case.file("rc", f"""
poll localhost protocol {"APOP" if way == "APOP" else "POP3"} port {case.port} timeout 30
  {"" if way == "APOP" else "auth " + way}
  user "{case.name}" password "{case.secret}" is root here
  {secure[case.transport]} sslcertck sslcertfile "{case.ca}"
  no rewrite no dropdelivered no dropstatus keep mda "cat >{out}/$$"
""")
    status, told = case.run(["fetchmail", "-v", "-f", rc, "--nosyslog", "--invisible", "--pidfile",
                             str(case.home / "pid")])
    if way == "cram-md5":
        assert b"AUTH CRAM-MD5" in told and b"PASS" not in told, told
    return status == 0, told, found(out)


def mpop(case, way):
    out = case.home / "out"
    for name in ("cur", "new", "tmp"):
        (out / name).mkdir(parents=True)
    secure = {"clear": "tls off", "stls": "tls on\ntls_starttls on", "tls": "tls on\ntls_starttls off"}
    external = f"tls_cert_file {case.pair[0]}\ntls_key_file {case.pair[1]}" if way == "external" else ""
    rc = case.file("mpoprc", f"""
account default
host localhost
port {case.port}
{secure[case.transport]}
{"" if case.transport == "clear" else "tls_trust_file " + case.ca}
auth {way}
user {case.name}
password "{case.secret}"
{external}
delivery maildir {out}
uidls_file {case.home}/uidls
keep on
""")
    status, told = case.run(["mpop", "-C", rc])
    return status == 0, told, found(out)


PERL = """
use Mail::POP3Client;
my ($port, $ssl, $ca, $way, $name, $out) = @ARGV;
chomp(my $password = <STDIN>);
my %tls = (SSL_ca_file => $ca, SSL_verify_mode => 1);
my $pop = Mail::POP3Client->new(HOST => 'localhost', PORT => $port, AUTH_MODE => $way, TIMEOUT => 30);
my $socket;
if ($ssl) {
	require IO::Socket::SSL;
	$socket = IO::Socket::SSL->new(PeerAddr => 'localhost', PeerPort => $port, Proto => 'tcp', %tls) or die;
	$pop->Socket($socket);
}
$pop->User($name);
$pop->Pass($password);
$pop->Connect() or die $pop->Message();
$pop->Count() >= 0 or die $pop->Message();
for my $number (1 .. $pop->Count()) {
	open my $file, '>', "$out/$number" or die;
	$pop->RetrieveToFile($file, $number) or die $pop->Message();
}
$pop->Close();
"""


def perl(case, way):
    out = case.home / "out"
    out.mkdir()
    status, told = case.run(["perl", "-e", PERL, str(case.port), str(int(case.transport == "tls")), case.ca, way,
                             case.name, str(out)], input=case.secret.encode() + b"\n")
    return status == 0, told, found(out)


PROGRAMS = {curl: "curl", fetchmail: "fetchmail", mpop: "mpop", perl: "perl", python_poplib: "python3"}
L, P, R, C = "local", "passed", "relayed", "certificate"
# client, its name for a mechanism, whose secret it is, transports
CASES = [
    (python_poplib, "USER", L + P, "clear stls tls"),
    (python_poplib, "APOP", L, "clear stls tls"),
    (curl, "+APOP", L, "clear stls tls"),
    (curl, "PLAIN", L + P, "clear stls tls"),
    (curl, "LOGIN", L + P, "clear stls tls"),
    (curl, "CRAM-MD5", L, "clear stls tls"),
    (curl, "XOAUTH2", P, "stls tls"),
    (curl, "OAUTHBEARER", P, "stls tls"),
    (curl, "EXTERNAL", C, "stls tls"),
    (fetchmail, "APOP", L, "clear stls tls"),
    (fetchmail, "password", L + P, "clear stls tls"),
    (fetchmail, "cram-md5", L, "clear stls tls"),
    (mpop, "user", L + P, "clear tls"),
    (mpop, "apop", L, "clear stls tls"),
    (mpop, "plain", L + P, "clear tls"),
    (mpop, "login", L + P, "clear tls"),
    (mpop, "cram-md5", L, "clear stls tls"),
    (mpop, "scram-sha-1", L + R, "clear stls tls"),
    (mpop, "scram-sha-256", L + R, "clear stls tls"),
    (mpop, "xoauth2", P, "stls tls"),
    (mpop, "oauthbearer", P, "stls tls"),
    (mpop, "external", C, "stls tls"),
    (perl, "APOP", L, "clear tls"),
    (perl, "CRAM-MD5", L, "clear tls"),
    (perl, "BEST", L, "clear tls"),
]


@pytest.mark.parametrize("client,way,kinds,transports", CASES,
                         ids=[f"{case[0].__name__}-{case[1].lstrip('+')}" for case in CASES])
def test_client(client, way, kinds, transports, front, authority, auth_dovecot, pair, user, tmp_path):
    if not shutil.which(PROGRAMS[client]):
        pytest.skip(f"absent: {PROGRAMS[client]}")
    if client is perl and rig.run("perl", "-MMail::POP3Client", "-MDigest::HMAC_MD5", "-MIO::Socket::SSL", "-e", "1",
                                  check=False).returncode:
        pytest.skip("absent: Mail::POP3Client with Digest::HMAC_MD5 and IO::Socket::SSL")
    is_token = way.upper() in ("XOAUTH2", "OAUTHBEARER")
    for name in (user, "betty", f"{user}@{P}.live", f"{user}@{R}.live"):
        auth_dovecot.fill(name, STORED)
    expected = [mails.name_of(octets) for octets in STORED]
    cases = []
    for kind in (L, P, R, C):
        for transport in transports.split() if kind in kinds else []:
            name = CERTIFIED if kind == C else f"{user}@{kind}.live"
            right = auth_dovecot.tokens.access(name) if is_token else rig.PASSWORD
            for secret in [right] if kind == C else [right, "not-" + right]:
                home = tmp_path / f"{kind}-{transport}-{secret == right}"
                home.mkdir()
                cases.append(Case(secret == right, front, authority, home, transport, name, secret, pair))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda case: client(case, way), cases)
    wrong = [(case.name, case.transport, case.is_right, done, names, told[-300:])
             for case, (done, told, names) in zip(cases, results)
             if (done, names) != ((True, expected) if case.is_right else (False, []))]
    assert wrong == []
