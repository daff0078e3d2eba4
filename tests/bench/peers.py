# SPDX-License-Identifier: MIT
"""The rig: an upstream (Dovecot on Maildirs) near and far, and what stands before it in popgate's place:
Dovecot's pop3d with imapc, a bare relay, nginx. The rig's folder is $RIG, or rig here, in the source or
beside it; its mail and servers are in $RUN. Servers that the rig's own `rig.sh up` started are used and left as they are.
"""
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile

from tool import (HERE, POPGATE, Choice, fail, free_port, listens, need_popgate, popgate_files, say_pairs, skip, stack,
                  write)

SOURCE = os.path.join(HERE, "..", "..")
PLACES = [os.environ["RIG"]] if os.environ.get("RIG") else ["rig", os.path.join(SOURCE, "rig"), os.path.join(SOURCE, "..", "rig")]
RIG = next((os.path.abspath(p) for p in PLACES if os.path.exists(os.path.join(p, "bench.py"))), os.path.abspath(PLACES[0]))
RUN = os.path.abspath(os.environ.get("RUN", "run/rig"))
PASSWORD = "secret"  # the rig's
IMAPC = "imapc-perf-disk-static-%dms"
NGINX_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"
TRIPS = "50 100"  # ms, at which the upstream is offered


def rig(*command, log="rig.log", check=True, **env):
    """Runs a script of the rig. Servers that it starts keep the output open, so it goes to a file."""
    with open(os.path.join(RUN, log), "ab") as out:
        r = subprocess.run([os.path.join(RIG, command[0])] + list(command[1:]), stdin=subprocess.DEVNULL,
                           stdout=out, stderr=out, env=dict(os.environ, RUN=RUN, **env))
    if check and r.returncode != 0:
        fail("%s failed, see %s" % (" ".join(command), os.path.join(RUN, log)))


def has_rig():
    return os.path.exists(os.path.join(RIG, "bench.py"))


def target(name):
    path = os.path.join(RUN, "targets", name)
    if not os.path.exists(path):
        return None
    with open(path) as f:
        return dict(line.rstrip("\n").split("=", 1) for line in f)


def is_up(name):
    t = target(name)
    return t is not None and listens(int(t["port"]))


def rig_start():
    """The upstream, unless it is there. Whoever started it ends it."""
    if not has_rig():
        skip("there is no rig in %s: set RIG to its folder" % RIG)
    os.makedirs(RUN, exist_ok=True)
    if is_up("direct"):
        return
    print("  (starting the rig's upstream; the first time it also writes 1.3 GB of mail)", flush=True)
    stack.append(lambda: rig("upstream.sh", "stop", RTTS=TRIPS))
    rig("upstream.sh", "start", RTTS=TRIPS)


def rig_need(*names):
    """The upstream, its relays, and the peers named."""
    need_popgate()
    rig_start()
    for name in names:
        if is_up(name):
            continue
        if not name.startswith("imapc"):
            skip("the rig's upstream was started without %s" % name)
        env = {"RTT": re.search(r"(\d+)ms", name).group(1), "UPTLS": "1" if name.endswith("uptls") else "0"}
        stack.append(lambda env=env: rig("peer-imapc.sh", "stop", **env))
        rig("peer-imapc.sh", "start", **env)


def serve(name, port, tls_port, command, rtt=0):
    """Starts a program as a target of the rig, in a cgroup of its own."""
    if target(name):
        rig("peer-cmd.sh", "stop", name)
    stack.append(lambda: rig("peer-cmd.sh", "stop", name))
    rig("peer-cmd.sh", "start", name, str(port), str(tls_port or "-"), *command, RTT=str(rtt))
    return name


def speaks_imap(name):
    """Corrects the target: a peer that hands IMAP through."""
    path = os.path.join(RUN, "targets", name)
    with open(path) as f:
        text = f.read()
    write(path, text.replace("proto=pop3", "proto=imap"))
    return name


def serve_popgate(name, rtt=0, uptls=False, more=""):
    """popgate before the rig's upstream, as a target. `more`: lines of its [popgate]. Returns its name."""
    up = target("direct-%dms" % rtt if rtt else "direct")
    if not up:
        skip("the rig's upstream was started without one %d ms away" % rtt)
    ports = free_port(), free_port()
    where = "imaps://127.0.0.1:%s ca=%s/tls/ca.pem" % (up["tlsport"], RUN) if uptls else "imap://127.0.0.1:" + up["port"]
    folder = os.path.join(RUN, "popgate", name)
    shutil.rmtree(os.path.join(folder, "state"), ignore_errors=True)
    pair = ports[1], RUN + "/tls/cert.pem", RUN + "/tls/key.pem"
    conf = popgate_files(folder, where, ports[0], pair, more)
    return serve(name, ports[0], ports[1], [POPGATE, "-c", conf, "serve"], rtt)


def pid_of(name):
    with open(os.path.join(RUN, "peers", name, "pid")) as f:
        return int(f.read())


def serve_relay():
    """A bare TCP relay before the rig's upstream, as a target."""
    port, up = free_port(), target("direct")
    return speaks_imap(serve("relay", port, None, [os.path.join(RUN, "bin", "delay"), str(port), up["port"], "0"]))


