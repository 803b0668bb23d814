"""The query language: tokens, parser, evaluation. Grammar of the reference 1.5 with the liberties of 11."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from operator import ge, gt, le, lt
from typing import Any

from sandbox.qbo.company.clock import epoch_of
from sandbox.qbo.company.schema import KINDS, QUERY_NAMES, Entity
from sandbox.qbo.company.shapes import SHAPES
from sandbox.qbo.company.store import Company, Doc, folded
from sandbox.qbo.rules.changes import check_plan
from sandbox.qbo.rules.faults import Fault

PAGE, PAGE_MAX = 100, 1000
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:\\.|[^'\\])*')|(?P<number>-?\d+(?:\.\d+)?(?![\w]))|(?P<word>[A-Za-z_][\w.]*)"
    r"|(?P<op><=|>=|=|<|>)|(?P<mark>[(),*]))",
    re.DOTALL,
)
_CURLY = re.compile("[\u2018\u2019\u201c\u201d\u2013\u2014]")
KEYWORDS = frozenset(
    {"where", "and", "order", "orderby", "startposition", "maxresults", "asc", "desc", "by", "or", "group", "join", "not"}
)


@dataclass(slots=True)
class Token:
    """One token with its place in the statement, for error texts."""

    kind: str
    text: str
    at: int


@dataclass(slots=True)
class Condition:
    """`name op values`; IN has many values."""

    name: str
    op: str
    values: list[str]


@dataclass(slots=True)
class Statement:
    """A parsed query."""

    kind: str
    count: bool = False
    fields: list[str] = field(default_factory=list)
    where: list[Condition] = field(default_factory=list)
    order: list[tuple[str, bool]] = field(default_factory=list)
    start: int = 1
    limit: int = PAGE
    paged: bool = False


def _tokens(text: str) -> list[Token]:
    bad = _CURLY.search(text)
    if bad:
        raise Fault(
            "4000",
            value=f'Lexical error at line 1, column {bad.start() + 1}.  Encountered: "\\u{ord(bad.group()):04x}" '
            f'({ord(bad.group())}), after : ""',
        )
    tokens, at = [], 0
    text = text.rstrip().rstrip(";").rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if not found:
            while at < len(text) and text[at].isspace():
                at += 1
            raise Fault(
                "4000",
                value=f'Lexical error at line 1, column {at + 1}.  Encountered: "{text[at]}" ({ord(text[at])}), after : ""',
            )
        kind = found.lastgroup or ""
        tokens.append(Token(kind, found.group(kind), found.start(kind)))
        at = found.end()
    return tokens


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.position = 0

    def peek(self) -> Token | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def word(self) -> str:
        token = self.peek()
        return token.text.lower() if token and token.kind == "word" else ""

    def take(self) -> Token:
        token = self.peek()
        if token is None:
            raise Fault(
                "4000",
                value=f'Encountered "<EOF>" at line 1, column {len(self.text)}.\nWas expecting one of:\n    <IDENTIFIER> ...',
            )
        self.position += 1
        return token

    def fail(self, token: Token | None, expecting: str) -> Fault:
        if token is None:
            return Fault(
                "4000",
                value=f'Encountered "<EOF>" at line 1, column {len(self.text)}.\nWas expecting one of:\n    {expecting} ...',
            )
        shown = f'<IDENTIFIER> "{token.text} "' if token.kind == "word" else f'"{token.text} "'
        return Fault(
            "4000", value=f'Encountered " {shown}" at line 1, column {token.at + 1}.\nWas expecting one of:\n    {expecting} ...'
        )

    def expect(self, *words: str) -> None:
        if self.word() not in words:
            raise self.fail(self.peek(), " ".join(f'"{word}"' for word in words))
        self.position += 1

    def mark(self, text: str) -> bool:
        token = self.peek()
        if token and token.kind == "mark" and token.text == text:
            self.position += 1
            return True
        return False

    def parse(self) -> Statement:
        self.expect("select")
        count, fields = self.selection()
        self.expect("from")
        token = self.take()
        if token.kind != "word":
            raise self.fail(token, "<IDENTIFIER>")
        kind = QUERY_NAMES.get(token.text.lower())
        if kind is None:
            raise Fault("4001", value=f"Entity {token.text} is not queryable or does not exist.")
        statement = Statement(kind, count, fields)
        if self.word() == "where":
            self.position += 1
            statement.where.append(self.condition())
            while self.word() == "and":
                self.position += 1
                statement.where.append(self.condition())
        self.tail(statement)
        if self.peek() is not None:
            raise self.fail(self.peek(), '<EOF> "and" "order" "orderby" "startposition" "maxresults"')
        return statement

    def selection(self) -> tuple[bool, list[str]]:
        if self.word() == "count":
            self.position += 1
            if not self.mark("("):
                raise self.fail(self.peek(), '"("')
            if not self.mark("*"):
                self.take()
            if not self.mark(")"):
                raise self.fail(self.peek(), '")"')
            return True, []
        fields = []
        while True:
            if self.mark("*"):
                fields.append("*")
            else:
                token = self.take()
                if token.kind != "word" or token.text.lower() == "from":
                    raise self.fail(token, '"*" <IDENTIFIER>')
                fields.append(token.text)
            if not self.mark(","):
                return False, fields

    def condition(self) -> Condition:
        token = self.take()
        if token.kind != "word" or token.text.lower() in KEYWORDS:
            raise self.fail(token, "<IDENTIFIER>")
        operator = self.take()
        if operator.kind == "op":
            return Condition(token.text, operator.text, [self.value()])
        if operator.text.lower() == "like":
            return Condition(token.text, "like", [self.value()])
        if operator.text.lower() == "in":
            if not self.mark("("):
                raise self.fail(self.peek(), '"("')
            values = [self.value()]
            while self.mark(","):
                values.append(self.value())
            if not self.mark(")"):
                raise self.fail(self.peek(), '")"')
            return Condition(token.text, "in", values)
        raise self.fail(operator, '"=" "<" ">" "<=" ">=" "in" "like"')

    def value(self) -> str:
        token = self.take()
        if token.kind == "text":
            return re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL)
        if token.kind == "number":
            return token.text
        if token.kind == "word" and token.text.lower() in ("true", "false", "current_date", "null"):
            return (
                "\0today" if token.text.lower() == "current_date" else "" if token.text.lower() == "null" else token.text.lower()
            )
        raise self.fail(token, "<STRING> <NUMBER> <BOOLEAN>")

    def tail(self, statement: Statement) -> None:
        if self.word() in ("orderby", "order"):
            if self.word() == "order":
                self.position += 1
                self.expect("by")
            else:
                self.position += 1
            while True:
                token = self.take()
                if token.kind != "word":
                    raise self.fail(token, "<IDENTIFIER>")
                down = self.word() == "desc"
                if self.word() in ("asc", "desc"):
                    self.position += 1
                statement.order.append((token.text, down))
                if not self.mark(","):
                    break
        while self.word() in ("startposition", "maxresults"):
            which = self.word()
            self.position += 1
            token = self.take()
            if token.kind not in ("number", "text") or not token.text.strip("'").lstrip("-").isdigit():
                raise self.fail(token, "<INTEGER>")
            number = int(token.text.strip("'"))
            statement.paged = True
            if which == "startposition":
                statement.start = max(number, 1)
            elif number > PAGE_MAX:
                raise Fault("4001", value=f"value {number} is too large. The max allowed value is {PAGE_MAX}.")
            elif number < 0:
                raise Fault("4001", value=f"value {number} is too small. The min allowed value is 0.")
            else:
                statement.limit = number


def parse(text: str) -> Statement:
    """Statement of a query text; raises Fault 4000 or 4001."""
    if not text.strip():
        raise Fault("4000", value='Encountered "<EOF>" at line 0, column 0.\nWas expecting one of:\n    "select" ...')
    return _Parser(text).parse()


# -- evaluation --------------------------------------------------------------------------------------------------------


def _kind_of(entity: Entity, name: str) -> str:
    if name.startswith("MetaData."):
        return "time"
    spec = entity.props.get(name.split(".", maxsplit=1)[0], "any").lstrip("!=")
    base = spec.partition(":")[0]
    if name in ("TotalAmt", "Balance", "UnappliedAmt", "RemainingCredit", "CurrentBalance", "QtyOnHand"):
        return "number"
    if base in ("num", "money", "pos", "int"):
        return "number"
    if base in ("bool", "date"):
        return base
    if spec in ("obj:Email",):
        return "email"
    if spec in ("obj:Phone",):
        return "phone"
    return "ref" if name.endswith("Ref") else "text"


_NAMES: dict[str, dict[str, str]] = {kind: {name.lower(): name for name in entity.filters} for kind, entity in KINDS.items()}


def _canonical(entity: Entity, name: str) -> str:
    lowered = name.lower().removeprefix(entity.kind.lower() + ".")
    found = _NAMES[entity.kind].get(lowered)
    if found is None and lowered.count(".") == 1:  # PrimaryEmailAddr.Address, CustomerRef.value
        head, tail = lowered.split(".")
        if tail in ("address", "value", "freeformnumber", "name"):
            found = _NAMES[entity.kind].get(head)
    if found is None:
        raise Fault("4001", value=f"property {name} not found for Entity {entity.kind}")
    return found


def _reader(entity: Entity, name: str, kind: str, company: Company) -> Callable[[Doc], Any]:
    if kind == "time":
        key = name.split(".")[1]
        return lambda doc: epoch_of(doc["MetaData"][key])
    if kind == "ref":
        return lambda doc: (doc.get(name) or {}).get("value")
    if kind == "email":
        return lambda doc: (doc.get(name) or {}).get("Address")
    if kind == "phone":
        return lambda doc: (doc.get(name) or {}).get("FreeFormNumber")
    if kind == "number":
        live = entity.kind in ("Customer", "Vendor", "Account", "Item") and name in ("Balance", "CurrentBalance", "QtyOnHand")
        if live:
            return lambda doc: company.present(entity.kind, doc).get(name)
        return lambda doc: doc.get(name)
    if kind == "bool":
        default = name == "Active"
        return lambda doc: doc.get(name, default)
    return lambda doc: doc.get(name)


def _literal(kind: str, name: str, text: str, company: Company) -> Any:
    if text == "\0today":
        if kind not in ("time", "date", "text"):
            raise Fault("4001", value=f"Invalid value 'CURRENT_DATE' for property {name}")
        return epoch_of(company.today()) if kind == "time" else company.today()
    if text.strip() == "" and kind != "text":
        return None
    try:
        if kind == "time":
            return epoch_of(text)
        if kind == "date":
            epoch_of(text)
            return text[:10]
        if kind == "number":
            return Decimal(text)
    except (ValueError, InvalidOperation, OverflowError, OSError):
        raise Fault("4001", value=f"Invalid value '{text}' for property {name}") from None
    if kind == "bool":
        if text.lower() not in ("true", "false"):
            raise Fault("4001", value=f"Invalid value '{text}' for property {name}")
        return text.lower() == "true"
    return text


def _like(pattern: str) -> Callable[[Any], bool]:
    expression = re.compile(".*".join(re.escape(part) for part in pattern.casefold().split("%")), re.DOTALL)
    return lambda value: value is not None and expression.fullmatch(str(value).casefold()) is not None


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {"<": lt, ">": gt, "<=": le, ">=": ge}


def _predicate(entity: Entity, condition: Condition, company: Company) -> Callable[[Doc], bool]:
    name = _canonical(entity, condition.name)
    if name.startswith("AttachableRef."):
        return _attached(name, condition)
    kind = _kind_of(entity, name)
    read = _reader(entity, name, kind, company)
    if name == "Id" and condition.op not in ("=", "in"):
        raise Fault("4001", value=f"operator '{condition.op}' is not supported for property Id")
    if condition.op == "like":
        if kind in ("number", "bool", "time", "date"):
            raise Fault("4001", value=f"operator 'like' is not supported for property {name}")
        matches = _like(condition.values[0])
        return lambda doc: matches(read(doc))
    values = [_literal(kind, name, text, company) for text in condition.values]
    if kind in ("text", "email", "phone"):
        wanted = {folded(str(value)) for value in values}
        if condition.op in ("=", "in"):
            return lambda doc: folded(str(read(doc) or "")) in wanted
        bound = folded(str(values[0]))
        compare = _COMPARE[condition.op]
        return lambda doc: (value := read(doc)) is not None and compare(folded(str(value)), bound)
    if condition.op in ("=", "in"):
        choices = set(values)
        return lambda doc: read(doc) in choices
    if values[0] is None:
        raise Fault("4002", value=f"null cannot be ordered: {name} {condition.op} needs a value")
    bound, compare = values[0], _COMPARE[condition.op]
    return lambda doc: (value := read(doc)) is not None and compare(value, bound)


def _attached(name: str, condition: Condition) -> Callable[[Doc], bool]:
    """An attachable may belong to several documents: one match is enough."""
    if condition.op not in ("=", "in"):
        raise Fault("4001", value=f"operator '{condition.op}' is not supported for property {name}")
    key, wanted = "type" if name.endswith("Type") else "value", {folded(value) for value in condition.values}
    return lambda doc: any(
        folded(str((reference.get("EntityRef") or {}).get(key) or "")) in wanted for reference in doc.get("AttachableRef", ())
    )


def _candidates(company: Company, entity: Entity, statement: Statement) -> Iterable[Doc]:
    """Documents that can match, by an index where a condition allows one."""
    kind = entity.kind
    if company.stale_seconds:
        return company.seen(kind)
    table = company.entities.get(kind, {})
    for condition in statement.where:
        if condition.op not in ("=", "in"):
            continue
        name = condition.name.lower()
        if name == "id":
            return [table[i] for i in dict.fromkeys(condition.values) if i in table]
        if name == "docnumber" and entity.group == "txn" and all(v.strip() for v in condition.values):
            numbers = company.doc_numbers.get(kind, {})
            return [table[i] for v in dict.fromkeys(map(folded, condition.values)) for i in numbers.get(v, ())]
        if name == "displayname" and entity.group == "name":
            found = [company.names.get(folded(v)) for v in condition.values]
            return [table[f[1]] for f in dict.fromkeys(found) if f and f[0] == kind]
    for condition in statement.where:
        if condition.name.lower() == "metadata.lastupdatedtime" and condition.op in (">", ">="):
            return _touched_since(company, kind, condition.values[0])
    return table.values()


def _touched_since(company: Company, kind: str, text: str) -> list[Doc]:
    table = company.entities.get(kind, {})
    if text == "\0today":
        return list(table.values())
    since = _literal("time", "MetaData.LastUpdatedTime", text, company)
    if since is None:
        return list(table.values())
    found = []
    for doc_id in reversed(company.touched.get(kind, {})):
        if company.touched[kind][doc_id] < since:
            break
        if doc_id in table:
            found.append(table[doc_id])
    # back to the order of creation, which is the order without ORDERBY
    rank = {doc_id: index for index, doc_id in enumerate(table)} if len(found) > 1 else {}
    found.sort(key=lambda doc: rank.get(doc["Id"], 0))
    return found


def _fields(entity: Entity, names: list[str]) -> list[str] | None:
    """Top-level properties of a projection, None for all."""
    if not names or "*" in names:
        for name in names:
            if name != "*":
                _property(entity, name)
        return None
    return ["Id", "domain", "sparse", *[_property(entity, name) for name in names]]


_PROPS: dict[str, dict[str, str]] = {kind: {name.lower(): name for name in entity.props} for kind, entity in KINDS.items()}


def _property(entity: Entity, name: str) -> str:
    found = _PROPS[entity.kind].get(name.lower().split(".")[0])
    if found is None or (
        found == "MetaData" and "." in name and name.split(".")[1].lower() not in {k.lower() for k in SHAPES["MetaData"]}
    ):
        raise Fault("4001", value=f"property {name} not found for Entity {entity.kind}")
    return found


def run(
    company: Company,
    text: str,
    *,
    include: frozenset[str] = frozenset(),
    sort_by_id: bool = False,
    dress: Callable[[str, Doc], Doc] | None = None,
) -> dict[str, Any]:
    """The QueryResponse object of a query text; raises Fault 4000, 4001, 5030."""
    statement = parse(text)
    entity = KINDS[statement.kind]
    check_plan(company, entity)
    fields = _fields(entity, statement.fields)
    predicates = [_predicate(entity, condition, company) for condition in statement.where]
    if (
        "Active" in entity.props
        and entity.group in ("name", "list")
        and not any(c.name.lower() == "active" for c in statement.where)
    ):
        # by default a list contains only active entries; a query by Id returns the entry in any state
        predicates.append(lambda doc: doc.get("Active", True) is True)
    rows: Iterable[Doc] = _candidates(company, entity, statement)
    for name, _ in statement.order:
        _sortable(entity, name, sort_by_id)
    if not predicates and not statement.order and not statement.count and not isinstance(rows, list):
        rows = list(rows)
    elif predicates:
        rows = [doc for doc in rows if all(p(doc) for p in predicates)]
    else:
        rows = list(rows)
    if statement.count:
        return {"totalCount": len(rows)}
    for name, down in reversed(statement.order):
        _sort(rows, entity, _canonical(entity, name), down, company)
    page = rows[statement.start - 1 : statement.start - 1 + statement.limit]
    if not page:
        return {}
    if company.largest_result and len(page) > company.largest_result:
        raise Fault("10100")
    dress = dress or company.present
    shown = [dress(entity.kind, doc) for doc in page]
    if fields is not None:
        shown = [{name: doc[name] for name in fields if name in doc} for doc in shown]
    answer: dict[str, Any] = {entity.kind: shown, "startPosition": statement.start, "maxResults": len(page)}
    if not statement.paged:
        answer["totalCount"] = len(rows)
    return answer


def _sortable(entity: Entity, name: str, sort_by_id: bool) -> None:
    found = _canonical(entity, name)
    if found == "Id" and sort_by_id:
        return
    if found in entity.unsortable or _kind_of(entity, found) in ("ref", "email", "phone"):
        raise Fault("4001", value=f"property {name} is not sortable for Entity {entity.kind}")


def _sort(rows: list[Doc], entity: Entity, name: str, down: bool, company: Company) -> None:
    kind = _kind_of(entity, name)
    read = _reader(entity, name, kind, company)
    if name == "Id":
        rows.sort(key=lambda doc: int(doc["Id"]), reverse=down)
    elif kind == "text":
        rows.sort(key=lambda doc: (doc.get(name) is not None, folded(str(doc.get(name) or ""))), reverse=down)
    else:
        rows.sort(key=lambda doc: ((value := read(doc)) is not None, value if value is not None else 0), reverse=down)
