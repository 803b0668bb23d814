"""`bookrelay-deploy`: migrate, topics, check-drift, new-migration, squash-initial, env-example, faults.

Exit status 0 on success, else 1 with one line on stderr: what is wrong and what to do.
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from bookrelay.errors import BookrelayError, TransientError
from bookrelay.servers import Server

from bookrelay_deploy.settings import DeploySettings

T = TypeVar("T")


def main(arguments: list[str] | None = None) -> None:
    """Run one command."""
    given = _parser().parse_args(arguments)
    try:
        status = given.run(given)
        sys.exit(asyncio.run(status) if asyncio.iscoroutine(status) else status)
    except BookrelayError as error:
        print(f"bookrelay-deploy: {error.sentence()}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bookrelay-deploy", description="Migrations, topics and the settings reference.")
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, run: Callable[[argparse.Namespace], Awaitable[int] | int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    migrate = add("migrate", _migrate, "Upgrade the services' schemas to the latest revision.")
    migrate.add_argument("services", nargs="*", metavar="service", help="only these (default: all with tables)")
    add("topics", _topics, "Create missing Kafka topics; warn if existing ones differ.")
    drift = add("check-drift", _check_drift, "Exit 1 if a migrated database differs from the declared tables.")
    drift.add_argument("services", nargs="*", metavar="service")
    new = add("new-migration", _new_migration, "Generate a migration from the changes of a service's tables.")
    new.add_argument("service")
    new.add_argument("message", help="what it does, e.g. 'add batch_id to attempts'")
    squash = add("squash-initial", _squash_initial, "Regenerate the initial migrations (only before the first release).")
    squash.add_argument("services", nargs="*", metavar="service")
    example = add("env-example", _env_example, "Print .env.example: every setting of every service.")
    example.add_argument("--write", metavar="FILE", help="write it there")
    example.add_argument("--compose", metavar="FILE", help="also list each service's settings in this docker-compose.yml")
    example.add_argument("--check", metavar="FILE", help="exit 1 if FILE differs")
    reference = add("faults", _faults, "Print docs/faults.md: what QuickBooks' error codes mean here.")
    reference.add_argument("--write", metavar="FILE", help="write it there")
    reference.add_argument("--check", metavar="FILE", help="exit 1 if FILE differs")
    return parser


async def _until_there(settings: DeploySettings, server: Server, attempt: Callable[[], Awaitable[T]]) -> T:
    """Retry until Postgres or Kafka is available; give up with a reason after DEPLOY_WAIT_SECONDS."""
    from aiokafka.errors import KafkaError
    from bookrelay.causes import cause_of
    from bookrelay.db import TRANSIENT_POSTGRES
    from bookrelay.retrying import retrying

    passing, seconds = (*TRANSIENT_POSTGRES, KafkaError, TransientError), settings.deploy_wait_seconds

    async def why(error: Exception) -> BookrelayError:
        return await server.why_not() or BookrelayError(
            f"{server.name} answers, but the command failed: {cause_of(error).text}.", "Run it again."
        )

    async def failed(error: Exception) -> None:
        print(f"waiting: {(await why(error)).reason}", flush=True)  # not on stderr: its first line is the reason in the end

    try:
        return await retrying(
            attempt, passes=lambda error: isinstance(error, passing), failed=failed, first=0.1, most=2.0, seconds=seconds
        )
    except passing as error:
        because = await why(error)
        raise BookrelayError(f"{because.reason} Gave up after {seconds:g} s.", because.fix) from None


async def _with_postgres(settings: DeploySettings, attempt: Callable[[], Awaitable[T]]) -> T:
    from bookrelay.db import postgres_server

    return await _until_there(settings, postgres_server(settings), attempt)


def _chosen(names: list[str]) -> tuple[str, ...]:
    from bookrelay_deploy.schemas import choose, owners

    try:
        return choose(names)
    except KeyError as error:
        raise BookrelayError(f"No service with tables is called {error.args[0]}.", f"Use {', '.join(owners())}.") from None


async def _migrate(given: argparse.Namespace) -> int:
    from bookrelay_deploy.migrating import migrate

    settings, services = DeploySettings.load(), _chosen(given.services)
    dsn = settings.postgres_dsn()
    done = await _with_postgres(settings, lambda: migrate(dsn, services))
    for service, what in done.items():
        print(f"{service}: {what}")
    return 0


async def _topics(_: argparse.Namespace) -> int:
    from bookrelay.kafka_probe import kafka_server
    from bookrelay.topics import all_topics

    from bookrelay_deploy.provisioning import Provisioned, provision

    settings = DeploySettings.load()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # our own line reports the error
    server, probe = kafka_server(settings, "bookrelay-deploy", settings.kafka_security())

    async def attempt() -> Provisioned:
        if why := await server.why_not():  # before starting a client, whose error would be less specific
            raise TransientError(why.reason)
        return await provision(settings, all_topics())

    try:
        done = await _until_there(settings, server, attempt)
    finally:
        probe.close()
    for name in done.created:
        print(f"{name}: created")
    for name in done.existing:
        print(f"{name}: exists")
    for warning in done.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return 0


async def _check_drift(given: argparse.Namespace) -> int:
    from bookrelay_deploy.migrating import drift

    settings, services = DeploySettings.load(), _chosen(given.services)
    dsn = settings.postgres_dsn()
    found = await _with_postgres(settings, lambda: drift(dsn, services))
    for service, differences in found.items():
        for difference in differences:
            print(f"{service}: {difference}", file=sys.stderr)
    if any(found.values()):
        print(
            "The tables have changed without a migration. Run `bookrelay-deploy new-migration <service> <text>`.", file=sys.stderr
        )
        return 1
    print(f"no drift: {', '.join(found)}")
    return 0


async def _new_migration(given: argparse.Namespace) -> int:
    from bookrelay_deploy.migrating import migrate, new_migration

    settings, (service,) = DeploySettings.load(), _chosen([given.service])
    dsn = settings.postgres_dsn()
    await _with_postgres(settings, lambda: migrate(dsn, [service]))
    print(await new_migration(dsn, service, given.message))
    return 0


def _squash_initial(given: argparse.Namespace) -> int:
    from bookrelay_deploy.migrating import squash_initial

    for service in _chosen(given.services):
        print(squash_initial(service))
    return 0


def _env_example(given: argparse.Namespace) -> int:
    from bookrelay_deploy.env_example import render, with_settings

    text = render()
    if given.compose:
        compose = Path(given.compose)
        compose.write_text(with_settings(compose.read_text()))
    return _written(given, text, "the settings", "env-example")


def _faults(given: argparse.Namespace) -> int:
    from bookrelay_deploy.faults_reference import render

    return _written(given, render(), "the writer's table", "faults")


def _written(given: argparse.Namespace, text: str, source: str, command: str) -> int:
    """Check, write or print a generated text."""
    if given.check:
        path = Path(given.check)
        if not path.exists() or path.read_text() != text:
            print(
                f"{given.check} differs from {source}. Run `bookrelay-deploy {command} --write {given.check}`.", file=sys.stderr
            )
            return 1
    elif given.write:
        Path(given.write).write_text(text)
    else:
        print(text, end="")
    return 0
