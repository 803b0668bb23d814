"""What is missing in a company's lists or cannot be used, in a bookkeeper's words, with the fix. Pure."""

from collections.abc import Sequence

from bookrelay.errors import Code

from qbo_writer.domain import NameNeeded, Reference, Unmapped
from qbo_writer.names import fold, no_name, tidy

WORD = {
    "Customer": "customer", "Vendor": "vendor", "Employee": "employee", "Item": "product or service", "Account": "account",
    "Term": "term", "Class": "class", "Department": "location", "TaxCode": "tax code", "PaymentMethod": "payment method",
}  # fmt: skip
TABLE = {"Customer": "customers", "Vendor": "vendors", "Item": "items", "Account": "accounts", "Term": "terms",
          "Class": "classes", "Department": "departments"}  # fmt: skip


class Missing(Exception):  # noqa: N818
    def __init__(self, unmapped: Unmapped) -> None:
        super().__init__(unmapped.reason)
        self.unmapped = unmapped


class Alike(Missing):
    """There are similar entries, but none with this name."""


class New(Exception):  # noqa: N818
    def __init__(self, needed: NameNeeded) -> None:
        super().__init__(needed.name)
        self.needed = needed


US_TAX = Unmapped(
    "Its lines have tax codes that cannot be combined in a US company: an invoice has one sales tax, a bill none.",
    "Use TAX or NON, or the same sales tax code for all taxed lines of an invoice; leave tax_code out for bills.",
    Code.VALIDATION,
    at_source=True,
)
NO_DISCOUNTS = Unmapped(
    "The document has a discount, but the company does not use discounts.",
    "Turn on discounts in QuickBooks (Account and settings > Sales > Sales form content), or deduct the discount from the lines.",
    by_facts=True,
)
NO_CLASSES = Unmapped(
    "The document names a class, but the company does not use classes.",
    "Turn on classes in QuickBooks (plan Plus, Account and settings > Advanced), or leave the class empty.",
    by_facts=True,
)
NO_CLASSES_FOR_POLICY = Unmapped(
    "The company policy names a class for every document, but the company does not use classes.",
    "Turn on classes in QuickBooks (plan Plus, Account and settings > Advanced), or remove class from [defaults] in the "
    "company policy.",
    by_facts=True,
)
NO_LOCATIONS = Unmapped(
    "The document names a location, but the company does not use locations.",
    "Turn on locations in QuickBooks (Account and settings > Advanced), or leave the location empty.",
    by_facts=True,
)
NO_LOCATIONS_FOR_POLICY = Unmapped(
    "The company policy names a location for every document, but the company does not use locations.",
    "Turn on locations in QuickBooks (Account and settings > Advanced), or remove department from [defaults] in the company "
    "policy.",
    by_facts=True,
)
NO_DEFAULT = {
    "Item": Unmapped(
        "A line names no product or service, and no default is set.",
        "Set item under [defaults] in the company policy, or QBO_DEFAULT_ITEM_ID, or name one at the source.",
    ),
    "Account": Unmapped(
        "A line names no account, and no default is set.",
        "Set account under [defaults] in the company policy, or QB_DEFAULT_EXPENSE_ACCOUNT, or name one at the source.",
    ),
}
NO_BANK_ACCOUNT = Unmapped(
    "No bank account is set for paying bills.",
    "Set QB_DEFAULT_BANK_ACCOUNT, or bank_account under [defaults] in the company policy.",
)
EMPTY = Unmapped("The name is empty.", "Give the customer or vendor a name at the source.", Code.VALIDATION, at_source=True)


def wrong_name(name: str, entity: str | None = None) -> Unmapped | None:
    """Return why nothing is created under this name. Existing entries and mappings are still found."""
    if not fold(name):
        return EMPTY
    table = f"under [{TABLE[entity]}] in the company policy" if entity else "in the company policy"
    if what := no_name(name):
        return Unmapped(
            f"{tidy(name)!r} is {what}, not the name of a customer or vendor: nothing is created under it.",
            f"Correct the name at the source, or map this text to a QuickBooks name {table}.",
            Code.VALIDATION,
            at_source=True,
        )
    if ":" in name:
        return Unmapped(
            f"QuickBooks has no entry with the full name {tidy(name)!r}, and a new name cannot contain a colon.",
            "Create it in QuickBooks below its parent, change the name at the source, or map the name to a QuickBooks name "
            f"{table}.",
            Code.VALIDATION,
        )
    return None


