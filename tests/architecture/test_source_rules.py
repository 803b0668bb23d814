"""Rules that the source must keep, each named in style.md or the design."""

import ast
import re
from pathlib import Path

import pytest
from sources import DEPLOY, ROOT, SERVICES, SHARED, called, product, python_files, shown, texts, tracked, tree

# The same file names in every service (style): what each has, at its top or in a package of it, and what one may have at its top.
ALWAYS = {"__init__.py", "domain.py", "handlers.py", "main.py", "mapping.py", "settings.py"}
ALLOWED = ALWAYS | {
    "__main__.py", "consumers.py", "routes.py", "polling.py", "tables.py", "store.py", "layout.py",
    # of the writer alone, below its packages and above them
    "comparing.py", "crashpoints.py", "halving.py", "identity.py", "lists.py", "names.py", "policy.py",
    "policy_watching.py", "ports.py",
    "redacting.py", "writer.py",
}  # fmt: skip
PACKAGES = {
    "qbo-writer": {"kinds", "ledger", "operations", "protocol", "quickbooks", "reporting"},
    "sheet-watcher": {"planning"},
}
MONEY = {
    "money.py", "messages.py", "mapping.py", "domain.py", "handlers.py", "deciding.py", "settling.py", "layout.py", "records.py",
    "changes.py", "commits.py", "commands.py", "attempts.py", "dependents.py", "comparing.py", "totals.py", "asking.py",
    "keys.py", "documents.py", "deletions.py", "results.py", "cells.py", "state_hashes.py", "plan.py", "poll.py",
}  # fmt: skip
SECONDS = re.compile(r"(seconds|retry_after|wait|delay|timeout|within|now|monotonic|_at|_in|_for)$")


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_the_same_file_names_in_every_service(service: str) -> None:
    names, all_of_them = ({path.name for path in find("*.py")} for find in (SERVICES[service].glob, SERVICES[service].rglob))
    assert all_of_them >= ALWAYS, f"{service} lacks {sorted(ALWAYS - all_of_them)}"
    packages = {path.parent.name for path in SERVICES[service].glob("*/__init__.py")}
    assert packages == PACKAGES.get(service, set())
    others = {name for name in names - ALLOWED if not name.endswith(("_client.py", "_cli.py"))}
    assert others == set()
    assert (SERVICES[service] / "py.typed").exists()


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_every_service_is_built_by_build_app_and_run_by_main(service: str) -> None:
    functions = {node.name for node in tree(SERVICES[service] / "main.py").body if isinstance(node, ast.FunctionDef)}
    assert {"build_app", "main"} <= functions


def test_every_module_says_what_it_owns() -> None:
    missing = [shown(path) for path in product() if not ast.get_docstring(tree(path))]
    assert missing == []


def _undocumented(path: Path) -> list[str]:
    found = []

    def visit(nodes: list[ast.stmt], within: str) -> None:
        for node in nodes:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
                continue
            # A payload (`...Data`) is described by the message that carries it.
            if not ast.get_docstring(node) and not (isinstance(node, ast.ClassDef) and node.name.endswith("Data")):
                found.append(f"{shown(path, node)} {within}{node.name}")
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{node.name}.")

    visit(tree(path).body, "")
    return found


def test_everything_public_in_shared_is_described() -> None:
    assert [name for path in python_files(SHARED) for name in _undocumented(path)] == []


def test_nothing_is_left_to_do() -> None:
    word = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    found = []
    for path in tracked():
        if path.suffix in {".py", ".toml", ".yml", ".yaml", ".md", ".cfg", ".sh", ""} and path.name not in {"uv.lock"}:
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                if word.search(line):
                    found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert found == []


