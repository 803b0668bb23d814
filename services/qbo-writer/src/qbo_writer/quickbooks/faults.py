"""What an answer of Intuit means: a table keyed by code, and parsers for JSON, lower-case, XML and HTML bodies.

Texts are localised and never decide, with two exceptions: 6140 names the document with the number in its Detail; and what
the catch-all 6000 means is only in its words. Unknown words are treated as a rejection.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from xml.etree import ElementTree

from bookrelay.errors import Code, Disposition
from bookrelay.money import loads

from qbo_writer.domain import Answer, AnswerKind, Cause, Operation

_SUCCESS, _REFUSAL, _ERROR, _CONFLICT, _SILENCE = (
    AnswerKind.SUCCESS, AnswerKind.REFUSAL, AnswerKind.ERROR, AnswerKind.CONFLICT, AnswerKind.SILENCE,
)  # fmt: skip
_RETRY, _REJECT, _HOLD, _HALT = Disposition.RETRY, Disposition.REJECT, Disposition.HOLD, Disposition.HALT


@dataclass(frozen=True)
class Entry:
    """One code. `kind` ERROR is the definitive list of the protocol: nothing was done and never will be.

    ERROR with RETRY: refused for a stale cached reference: forget it, resolve again, make a new attempt.
    REFUSAL with HALT: the company is not served; its commands stay due, and the same request is sent when it is served again.
    `detail`: show Intuit's own words to the operator, because only they say what is wrong.
    """

    kind: AnswerKind
    disposition: Disposition
    code: Code
    sentence: str
    fix: str = ""
    detail: bool = False
    unauthorized: bool = False
    throttled: bool = False
    tries: int = 1  # how often the document is sent before its disposition applies


def _data(sentence: str, fix: str = "Correct it at the source.") -> Entry:
    """The document is wrong: reject it, with an event for its source."""
    return Entry(_ERROR, _REJECT, Code.VALIDATION, sentence, fix, detail=True)


def _bug(sentence: str) -> Entry:
    """Our request is wrong, whatever the document: hold it."""
    fix = "This is a bug in bookrelay: report it, and release the document after the upgrade."
    return Entry(_ERROR, _HOLD, Code.AUTOMATION_FAILED, sentence, fix, detail=True)


def _person(sentence: str, fix: str) -> Entry:
    """Somebody must act in QuickBooks first: hold the document."""
    return Entry(_ERROR, _HOLD, Code.CONFLICT, sentence, fix)


def _stale(sentence: str) -> Entry:
    """A cached reference is stale: resolve it again."""
    return Entry(_ERROR, _RETRY, Code.MAPPING_MISSING, sentence, "Make it active in QuickBooks, or change the mapping.")


def _cut_off(sentence: str, fix: str, code: Code = Code.OAUTH_FAILED) -> Entry:
    """Nothing works for this company until somebody acts. Nothing was done, and no document is at fault."""
    return Entry(_REFUSAL, _HALT, code, sentence, fix)


def _silent(sentence: str) -> Entry:
    """The answer does not show whether something was done."""
    return Entry(_SILENCE, _RETRY, Code.AUTOMATION_FAILED, sentence)


_UNAUTHORIZED = Entry(
    _REFUSAL, _RETRY, Code.OAUTH_FAILED, "QuickBooks refused the access token.", "It is renewed automatically.", unauthorized=True
)
_THROTTLED = Entry(
    _REFUSAL, _RETRY, Code.RATE_LIMIT, "QuickBooks throttles the company.", "Posting resumes automatically.", throttled=True
)
_UPLOAD = _bug("QuickBooks refused a file.")
_TIME = _data("QuickBooks refused a time activity.")
_TAX = _data("QuickBooks refused the sales tax of the document.", "Check the tax codes in the company policy.")
_BUDGET = _data("QuickBooks refused a budget.")
_CLOSED = _person(
    "The books are closed for the date of this document.",
    "Change the date at the source, or reopen the period in QuickBooks (Account and settings > Advanced), then release it.",
)
_MERCHANT = _person("The document was settled by QuickBooks Payments and cannot be changed.", "Correct it by hand in QuickBooks.")
_LINKED = _person(
    "Other transactions are linked to the document.", "Unlink its payments, deposit or bank match in QuickBooks, then release it."
)
_NAME_BUSY = _person("The customer or vendor still has an open balance.", "Settle it in QuickBooks.")
_LEVELS = _data("QuickBooks refused the parent of the customer.", "Correct the customer in QuickBooks.")
_OTHER_ACCOUNT = "Correct the account in QuickBooks, or choose another one in the company policy."
_REFERENCE = "Something that the document refers to does not exist in QuickBooks or was made inactive."

# fmt: off
TABLE: dict[str, Entry] = {
    # Authorization
    "100": _UNAUTHORIZED,
    "110": _UNAUTHORIZED,
    "3200": _UNAUTHORIZED,
    "3202": _UNAUTHORIZED,
    "120": _cut_off(
        "The QuickBooks user who connected bookrelay no longer has access to the company, or its plan has changed.",
        "Connect again as an administrator: qbo-writer auth login.",
    ),
    "3100": _cut_off(
        "The connection does not cover this company.",
        "Check QBO_REALM_ID and QBO_ENVIRONMENT, then connect again: qbo-writer auth login.",
    ),
    "3201": _cut_off("The connection does not cover this company.", "Connect again: qbo-writer auth login."),
    "5020": _cut_off(
        "The QuickBooks user who connected bookrelay lacks the permission for this.",
        "Give the user the permission in QuickBooks, or connect again as an administrator: qbo-writer auth login.",
    ),
    "6190": _cut_off(
        "The company's QuickBooks subscription has ended, was cancelled or has a billing problem.",
        "Renew it in QuickBooks. Commands are kept, and posting resumes automatically.",
        Code.AUTOMATION_FAILED,
    ),
    "10200": Entry(
        _SILENCE, _HALT, Code.AUTOMATION_FAILED, "The company was reset in QuickBooks: the ledger's documents are gone there.",
        "Posting resumes automatically at the next successful answer. To compare ledger and company first, halt it: "
        "qbo-writer halt REALM --why TEXT.",
    ),
    "5030": Entry(
        _ERROR, _REJECT, Code.VALIDATION, "The company's QuickBooks plan does not include what the document needs.",
        "Upgrade the plan (bills need Essentials, classes and locations Plus), or skip such documents in the company policy.",
    ),
    # Throttling and Intuit's servers
    "3001": _THROTTLED,
    "3002": _THROTTLED,
    "130": _silent("The company is being moved at Intuit."),
    "140": _silent("The company is locked at Intuit."),
    "150": _silent("The company is under maintenance at Intuit."),
    "600": _silent("QuickBooks says that this request was made before."),
    "1000": _silent("QuickBooks says that the operation failed, but not why."),
    "1010": _silent("QuickBooks says that the create failed, but not why."),
    "1020": _silent("QuickBooks says that the update failed, but not why."),
    "6002": _silent("Intuit's gateway timed out."),
    "10000": _silent("QuickBooks had an internal error."),
    "10100": _silent("The result of the query was too large."),
    # Conflicts: read by Id and compare
    "5010": Entry(_CONFLICT, _RETRY, Code.CONFLICT, "Somebody changed the document in QuickBooks at the same time."),
    "610": Entry(_CONFLICT, _RETRY, Code.CONFLICT, "The document is no longer in QuickBooks."),
    "6140": Entry(
        _CONFLICT, _HOLD, Code.CONFLICT, "Another document in QuickBooks has this number.",
        "Give the other document another number, then release this one; or drop it.",
    ),
    # References
    "2500": _stale(_REFERENCE),
    "6250": _stale("The customer is missing in QuickBooks or was made inactive."),
    "6240": Entry(
        _ERROR, _HOLD, Code.CONFLICT, "A customer, vendor or employee with this name already exists.",
        "Rename one of them in QuickBooks, or map the name in the company policy.",
    ),
    "620": _person("A linked transaction cannot be linked.", "Correct the link in QuickBooks."),
    "630": _person("QuickBooks already has the same unique value.", "Find it in QuickBooks and decide which one to keep."),
    "700": _LEVELS,
    "800": _LINKED,
    "900": _LEVELS,
    # Our requests
    "500": _bug("QuickBooks does not support this operation."),
    "1040": _bug("The batch was too large."),
    "1050": _bug("The content type was refused."),
    "2000": _bug("QuickBooks does not recognise the kind of document."),
    "2010": _bug("QuickBooks does not recognise a property."),
    "2020": _bug("A required property was missing."),
    "2120": _bug("A property had the wrong type."),
    "2130": _bug("The requestid was malformed."),
    "2250": _bug("The document had no lines."),
    "2260": _bug("A journal line had no posting type."),
    "2270": _bug("A tax line was incomplete."),
    "2280": _bug("A tax line had no amount."),
    "2300": _bug("Debits and credits differed."),
    "2600": _bug("Two properties exclude each other."),
    "4000": _bug("The query could not be read."),
    "4001": _bug("The query was refused."),
    "4002": _bug("The query could not be run."),
    "5000": _bug("A property is no longer in use."),
    "6070": _bug("The amount of a line was not quantity times price."),
    "6440": _bug("A line had no item or account."),
    # The document
    "2030": _data("An id is not a number."),
    "2040": _data("A text has characters that QuickBooks does not accept."),
    "2050": _data("A text is too long for QuickBooks."),
    "2060": _data("A date is not written YYYY-MM-DD."),
    "2070": _data("A date does not exist."),
    "2080": _data("A number is invalid."),
    "2090": _data("A number is invalid."),
    "2100": _data("A number is invalid."),
    "2110": _data("A number is invalid."),
    "2140": _data("An amount is invalid."),
    "2150": _data("A percentage is invalid."),
    "2160": _data("A quantity is invalid."),
    "2170": _data("A value is not one of those that QuickBooks allows."),
    "2180": _data("A text is out of range."),
    "2190": _data("A date is out of range."),
    "2200": _data("A web address is invalid."),
    "2210": _data("The e-mail address is invalid."),
    "2220": _data("The currency is invalid."),
    "2230": _data("A yes-or-no value is invalid."),
    "2240": _data("A number is out of range."),
    "2290": _data("A line has a negative amount."),
    "3000": _data("A custom field is invalid.", "Check [custom_fields] in the company policy."),
    "6000": _data(
        "QuickBooks refused the document because of one of its rules.",
        "Correct what QuickBooks names, at the source, in the company policy (items, accounts, tax codes) or in QuickBooks.",
    ),
    "6010": _data("An account has no type.", _OTHER_ACCOUNT),
    "6060": _data("An opening balance has no date."),
    "6080": _data("The name is empty."),
    "6090": _data("A discount has neither an amount nor a percentage."),
    "6270": _data(
        "The date is before the item's inventory start date.",
        "Change the date at the source, or the item's inventory start date in QuickBooks.",
    ),
    "6420": _data("The document needs an e-mail address."),
    "6430": _data("An account has the wrong type for its use.", "Choose another account in the company policy."),
    "6520": _data("An inventory item has no quantity.", "Set it in QuickBooks, or map another item in the company policy."),
    "6530": _data("The document contains a card number.", "Remove the card number at the source."),
    # A person in QuickBooks
    "6110": _MERCHANT,
    "6120": _MERCHANT,
    "6450": _MERCHANT,
    "6460": _MERCHANT,
    "6200": _CLOSED,
    "6210": _CLOSED,
    "6220": _NAME_BUSY,
    "6280": _NAME_BUSY,
    "6400": _LINKED,
    "6480": _LINKED,
    "6540": _LINKED,
    **dict.fromkeys(("6130", "6150", "6180"), _LEVELS),
    **dict.fromkeys(("6020", "6030", "6040", "6041", "6050"), _UPLOAD),
    **dict.fromkeys(("6100", "6160", "6170", "6230", "6470"), _TAX),
    **dict.fromkeys(("6290", "6300", "6310", "6320", "6330", "6340", "6350", "6360", "6370", "6380", "6390"), _TIME),
    **dict.fromkeys(("6490", "6500", "6510"), _BUDGET),
}
# fmt: on

UNKNOWN = _silent("QuickBooks sent an answer that bookrelay does not recognise.")
_UNREADABLE = _silent("QuickBooks' answer could not be read.")
_SERVER = _silent("QuickBooks' server had an error.")
NO_ANSWER = _silent("QuickBooks did not answer.")
_STALE_REFERENCE = _stale(_REFERENCE)
_TAX_WANTED = Entry(
    _ERROR, _HOLD, Code.MAPPING_MISSING, "QuickBooks requires a tax rate on every line for this company.",
    "Set tax_code under [defaults] (or a tax_code of the item) and amounts in the company policy, then release it.",
    detail=True,
)  # fmt: skip
_UNEXPECTED = _silent("QuickBooks had an unexpected error while saving the document.")
_TAX_ENGINE = Entry(
    _ERROR, _HOLD, Code.AUTOMATION_FAILED, "QuickBooks could not calculate the tax of the document.",
    "Save a similar document by hand in QuickBooks, with the same product or service and tax rate: whatever must be chosen again "
    "there is the cause. Correct that, then release it (qbo-writer held release).",
    detail=True, tries=3,
)  # fmt: skip
# What the words of a 6000 mean, where known. Seen in reports from the field; the first succeeds at the second try.
# In another language a 6000 stays a rejection with QuickBooks' words.
WORDS_OF_6000: tuple[tuple[re.Pattern[str], Entry], ...] = (
    (re.compile(r"error while calculating tax", re.I), _TAX_ENGINE),
    (re.compile(r"unexpected error occurred while", re.I), _UNEXPECTED),
    (re.compile(r"transactions have an? [\w/ ]+ rate before you save", re.I), _TAX_WANTED),
)
WITHOUT_CODE: dict[str, Entry] = {
    "HTTP 401": _UNAUTHORIZED,
    "HTTP 429": _THROTTLED,
    "HTTP 5xx": _SERVER,
    "a code that is not in this table": UNKNOWN,
    "an answer that is neither a fault nor a success (HTML, empty, cut off)": _UNREADABLE,
    "no answer": NO_ANSWER,
}
"""What decides if the answer has no known code; the first that matches."""

# 6000 is the catch-all: with an internal cause ("-30003") in its Detail the document was seen to exist anyway. An amount
# ("-1500.00", "-1,500") is not one.
_INTERNAL_CAUSE = re.compile(r"(?<![\w.])-\d{4,6}\b(?![.,]\d)")
_TXN_ID = re.compile(r"TxnId\s*[=:]\s*(\d+)")
_TXN_TYPE = re.compile(r"TxnType\s*[=:]\s*(\w+)")
# For a company in another language the Detail may be translated: then only the Id counts.
_TXN_TYPES = frozenset({
    "Bill", "BillPayment", "CashPurchase", "Check", "CreditCardCredit", "CreditMemo", "Deposit", "Estimate", "Expense",
    "Invoice", "JournalEntry", "Payment", "Purchase", "PurchaseOrder", "ReceivePayment", "RefundReceipt",
    "SalesReceipt", "Transfer", "VendorCredit",
})  # fmt: skip
_DOUBLED = 300  # characters of Intuit's own words in a reason


@dataclass(frozen=True)
class Fault:
    """One error of a fault."""

    code: str
    message: str = ""
    detail: str = ""
    element: str = ""
    type: str = ""


def parse(body: str) -> tuple[Fault, ...] | None:
    """Return the errors in a body: () if it is readable and has none, None if it cannot be read (HTML, cut off, empty)."""
    text = body.lstrip("\ufeff \r\n\t")
    if text.startswith("{"):
        try:
            value = loads(text)
        except ValueError:
            return None
        return faults_of(value)
    return _xml_faults(text) or None if text.startswith("<") else None


def _xml_faults(text: str) -> tuple[Fault, ...]:
    """Return the errors of a gateway's XML, whatever its prefixes; () for HTML and for what is no XML or was cut off."""
    if "<!DOCTYPE" in text:  # an answer of Intuit has none: no entity is expanded
        return ()
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 (without a document type there is nothing to attack with)
    except (ElementTree.ParseError, ValueError):
        return ()
    return tuple(
        Fault(
            _code(error.get("code")), error.findtext("{*}Message", ""), error.findtext("{*}Detail", ""),
            error.get("element", ""), fault.get("type", ""),
        )
        for fault in root.iter()
        if fault.tag.rpartition("}")[2] == "Fault"
        for error in fault.iterfind("{*}Error")
    )  # fmt: skip


