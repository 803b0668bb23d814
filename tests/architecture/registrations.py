"""Where a service must be made known outside of its own folder, and what is written by a command."""

import re
import tomllib
from pathlib import Path

import yaml
from bookrelay_deploy.import_contracts import services_in, without_layers

DEPLOYMENT, COMPOSE, TOPICS = "deploy/pyproject.toml", "docker-compose.yml", "shared/src/bookrelay/topics.py"
REGISTRATIONS = (DEPLOYMENT, COMPOSE, TOPICS)  # the last one only for a service that reads a topic
MIGRATIONS = "deploy/src/bookrelay_deploy/migrations/versions"
WRITTEN = ("uv.lock", ".env.example", MIGRATIONS, "docs/asyncapi/bookrelay.yaml")  # by commands that the sentences name


def forgotten(root: Path) -> list[str]:
    """Return what is forgotten about the services below `root`, each as file, what is missing, and why it is needed."""
    deployment = tomllib.loads((root / DEPLOYMENT).read_text())
    parts = yaml.safe_load((root / COMPOSE).read_text())["services"]
    declared = (root / TOPICS).read_text()
    lock, example = (root / "uv.lock").read_text(), (root / ".env.example").read_text()
    found = []
    for package, folder in services_in(root).items():
        name = folder.parents[1].name
        project = f"bookrelay-{name}"
        known = project in deployment["project"]["dependencies"] and project in deployment["tool"]["uv"]["sources"]
        if not known:
            found.append(f"{DEPLOYMENT}: {project}, as a dependency and as a source, for its tables and settings")
        if parts.get(name, {}).get("build", {}).get("args", {}).get("SERVICE") != name:
            found.append(f"{COMPOSE}: a part {name} with its image, settings and port")
        if (folder / "consumers.py").exists() and not re.search(rf'^\w+_GROUP = "{name}"$', declared, re.MULTILINE):
            found.append(f"{TOPICS}: the group {name} and its SUBSCRIPTIONS, for it reads a topic")
        if f'name = "{project}"' not in lock:
            found.append(f"uv.lock: {project}; run `uv lock`")
        if known and not re.search(rf"^# ---- .*\b{name}\b", example, re.MULTILINE):
            found.append(f".env.example: {name}; run `bookrelay-deploy env-example --compose {COMPOSE} --write .env.example`")
        if known and (folder / "tables.py").exists() and not list((root / MIGRATIONS / package).glob("*.py")):
            found.append(f"{MIGRATIONS}/{package}: its tables; run `bookrelay-deploy squash-initial {name}`")
    return [*found, *(f"services/{name.replace('_', '-')}/.importlinter: its layers" for name in without_layers(root))]
