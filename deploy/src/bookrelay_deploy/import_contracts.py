"""`python -m bookrelay_deploy.import_contracts`: checks the design's import rules with import-linter for every service.

The rules are in `.importlinter`, where a line `{services}` means every service, `{services}.domain` that module of the services
that have it, `{services but qbo_writer}` all but one. A service's own layers are in `services/<name>/.importlinter`.
"""

import re
import sys
import tempfile
from pathlib import Path

_LINE = re.compile(r"^( *)\{services(?: but (\w+))?\}(.*)$", re.MULTILINE)


def services_in(root: Path) -> dict[str, Path]:
    """Return the folder of every service below `root`, by package name."""
    return {path.parent.name: path.parent for path in sorted(root.glob("services/*/src/*/__init__.py"))}


def composed(root: Path) -> str:
    """Return the configuration for import-linter."""
    services = services_in(root)

    def lines(found: re.Match[str]) -> str:
        indent, left_out, rest = found.groups()
        return "\n".join(f"{indent}{name}{rest}" for name, folder in services.items() if name != left_out and _has(folder, rest))

    own = [folder.parents[1] / ".importlinter" for folder in services.values()]
    parts = [root / ".importlinter", *(path for path in own if path.exists())]
    return "\n".join(_LINE.sub(lines, path.read_text()) for path in parts)


def _has(folder: Path, module: str) -> bool:
    return not module or folder.joinpath(f"{module[1:]}.py").exists() or folder.joinpath(module[1:]).is_dir()


def without_layers(root: Path) -> list[str]:
    """Return the services that declare no layers."""
    config = composed(root)
    return [name for name in services_in(root) if not re.search(rf"^containers =\n    {name}$", config, re.MULTILINE)]


def main(root: Path) -> int:
    """Check the rules; return the exit status."""
    from importlinter.cli import lint_imports  # a development tool, absent from the images

    if missing := without_layers(root):
        print(f"{', '.join(missing)}: no layers declared. Add services/<name>/.importlinter, as in the other services.")  # noqa: T201
        return 1
    with tempfile.NamedTemporaryFile("w", suffix=".ini") as config:
        config.write(composed(root))
        config.flush()
        return int(lint_imports(config_filename=config.name, no_logo=True))


if __name__ == "__main__":
    sys.exit(main(Path.cwd()))
