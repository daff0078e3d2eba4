# SPDX-License-Identifier: MIT
"""The benchmarks still run: with tiny counts, those that need no peers (tests/bench/README)."""
import json
import os
import subprocess

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
RUN = os.path.join(HERE, "..", "bench", "run")
pytestmark = pytest.mark.popgate_only
FIGURES = {"hold": 6, "map": 2, "handshakes": 1, "again": 3}  # and the least number of rows


@pytest.mark.parametrize("figure", FIGURES)
def test_a_figure_is_measured(figure, program, tmp_path):
    folder = os.path.dirname(program)
    if not os.path.exists(os.path.join(folder, "tests", "bench", "hold")):
        pytest.skip("make tests/bench/imapd tests/bench/hold")
    environment = dict(os.environ, POPGATE=program)
    found = tmp_path / "found.json"
    done = subprocess.run([RUN, "--quick", "--json", str(found), figure], cwd=folder, env=environment, timeout=120,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    result = json.loads(found.read_text())
    assert result["skipped"] is None, done.stdout
    assert len(result["rows"]) >= FIGURES[figure], done.stdout
    assert all(isinstance(row["popgate"], (int, float)) for row in result["rows"])


def test_what_is_missing_is_said(program, tmp_path):
    found = tmp_path / "found.json"
    done = subprocess.run([RUN, "--json", str(found), "login"], cwd=tmp_path, timeout=30,
                          env=dict(os.environ, POPGATE=program, RIG=str(tmp_path / "none")), stdout=subprocess.PIPE)
    assert done.returncode == 0
    assert "there is no rig" in json.loads(found.read_text())["skipped"]
    assert b"skipped: there is no rig" in done.stdout


@pytest.mark.parametrize("words", [[], ["nothing"], ["all", "map"], ["-r", "0", "map"], ["--json"]])
def test_words_that_it_does_not_know(words):
    done = subprocess.run([RUN, *words], timeout=30, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert b"tests/bench/run [-r ROUNDS]" in done.stderr
