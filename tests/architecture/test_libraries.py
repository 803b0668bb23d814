"""What a library does better is not written by hand again (ADR 17)."""

import ast
from collections.abc import Iterator

import pytest
from sources import ROOT, SERVICES, SHARED, called, product, python_files, shown, tree

ADR = (ROOT / "docs/adr/0017-libraries-where-they-are-better.md").read_text()
OWN_LOOPS = {("answering.py", "_conflict"), ("committing.py", "_commit_group")}


def imported(module: ast.Module) -> set[str]:
    """Return the names of the packages and modules that are imported."""
    found: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def loops_that_wait(module: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Yield each sleep after an error inside of a loop, with its function's name."""
    for function in ast.walk(module):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for loop in ast.walk(function):
                if isinstance(loop, ast.While | ast.For | ast.AsyncFor):
                    yield from ((function.name, sleep) for sleep in _sleeps_after_errors(loop))


def _sleeps_after_errors(loop: ast.AST) -> Iterator[ast.Call]:
    handlers = [handler for node in ast.walk(loop) if isinstance(node, ast.Try) for handler in node.handlers]
    for handler in handlers:
        yield from (node for node in ast.walk(handler) if isinstance(node, ast.Call) and called(node).endswith("sleep"))


def test_retries_are_made_by_one_function() -> None:
    found = [(path, name, sleep) for path in product() for name, sleep in loops_that_wait(tree(path))]
    assert [f"{shown(path, sleep)} {name}" for path, name, sleep in found if (path.name, name) not in OWN_LOOPS] == []
    assert {(path.name, name) for path, name, _ in found} == OWN_LOOPS
    assert [name for name, _ in OWN_LOOPS if name not in ADR] == []


@pytest.mark.parametrize(("package", "module"), [("tenacity", "retrying.py")])
def test_a_library_with_pitfalls_has_one_door(package: str, module: str) -> None:
    users = {path.name for path in product() if any(name.split(".")[0] == package for name in imported(tree(path)))}
    assert users == {module}


def test_no_service_reads_http_by_hand() -> None:
    found = [
        shown(path, node)
        for path in python_files(SHARED, *SERVICES.values())
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and called(node) in {"asyncio.start_server", "asyncio.start_unix_server", "loop.create_server"}
    ]
    assert found == []
    servers = {path.name for path in python_files(SHARED, *SERVICES.values()) if "http.server" in imported(tree(path))}
    assert servers == set()


def test_no_xml_is_read_or_written_as_text() -> None:
    """Neither `xml.sax.saxutils.escape` nor a regular expression that looks for elements."""
    found = []
    for path in [*product(), *python_files(ROOT / "sandbox/src")]:
        module = tree(path)
        found += [shown(path)] * any(name.startswith("xml.sax.saxutils") for name in imported(module))
        found += [
            shown(path, node)
            for node in ast.walk(module)
            if isinstance(node, ast.Call) and called(node).startswith("re.") and "</" in ast.unparse(node)
        ]
    assert found == []


def test_the_rule_sees_a_retry() -> None:
    text = "async def f():\n while True:\n  try:\n   await g()\n  except OSError:\n   await asyncio.sleep(1)\n"
    assert [name for name, _ in loops_that_wait(ast.parse(text))] == ["f"]
