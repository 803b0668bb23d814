"""The import contracts hold for every service there is, and refuse what they should."""

import re
import subprocess
import sys
from pathlib import Path

from bookrelay_deploy.import_contracts import composed, without_layers
from sources import ROOT, SERVICES

REFUSING = """
[importlinter]
root_packages =
    one
    two
[importlinter:contract:apart]
name = apart
type = independence
modules =
    one
    two
"""


def lint(folder: Path, config: str) -> "subprocess.CompletedProcess[str]":
    run = "from importlinter.cli import lint_imports_command as run; run()"
    command = [sys.executable, "-c", run, "--no-cache", "--config", config]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_the_import_contracts_hold(tmp_path: Path) -> None:
    (tmp_path / "config.ini").write_text(composed(ROOT))
    done = lint(ROOT, str(tmp_path / "config.ini"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_service_stands_in_the_contracts() -> None:
    config = composed(ROOT)
    assert without_layers(ROOT) == []
    assert len(SERVICES) >= 4
    for folder in SERVICES.values():
        assert config.count(f"    {folder.name}\n") >= 7
        for module in ("domain", "handlers", "mapping"):
            assert re.search(rf"^    {folder.name}(\.\w+)?\.{module}$", config, re.MULTILINE)


def test_a_service_that_imports_another_is_refused(tmp_path: Path) -> None:
    for name, text in (("one", "import two\n"), ("two", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
    (tmp_path / "config").write_text(REFUSING)
    done = lint(tmp_path, "config")
    assert done.returncode == 1
    assert "one is not allowed to import two" in done.stdout
