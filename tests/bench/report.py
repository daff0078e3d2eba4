# SPDX-License-Identifier: MIT
"""Many figures in one run: each in a process of its own with a limit of time, and what they found as a
table and as JSON."""
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile

from tool import POPGATE, number

ENDING_S = 60  # a figure whose time is up may take so long to end what it started


def end_figure(p):
    p.terminate()
    try:
        p.communicate(timeout=ENDING_S)
    except subprocess.TimeoutExpired:
        p.kill()
        p.communicate()


def measure(program, figure, limit_s, options):
    """One figure. Returns (rows, why it was skipped or failed or None)."""
    with tempfile.NamedTemporaryFile() as f:
        p = subprocess.Popen([sys.executable, program] + options + ["--json", f.name, figure], stderr=subprocess.PIPE)
        try:
            _, words = p.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            end_figure(p)
            return [], "failed: not done in %d s" % limit_s
        except BaseException:  # we are ended ourselves
            end_figure(p)
            raise
        text = words.decode(errors="replace").strip()
        if text:
            print("  " + text, flush=True)
        with open(f.name) as lines:
            found = json.loads(lines.read() or "{}")
    if p.returncode:
        lines = text.splitlines() or ["status %d" % p.returncode]
        return [], "failed: " + next((line for line in lines if line.startswith("bench: ")), lines[-1])
    for row in found["rows"]:
        row["figure"] = figure
    return found["rows"], found["skipped"]


def cell(value, unit=""):
    return "" if value is None else (number(value) + " " + unit).strip()


def table(rows, skipped):
    """The rows as text, columns as wide as they must be."""
    lines = [("figure", "what", "popgate", "peer", "ratio [pairs]", "goal", "")]
    for row in rows:
        peer = "%s %s" % (row["peer_name"], cell(row["peer"])) if "peer" in row else ""
        ratio = "%s [%s-%s]" % (number(row["ratio"]), *map(number, row["spread"])) if "ratio" in row else ""
        met = {None: "", True: "met", False: "MISSED"}[row["met"]]
        lines.append((row["figure"], row["what"], cell(row["popgate"], row["unit"]), peer, ratio, row["goal"] or "", met))
    widths = [max(len(line[k]) for line in lines) for k in range(7)]
    text = "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip() for line in lines)
    return text + "".join("\n%s: %s" % pair for pair in skipped.items())


def machine():
    model = ""
    try:
        with open("/proc/cpuinfo") as f:
            model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "")
    except OSError:
        pass
    done = subprocess.run([POPGATE, "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return {"at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "cpu": model, "cores": os.cpu_count(),
            "kernel": platform.release(), "load": os.getloadavg()[0], "popgate": (done.stdout.decode().split("\n") or [""])[0]}


def write_json(path, rows, skipped, **more):
    with open(path, "w") as f:
        json.dump(dict(more, rows=rows, skipped=skipped), f, indent=1)
        f.write("\n")
