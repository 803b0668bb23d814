"""What the attempts log keeps of a body: its structure, numbers, ids and dates. Every other text is left out. Pure."""

import json
from typing import Any

LEFT_OUT = "..."
# Names, notes, descriptions, addresses and messages can hold a person's name: only what cannot is kept.
KEPT = frozenset(
    (
        *("Id", "SyncToken", "value", "TxnDate", "DueDate", "DocNumber", "DetailType", "TxnType", "TxnId", "PayType", "domain"),
        *("EmailStatus", "CreateTime", "LastUpdatedTime", "time", "DefinitionId", "Type", "status", "code", "type", "bId"),
        *("txn_date", "due_date"),
    )
)


def redacted(body: str) -> Any:
    """Return a JSON body without its texts; None for what is no JSON. Amounts keep their digits, as text."""
    try:
        return _plain("", json.loads(body, parse_float=str))
    except ValueError:
        return None


def _plain(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(name, item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(key, item) for item in value]
    if isinstance(value, str) and key not in KEPT and not _number(value):
        return LEFT_OUT
    return value


def _number(text: str) -> bool:
    return len(text) <= 20 and text.lstrip("-").replace(".", "", 1).isdigit() and text.isascii()
