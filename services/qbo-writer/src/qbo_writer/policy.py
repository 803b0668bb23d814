"""A company's policy, read from TOML: mappings, prefixes of document numbers, what a person decides. See docs/company-policy.md.

One file for all companies, or a directory with `<realm>.toml` for each and `default.toml` for the others.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from bookrelay.errors import Code, SettingsError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from qbo_writer.domain import PARTY_KINDS, LedgerKind, Unmapped
from qbo_writer.names import fold


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Target(_Table):
    """An entry of a QuickBooks list: by id, or by its exact name (of sub-entries the full one, "Parent:Child")."""

    id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_]+$")
    name: str | None = Field(default=None, min_length=1, max_length=500)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.id is None) == (self.name is None):
            raise ValueError('give either id or name, e.g. { id = "5" } or { name = "Services" }')
        return self


class ItemTarget(Target):
    """An item, with the sales tax code of its lines: "TAX", "NON", or (outside of the US) a code's id."""

    tax_code: str | None = None


def _short(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


def _folded_keys(value: object) -> object:
    return {fold(str(key)): entry for key, entry in value.items()} if isinstance(value, dict) else value


ShortTarget = Annotated[Target, BeforeValidator(_short)]
ShortItem = Annotated[ItemTarget, BeforeValidator(_short)]
Targets = Annotated[dict[str, ShortTarget], BeforeValidator(_folded_keys)]
Items = Annotated[dict[str, ShortItem], BeforeValidator(_folded_keys)]


_OF_SOURCES = tuple(kind for kind in LedgerKind if kind not in (*PARTY_KINDS, LedgerKind.BILL_PAYMENT))


class Defaults(_Table):
    """What is used where a document names nothing."""

    item: ShortItem | None = None
    account: ShortTarget | None = None
    ap_account: ShortTarget | None = None
    bank_account: ShortTarget | None = None
    discount_account: ShortTarget | None = None
    terms: ShortTarget | None = None
    class_name: ShortTarget | None = Field(default=None, alias="class")
    department: ShortTarget | None = None
    tax_code: str | None = None


class Policy(_Table):
    """Decisions of one company. The defaults are those that never surprise a bookkeeper."""

    kinds: tuple[LedgerKind, ...] = _OF_SOURCES
    retract: Literal["void", "delete"] = "void"  # invoices; QuickBooks has no void for bills, they are deleted
    changed_by_person: Literal["hold", "source_wins", "qbo_wins"] = "hold"
    update_paid: Literal["hold", "update"] = "hold"
    paid_by_us: Literal["hold", "unpay"] = "hold"  # a bill whose payment is ours is to be changed or withdrawn
    update_emailed: Literal["hold", "update"] = "update"
    closed_period: Literal["hold", "update"] = "hold"
    on_difference: Literal["tell", "hold"] = "tell"  # QuickBooks' answer is not what was asked
    on_total: Literal["hold", "tell"] = "hold"  # a document's lines do not add up to the total that its source states
    numbers: Literal["source", "derived", "quickbooks"] = "source"  # whose document numbers the documents get
    unusable_number: Literal["reject", "derive", "quickbooks"] = "reject"  # a source's number that is too long, or taken
    amounts: Literal["net", "gross"] | None = None  # outside of the US: whether the sources' amounts hold the tax
    create_customers: bool = True
    create_vendors: bool = True
    unmapped: Literal["default", "reject"] = "default"  # items and accounts without a mapping: [defaults], or QB006
    prefixes: dict[str, str] = Field(default_factory=dict)  # source -> prefix of its document numbers
    defaults: Defaults = Defaults()
    items: Items = Field(default_factory=dict)
    accounts: Targets = Field(default_factory=dict)
    customers: Targets = Field(default_factory=dict)
    vendors: Targets = Field(default_factory=dict)
    terms: Targets = Field(default_factory=dict)
    classes: Targets = Field(default_factory=dict)
    departments: Targets = Field(default_factory=dict)
    custom_fields: dict[str, str] = Field(default_factory=dict)  # our name -> DefinitionId

    _companies: dict[str, "Policy"] = PrivateAttr(default_factory=dict)

    @field_validator("prefixes")
    @classmethod
    def _prefixes(cls, value: dict[str, str]) -> dict[str, str]:
        for source, prefix in value.items():
            if not (1 <= len(prefix) <= 6 and prefix.isascii() and prefix.isalnum() and prefix == prefix.upper()):
                raise ValueError(f"the prefix of {source!r} must be 1 to 6 capital letters or digits")
        if len(set(value.values())) != len(value):
            raise ValueError("two sources have the same prefix: their numbers could be equal")
        return value

    @field_validator("custom_fields", mode="before")
    @classmethod
    def _definitions(cls, value: object) -> object:
        if isinstance(value, dict):
            value = {str(name): str(definition) for name, definition in value.items()}
            if len(set(value.values())) != len(value):
                raise ValueError("two custom fields have the same number")
        return value

    def for_realm(self, realm: str) -> "Policy":
        """Return the policy of a company: its own where a directory of policies was read, else this one."""
        return self._companies.get(realm, self)

    @classmethod
    def load(cls, path: Path | None) -> "Policy":
        """Read the file or directory; None gives the defaults. Raises SettingsError that names file, key and remedy."""
        if path is None:
            return cls()
        if not path.is_dir():
            return cls._read(path)
        default = path / "default.toml"
        policy = cls._read(default) if default.exists() else cls()
        policy._companies.update({file.stem: cls._read(file) for file in sorted(path.glob("*.toml")) if file != default})
        return policy

    @classmethod
    def _read(cls, path: Path) -> "Policy":
        try:
            value = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise _wrong(path, f"cannot be read: {error.strerror or error}", "Check COMPANY_POLICY_FILE.") from None
        except UnicodeDecodeError:
            raise _wrong(path, "is not UTF-8 text", "Save it as UTF-8.") from None
        except tomllib.TOMLDecodeError as error:
            raise _wrong(path, f"is not TOML: {_unnamed(str(error))}", "Names with blanks, dots or signs need quotes.") from None
        except RecursionError:
            raise _wrong(path, "is not TOML: its brackets are nested without end", "Write it anew.") from None
        return cls.parse(value, path)

    @classmethod
    def parse(cls, value: Mapping[str, Any], path: Path) -> "Policy":
        """Check a parsed file."""
        try:
            return cls.model_validate(dict(value))
        except ValidationError as error:
            parts = []
            for item in error.errors(include_input=False, include_url=False):
                key, unknown = _place(item["loc"], value), item["type"] == "extra_forbidden"
                if unknown and key.endswith(")") and "(entry" in key:
                    parts.append(f"{key}: there is no such key in an entry, which has id or name (an item also tax_code)")
                elif unknown:
                    parts.append(f"{key}: there is no such key")
                else:
                    parts.append(f"{key}: {item['msg'].removeprefix('Value error, ')}")
            raise _wrong(path, "is wrong: " + "; ".join(parts), "See docs/company-policy.md for every key.") from None


# Tables by names that a source gives: of people, too. What is wrong with them is told by place: it goes to logs and readiness.
_BY_NAME = ("items", "accounts", "customers", "vendors", "terms", "classes", "departments")
_OF_ENTRY = ("id", "name", "tax_code")


def _place(loc: Sequence[int | str], value: Mapping[str, Any]) -> str:
    """Return where something is wrong, without what only the file may hold: "customers.(entry 2).id"."""
    parts = [str(part) for part in loc]
    if len(parts) > 1 and parts[0] in _BY_NAME:
        return ".".join((parts[0], f"(entry {_number(parts[1], value[parts[0]])})", *(p for p in parts[2:] if p in _OF_ENTRY)))
    table: Any = value
    for index, part in enumerate(parts):
        if not _KEY.fullmatch(part):  # a name that slipped out of its table
            parts[index] = f"(key {_number(fold(part), table)})"
        table = table.get(part) if isinstance(table, Mapping) else None
    return ".".join(parts) or "the file"


def _number(folded: str, table: object) -> int | str:
    keys = [fold(str(key)) for key in table] if isinstance(table, Mapping) else []
    return keys.index(folded) + 1 if folded in keys else "?"


_KEY = re.compile(r"[a-z0-9_]{1,40}")


def _unnamed(told: str) -> str:
    """Return tomllib's words without the key that some of them repeat."""
    return re.sub(r"(declare|namespace|inline table key) .+? ((?:twice )?\(at )", r"\1 (a name) \2", told)


def _wrong(path: Path, what: str, fix: str) -> SettingsError:
    return SettingsError(f"The company policy {path} {what}.", fix, Code.VALIDATION)


TAX_NOT_SAID = (
    "QuickBooks wants the tax of every line of this company (it is outside of the US and uses VAT, GST or the like), "
    "and the company policy does not say it."
)
"""The reason of what is held for it: what has this reason is due again as soon as the policy says it."""


def lacking(policy: Policy) -> tuple[str, ...]:
    """Return the settings that a company needs which must name the tax of each line, and does not have."""
    amounts = () if policy.amounts else ('amounts = "net" or "gross"',)
    return amounts if policy.defaults.tax_code else (*amounts, "tax_code under [defaults]")


def not_said(policy: Policy) -> Unmapped:
    """Return what a document waits for: the names of the settings stand in the remedy."""
    wanted = " and ".join(lacking(policy) or ("tax_code under [defaults]",))
    return Unmapped(
        TAX_NOT_SAID,
        f"Set {wanted} in the company policy (COMPANY_POLICY_FILE, docs/company-policy.md); what waits for it goes on by itself.",
        holds=True,
        by_facts=True,
    )
