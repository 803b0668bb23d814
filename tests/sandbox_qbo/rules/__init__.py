"""Every rule of the stand-in with one request that shows it holding back and one that shows it letting pass.

`RULES` is the table to read, a module for some topics each; `TOPICS` is the checklist that it must cover: section 9 of the
reference, with what the later sections add. `test_rule_table.py` runs both sides of each rule over HTTP and asks that no topic
is without one. Codes have a table of their own (`cases.py`), limits too (`test_limits.py`), OAuth (`test_oauth.py`), webhooks
(`test_webhooks.py`).
"""

from __future__ import annotations

from . import admission, amounts, calls, changing, fields, files, filled, kinds, names, queries
from .writing import Rule

TOPICS = (
    "properties", "required", "lengths", "references", "values", "amounts", "lines", "document numbers", "closed books", "plans",
    "server fills", "tax", "due date", "balance and links", "sparse and full", "sync token", "void", "delete", "inactive names",
    "unique names", "trees", "usage limits", "time activities", "inventory", "journals", "deposits", "estimates", "credits",
    "merchant and bank", "query grammar", "query fields", "query paging", "query answers", "change data", "batch", "requestid",
    "minorversion", "attachments", "pdf and send", "pay link", "company", "currency",
)  # fmt: skip

RULES: tuple[Rule, ...] = (
    *fields.RULES,
    *amounts.RULES,
    *admission.RULES,
    *filled.RULES,
    *changing.RULES,
    *names.RULES,
    *kinds.RULES,
    *queries.RULES,
    *calls.RULES,
    *files.RULES,
)
