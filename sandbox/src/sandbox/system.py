"""The whole system on one machine: the stack, the stand-ins, migrations and the four services as separate processes.

`make demo`, `make up`, the end-to-end tests and the benchmark run on it. It configures services by environment variables only, as
a deployment does, and imports none of them.
"""

import asyncio
import base64
import contextlib
import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import httpx

from sandbox.sheets.generating import DIRECTIONS
from sandbox.stack.processes import ManagedProcess, ProcessFailedError, Supervisor, free_port
from sandbox.stack.stack import Stack

SERVICES = ("emr-poller", "sheet-watcher", "qbo-writer", "webhook-gateway")
STAND_INS = ("qbo", "emr", "sheets")


class System:
    """The running system. `environment` overrides each service's settings; `standins` says which systems are stand-ins.

    Call `start()` inside `async with stack`; `first["qbo"]` and so on have the stand-ins' first lines.
    """

    def __init__(
        self,
        stack: Stack,
        directory: Path,
        *,
        environment: Mapping[str, str] | None = None,
        standins: tuple[str, ...] = STAND_INS,
        standin_options: Mapping[str, tuple[str, ...]] | None = None,
        ports: Mapping[str, int] | None = None,
        forward: TextIO | None = None,
        seed: int = 7,
    ) -> None:
        self.stack, self.directory, self.seed = stack, directory, seed
        self.environment = dict(environment or {})
        self.standins, self.standin_options = standins, dict(standin_options or {})
        self.ports = {name: (ports or {}).get(name) or free_port() for name in SERVICES}
        self.first: dict[str, dict[str, Any]] = {}
        self.forward = forward
        self.http = httpx.AsyncClient(timeout=30, trust_env=False)

    @property
    def supervisor(self) -> Supervisor:
        """The stack's supervisor: `kill`, `pause`, `resume` by name."""
        return self.stack.supervisor

    async def start_standins(self) -> None:
        """Start the stand-ins concurrently and keep their first lines."""
        await asyncio.gather(*(self._start_standin(name) for name in self.standins))

    async def _start_standin(self, name: str) -> None:
        command = [sys.executable, "-m", "sandbox.main", name, "--seed", str(self.seed), *self.standin_options.get(name, ())]
        process = await self.supervisor.start(f"standin-{name}", command, first_line=True, restart=False, ready_within=30)
        self.first[name] = process.first

    async def migrate(self) -> None:
        """Migrate the database."""
        await self._run("migrate", "bookrelay_deploy.main", "migrate")

    async def _run(self, name: str, module: str, *arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", f"from {module} import main; main()", *arguments,
            env={"DEPLOY_WAIT_SECONDS": "10", **os.environ, **self.environment, **self.common()},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:  # stopped meanwhile
                process.kill()
                await process.wait()
        (self.directory / f"{name}.log").write_bytes(output)
        if process.returncode:
            text = output.decode(errors="replace")
            reason = next((line for line in text.splitlines() if line.startswith("bookrelay-deploy: ")), f"\n{text[-2000:]}")
            raise ProcessFailedError(f"{name} ended with exit status {process.returncode}: {reason}")

    def common(self) -> dict[str, str]:
        """Return the settings of every service."""
        return {"DATABASE_URL": self.stack.database_url, "KAFKA_BOOTSTRAP_SERVERS": self.stack.bootstrap_servers}

    def service_environment(self, name: str) -> dict[str, str]:
        """Return the environment of one service: common settings, the stand-ins' settings, then the caller's overrides."""
        own = {**self.common(), "HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(self.ports[name])}
        if qbo := self.first.get("qbo"):
            own["QBO_REALM_ID"] = str(qbo["realm_id"])
        part = {
            "emr-poller": self._emr, "sheet-watcher": self._sheets, "qbo-writer": self._qbo, "webhook-gateway": self._webhooks
        }[name]  # fmt: skip
        return {**own, **part(), **self.environment}

    def _emr(self) -> dict[str, str]:
        if not (emr := self.first.get("emr")):
            return {}
        headers = emr["headers"]
        return {
            "EMR_BASE_URL": emr["base_url"], "EMR_CLIENT_ID": headers["client-id"], "EMR_CLIENT_SECRET": headers["client-secret"],
            "EMR_SUBSCRIPTION_KEY": headers.get("subscription-key", ""),
        }  # fmt: skip

    def _sheets(self) -> dict[str, str]:
        if not (sheets := self.first.get("sheets")):
            return {}
        directions = self.directory / "qb_directions.json"
        if not directions.exists():
            directions.write_text(json.dumps(DIRECTIONS, indent=2))
        return {
            "SHEETS_BASE_URL": sheets["base_url"], "SHEETS_SPREADSHEET_ID": sheets["spreadsheet_id"],
            "GOOGLE_CREDENTIALS_FILE": sheets["credentials_file"], "QB_DIRECTIONS_FILE": str(directions),
        }  # fmt: skip

    def _qbo(self) -> dict[str, str]:
        own = {"QBO_TOKEN_ENCRYPTION_KEYS": self._encryption_key()}
        if not (qbo := self.first.get("qbo")):
            return own
        return own | {
            "QBO_BASE_URL": qbo["base_url"], "QBO_TOKEN_URL": qbo["token_url"], "QBO_REVOKE_URL": qbo["revoke_url"],
            "QBO_AUTHORIZE_URL": qbo["authorize_url"], "QBO_CLIENT_ID": qbo["client_id"],
            "QBO_CLIENT_SECRET": qbo["client_secret"], "QBO_INITIAL_REFRESH_TOKEN": qbo["refresh_token"],
            "QBO_DEFAULT_ITEM_ID": "1", "COMPANY_POLICY_FILE": str(self._policy()),
        }  # fmt: skip

    def _policy(self) -> Path:
        path = self.directory / "company-policy.toml"
        if not path.exists():
            path.write_text(Path(__file__).with_name("demo-policy.toml").read_text())
        return path

    def _encryption_key(self) -> str:
        """Return the key for tokens at rest: created once, kept with the state."""
        path = self.directory / "token-key"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
        return path.read_text()

    def _webhooks(self) -> dict[str, str]:
        return {"QBO_WEBHOOK_VERIFIER_TOKENS": qbo["webhook_verifier_token"]} if (qbo := self.first.get("qbo")) else {}

    async def start_services(self, names: tuple[str, ...] = SERVICES, *, ready_within: float | None = 60) -> None:
        """Start services, each as a process that is restarted if it ends unexpectedly, and wait until they are ready."""
        await asyncio.gather(*(self._start_service(name, ready_within) for name in names))

    async def _start_service(self, name: str, ready_within: float | None) -> ManagedProcess:
        return await self.supervisor.start(
            name, _command(name), env=self.service_environment(name), ready_url=f"{self.url(name)}/health/ready",
            forward=self.forward, ready_within=ready_within,
        )  # fmt: skip

    async def start_standby(self, name: str, instance: str) -> None:
        """Start another process of a service, `instance`, which is not restarted; return when its loops are running."""
        address = f"http://127.0.0.1:{(port := free_port())}"
        environment = {**self.service_environment(name), "HTTP_PORT": str(port)}
        process = await self.supervisor.start(instance, _command(name), env=environment, restart=False, ready_within=None)
        # Loops run while its consumers join, which can take long on the embedded broker after another member was killed.
        while not await self._runs(address):
            if not process.running:
                raise ProcessFailedError(f"{instance} ended; see {process.log_path}")
            await asyncio.sleep(0.05)

    async def _runs(self, address: str) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            answer = await self.http.get(f"{address}/health/ready")
            return answer.status_code == 200 or "consumers join" in answer.text
        return False

    def url(self, name: str) -> str:
        """Return the URL of a service."""
        return f"http://127.0.0.1:{self.ports[name]}"

    async def register_webhooks(self) -> None:
        """Register the gateway as webhook endpoint with the QuickBooks stand-in."""
        target = f"{self.url('webhook-gateway')}/webhooks/intuit"
        await self.control("qbo", "POST", "/webhooks", {"url": target, "format": "cloudevents"})

    async def control(self, standin: str, method: str, path: str, body: Any = None) -> Any:
        """Call a stand-in's control API; `path` is below its control_url."""
        response = await self.http.request(method, self.first[standin]["control_url"] + path, json=body)
        if response.is_error:
            raise ProcessFailedError(f"{standin}: {method} {path} answered {response.status_code}: {response.text[:500]}")
        return json.loads(response.text, parse_float=_decimal) if response.content else None

    async def close(self) -> None:
        """Stop the services gracefully, then the stand-ins."""
        services = [name for name in SERVICES if name in self.supervisor.processes]
        await self.supervisor.stop(*services, within=20)
        await self.supervisor.stop(*(f"standin-{name}" for name in self.first))
        await self.http.aclose()


def _command(name: str) -> list[str]:
    return [sys.executable, "-c", f"from {name.replace('-', '_')}.main import main; main()"]


def _decimal(text: str) -> Any:
    from decimal import Decimal

    return Decimal(text)