def _about_time(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Whether a `float` stands for seconds: in the annotation of something that is called so."""
    while node in parents:
        node = parents[node]
        if isinstance(node, ast.Call) and called(node).startswith("metrics."):
            return True
        if isinstance(node, ast.arguments):  # a default: its argument's annotation is looked at by itself
            return True
        if isinstance(node, ast.arg):
            return bool(SECONDS.search(node.arg))
        if isinstance(node, ast.AnnAssign):
            return bool(SECONDS.search(ast.unparse(node.target)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return bool(SECONDS.search(node.name))
    return False


def test_no_float_in_money_paths() -> None:
    found = []
    for path in product():
        if path.name not in MONEY:
            continue
        module = tree(path)
        parents = {child: node for node in ast.walk(module) for child in ast.iter_child_nodes(node)}
        for node in ast.walk(module):
            if isinstance(node, ast.Constant) and isinstance(node.value, float) and not _about_time(node, parents):  # 0.5
                found.append(f"{shown(path, node)}: {node.value}")
            if isinstance(node, ast.Name) and node.id == "float" and not _about_time(node, parents):
                call = parents[node] if not isinstance(parents[node], ast.BinOp) else parents[parents[node]]
                if not (isinstance(call, ast.Call) and called(call) == "isinstance"):  # which refuses floats
                    found.append(f"{shown(path, node)}: float")
    assert found == []


# What has no amounts in it: Intuit's thin notifications, the files that settings name, the stores' own columns.
NO_AMOUNTS = {"webhook_gateway/mapping.py", "sheet_watcher/settings.py", "bookrelay/db.py"}


def test_json_is_parsed_with_decimal() -> None:
    """json.loads makes floats of amounts, and so does the .json() of an HTTP response."""
    found = []
    for path in [*python_files(SHARED, *SERVICES.values())]:
        if "/".join(path.parts[-2:]) in NO_AMOUNTS:
            continue
        module = tree(path)
        # The text of an error, for a person.
        errors = {
            id(inner)
            for node in ast.walk(module)
            if isinstance(node, ast.FunctionDef) and node.name == "_message"
            for inner in ast.walk(node)
        }
        for node in ast.walk(module):
            if not isinstance(node, ast.Call) or id(node) in errors:
                continue
            name = called(node)
            careless = name == "json.loads" and not any(keyword.arg == "parse_float" for keyword in node.keywords)
            if careless or (name.endswith(".json") and not node.args and not node.keywords):
                found.append(f"{shown(path, node)}: {ast.unparse(node)[:80]}")
    assert found == []


def test_only_the_writer_names_intuit_s_hosts() -> None:
    others = [path for service, folder in SERVICES.items() if service != "qbo-writer" for path in python_files(folder)]
    found = [
        shown(path, text) for path in [*others, *python_files(SHARED)] for text in texts(tree(path)) if "intuit.com" in text.value
    ]
    assert found == []
    assert any("intuit.com" in text.value for path in python_files(SERVICES["qbo-writer"]) for text in texts(tree(path)))


OWN_WAYS = {"subscriber", "KafkaRouter", "AIOKafkaConsumer", "AIOKafkaProducer"}


def test_subscribers_are_made_by_consume_alone() -> None:
    found = [
        shown(path, node)
        for path in product()
        if path != SHARED / "kafka.py"
        # Operators' commands: one reads dead letters without a group, one is the group's only member, handling as `consume`.
        and path.name not in {"letters_cli.py", "replaying.py"}
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute | ast.Name) and ast.unparse(node).split(".")[-1] in OWN_WAYS
    ]
    assert found == []


CLIENTS = {
    "Publisher", "new_broker", "Probe", "AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaAdminClient", "AIOKafkaClient",
    "KafkaBroker", "create_conn",
}  # fmt: skip


def test_every_client_of_kafka_gets_the_security_settings() -> None:
    """A client without them works on every machine of ours, and on no managed Kafka."""
    made = [
        (shown(path, node), ast.unparse(node))
        for path in product()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and called(node).split(".")[-1] in CLIENTS
        if path.name != "probe.py"  # the writer's proof of requestids
    ]
    assert len(made) >= 8
    assert [where for where, call in made if not re.search(r"security|\*\*", call)] == []


def test_httpx_is_the_http_client_everywhere() -> None:
    """google-auth brings requests along, which only the sheet watcher's client may touch."""
    others = {"aiohttp", "urllib3", "requests"}
    found = []
    for path in product():
        for node in ast.walk(tree(path)):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [shown(path, node) for name in names if name.split(".")[0] in others]
    assert [place for place in found if "sheets_client.py" not in place] == []


def test_nothing_waits_with_wait_for() -> None:
    """Until Python 3.12 it swallows a cancellation that meets its result, and a loop goes on for ever: `asyncio.timeout`."""
    found = [
        shown(path, node)
        for path in python_files(SHARED, *SERVICES.values())
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "asyncio.wait_for"
    ]
    assert found == []


def test_transactions_are_opened_by_one_function() -> None:
    """`bookrelay.db.transaction` bounds how long a paused process keeps its locks; asyncpg's own does not, and only reads."""
    found = [
        shown(path, node)
        for path in python_files(SHARED, *SERVICES.values())
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "transaction"
        if not any(keyword.arg == "readonly" and ast.unparse(keyword.value) == "True" for keyword in node.keywords)
    ]
    assert found == []


def test_no_sql_is_committed_inside_a_helper() -> None:
    """One transaction, committed at the edge (`bookrelay.db.transaction`)."""
    found = [
        shown(path, node)
        for path in python_files(SHARED, *SERVICES.values())
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and called(node).split(".")[-1] in {"commit", "rollback"}
        and not node.args  # `ledger.commits.commit(realm, token, effects)` is the edge itself
    ]
    assert found == []


def test_services_do_not_print() -> None:
    found = [
        shown(path, node)
        for path in python_files(SHARED, *SERVICES.values())
        if path.name not in {"main.py", "service.py", "cli.py"} and not path.name.endswith(("_cli.py", "cli_support.py"))
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and called(node) == "print"
    ]
    assert found == []


def test_migrations_go_forward_only() -> None:
    files = sorted((DEPLOY / "migrations/versions").rglob("*.py"))
    assert files
    for path in files:
        functions = {node.name for node in tree(path).body if isinstance(node, ast.FunctionDef)}
        assert functions == {"upgrade"}, shown(path)
