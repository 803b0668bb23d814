"""The whole system, as its users run it: every process real, checked against the stand-ins' books."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BROKER = os.environ.get("BROKER", "embedded")

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(420)]


def demo(tmp_path: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    logs = tmp_path / "logs"
    command = [sys.executable, "-m", "sandbox.demo", "--broker", BROKER, "--keep-logs", str(logs), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else "{}"
    assert last.startswith("{"), done.stdout[-3000:] + done.stderr[-3000:]
    return done, json.loads(last)


def test_demo_ends_with_the_books_as_they_must_be(tmp_path: Path) -> None:
    done, figures = demo(tmp_path)
    assert done.returncode == 0, done.stdout[-4000:]
    assert figures["documents"] == 135
    assert (figures["doubles"], figures["lost"], figures["difference"]) == (0, 0, "0.00")
    assert figures["posted"] > 80
    assert figures["rejected"] > 10
    assert figures["held"] == 1
    assert figures["off_trace"] == 0, "every end carries on the trace that its source began"


def test_every_service_killed_three_times_changes_nothing(tmp_path: Path) -> None:
    done, figures = demo(tmp_path, "--kills", "3", "--seed", "11", "--seconds", "120")
    assert done.returncode == 0, done.stdout[-4000:]
    assert (figures["doubles"], figures["lost"], figures["difference"]) == (0, 0, "0.00")
    assert set(figures["kills"].values()) == {3}
    assert all(figures["restarts"][name] >= 3 for name in figures["kills"])
