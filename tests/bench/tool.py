# SPDX-License-Identifier: MIT
"""What every figure needs: programs started and ended, popgate's files, and lines of the result.

A figure is a function without arguments. It prints what it finds by say() and compare(), which also
keep it for the table and for --json; it gives up by fail(), or by skip() when the machine lacks what
it needs. Whatever it starts it puts on `stack`, and end_all() ends it.
"""
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
POPGATE = os.path.abspath(os.environ.get("POPGATE", "popgate"))
stack = []  # how to end what was started, last first
rows = []   # what say() and compare() told


class Choice:
    """What the command line says; one object, so that all see it."""
    rounds, peer, quick = 3, False, False


class Skip(Exception):
    pass


def fail(why):
    sys.exit("bench: " + why)


def skip(why):
    raise Skip(why)


def need(path, how):
    if not os.access(path, os.X_OK):
        skip("%s is missing: %s" % (path, how))
    return path


def need_popgate():
    return need(POPGATE, "build it, or set POPGATE")


def need_tool(name):
    return need(os.path.abspath("tests/bench/" + name), "make tests/bench/" + name)


def need_root():
    if os.geteuid():
        skip("it starts servers that give rights up: it needs root")


# --- results --------------------------------------------------------------------------------------

def number(value):
    return "%.3g" % value if isinstance(value, float) and abs(value) < 1000 else "%.0f" % value


def spread(values):
    return "[%.3g-%.3g]" % (min(values), max(values))


def say(what, value, unit="", goal=None, good=None, note="", keep=True):
    """One line of the result; goal is a text, good whether it is met."""
    verdict = "" if goal is None else "  goal %s: %s" % (goal, "met" if good else "MISSED")
    print("  %-46s %8s %-8s%s%s" % (what, number(value), unit, verdict, "  " + note if note else ""), flush=True)
    if keep:
        rows.append({"what": what, "popgate": value, "unit": unit, "goal": goal, "met": good if goal else None, "note": note})


def is_met(goal, value):
    return value <= goal[1] if goal[0] == "<=" else value >= goal[1]


def say_pairs(what, unit, ours, peer, peer_name, goal=None):
    """A figure of ours, of the peer, and the median of the ratios of the pairs."""
    ratios = [a / b for a, b in zip(ours, peer) if b]
    ratio = statistics.median(ratios)
    text = goal and "%s %.3g" % goal
    good = None if goal is None else is_met(goal, ratio)
    say("%s: popgate" % what, statistics.median(ours), unit, note=spread(ours), keep=False)
    say("%s: %s" % (what, peer_name), statistics.median(peer), unit, note=spread(peer), keep=False)
    say("ratio of the pairs", ratio, "", text, good, spread(ratios), keep=False)
    rows.append({"what": what, "popgate": statistics.median(ours), "unit": unit, "peer": statistics.median(peer),
                 "peer_name": peer_name, "ratio": ratio, "spread": [min(ratios), max(ratios)], "goal": text, "met": good, "note": ""})
    return ratio


# --- processes ------------------------------------------------------------------------------------

def start(command, log, ready=None):
    """Starts a program; waits for a line of its output, or for a port. Returns (process, line)."""
    out = open(log, "w")
    p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=out,
                         stdout=subprocess.PIPE if ready is None else out)
    stack.append(lambda: end(p))
    if ready is None:
        return p, p.stdout.readline().decode()
    wait_port(ready, p, log)
    return p, ""


def end(p):
    if p.poll() is None:
        p.terminate()
        try:
            p.wait(10)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()


def end_all(to=0):
    while len(stack) > to:
        stack.pop()()


def tail(path):
    with open(path, errors="replace") as f:
        return f.read()[-2000:]


def wait_port(port, p=None, log=None):
    for _ in range(100):
        if p is not None and p.poll() is not None:
            fail("a server ended: " + tail(log))
        if listens(port):
            return
        time.sleep(0.1)
    fail("nothing listens on port %d" % port)


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def scratch():
    """A folder that ends with the figure; others than root may look into it."""
    folder = tempfile.mkdtemp(prefix="popgate-bench-")
    os.chmod(folder, 0o755)
    stack.append(lambda: shutil.rmtree(folder, ignore_errors=True))
    return folder


def status_kib(pid, field):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"^%s:\s+(\d+)" % field, f.read(), re.M).group(1))


def cpu_of(pid):
    """Seconds of CPU that a process has used, of all its threads: to the nanosecond where the kernel
    tells (of threads that live), else in clock ticks."""
    try:
        total = 0
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/schedstat" % (pid, task)) as f:
                total += int(f.read().split()[0])
        return total / 1e9
    except OSError:
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- popgate --------------------------------------------------------------------------------------

def write(path, text):
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, 0o600)


def popgate_files(folder, upstream, port, tls=None, more=""):
    """A configuration in which every name is passed through to one upstream. `tls`: (port, certificate,
    key) of a listener; `more`: lines of [popgate]. Returns its path."""
    os.makedirs(folder, exist_ok=True)
    conf = os.path.join(folder, "popgate.conf")
    text = "[popgate]\nmap = %s/popgate.map\nstate = %s/state\n%s" % (folder, folder, more)
    if tls:
        text += "cert = %s\nkey = %s\n[listener tls]\naddress = 127.0.0.1:%d\ntls = implicit\n" % (tls[1], tls[2], tls[0])
    text += "[listener clear]\naddress = 127.0.0.1:%d\ntls = none\ncleartext = allow-loopback\n" % port
    write(conf, text)
    write(os.path.join(folder, "popgate.map"), "* upstream=%s\n" % upstream)
    os.makedirs(os.path.join(folder, "state"), exist_ok=True)
    return conf


def knows_key(key):
    """Whether this popgate has a key of [popgate], for figures that compare with and without."""
    folder = tempfile.mkdtemp(prefix="popgate-bench-")
    try:
        conf = popgate_files(folder, "imap://127.0.0.1:1", 1, more=key + "\n")
        done = subprocess.run([POPGATE, "-c", conf, "check"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return done.returncode == 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)