def faults_of(value: Any) -> tuple[Fault, ...]:
    """Return the errors in a parsed body or batch item; () if there are none."""
    if not isinstance(value, dict):
        return ()
    fault = value.get("Fault") or value.get("fault")
    if not isinstance(fault, dict):
        return ()
    type_ = str(fault.get("type") or "")
    errors = fault.get("Error") or fault.get("error") or []
    errors = [errors] if isinstance(errors, dict) else errors
    found = tuple(
        Fault(
            _code(error.get("code")), _text(error, "Message", "message"), _text(error, "Detail", "detail"),
            _text(error, "element"), type_,
        )
        for error in errors
        if isinstance(error, dict)
    )  # fmt: skip
    return found or (Fault("", type=type_),)


def classify(status: int, headers: Mapping[str, str], body: str, operation: Operation | None) -> Answer:
    """Classify an answer to a write. A success is returned without `seen`: the client fills that in from the body."""
    lower = {name.lower(): value for name, value in headers.items()}
    answer = _classify(status, body, operation)
    return replace(
        answer,
        http_status=status,
        body=body,
        intuit_tid=lower.get("intuit_tid"),
        retry_after=_seconds(lower.get("retry-after")) if answer.throttled else None,
    )


def item(value: Mapping[str, Any], operation: Operation | None) -> Answer:
    """Classify one item of a batch's reply."""
    found = faults_of(value)
    return _of_faults(found, operation) if found else Answer(kind=_SUCCESS)


