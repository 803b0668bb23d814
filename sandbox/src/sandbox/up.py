"""`make up`: the same system, running until Ctrl-C. State is kept in .bookrelay/ and survives a restart.

Sources and books are stand-ins unless the environment (or .env) has their credentials: QBO_CLIENT_ID, EMR_CLIENT_ID,
GOOGLE_CREDENTIALS_FILE. With KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL it uses existing servers.
"""

import argparse
import asyncio
import fcntl
import json
import os
import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from bookrelay import topics
from bookrelay.errors import BookrelayError
from bookrelay_deploy.settings import DeploySettings
from dotenv import dotenv_values
from rich.console import Console

from sandbox.stack.processes import ProcessFailedError
from sandbox.stack.stack import Stack
from sandbox.system import SERVICES, System

CREDENTIALS = {"qbo": "QBO_CLIENT_ID", "emr": "EMR_CLIENT_ID", "sheets": "GOOGLE_CREDENTIALS_FILE"}
NAMES = {"qbo": "QuickBooks Online and Intuit OAuth", "emr": "4D EMR", "sheets": "Google Sheets"}
FIRST_PORTS = {"emr-poller": 8101, "sheet-watcher": 8102, "qbo-writer": 8103, "webhook-gateway": 8104}
STANDIN_PORTS = {"qbo": 8201, "emr": 8202, "sheets": 8203}
BROKER_PORT = 8192


def settings_of(env_file: Path) -> dict[str, str]:
    """Return the settings from .env and the environment; the environment takes precedence."""
    values = {k: v for k, v in dotenv_values(env_file).items() if v} if env_file.exists() else {}
    servers = tuple(name for name in os.environ if name.startswith(("KAFKA_", "DATABASE_")))
    names = (*values, *CREDENTIALS.values(), *servers)
    return values | {name: os.environ[name] for name in names if os.environ.get(name)}


def for_services(given: Mapping[str, str]) -> dict[str, str]:
    """Return the overrides of the services' settings, without users and TLS for a Kafka or Postgres started here."""
    ours = ["DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS", "HTTP_PORT", "HTTP_HOST"]
    if not given.get("KAFKA_BOOTSTRAP_SERVERS"):
        ours += ["KAFKA_SECURITY_PROTOCOL", *(name for name in given if name.startswith(("KAFKA_SASL_", "KAFKA_SSL_")))]
    if not given.get("DATABASE_URL"):
        ours += [name for name in given if name.startswith(("DATABASE_SSL_", "DATABASE_PASSWORD"))]
    return {name: value for name, value in given.items() if name not in ours}


