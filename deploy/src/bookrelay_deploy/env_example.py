"""`.env.example`, written from the settings classes: every setting once, with its description and default."""

import re
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from bookrelay.kafka_settings import KafkaSettings
from bookrelay.postgres_settings import PostgresSettings
from bookrelay.settings import ServiceSettings
from bookrelay.source.settings import SourceSettings
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from bookrelay_deploy.schemas import SERVICES
from bookrelay_deploy.settings import DeploySettings

HEAD = """\
# Every setting of every service: copy this file to .env and fill in what you need.
# A line that starts with "# NAME=" shows a default; a line without "#" must be set for the service named above it.
# A secret may be in a file instead: NAME_FILE=/path/to/it stands for NAME, also in docker-compose.yml (DATABASE_URL apart).
# Written by `bookrelay-deploy env-example --write .env.example`; a test keeps it true.
"""

COMPOSE = {
    "POSTGRES_PASSWORD": ("bookrelay", "Password of compose's own Postgres, which only its network reaches. Letters and digits."),
    "WEBHOOK_ADDRESS": ("0.0.0.0", "Address of the host on which the gateway is published."),  # noqa: S104
    "WEBHOOK_PORT": ("8104", "Port of the host on which the gateway is published; put HTTPS in front of it."),
    "BOOKRELAY_CONFIG": ("./config", "Directory with the files that settings name; the services see it as /config."),
    "BOOKRELAY_VERSION": ("dev", "Tag of the images."),
    "COMPOSE_PROFILES": ("all", "Which parts `docker compose up` starts: all, or some of kafka, postgres, services, standins."),
}
"""What docker-compose.yml reads beside the settings: (default, description)."""


def settings_classes() -> dict[str, type[ServiceSettings]]:
    """Return each service's settings class by the service's name, deploy's included."""
    found = {name.replace("_", "-"): _declared_in(f"{name}.settings") for name in SERVICES if find_spec(f"{name}.settings")}
    return {**found, "bookrelay-deploy": DeploySettings}


def sources() -> tuple[str, ...]:
    """Return the names of the services that are sources of documents: their settings are `SourceSettings`."""
    return tuple(name for name, settings in settings_classes().items() if issubclass(settings, SourceSettings))


def _declared_in(module: str) -> type[ServiceSettings]:
    (found,) = (
        value
        for value in vars(import_module(module)).values()
        if isinstance(value, type) and issubclass(value, ServiceSettings) and value.__module__ == module
    )
    return found


def render() -> str:
    """Return the text of `.env.example`: first what all need, then by who needs it; a setting of several services stands once."""
    common = ServiceSettings.model_fields
    parts = [HEAD, _section("Every service", common)]
    groups: dict[tuple[str, ...], dict[str, FieldInfo]] = {}
    classes = settings_classes()
    for name in dict.fromkeys(name for settings in classes.values() for name in settings.model_fields if name not in common):
        owners = tuple(owner for owner, settings in classes.items() if name in settings.model_fields)
        fields = [classes[owner].model_fields[name] for owner in owners]
        shown = next((field for field in fields if field.is_required()), fields[0])
        groups.setdefault(owners, {})[name] = shown
    parts += [_section(", ".join(owners), fields) for owners, fields in sorted(groups.items(), key=lambda item: -len(item[0]))]
    compose = [f"\n# {text}\n# {name}={value}" for name, (value, text) in COMPOSE.items()]
    parts.append("\n".join(["# ---- docker-compose.yml only", *compose]) + "\n")
    return "\n".join(parts)


def _section(title: str, fields: dict[str, FieldInfo]) -> str:
    lines = [f"# ---- {title}"]
    for name, field in fields.items():
        secret = f" Secret: or {name.upper()}_FILE." if "SecretStr" in str(field.annotation) else ""
        lines += ["", f"# {field.description or ''}{secret}".rstrip()]
        lines.append(f"{name.upper()}=" if field.is_required() else f"# {name.upper()}={_written(field)}")
    return "\n".join(lines) + "\n"


def _written(field: FieldInfo) -> str:
    """Write a default as the environment takes it; secrets have none."""
    value: Any = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined or value is None or "SecretStr" in str(field.annotation):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list | set | frozenset):
        return ",".join(str(part) for part in value)
    return str(value)


def with_settings(compose: str) -> str:
    """Return docker-compose.yml with the settings of each part listed below the lines that it fixes itself."""
    blocks = {rf"x-{part}: &{part}": names for part, names in shared_settings().items()}
    common = set(ServiceSettings.model_fields)
    for service, settings in settings_classes().items():
        own = {name: field for name, field in settings.model_fields.items() if name not in common}
        blocks[rf"  {service}: .*?^    environment:\n      <<: [^\n]*"] = passed_on(own)
    for head, names in blocks.items():
        indent = "  " if head.startswith("x-") else "      "
        block = rf"(?ms)^({head}\n(?:{indent}[A-Z0-9_]+: [^\n]+\n)*)(?:{indent}[A-Z0-9_]+:\n)*"
        compose = re.sub(block, lambda found, names=names, indent=indent: found[1] + _listed(found[1], names, indent), compose)  # type: ignore[misc]
    return compose


def _listed(fixed: str, names: list[str], indent: str) -> str:
    return "".join(f"{indent}{name}:\n" for name in names if f"{indent}{name}: " not in fixed)


def passed_on(fields: dict[str, FieldInfo]) -> list[str]:
    """Return the variables of these settings: each name, and for a secret the name of its file, too."""
    return [
        variable
        for name, field in fields.items()
        for variable in (name.upper(), f"{name.upper()}_FILE" if "SecretStr" in str(field.annotation) else "")
        if variable
    ]


def shared_settings() -> dict[str, list[str]]:
    """Return what several parts of docker-compose.yml get: of Kafka, of the database, and what every service has."""
    fields = ServiceSettings.model_fields
    kafka = {name: field for name, field in fields.items() if name in KafkaSettings.model_fields}
    database = {name: field for name, field in fields.items() if name in PostgresSettings.model_fields}
    rest = {name: field for name, field in fields.items() if name not in kafka | database}
    # DATABASE_URL has a value there (compose's own Postgres), which a file would contradict: DATABASE_PASSWORD_FILE serves.
    return {
        "kafka": passed_on(kafka),
        "database": [name for name in passed_on(database) if name != "DATABASE_URL_FILE"],
        "common": passed_on(rest),
    }