def deciding(body: str) -> Entry | None:
    """Return the table's entry for a body's known codes; None if it has none or cannot be read."""
    found = tuple(fault for fault in parse(body) or () if fault.code in TABLE)
    if not found:
        return None
    decisive, halting = _deciding(found, None)
    return (halting or decisive)[0]


def silence(reason: str, body: str = "") -> Answer:
    """Return the Answer for a missing answer."""
    return replace(_answer(NO_ANSWER, None), reason=f"{NO_ANSWER.sentence} ({reason})", body=body)


def unreadable(answer: Answer) -> Answer:
    """Return `answer` as silence: its body lacks what a success must have."""
    return replace(answer, kind=_SILENCE, reason=_UNREADABLE.sentence, disposition=_RETRY, code=_UNREADABLE.code)


def _classify(status: int, body: str, operation: Operation | None) -> Answer:
    """The code decides, then the status. In a 5xx the code applies to the company, but never means that nothing was done."""
    found = parse(body)
    if found and any(fault.code in TABLE for fault in found):
        answer = _of_faults(found, operation)
        if status < 500:
            return answer
        # A gateway may have cut off the answer to something that was done.
        return replace(answer, kind=_SILENCE, disposition=_HALT if answer.halt else _RETRY)
    fault = found[0] if found else None
    if status == 401:
        return _answer(_UNAUTHORIZED, fault)
    if status == 429:
        return _answer(_THROTTLED, fault)
    if status >= 500:
        return _answer(_SERVER, fault)
    if found is None:
        return _answer(_UNREADABLE, None)
    if found:
        return _of_faults(found, operation)
    return Answer(kind=_SUCCESS) if 200 <= status < 300 else _answer(_UNREADABLE, None)


