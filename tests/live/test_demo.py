# SPDX-License-Identifier: MIT
"""What a newcomer sees first: the demo, and the one line it tells him to try."""
import os
import re
import shutil
import signal
import subprocess

import pytest

import rig

pytestmark = pytest.mark.popgate_only
TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def test_demo(program, tmp_path):
    if rig.listens(1110) or rig.listens(1995):
        pytest.skip("a port of the demo is taken")
    shutil.copytree(os.path.join(TOP, "docs", "demo"), tmp_path / "docs" / "demo")
    shutil.copy(program, tmp_path / "popgate")
    with open(tmp_path / "told", "wb") as told:
        demo = subprocess.Popen([tmp_path / "docs" / "demo" / "run"], stdin=subprocess.DEVNULL,
                                stdout=told, stderr=subprocess.STDOUT)
    try:
        rig.wait_until(lambda: rig.listens(1110) and rig.listens(1995), 20, "the demo")
        text = (tmp_path / "told").read_text()
        assert "serves 12 messages to user demo, password demo" in text
        line = re.search(r"^ *(curl .*)$", text, re.M).group(1)
        tried = subprocess.run(line.split(), capture_output=True, check=True)
        assert b"Subject: Welcome to popgate" in tried.stdout
        cert = re.search(r"--cacert (\S+?)\.? ", text).group(1)
        listed = subprocess.run(["curl", "-s", "--cacert", cert, "-u", "demo:demo",
                                 "pop3s://localhost:1995/"], capture_output=True, check=True)
        assert len(listed.stdout.splitlines()) == 12
    finally:
        demo.send_signal(signal.SIGINT)
        assert demo.wait(20) == 0
