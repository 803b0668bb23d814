"""The source files that the architecture tests read, and small helpers to walk them."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bookrelay.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
SHARED = ROOT / "shared/src/bookrelay"
DEPLOY = ROOT / "deploy/src/bookrelay_deploy"
SANDBOX = ROOT / "sandbox/src/sandbox"
SERVICES = {path.parents[2].name: path.parent for path in sorted(ROOT.glob("services/*/src/*/__init__.py"))}


def python_files(*folders: Path) -> list[Path]:
    """Return the Python files below, migrations left out."""
    return sorted(path for folder in folders for path in folder.rglob("*.py") if "migrations" not in path.parts)


def product() -> list[Path]:
    """Return what runs in production."""
    return python_files(SHARED, DEPLOY, *SERVICES.values())


def tree(path: Path) -> ast.Module:
    """Parse a file."""
    return ast.parse(path.read_text(), str(path))


def shown(path: Path, node: ast.AST | None = None) -> str:
    """Return file:line for a message."""
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


def texts(module: ast.Module) -> Iterator[ast.Constant]:
    """Yield every string that is not a docstring."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(module)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node


def called(node: ast.Call) -> str:
    """Return the dotted name that is called ("json.loads"), as far as it is one."""
    return ast.unparse(node.func)


def tracked() -> list[Path]:
    """Return every file in git, and every new one that is not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def placeholders(settings: type[ServiceSettings]) -> dict[str, str]:
    """Return a value for each setting that must be set: what its field gives as an example, or some text."""
    return {
        name.upper(): str((field.examples or ["1"])[0]) for name, field in settings.model_fields.items() if field.is_required()
    }