def _of_faults(found: tuple[Fault, ...], operation: Operation | None) -> Answer:
    (entry, fault), halting = _deciding(found, operation)
    # A halting code applies whatever else the answer says.
    return replace(_answer(*halting), kind=entry.kind) if halting else _answer(entry, fault)


def _deciding(found: tuple[Fault, ...], operation: Operation | None) -> tuple[tuple[Entry, Fault], tuple[Entry, Fault] | None]:
    """Of several errors in one fault the least certain decides what was done; a halting one halts the company."""
    entries = [(_entry(fault, operation), fault) for fault in found]
    order = (_SILENCE, _REFUSAL, _CONFLICT, _ERROR)
    return min(entries, key=lambda pair: order.index(pair[0].kind)), next((p for p in entries if p[0].disposition is _HALT), None)


def _entry(fault: Fault, operation: Operation | None) -> Entry:
    entry = TABLE.get(fault.code, UNKNOWN)
    if fault.code == "6000" and (
        fault.type.lower().startswith("system") or _INTERNAL_CAUSE.search(f"{fault.message} {fault.detail}")
    ):
        return _SERVER
    if fault.code == "6000":
        words = f"{fault.message} {fault.detail}"
        return next((meant for pattern, meant in WORDS_OF_6000 if pattern.search(words)), entry)
    if fault.code == "610" and operation is Operation.CREATE:  # a create has no document that could be gone: a reference is meant
        return _STALE_REFERENCE
    return entry


