"""Queries: grammar, fields, paging, answers."""

from __future__ import annotations

from ..acts import delete
from ..bodies import (
    invoice,
    line,
)
from ..conftest import Books
from .writing import (
    Rule,
    asked,
    count,
    found,
    gives,
    many,
)


def five(books: Books, statement: str) -> list[str]:
    """DocNumbers that a query finds among five invoices."""
    for number in range(5):
        books.make("Invoice", invoice(line(number + 1), DocNumber=f"Q{number}", TxnDate=f"2026-01-0{number + 1}"))
    return [doc["DocNumber"] for doc in books.query(statement).get("Invoice", [])]


FIVE = "select * from Invoice orderby TxnDate desc"


def rows_of(books: Books, tail: str) -> int:
    """How many rows a query gives where there are more than 101."""
    many(books, 120)
    return len(found(books, f"select * from Customer{tail}"))


def five_since(books: Books, since: str) -> int:
    return len(five(books, f"select * from Invoice where MetaData.LastUpdatedTime >= '{since}'"))


RULES: tuple[Rule, ...] = (
    # 9.6 and 1.5: queries
    asked("query grammar", "select", "4000", "select * from Term", "update Term"),
    asked(
        "query grammar",
        "no or",
        "4000",
        "select * from Term where Active = true and Id = '1'",
        "select * from Term where Active = true or Id = '1'",
    ),
    asked(
        "query grammar", "no not", "4000", "select * from Term where Active = true", "select * from Term where not Active = true"
    ),
    asked("query grammar", "no group by", "4000", "select * from Term orderby Name", "select * from Term group by Name"),
    asked("query grammar", "no join", "4000", "select * from Term", "select * from Term, Item"),
    asked("query grammar", "no !=", "4000", "select * from Term where Name = 'x'", "select * from Term where Name != 'x'"),
    asked(
        "query grammar",
        "a quote is escaped by a backslash",
        "4000",
        r"select * from Customer where DisplayName = 'Amy\'s'",
        "select * from Customer where DisplayName = 'Amy''s'",
    ),
    asked("query grammar", "a text ends", "4000", "select * from Term where Name = 'x'", "select * from Term where Name = 'x"),
    asked(
        "query grammar",
        "no curly quotes",
        "4000",
        "select * from Term where Name = 'x'",
        "select * from Term where Name = \u2018x\u2019",
    ),
    asked(
        "query grammar",
        "no curly apostrophe in a text",
        "4000",
        r"select * from Term where Name = 'O\'Neil'",
        "select * from Term where Name = 'O\u2019Neil'",
    ),
    asked(
        "query grammar",
        "order by with its words",
        "4000",
        "select * from Term ORDER BY Name DESC",
        "select * from Term ORDER Name",
    ),
    asked(
        "query grammar",
        "in with brackets",
        "4000",
        "select * from Term where Id in ('1', '2')",
        "select * from Term where Id in '1', '2'",
    ),
    asked(
        "query grammar",
        "texts in quotes, booleans without",
        "4000",
        "select * from Term where Active = true",
        "select * from Term where Name = Cash",
    ),
    asked(
        "query grammar",
        "names in any case",
        "4001",
        "select * from invoice where docnumber = 'x'",
        "select * from invoices where docnumber = 'x'",
    ),
    asked("query grammar", "the entity is known", "4001", "select * from CompanyInfo", "select * from Gadget"),
    asked("query grammar", "Currency answers as CompanyCurrency", "4001", "select * from Currency", "select * from Currencies"),
    asked(
        "query fields",
        "filterable",
        "4001",
        "select * from Vendor where AcctNum = 'x'",
        "select * from Customer where AcctNum = 'x'",
    ),
    asked(
        "query fields",
        "PrivateNote is not",
        "4001",
        "select * from Invoice where DocNumber = 'x'",
        "select * from Invoice where PrivateNote = 'x'",
    ),
    asked(
        "query fields",
        "Id by = and in",
        "4001",
        "select * from Invoice where Id in ('1')",
        "select * from Invoice where Id > '1'",
    ),
    asked(
        "query fields",
        "Id not by like",
        "4001",
        "select * from Invoice where DocNumber like '1%'",
        "select * from Invoice where Id like '1%'",
    ),
    asked(
        "query fields", "sortable", "4001", "select * from Invoice orderby TxnDate", "select * from Invoice orderby CustomerRef"
    ),
    asked(
        "query fields",
        "Id is not sortable",
        "4001",
        "select * from Invoice orderby DocNumber",
        "select * from Invoice orderby Id",
    ),
    asked(
        "query fields",
        "known to sort by",
        "4001",
        "select * from Invoice orderby DueDate",
        "select * from Invoice orderby Colour",
    ),
    asked("query fields", "known to select", "4001", "select Id, PrivateNote from Invoice", "select Id, Colour from Invoice"),
    asked("query fields", "beside a star too", "4001", "select *, Sku from Item", "select *, Colour from Item"),
    asked(
        "query fields",
        "dates are compared with dates",
        "4001",
        "select * from Invoice where TxnDate > '2026-01-01'",
        "select * from Invoice where TxnDate > 'soon'",
    ),
    asked(
        "query fields",
        "numbers with numbers",
        "4001",
        "select * from Invoice where TotalAmt > '5'",
        "select * from Invoice where TotalAmt > 'much'",
    ),
    asked(
        "query fields",
        "booleans with booleans",
        "4001",
        "select * from Term where Active = 'true'",
        "select * from Term where Active = 'yes'",
    ),
    asked(
        "query fields",
        "like is for texts",
        "4001",
        "select * from Invoice where DocNumber like '5%'",
        "select * from Invoice where TotalAmt like '5%'",
    ),
    asked(
        "query fields",
        "nothing is not ordered",
        "4002",
        "select * from Invoice where DueDate = ' '",
        "select * from Invoice where DueDate < ' '",
    ),
    asked(
        "query paging", "1,000 rows at most", "4001", "select * from Term maxresults 1000", "select * from Term maxresults 1001"
    ),
    asked("query paging", "whole numbers", "4000", "select * from Term startposition 1", "select * from Term startposition one"),
    asked("query paging", "not below nothing", "4001", "select * from Term maxresults 0", "select * from Term maxresults -1"),
    Rule(
        "query paging",
        "from a position on, 1 is the first",
        gives(["Q3", "Q2"], lambda b: five(b, f"{FIVE} startposition 2 maxresults 2")),
        gives(["Q4", "Q3"], lambda b: five(b, f"{FIVE} startposition 1 maxresults 2")),
    ),
    Rule(
        "query paging",
        "100 rows without a word",
        gives(100, lambda b: rows_of(b, "")),
        gives(101, lambda b: rows_of(b, " maxresults 101")),
    ),
    Rule(
        "query answers",
        "nothing found is an empty answer",
        gives(["Customer", "maxResults", "startPosition", "totalCount"], lambda b: sorted(b.query("select * from Customer"))),
        gives({}, lambda b: b.query("select * from Customer where DisplayName = 'nobody'")),
    ),
    Rule(
        "query answers",
        "count",
        gives({"totalCount": 5}, lambda b: b.query("select count(*) from Customer")),
        gives({"totalCount": 0}, lambda b: b.query("select count(*) from Invoice")),
    ),
    Rule(
        "query answers",
        "deleted documents never appear",
        gives(1, lambda b: (b.make("Invoice", invoice()), count(b))[1]),
        gives(0, lambda b: (delete(b, "Invoice", b.make("Invoice", invoice())), count(b))[1]),
    ),
    Rule(
        "query answers",
        "conditions filter",
        gives(["Q0", "Q1"], lambda b: five(b, "select * from Invoice where TotalAmt <= 2")),
        gives(["Q2", "Q3", "Q4"], lambda b: five(b, "select * from Invoice where TotalAmt > 2")),
    ),
    Rule(
        "query answers",
        "sorted both ways",
        gives(["Q0", "Q1", "Q2", "Q3", "Q4"], lambda b: five(b, "select * from Invoice orderby TxnDate asc")),
        gives(["Q4", "Q3", "Q2", "Q1", "Q0"], lambda b: five(b, FIVE)),
    ),
    Rule(
        "query answers",
        "% is the only wildcard",
        gives(5, lambda b: len(five(b, "select * from Invoice where DocNumber like 'Q%'"))),
        gives(0, lambda b: len(five(b, "select * from Invoice where DocNumber like 'Q_'"))),
    ),
    Rule(
        "query answers",
        "projections",
        gives(
            {"Id", "domain", "sparse", "DisplayName"}, lambda b: set(b.query("select DisplayName from Customer")["Customer"][0])
        ),
        gives(True, lambda b: "BillAddr" in b.query("select * from Customer")["Customer"][0]),
    ),
    Rule(
        "query answers",
        "times in any zone",
        gives(5, lambda b: five_since(b, "2020-01-01T00:00:00Z")),
        gives(0, lambda b: five_since(b, "2040-01-01T00:00:00+00:00")),
    ),
)