def standin_options(directory: Path, standins: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the stand-ins' options: fixed ports and state files."""
    options: dict[str, tuple[str, ...]] = {
        name: ("--port", str(STANDIN_PORTS[name]), "--state-file", str(directory / f"standin-{name}.state")) for name in standins
    }
    if "sheets" in options:
        options["sheets"] += ("--credentials", str(directory / "service-account.json"))
    return options


def only_one(directory: Path) -> IO[str]:
    """Lock the state directory, so that two systems do not use it at once."""
    directory.mkdir(parents=True, exist_ok=True)
    lock = (directory / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ProcessFailedError(
            f"another `make up` is running on {directory}. Stop it with Ctrl-C, or use another --directory."
        ) from None
    return lock


async def run(options: argparse.Namespace, console: Console) -> int:
    """Start, wait for Ctrl-C, stop."""
    directory: Path = options.directory.resolve()
    lock = only_one(directory)
    given = settings_of(Path(options.env_file))
    standins = tuple(name for name, variable in CREDENTIALS.items() if not given.get(variable))
    specs = [(t.name, t.partitions, t.config()) for t in topics.all_topics()]
    stop = asyncio.Event()
    console.print(f"state in {directory}; starting Postgres and the broker ({options.broker}) ...")
    managed = given.get("KAFKA_BOOTSTRAP_SERVERS")
    stack = Stack(
        kafka_security=DeploySettings.load(given).kafka_security() if managed else None,
        broker=options.broker, directory=directory, topics=specs, broker_port=BROKER_PORT,
        database_url=given.get("DATABASE_URL"), kafka_bootstrap_servers=given.get("KAFKA_BOOTSTRAP_SERVERS"),
    )  # fmt: skip

    def end() -> None:
        stack.supervisor.expect_the_end()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)
    stack.supervisor.report = lambda line: console.print(f"  {line}")
    async with stack:
        keeping = asyncio.create_task(stack.keep_up(stack.supervisor.report), name="keep up")
        system = System(
            stack, directory, environment=for_services(given),
            standins=standins, standin_options=standin_options(directory, standins),
            ports=FIRST_PORTS, forward=sys.stdout if options.logs else None,
        )  # fmt: skip
        try:
            await _start(system, console, stop)
            if not stop.is_set():
                write_environment(system, directory)
                show(system, console)
            await stop.wait()
            keeping.cancel()
            console.print("\nstopping ...")
        finally:
            keeping.cancel()
            await system.close()
    lock.close()
    console.print("stopped; the state is kept in " + str(directory) + " (make reset deletes it)")
    return 0


async def _start(system: System, console: Console, stop: asyncio.Event) -> None:
    starting = asyncio.create_task(_start_all(system))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not starting.done():
        starting.cancel()
        console.print("stopped while starting")
        await asyncio.wait({starting})
    else:
        starting.result()


async def _start_all(system: System) -> None:
    await asyncio.gather(system.start_standins(), system.migrate())
    await system.start_services(ready_within=None)  # they wait for unavailable servers; readiness is shown below
    await asyncio.gather(*(_soon_ready(system, name) for name in SERVICES))
    if "qbo" in system.first:
        await system.register_webhooks()


async def _soon_ready(system: System, name: str) -> None:
    try:
        await system.supervisor[name].wait_ready(20)
    except ProcessFailedError:
        return  # its reason is shown


def write_environment(system: System, directory: Path) -> None:
    """Save the writer's environment for operator commands: `make qbo-writer`."""
    path = directory / "qbo-writer.env"
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)  # it contains secrets
    given = system.service_environment("qbo-writer")
    path.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in given.items() if name != "HTTP_PORT"))


def show(system: System, console: Console) -> None:
    """Print the addresses and a line for each service."""
    console.print("\n[bold]bookrelay is up[/bold]")
    for name in SERVICES:
        console.print(f"  {name:<16} {system.url(name)}  {state(system, name)}")
    console.print(f"  {'Kafka':<16} {system.stack.bootstrap_servers}")
    console.print(f"  {'Postgres':<16} {without_password(system.stack.database_url)}")
    for standin, words in NAMES.items():
        if first := system.first.get(standin):
            page = "  books: open it in a browser" if standin == "qbo" else ""
            console.print(f"  stand-in: {words:<34} {first['base_url']}  (control {first['control_url']}){page}")
        else:
            console.print(f"  real:     {words:<34} configured")
    console.print("  for operators: make qbo-writer ARGS=status    (commands: docs/runbook.md)")
    console.print(f"  logs: {system.supervisor.log_directory}    Ctrl-C stops everything\n")


def state(system: System, name: str) -> str:
    """Return whether a service is ready, or why not."""
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(f"{system.url(name)}/health/ready", timeout=3):  # noqa: S310
            return "ready"
    except urllib.error.HTTPError as error:
        reasons: list[Any] = json.loads(error.read()).get("reasons", [])
        return "not ready: " + "; ".join(str(reason) for reason in reasons)
    except OSError:
        if system.supervisor[name].running:
            return "starting: not responding yet"
        log = system.supervisor[name].log_path
        text = log.read_text(errors="replace") if log.exists() else ""
        lines = [line for line in text.splitlines() if line.startswith(f"{name}: ")]
        return "not running: " + (lines[-1] if lines else f"see {log}")


def without_password(url: str) -> str:
    """Hide the password of a database address."""
    head, _, tail = url.rpartition("@")
    return f"{head.split('://')[0]}://...@{tail}" if head else url


def main() -> None:
    """Run and exit: 0 after Ctrl-C, else 1 with a reason."""
    parser = argparse.ArgumentParser(prog="make up", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--broker", choices=("embedded", "kafka"), default="kafka")
    parser.add_argument("--directory", type=Path, default=Path(".bookrelay"))
    parser.add_argument("--env-file", default=".env")
    parser.add_argument("--logs", action="store_true", help="show the services' logs here")
    console = Console(highlight=False, soft_wrap=True)
    try:
        sys.exit(asyncio.run(run(parser.parse_args(), console)))
    except (ProcessFailedError, BookrelayError) as error:
        print(f"up: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
