"""No module imports itself through others, anywhere in the repository: not at the top of a file and not inside a function."""

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from sources import DEPLOY, SANDBOX, SERVICES, SHARED, tree

PACKAGES = (SHARED, DEPLOY, SANDBOX, *SERVICES.values())
Edges = dict[str, dict[str, int]]  # module -> what it imports -> in which line


def modules(*packages: Path) -> dict[str, Path]:
    """Dotted name -> file, migrations included."""
    found = {}
    for package in packages:
        for path in sorted(package.rglob("*.py")):
            parts = path.relative_to(package.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Every node below but what stands under `if TYPE_CHECKING`: imports for annotations alone run nowhere."""
    if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
        for child in node.orelse:
            yield child
            yield from _running(child)
        return
    for child in ast.iter_child_nodes(node):
        yield child
        yield from _running(child)


def _named(node: ast.AST, module: str, is_package: bool) -> Iterator[tuple[str, ...]]:
    """What an import names, each with the longer name that it has if it is a module: (package, package.name)."""
    if isinstance(node, ast.Import):
        yield from ((alias.name,) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = module.split(".")[: None if is_package else -1][: None if node.level < 2 else 1 - node.level] if node.level else []
        source = ".".join([*base, *([node.module] if node.module else [])])
        yield from ((f"{source}.{alias.name}", source) for alias in node.names)
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        yield from ((word.value,) for word in node.args[:1] if isinstance(word, ast.Constant) and isinstance(word.value, str))


def edges(known: dict[str, Path]) -> Edges:
    """Imports among the known modules; one for annotations alone is none."""
    found: Edges = {}
    for module, path in known.items():
        mine = found[module] = {}
        for node in _running(tree(path)):
            for names in _named(node, module, path.name == "__init__.py"):
                target = next((name for name in names if name in known), None)
                if target is not None:
                    mine.setdefault(target, getattr(node, "lineno", 0))
    return found


def _reached(start: str, graph: Edges) -> dict[str, str]:
    """Module -> the one before it on a shortest way from `start`."""
    before: dict[str, str] = {}
    waiting = [start]
    for module in waiting:
        for target in graph[module]:
            if target not in before:
                before[target] = module
                waiting.append(target)
    return before


def circles(graph: Edges) -> list[str]:
    """One sentence for each knot of modules that import each other: all of them, and a shortest way round with its lines."""
    ways = {module: _reached(module, graph) for module in graph}
    told, seen = [], set[str]()
    for module in sorted(graph):
        if module in seen or module not in ways[module]:
            continue
        knot = sorted(other for other in ways[module] if module in ways[other])
        seen |= {*knot}
        way = [module]
        while way[-1] != module or len(way) == 1:
            way.append(ways[module][way[-1]])
        way.reverse()
        steps = [f"{one} (line {graph[one][two]})" for one, two in pairwise(way)]
        told.append(f"{', '.join(knot)}: {' -> '.join([*steps, module])}")
    return told


def test_no_module_imports_itself_through_others() -> None:
    graph = edges(modules(*PACKAGES))
    assert len(graph) > 200
    assert sum(len(targets) for targets in graph.values()) > 700
    assert circles(graph) == []


def _made(folder: Path, **texts: str) -> list[str]:
    package = folder / "pack"
    for name, text in {"__init__": "", **texts}.items():
        path = package / f"{name.replace('__in__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return circles(edges(modules(package)))


def test_a_circle_is_told_with_its_lines(tmp_path: Path) -> None:
    told = _made(
        tmp_path,
        a="import os\nfrom pack import b\n",
        b="import pack.c\n",
        c="def late():\n    from . import a\n",
        d="import pack.a\n",
    )
    assert told == ["pack.a, pack.b, pack.c: pack.a (line 2) -> pack.b (line 1) -> pack.c (line 2) -> pack.a"]


def test_a_circle_inside_of_functions_counts_and_through_import_module(tmp_path: Path) -> None:
    late = "def late():\n    import importlib\n    return importlib.import_module('pack.b')\n"
    assert _made(tmp_path, a=late, b="from pack.a import late\n") != []


def test_a_circle_through_the_package_itself_counts(tmp_path: Path) -> None:
    assert _made(tmp_path, __init__="from pack.a import name\n", a="from pack import other\nname = 1\n") != []


def test_two_knots_are_two_sentences(tmp_path: Path) -> None:
    assert len(_made(tmp_path, a="import pack.b\n", b="import pack.a\n", c="import pack.d\n", d="import pack.c\n")) == 2


def test_imports_for_annotations_alone_do_not_count(tmp_path: Path) -> None:
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pack.b import B\n"
    assert _made(tmp_path, a=typed, b="from pack.a import A\n") == []


def test_a_package_and_what_is_in_it_are_no_circle(tmp_path: Path) -> None:
    assert (
        _made(tmp_path, __init__="from pack.a import name\n", a="from pack.b import name\n", b="import pack.c\nname = 1\n", c="")
        == []
    )
