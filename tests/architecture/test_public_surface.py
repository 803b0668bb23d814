"""Libraries are used through their public surface: an upgrade may change anything else without a word.

What has no public place stands in `bookrelay.aiokafka_faults` and in ADR 4, with the test that fails without it.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from sources import ROOT, SANDBOX, SHARED, product, python_files, shown, tree

MENDS = SHARED / "aiokafka_faults.py"
ADR = (ROOT / "docs/adr/0004-one-way-to-consume.md").read_text()
ALLOWED = {(MENDS, "GroupCoordinator._heartbeat_routine"): "test_a_heartbeat_that_fails.py"}
DOCUMENTED = {"os._exit"}  # public in spite of its name
CHANGED = {"AIOKafkaConnection.send": "test_a_consumer_whose_connection_was_cut.py", **{w: t for (_, w), t in ALLOWED.items()}}
FILES = [*product(), *python_files(SANDBOX, ROOT / "bench")]


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def own_names(module: ast.Module) -> set[str]:
    """Return the private names that a module's own classes have."""
    classes = [node for node in ast.walk(module) if isinstance(node, ast.ClassDef)]
    return {
        name
        for one in classes
        for node in ast.walk(one)
        for name in [
            node.attr if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and of_self(node) else "",
            node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else "",
            node.target.id if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else "",
        ]
        if private(name)
    }


def of_self(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}


def foreign_privates(module: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Yield each private name of something that is not the module's own: read, written, by getattr, or imported."""
    own = own_names(module)
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute):
            if private(node.attr) and not of_self(node) and node.attr not in own:
                yield node, ast.unparse(node)
            if node.attr == "__annotations__":
                yield node, ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"getattr", "setattr", "delattr", "hasattr"}:
            name = node.args[1] if len(node.args) > 1 else None
            if isinstance(name, ast.Constant) and private(str(name.value)) and name.value not in own:
                yield node, ast.unparse(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            parts = [part for name in node.names for part in name.name.split(".")]
            parts += (node.module or "").split(".") if isinstance(node, ast.ImportFrom) else []
            if any(private(part) for part in parts):
                yield node, ast.unparse(node)


def changed(module: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Yield each assignment to an attribute of something that was imported."""
    imported = {
        (name.asname or name.name).split(".")[0]
        for node in ast.walk(module)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            root: ast.expr = node
            while isinstance(root, ast.Attribute):
                root = root.value
            if isinstance(root, ast.Name) and root.id in imported:
                yield node, ast.unparse(node)


def test_no_private_name_of_a_library_is_used() -> None:
    found = {(path, what): node for path in FILES for node, what in foreign_privates(tree(path)) if what not in DOCUMENTED}
    assert [f"{shown(path, node)}: {what}" for (path, what), node in found.items() if (path, what) not in ALLOWED] == []
    assert set(ALLOWED) <= set(found), "what is no longer used is no longer allowed"


def test_nothing_of_a_library_is_replaced_but_what_the_adr_names() -> None:
    found = [(path, node, what) for path in FILES for node, what in changed(tree(path))]
    assert [f"{shown(path, node)}: {what}" for path, node, what in found if path != MENDS] == []
    assert {what for path, _, what in found if path == MENDS} == set(CHANGED)


@pytest.mark.parametrize(("what", "test"), CHANGED.items())
def test_the_adr_says_why_and_which_test_fails_without_it(what: str, test: str) -> None:
    assert what in ADR
    assert test in ADR
    assert (ROOT / "tests/regression" / test).exists()


@pytest.mark.parametrize(
    "line",
    [
        "consumer = original.__self__._consumer", "on_batch.__annotations__ = {}", "getattr(x, '_consumer', None)",
        "from faststream._internal import x", "import faststream._internal.types", "GroupCoordinator._heartbeat_routine = y",
    ],
)  # fmt: skip
def test_the_rule_sees_it(line: str) -> None:
    assert list(foreign_privates(ast.parse(line)))


@pytest.mark.parametrize("line", ["from a import B\nB.send = y", "import a\na.b.c = 1", "from a import B\ndel B.send"])
def test_the_rule_sees_a_change(line: str) -> None:
    assert list(changed(ast.parse(line)))


def test_what_is_our_own_is_free(tmp_path: Path) -> None:
    text = "class A:\n  def __init__(self, other):\n    self._x = other._x\n  def _y(self):\n    return self._x + A._y(self)\n"
    assert list(foreign_privates(ast.parse(text))) == []