def _answer(entry: Entry, fault: Fault | None) -> Answer:
    reason = entry.sentence
    if entry.detail and fault and (fault.detail or fault.message):
        reason += f" QuickBooks says: {(fault.detail or fault.message)[:_DOUBLED]}"
    duplicate = fault.detail if fault and fault.code == "6140" else ""
    named, kind = _TXN_ID.search(duplicate), _TXN_TYPE.search(duplicate)
    return Answer(
        kind=entry.kind,
        intuit_code=(fault.code or None) if fault else None,
        disposition=entry.disposition,
        code=entry.code,
        reason=reason,
        fix=entry.fix,
        conflicting_id=named.group(1) if named else None,
        conflicting_kind=kind.group(1) if named and kind and kind.group(1) in _TXN_TYPES else None,
        cause=_CAUSES.get(fault.code) if fault else None,
        tries=entry.tries,
        unauthorized=entry.unauthorized,
        throttled=entry.throttled,
        halt=entry.disposition is _HALT,
    )


_CAUSES = {"6240": Cause.NAME_TAKEN, "6140": Cause.NUMBER_TAKEN, **dict.fromkeys(("2500", "610", "6250"), Cause.STALE),
           **dict.fromkeys(("2020", "5030", "6000"), Cause.BY_FACTS)}  # fmt: skip


def _code(value: object) -> str:
    """Write a code as Intuit's table does: "003001" and 3001 are "3001"."""
    text = str(value if value is not None else "").strip()
    return text.lstrip("0") or text if text.isdigit() else text


def _text(error: Mapping[str, Any], *names: str) -> str:
    return next((str(error[name]) for name in names if error.get(name)), "")


def _seconds(value: str | None) -> float | None:
    """Read Retry-After: seconds, or a date."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
