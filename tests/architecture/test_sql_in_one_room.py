"""All of qbo-writer's SQL is in its room `ledger`: nothing else writes a statement, runs one or opens a transaction."""

import ast
import re
from collections.abc import Iterator

import pytest
from qbo_writer import tables
from sources import SERVICES, python_files, shown, texts, tree
from sqlmodel import SQLModel

WRITER = SERVICES["qbo-writer"]
ROOM, TABLES = WRITER / "ledger", WRITER / "tables.py"
# In capitals, as all of ours are: QuickBooks' own query language is written small ("select * from Item").
STATEMENT = re.compile(
    r"(?:^|[(;])\s*(?:SELECT|INSERT\s+INTO|UPDATE|DELETE\s+FROM|WITH(?:\s+RECURSIVE)?|TRUNCATE|LOCK\s+TABLE|COPY|SET\s+LOCAL)\s"
)
RUNS = {
    "fetch", "fetchrow", "fetchval", "fetchmany", "execute", "executemany", "cursor", "copy_records_to_table", "copy_to_table",
}  # fmt: skip
OPENS = {"transaction", "fenced"}
DRIVERS = {"asyncpg", "sqlalchemy", "sqlmodel", "psycopg"}


def named_tables() -> "re.Pattern[str]":
    """What names one of the writer's tables, with its schema."""
    schema = tables.SCHEMA
    names = [table.name for table in SQLModel.metadata.tables.values() if table.schema == schema]
    return re.compile(rf"\b{schema}\.(?:{'|'.join(sorted(names))})\b", re.IGNORECASE)


def sql_in(module: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Yield each text that is SQL, each call that runs it or opens a transaction, and each import of a library for it."""
    of_ours = named_tables()
    for text in texts(module):
        if STATEMENT.search(text.value) or of_ours.search(text.value):
            yield text, " ".join(text.value.split())[:60]
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).split(".")[-1]
            if (isinstance(node.func, ast.Attribute) and name in RUNS) or name in OPENS:
                yield node, f"{ast.unparse(node.func)}()"
        modules = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        yield from ((node, f"import {name}") for name in modules if name.split(".")[0] in DRIVERS)


def test_all_sql_is_in_one_room() -> None:
    others = [path for path in python_files(WRITER) if ROOM not in path.parents and path != TABLES]
    assert len(others) > 100, "it looks at the wrong folders"
    assert [f"{shown(path, node)}: {what}" for path in others for node, what in sql_in(tree(path))] == []


def test_the_rule_finds_sql_in_its_room() -> None:
    stores = [path for path in python_files(ROOM) if path.name not in {"__init__.py", "records.py", "changes.py", "ledger.py"}]
    assert [path.name for path in stores if not list(sql_in(tree(path)))] == []
    assert len(named_tables().pattern.split("|")) >= 15


@pytest.mark.parametrize(
    "line",
    [
        'await pool.fetch("SELECT 1")',
        "rows = await self._pool.fetchrow(text, realm)",
        'await connection.execute("DELETE FROM " + table)',
        'TEXT = "qbo_writer.commands"',
        'TEXT = "select realm from qbo_writer.realms"',
        'TEXT = """\n  WITH RECURSIVE named AS (SELECT 1)\n"""',
        'TEXT = f"SELECT {KEPT} FROM x"',
        'TEXT = "UPDATE " + NAME',
        'TEXT = f"({KEPT}); INSERT INTO x"',
        "async with transaction(pool) as connection: pass",
        "async with lease.fenced(pool, realm, 1) as connection: pass",
        "import asyncpg",
        "from sqlalchemy import text",
    ],
)
def test_the_rule_finds_what_it_looks_for(line: str) -> None:
    assert len(list(sql_in(ast.parse(line)))) >= 1


@pytest.mark.parametrize(
    "line",
    [
        'QUERY = "select * from Item where Active in (true, false)"',
        '"""What stands in qbo_writer.references."""',
        'HELP = "with key, value and headers; set local time"',
        "found = self.rows.names_read(realm)",
        'OPERATION = "update"',
    ],
)
def test_the_rule_leaves_alone_what_is_no_sql_of_ours(line: str) -> None:
    assert list(sql_in(ast.parse(line))) == []