def serve_nginx():
    """nginx's `stream`, TLS taken off and put on again, as a target; its clear port goes to the clear one."""
    if not shutil.which("nginx") or not os.path.exists(NGINX_MODULE):
        skip("nginx or its stream module is missing (package libnginx-mod-stream)")
    up, ports, folder = target("direct"), (free_port(), free_port()), os.path.join(RUN, "peers", "nginx-stream")
    os.makedirs(folder, exist_ok=True)
    write(os.path.join(folder, "nginx.conf"), """load_module %s;
daemon off;
user dovenull;
worker_processes 1;
worker_rlimit_nofile 20000;
pid %s/nginx.pid;
error_log %s/error.log;
events { worker_connections 8000; }
stream {
  ssl_certificate %s/tls/cert.pem;
  ssl_certificate_key %s/tls/key.pem;
  ssl_protocols TLSv1.2 TLSv1.3;
  proxy_ssl_trusted_certificate %s/tls/ca.pem;
  proxy_ssl_verify on;
  proxy_ssl_name localhost;
  proxy_ssl_protocols TLSv1.2 TLSv1.3;
  server { listen 127.0.0.1:%d; proxy_pass 127.0.0.1:%s; }
  server { listen 127.0.0.1:%d ssl; proxy_ssl on; proxy_pass 127.0.0.1:%s; }
}
""" % (NGINX_MODULE, folder, folder, RUN, RUN, RUN, ports[0], up["port"], ports[1], up["tlsport"]))
    command = ["nginx", "-c", folder + "/nginx.conf", "-e", folder + "/error.log"]
    return speaks_imap(serve("nginx-stream", ports[0], ports[1], command))


# --- work ----------------------------------------------------------------------------------------

BROKEN = ("size_bad", "stuff_bad", "bare_lf", "count_bad")


def bench(rounds, work, *targets):
    """Runs a work of bench.py on the targets in turn. Returns {target: [result of each round]}."""
    rounds = 1 if Choice.quick else rounds
    with tempfile.NamedTemporaryFile() as f:
        r = subprocess.run([os.path.join(RIG, "bench.py"), "-r", str(rounds), "-o", f.name, work] + list(targets),
                           stdout=subprocess.PIPE, env=dict(os.environ, RUN=RUN))
        with open(f.name) as lines:
            found_rows = [json.loads(line) for line in lines]
    found = {t: [j for j in found_rows if j["target"] == t] for t in targets}
    for t, js in found.items():
        errors = sum(j["errors"] for j in js) + sum(j[k] for j in js for k in BROKEN)
        if r.returncode != 0 or len(js) != rounds or errors:
            fail("%s on %s: %d of %d rounds, %d errors: %s" % (work, t, len(js), rounds, errors,
                                                              [e for j in js for e in j["errs"]]))
    same_contents(work, found)
    return found


def same_contents(work, found):
    if len({j["digest"] for js in found.values() for j in js if j["msgs"]}) > 1:
        fail("%s: the contents differ between %s" % (work, " ".join(found)))


def popload(name, *arguments):
    """One run of the rig's load generator on a target. Returns its result."""
    t = target(name)
    command = [os.path.join(RUN, "bin", "popload"), "-p", t["tlsport" if "-T" in arguments else "port"], "-w", PASSWORD]
    command += ["-I"] if t["proto"] == "imap" else []
    for key, of in (("p", t.get("acct")), ("up", t.get("upacct"))):
        command += ["--acct", key + "=" + of] if of else []
    r = subprocess.run(command + list(arguments), stdout=subprocess.PIPE)
    j = json.loads(r.stdout)
    if j["errors"] or any(j[k] for k in BROKEN):
        fail("popload on %s: %s" % (name, j["errs"] or {k: j[k] for k in BROKEN}))
    return j


def in_turn(rounds, work, *targets):
    """popload with the arguments `work` on each target, the order turning. Returns {target: [results]}."""
    found = {t: [] for t in targets}
    for n in range(1 if Choice.quick else rounds):
        for t in targets[n % len(targets):] + targets[:n % len(targets)]:
            found[t].append(popload(t, *work))
    same_contents(" ".join(work), found)
    return found


def short(name):
    return re.sub(r"-perf-disk-static-0ms|-perf-disk-static", "", name).replace("-50ms", " at 50 ms").replace("-100ms", " at 100 ms")


def compare(found, ours, peer, what, unit, get, goal=None):
    return say_pairs(what, unit, [get(j) for j in found[ours]], [get(j) for j in found[peer]], short(peer), goal)


def median(found, name, get):
    return statistics.median(get(j) for j in found[name])


def cpu_ms(j):
    return j["servers"]["p"]["cpu_ms"]


def cpu_per_session(j):
    return cpu_ms(j) / j["ok"]


def cpu_per_mb(j):
    return cpu_ms(j) / (j["bytes"] / 1e6)


def mb_per_s(j):
    return j["bytes"] / 1e3 / (j.get("retr_ms") or j["fetch_ms"])["p50"]


