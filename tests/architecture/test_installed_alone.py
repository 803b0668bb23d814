"""Each service starts with no more packages than its own part of the lock file: a gateway needs no database driver."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from typing import Any

import pytest
from bookrelay_deploy.env_example import settings_classes
from sources import ROOT, SERVICES, placeholders

LOCK: dict[str, dict[str, Any]] = {
    package["name"]: package for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]
}
ALONE = """
import importlib.machinery as machinery, sys
hidden, find = set({hidden!r}), machinery.PathFinder.find_spec
machinery.PathFinder.find_spec = lambda name, *rest: None if name.partition(".")[0] in hidden else find(name, *rest)
from {module}.main import main
main()
"""
GIVEN = {
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "QBO_REALM_ID": "1",
    "EMR_CLIENT_ID": "id", "EMR_CLIENT_SECRET": "secret", "SHEETS_SPREADSHEET_ID": "id", "GOOGLE_CREDENTIALS_FILE": "/nowhere",
    "QB_DIRECTIONS_FILE": "/nowhere", "QBO_CLIENT_ID": "id", "QBO_CLIENT_SECRET": "secret",
    "QBO_TOKEN_ENCRYPTION_KEYS": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "QBO_WEBHOOK_VERIFIER_TOKENS": "token",
}  # fmt: skip


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(package: str) -> set[str]:
    """Return every package that the lock file installs for `package`, extras followed where they are asked for."""
    found: set[tuple[str, str]] = set()
    todo = [(package, "")]
    while todo:
        if (one := todo.pop()) in found:
            continue
        found.add(one)
        name, extra = one
        entry = LOCK[name]
        for dependency in entry.get("optional-dependencies", {}).get(extra, []) if extra else entry.get("dependencies", []):
            todo += [(dependency["name"], ""), *((dependency["name"], more) for more in dependency.get("extra", []))]
    return {name for name, _ in found}


def test_the_gateway_is_installed_without_a_database_driver() -> None:
    assert needed("bookrelay-webhook-gateway").isdisjoint({"asyncpg", "sqlmodel", "sqlalchemy", "cryptography", "google-auth"})
    assert {"asyncpg", "sqlmodel"} <= needed("bookrelay-qbo-writer")


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_service_starts_with_what_it_is_installed_with(service: str) -> None:
    own = needed(f"bookrelay-{service}")
    modules = importlib.metadata.packages_distributions()
    hidden = sorted(module for module, owners in modules.items() if not own & {normal(owner) for owner in owners})
    assert "pytest" in hidden
    code = ALONE.format(hidden=hidden, module=service.replace("-", "_"))
    with subprocess.Popen(
        [sys.executable, "-c", code], env={"PATH": os.environ["PATH"], **placeholders(settings_classes()[service]), **GIVEN},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            if service == "sheet-watcher":  # its key file is looked for before anything else
                _, errors = process.communicate(timeout=120)
                assert "/nowhere cannot be read" in errors
                return
            assert process.stdout
            line = next((line for line in process.stdout if "service.waiting" in line), None)
            assert line, process.stderr.read() if process.stderr else ""
            assert ("Kafka" if service == "webhook-gateway" else "Postgres") in line
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()
