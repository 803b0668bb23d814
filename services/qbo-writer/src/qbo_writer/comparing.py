"""The fields of a document that are ours, in comparable form: what differs, what is a free text, what is taxed. Pure."""

import hashlib
from collections.abc import Mapping

from bookrelay.messages import Difference

from qbo_writer.domain import BooksEntity, Comparison
from qbo_writer.names import alike


def compare(fields: Mapping[str, str], seen: BooksEntity) -> Comparison:
    """Compare fields (DesiredDocument.fields, or earlier BooksEntity.fields) with an entity: every key of `fields` must be the same in it.

    Missing and empty are the same. More lines than ours are a difference ("lines"); what we do not name is not ours.
    """
    return Comparison(differences(fields, seen.fields))


def differences(ours: Mapping[str, str], theirs: Mapping[str, str]) -> tuple[Difference, ...]:
    """Return where `theirs` is not as `ours` has it; what `ours` does not name is not compared.

    A text that a person wrote in QuickBooks may name a patient: that it is another one is shown, not what it says.
    """
    return tuple(
        Difference(field=key, ours=_shown(key, ours[key], veil=False), theirs=_shown(key, theirs.get(key), veil=True))
        for key in sorted(ours, key=_natural)
        if (ours[key] or "") != (theirs.get(key) or "")
        and not _same_veiled(ours[key], theirs.get(key))
        and not (key == "name" and alike(ours[key]) == alike(theirs.get(key) or ""))
    )


_VEIL = "text:"

_OTHER_TEXT = "(another text)"


def veiled(fields: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    """Return what the ledger keeps of an entity's fields: free texts that are not ours as a hash only."""
    return {key: value if ours.get(key) == value or not is_free_text(key) else _veil(value) for key, value in fields.items()}


def is_free_text(key: str) -> bool:
    """Whether a field holds what a person wrote: it may name a patient."""
    return key == "memo" or key.endswith(".description") or key.startswith("custom.")


def _veil(text: str) -> str:
    return _VEIL + hashlib.sha256(text.encode()).hexdigest()[:32] if text and not text.startswith(_VEIL) else text


def _same_veiled(ours: str | None, theirs: str | None) -> bool:
    return bool(ours and theirs) and _veil(ours or "") == _veil(theirs or "")


def _shown(key: str, value: str | None, *, veil: bool) -> str | None:
    if value and is_free_text(key) and (veil or value.startswith(_VEIL)):
        return _OTHER_TEXT
    return value or None


def paid(seen: BooksEntity) -> bool:
    """Whether something was paid on an invoice or bill."""
    return not seen.voided and seen.balance < seen.total


def _natural(key: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in key.split(".")]


_UNTAXED = ("", "NON")


def taxed(fields: Mapping[str, str]) -> bool:
    """Whether a line asks for tax."""
    return any(key.startswith("line.") and key.endswith(".tax") and value not in _UNTAXED for key, value in fields.items())


def tax_on_top(fields: Mapping[str, str]) -> bool:
    """Whether QuickBooks adds the tax to our amounts; gross ones hold it already."""
    return taxed(fields) and fields.get("tax_calculation") != "gross"