def several_alike(entity: str, text: str, held: Sequence[Reference]) -> Unmapped:
    names = " and ".join(f"{one.name!r} (Id {one.qbo_id})" for one in sorted(held, key=lambda one: one.qbo_id))
    return Unmapped(
        f"{text!r} may mean several {TABLE[entity]} in QuickBooks: {names}.",
        f"Merge them or rename one in QuickBooks, or map {tidy(text)!r} to the Id of one under [{TABLE[entity]}] in the company "
        "policy.",
    )


def alike_only(entity: str, text: str, held: Sequence[Reference]) -> Unmapped:
    """Return why a text that is only similar to these names is neither matched nor created beside them."""
    name, word = tidy(text), WORD[entity]
    others = " and ".join(
        f"the {'' if one.active else 'inactive '}{WORD[one.entity]} {one.name!r} (Id {one.qbo_id})"
        for one in sorted(held, key=lambda one: one.qbo_id)
    )
    return Unmapped(
        f"There is no {word} {name!r} in QuickBooks, only {others}, which may be meant: the spelling of a letter differs.",
        f"If that is meant, map {name!r} to its Id under [{TABLE[entity]}] in the company policy, or use the same spelling at "
        f"the source; if not, create the {word} {name!r} in QuickBooks.",
    )


def unfit(found: Reference) -> Unmapped:
    """Return why an existing entry cannot be used."""
    word = WORD[found.entity]
    if found.heads:
        return Unmapped(
            f"{found.name!r} is a {found.heads} in QuickBooks, not a {word}.",
            f"Create the {word} in QuickBooks, or map the name under [{TABLE[found.entity]}] in the company policy.",
        )
    another = "map the name to another one in the company policy" if found.entity in TABLE else "name another one at the source"
    return Unmapped(f"The {word} {found.name!r} is inactive in QuickBooks.", f"Make it active in QuickBooks, or {another}.")


def unmapped(entity: str, key: str) -> Unmapped:
    """Return why a document's reference is not found."""
    if table := TABLE.get(entity):
        fix = f"Create it in QuickBooks, or map {key!r} under [{table}] in the company policy."
        return Unmapped(f"There is no {WORD[entity]} {key!r} in QuickBooks, and no mapping for it.", fix)
    return Unmapped(f"There is no {WORD[entity]} {key!r} in QuickBooks.", "Create it in QuickBooks, or correct it at the source.")


def named_but_missing(entity: str, which: str) -> Unmapped:
    """Return why an entry named by the policy or a setting is not found."""
    return Unmapped(
        f"The {WORD[entity]} {which}, which the company policy or a setting names, is not in QuickBooks.",
        "Create it in QuickBooks, or name another one in the company policy (or the setting) and restart.",
    )


def mapped_to_nothing(entity: str, name: str, qbo_id: str) -> Unmapped:
    """Return why a party is not found by the Id in the policy."""
    return Unmapped(
        f"{name!r} is mapped to {WORD[entity]} {qbo_id}, which QuickBooks does not have.",
        f"Correct it under [{TABLE[entity]}] in the company policy.",
    )


def not_to_be_created(entity: str, name: str) -> Unmapped:
    word, table = WORD[entity], TABLE[entity]
    return Unmapped(
        f"There is no {word} {tidy(name)!r} in QuickBooks, and the company policy (create_{table}) does not allow creating it.",
        f"Create the {word} in QuickBooks, or map the name under [{table}] in the company policy, or set create_{table} there.",
    )


def taken(entity: str, name: str, found: Reference) -> Unmapped:
    """Return why nothing is created under a name of an inactive entry or one of another kind, with the fix."""
    wanted, holder = WORD[entity], WORD[found.entity]
    if found.entity == entity:
        return Unmapped(
            f"The {wanted} {name!r} is inactive in QuickBooks.",
            f"Make the {wanted} active in QuickBooks, or map the name under [{TABLE[entity]}] in the company policy.",
            Code.CONFLICT,
        )
    state = "" if found.active else "inactive "
    return Unmapped(
        f"The name {name!r} belongs to the {state}{holder} {found.qbo_id} in QuickBooks, where a {wanted} is needed.",
        f"QuickBooks has one name space for all: create the {wanted} under another name, "
        f"for example {name.strip() + ' (' + wanted + ')'!r}, and map {name!r} to it under [{TABLE[entity]}] "
        "in the company policy.",
        Code.CONFLICT,
    )
