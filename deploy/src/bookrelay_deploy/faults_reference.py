"""`docs/faults.md`, written from the writer's table of Intuit's codes: meaning, what the writer does, what a person does."""

from bookrelay.errors import Disposition
from qbo_writer.domain import AnswerKind
from qbo_writer.protocol.halts import HALT_RETRY_GROWTH, HALT_RETRY_MOST, HALT_RETRY_SECONDS
from qbo_writer.protocol.planning import FAILURES
from qbo_writer.quickbooks.faults import TABLE, WITHOUT_CODE, WORDS_OF_6000, Entry

_TRIALS = ", ".join(f"{HALT_RETRY_SECONDS * HALT_RETRY_GROWTH**n:g}" for n in range(3))
ACTIONS = {
    "rejects": "The document ends `rejected`, with this reason, where its source shows it. Nothing was made. "
    "A corrected version is a new command.",
    "holds": "The document is `held` until a person decides (`qbo-writer held list`); the others are posted.",
    "resolves again": "What it cached of the entries that the request named is forgotten and looked up again; the document is "
    f"sent as a new request. After {FAILURES} failures it is held.",
    "tries again": f"Nothing was done. It is sent as a new request, {max(e.tries for _, e in WORDS_OF_6000)} times in all; "
    "then the document is held.",
    "compares": "The document that QuickBooks names, or that has the same Id, is read. Its own work is adopted; where it "
    "finds what it knew it sends again, on the new SyncToken; what a person changed, or what is not its own, is held.",
    "halts": "The whole company is halted: one `halted` event, its documents stay due, one request as a trial after "
    f"{_TRIALS} s, then every {HALT_RETRY_MOST / 60:g} minutes. The first answer that means service ends it (`resumed`).",
    "halts, looks it up": "As `halts`; and the request that got this answer counts as `looks it up`.",
    "renews the token": "Nothing was done. The access token is renewed once and the same request leaves again. "
    "If QuickBooks refuses the new token, too, the company is halted.",
    "pauses": "Nothing was done. The company pauses (Retry-After, else a minute); the same request leaves again, more slowly.",
    "looks it up": "It is not known whether something was done. The document is looked for; what is found is adopted. Else the "
    "same request leaves again, or, when no late copy can take effect any more, a new one. "
    f"After {FAILURES} failures the document is held.",
}
"""What the writer does, in a word and at length."""

_HEAD = """\
# What QuickBooks' error codes mean here

Written by `bookrelay-deploy faults --write docs/faults.md` from the table that the writer itself uses; `make check` tells when
the two differ.

The code decides, then the HTTP status. Under a 5xx it is never known whether something was done: whatever the code, the request
counts as `looks it up`; a code that halts the company halts it all the same. Of several codes in one answer the least certain
decides about the document, and one that halts decides about the company.

6000 is QuickBooks' catch-all: with an internal cause ("-30003") in its text it `looks it up`, and where the text wants a tax
rate on every line ("Make sure all your transactions have a VAT rate before you save") it `holds`, naming the settings (QB006).

## What the writer does

| in a word | at length |
|---|---|
"""
_PLACES = {
    "an item of a batch": "`pauses`, `renews the token` and `halts` leave the command due: it is sent again, which does not "
    "count against it",
    "a whole batch": "an error, held or rejected, says nothing about the single documents: the batch "
    "is sent again in halves, until what QuickBooks refuses is alone. A conflict is `looks it up`",
    "a read (references, look-ups)": "nothing is rejected: the document whose read it was waits and tries again, at most "
    f"{FAILURES} times, then it is held with QuickBooks' words. `halts`, `pauses` and `renews the token` as ever; no answer "
    "counts against a document only while others are served",
    "the token endpoint": "`halts` halts; `pauses`, `looks it up` and every 5xx are tried again; every other code halts: Intuit "
    "refuses our credentials",
}
_NOBODY = "Nothing, unless it lasts: then the document is held."


def action(entry: Entry) -> str:
    """Return in a word what the writer does about an answer; one of ACTIONS."""
    if entry.disposition is Disposition.HALT:
        return "halts, looks it up" if entry.kind is AnswerKind.SILENCE else "halts"
    if entry.tries > 1:
        return "tries again"
    if entry.unauthorized:
        return "renews the token"
    if entry.throttled:
        return "pauses"
    return {
        (AnswerKind.ERROR, Disposition.REJECT): "rejects",
        (AnswerKind.ERROR, Disposition.HOLD): "holds",
        (AnswerKind.ERROR, Disposition.RETRY): "resolves again",
        (AnswerKind.CONFLICT, Disposition.RETRY): "compares",
        (AnswerKind.CONFLICT, Disposition.HOLD): "compares",
        (AnswerKind.SILENCE, Disposition.RETRY): "looks it up",
    }[entry.kind, entry.disposition]


def render() -> str:
    """Return the text of docs/faults.md."""
    known: dict[str, Entry] = {}
    for code, entry in sorted(TABLE.items(), key=lambda item: int(item[0])):
        known[code] = entry
        if code == "6000":
            known |= {f"6000, of whose words `{words.pattern}` is a part": meant for words, meant in WORDS_OF_6000}
    known |= WITHOUT_CODE
    lines = [f"| {word} | {text} |" for word, text in ACTIONS.items()]
    lines += ["", "## Where the answer comes", "", "| the answer is about | differs from a request of its own |", "|---|---|"]
    lines += [f"| {place} | {text} |" for place, text in _PLACES.items()]
    lines += ["", "## Codes", "", "| code | meaning | the writer | a person | shown as |", "|---|---|---|---|---|"]
    for code, entry in known.items():
        lines.append(f"| {code} | {entry.sentence} | {action(entry)} | {entry.fix or _NOBODY} | {entry.code.value} |")
    return _HEAD + "\n".join(lines) + "\n"
