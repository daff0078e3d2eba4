# SPDX-License-Identifier: MIT
"""Many sessions held at once: what each costs, and how the others fare."""
import os
import re
import resource
import subprocess

from logins import cold
from peers import IMAPC, bench, rig_need, serve_popgate, short
from tool import POPGATE, Choice, fail, free_port, need_popgate, need_tool, popgate_files, say, scratch, skip, start, status_kib, tail

HELD = 9500  # each needs two descriptors of popgate's, and there are 20,000 where these figures come from


def idle(tls=False):
    imapc = IMAPC % 0 + ("-uptls" if tls else "")
    rig_need(*([imapc] if Choice.peer else []))
    ours = serve_popgate("popgate-uptls" if tls else "popgate", uptls=tls)
    goal = 75 if tls else 32
    # imapc does not get 400 TLS logins done in the load generator's time on a busy machine
    for t, k in ((ours, 400), (imapc, 200))[:2 if Choice.peer else 1]:
        j = bench(1, ("idle400" if k == 400 else "idle") + ("/tls" if tls else ""), t)[t][0]
        s, held = j["servers"]["p"], j["held"]
        kib = (s["pss_kb"] - s["pss0_kb"]) / held
        if held != k:
            fail("%s held %d sessions of %d" % (t, held, k))
        say("PSS a session, %d held: %s" % (k, short(t)), kib, "KiB", "<= %d" % goal if t == ours else None, kib <= goal,
            "%d processes, %.1f MB in all" % (s["procs"], s["pss_kb"] / 1024), keep=t == ours)


def hold():
    need_popgate()
    programs = [need_tool(p) for p in ("imapd", "hold")]
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    sessions = 50 if Choice.quick else min(HELD, (files - 400) // 2) if files != resource.RLIM_INFINITY else HELD
    if sessions < 50:
        skip("the limit of descriptors is %d" % files)
    folder = scratch()
    _, line = start([programs[0]], os.path.join(folder, "imapd.log"))
    port = free_port()
    more = "max_sessions = %d\n" % (sessions + 100)
    conf = popgate_files(folder, "imap://127.0.0.1:%d" % int(line.split()[1]), port, more=more + cold())
    p, _ = start([POPGATE, "-c", conf, "serve"], os.path.join(folder, "popgate.log"), port)
    small = ["-t", "2", "-l", "1", "-m", "1000"] if Choice.quick else []
    done = subprocess.run([programs[1], "-k", str(sessions), *small, str(port), str(p.pid)], stdout=subprocess.PIPE)
    out = done.stdout.decode()
    if done.returncode or "FAILED" in out or "quit" not in out:
        fail("hold: %s\n%s" % (out.strip(), tail(os.path.join(folder, "popgate.log"))))
    tell(p, sessions, {line.split()[0]: dict(re.findall(r"(\w+)=(\S+)", line)) for line in out.splitlines()})


def tell(p, sessions, found):
    get = lambda line, key: float(found[line][key])
    held = int(get("open", "sessions"))
    say("sessions held, each with its upstream", held, "", ">= %d" % sessions, held >= sessions, "opened in %s s" % found["open"]["seconds"])
    say("PSS a session", get("memory", "kib_per_session"), "KiB", "<= 32", get("memory", "kib_per_session") <= 32)
    say("peak RSS with the listers", status_kib(p.pid, "VmHWM") / 1024, "MB")
    for name, text in (("login", "logins, 50 at a time: p99"), ("poll", "UIDL in each in turn: p99")):
        say(text, get(name, "p99_ms"), "ms", note="p50 %s, max %s, n=%s" % (found[name]["p50_ms"], found[name]["max_ms"], found[name]["n"]))
    for name, text in (("noop_alone", "NOOP alone"), ("noop_beside_listers", "NOOP beside three listers")):
        p99 = get(name, "p99_ms")
        goal = "< 50" if "listers" in name else None
        missing = " MISSING %s" % found[name + "_missing"]["n"] if name + "_missing" in found else ""
        say(text + ": p99", p99, "ms", goal, p99 < 50 and not missing,
            "p50 %s, max %s, own lag p99 %s ms%s" % (found[name]["p50_ms"], found[name]["max_ms"],
                                                    found[name + "_lag"]["p99_ms"], missing))
    say("a lister's session, 100,000 messages: p50", get("listing", "p50_ms"), "ms", note="n=%s" % found["listing"]["n"])


FIGURES = {"idle": (idle, 90), "idle-tls": (lambda: idle(True), 120), "hold": (hold, 240)}
