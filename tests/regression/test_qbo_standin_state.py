"""The QuickBooks stand-in died of SIGTERM before it wrote its state file: uvicorn raises a caught signal again at its end."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx


class _Process:
    def __init__(self, state: Path) -> None:
        command = [sys.executable, "-m", "sandbox.qbo", "--port", "0", "--state-file", str(state)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.facts: dict[str, Any] = json.loads(self.process.stdout.readline())

    def customers(self) -> list[str]:
        answer = httpx.get(f"{self.facts['control_url']}/books/Customer", trust_env=False)
        return [customer["DisplayName"] for customer in answer.json()]

    def create(self, name: str) -> None:
        url = f"{self.facts['base_url']}/v3/company/{self.facts['realm_id']}/customer"
        headers = {"Authorization": f"Bearer {self.facts['access_token']}"}
        assert httpx.post(url, headers=headers, json={"DisplayName": name}, trust_env=False).status_code == 200

    def end(self, signum: signal.Signals) -> int:
        self.process.send_signal(signum)
        status = self.process.wait(60)
        assert self.process.stdout
        self.process.stdout.close()
        return status


def test_state_survives_a_signal(tmp_path: Path) -> None:
    for signum in (signal.SIGTERM, signal.SIGINT):
        first = _Process(tmp_path / "state")
        first.create(f"Kept over {signum.name}")
        assert first.end(signum) == 0
    last = _Process(tmp_path / "state")
    assert {"Kept over SIGTERM", "Kept over SIGINT"} <= set(last.customers())
    assert last.end(signal.SIGTERM) == 0
