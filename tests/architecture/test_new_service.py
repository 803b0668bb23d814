"""A new service is a folder and at most three lines outside of it; each that is forgotten is named."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from registrations import COMPOSE, DEPLOYMENT, MIGRATIONS, REGISTRATIONS, TOPICS, WRITTEN, forgotten
from sources import ROOT, tracked

NAME, PACKAGE = "dummy-poller", "dummy_poller"
LAYERS = f"\n[importlinter:contract:{NAME}-layers]\nname = x\ntype = layers\ncontainers =\n    {PACKAGE}\nlayers =\n    main\n"


def test_nothing_is_forgotten_about_any_service() -> None:
    assert forgotten(ROOT) == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the tree with a new service, which reads a topic, and of which nobody has said anything outside of it."""
    for part in ("services", "deploy"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in (COMPOSE, TOPICS, "uv.lock", ".env.example", ".importlinter"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    folder = tmp_path / "services" / NAME / "src" / PACKAGE
    folder.mkdir(parents=True)
    for module in ("__init__", "consumers", "tables"):
        (folder / f"{module}.py").touch()
    (folder.parents[1] / ".importlinter").write_text(LAYERS)
    return tmp_path


def replace(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def depend(root: Path) -> None:
    replace(root / DEPLOYMENT, '  "bookrelay-emr-poller",\n', f'  "bookrelay-emr-poller",\n  "bookrelay-{NAME}",\n')
    replace(
        root / DEPLOYMENT, "bookrelay-emr-poller = {", f"bookrelay-{NAME} = {{ workspace = true }}\nbookrelay-emr-poller = {{"
    )


def deploy(root: Path) -> None:
    part = f"  {NAME}:\n    <<: *service\n    build:\n      <<: *build\n      args: {{SERVICE: {NAME}}}\n"
    replace(root / COMPOSE, "  sheet-watcher: #", f"{part}\n  sheet-watcher: #")


def subscribe(root: Path) -> None:
    replace(root / TOPICS, 'SHEET_GROUP = "', f'DUMMY_GROUP = "{NAME}"\nSHEET_GROUP = "')


def lock(root: Path) -> None:
    """Stand for `uv lock`."""
    replace(root / "uv.lock", "[[package]]\n", f'[[package]]\nname = "bookrelay-{NAME}"\n\n[[package]]\n')


def describe(root: Path) -> None:
    """Stand for `bookrelay-deploy env-example`."""
    replace(root / ".env.example", "# ---- emr-poller", f"# ---- {NAME}\n\n# ---- emr-poller")


def migrate(root: Path) -> None:
    """Stand for `bookrelay-deploy squash-initial`."""
    (root / MIGRATIONS / PACKAGE).mkdir()
    (root / MIGRATIONS / PACKAGE / "0001_initial.py").touch()


BY_HAND: dict[str, Callable[[Path], None]] = {DEPLOYMENT: depend, COMPOSE: deploy, TOPICS: subscribe}
BY_COMMAND: dict[str, Callable[[Path], None]] = {"uv.lock": lock, ".env.example": describe, MIGRATIONS: migrate}


def test_there_are_three_and_with_them_nothing_is_forgotten(copy: Path) -> None:
    assert tuple(BY_HAND) == REGISTRATIONS
    assert len(BY_HAND) <= 3
    for act in (*BY_HAND.values(), *BY_COMMAND.values()):
        act(copy)
    assert forgotten(copy) == []


@pytest.mark.parametrize("left_out", [*BY_HAND, *BY_COMMAND])
def test_each_one_that_is_forgotten_is_named(copy: Path, left_out: str) -> None:
    for where, act in (BY_HAND | BY_COMMAND).items():
        if where != left_out:
            act(copy)
    (sentence,) = forgotten(copy)
    assert sentence.startswith(left_out)
    assert NAME in sentence


def test_a_source_that_only_tells_needs_two(copy: Path) -> None:
    (copy / "services" / NAME / "src" / PACKAGE / "consumers.py").unlink()
    assert sorted(line.split(":")[0] for line in forgotten(copy)) == sorted([DEPLOYMENT, COMPOSE, "uv.lock"])


def test_a_service_without_layers_is_named(copy: Path) -> None:
    (copy / "services" / NAME / ".importlinter").unlink()
    assert f"services/{NAME}/.importlinter: its layers" in forgotten(copy)


def test_no_other_place_knows_a_source() -> None:
    """Beside documents, tests, stand-ins, benchmarks, and the sender of the messages that the schemas show as examples."""
    names = re.compile(r"emr[-_]poller|sheet[-_]watcher")
    free = (
        "services/",
        "docs/",
        "tests/",
        "sandbox/",
        "bench/",
        "README.md",
        "CHANGELOG.md",
        "deploy/src/bookrelay_deploy/examples.py",
    )
    found = {
        path.relative_to(ROOT).as_posix()
        for path in tracked()
        if not path.relative_to(ROOT).as_posix().startswith(free) and names.search(path.read_text(errors="replace"))
    }
    assert {name for name in found if not name.startswith((*REGISTRATIONS, *WRITTEN))} == set()
