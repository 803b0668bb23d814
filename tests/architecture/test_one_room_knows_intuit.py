"""Nothing of qbo-writer outside of its room `quickbooks` names a code, a resource or a property of Intuit's."""

import re
from functools import cache
from pathlib import Path

from qbo_writer.quickbooks import faults, mapping
from sources import SERVICES, shown, texts, tree

ROOM = SERVICES["qbo-writer"]
CODES = {code for code in faults.TABLE if code.isdecimal()}
# What a request or an answer of QuickBooks' is made of: names in camel case, as `mapping` writes and reads them.
PROPERTY = re.compile(r"[A-Z][a-z]+(?:[A-Z][a-z]*)+(?:Ref|Detail)?")


@cache
def properties() -> frozenset[str]:
    """Every property of QuickBooks' that its room writes or reads."""
    named = {text.value for path in (ROOM / "quickbooks").rglob("*.py") for text in texts(tree(path))}
    return frozenset(name for name in named if PROPERTY.fullmatch(name))


def _of_intuit(path: Path) -> list[str]:
    resources = {*mapping.ENTITY.values(), *mapping.LISTS}
    return [
        f"{shown(path, text)}: {text.value[:60]}"
        for text in texts(tree(path))
        if text.value in CODES or text.value in properties() or text.value in resources
    ]


def test_nothing_of_intuit_s_is_named_outside_of_its_room() -> None:
    others = [path for path in sorted(ROOM.rglob("*.py")) if "quickbooks" not in path.parts]
    assert [found for path in others for found in _of_intuit(path)] == []


def test_the_rule_finds_what_it_looks_for(tmp_path: Path) -> None:
    assert {"DocNumber", "TxnDate", "PrivateNote", "SyncToken"} <= properties()
    file = tmp_path / "module.py"
    file.write_text('A = ["6240", "BillPayment", "DocNumber", "an Invoice of ours"]\n')
    resources = {*mapping.ENTITY.values()}
    named = [t.value for t in texts(tree(file)) if t.value in CODES | properties() | resources]
    assert named == ["6240", "BillPayment", "DocNumber"]
