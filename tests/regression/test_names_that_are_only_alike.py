"""Documents went silently to another party: "Acme" to an active "Acme (deleted)" and back, "Anna Weiss" to "Anna Weiß"."""

import pytest
from bookrelay.errors import Code
from qbo_writer.domain import LookupUnreadable, Reference
from qbo_writer.names import alike, fold, own
from qbo_writer.policy import Policy
from qbo_writer.quickbooks.entries import best, reference
from qbo_writer.quickbooks.entry_lists import Entries, put
from qbo_writer.quickbooks.missing import Missing, unfit
from qbo_writer.writer import Writer
from test_a_list_of_names_that_fails import WithoutEmployees
from test_merged_customers import fed
from test_names_that_look_alike import customers_of, make, why
from writer_support import Desk, QboSandbox, desk, invoice, running

pytestmark = pytest.mark.postgres
SHARP, SPELLED = "Anna Wei\u00df", "Anna Weiss"


async def parties(d: Desk) -> dict[str, str]:
    rows = await d.pool.fetch("SELECT source_key, fields->>'customer' AS id FROM qbo_writer.documents WHERE kind = 'invoice'")
    return {row["source_key"]: row["id"] for row in rows}


def one_by_one(d: Desk) -> None:
    """The lists cannot be read: names are asked for."""
    lists = d.writer.references.names.lists
    lists._books = WithoutEmployees(lists._books, LookupUnreadable)


def names(d: Desk) -> list[str]:
    return [c["DisplayName"] for c in d.sandbox.books(d.realm, "Customer")]


@pytest.mark.parametrize(("there", "asked"), [("Acme (deleted)", "Acme"), ("Acme", "Acme (deleted)")])
@pytest.mark.parametrize("read", [True, False])
async def test_an_active_name_that_ends_in_deleted_is_a_name_of_its_own(
    database_url: str, sandbox: QboSandbox, there: str, asked: str, *, read: bool
) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company) as d:
        id_ = await make(d, company, "Customer", DisplayName=there)
        if not read:
            one_by_one(d)
        await d.tell(invoice(d.realm, "Q-1", customer=asked), invoice(d.realm, "Q-2", customer=there))
        assert set((await d.until_ended()).values()) == {"posted"}
        found = await parties(d)
        assert found["Q-2"] == id_ != found["Q-1"]
        assert sorted(name for name in names(d) if "Acme" in name) == ["Acme", "Acme (deleted)"]


async def test_it_is_so_after_a_restart_with_what_was_kept_before(database_url: str, sandbox: QboSandbox) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company, run=False) as d:
        id_ = await make(d, company, "Customer", DisplayName="Acme (deleted)")
        async with running(d.writer):
            await d.tell(invoice(d.realm, "Q-1", customer="Acme (deleted)"))
            assert set((await d.until_ended()).values()) == {"posted"}
        await d.pool.execute("UPDATE qbo_writer.references SET name_folded = 'acme' WHERE qbo_id = $1", id_)  # as it was kept
        d.writer = Writer(d.settings, d.pool)
        async with running(d.writer):
            await d.tell(invoice(d.realm, "Q-2", customer="Acme (deleted)"), invoice(d.realm, "Q-3", customer="Acme"))
            assert set((await d.until_ended()).values()) == {"posted"}
        found = await parties(d)
        assert found["Q-1"] == found["Q-2"] == id_ != found["Q-3"]


@pytest.mark.parametrize("asked", ["Acme", "acme (deleted)"])
async def test_an_inactive_one_is_found_by_its_own_name_and_as_it_is_shown(
    database_url: str, sandbox: QboSandbox, asked: str
) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company) as d:
        id_ = await make(d, company, "Customer", DisplayName="Acme")
        sandbox.person(d.realm, "deactivate", "Customer", id_)
        assert "Acme (deleted)" in names(d)
        await d.tell(invoice(d.realm, "Q-1", customer=asked))
        await d.until_ended()
        state, code, reason = await why(d, "Q-1")
        assert (state, code) == ("waiting", Code.CONFLICT)
        assert f"The customer {asked!r} is inactive" in reason


@pytest.mark.parametrize(
    ("there", "asked"), [(SHARP, SPELLED), (SPELLED, SHARP), ("ANNA WEISS", "anna wei\u1e9e"), ("\ufb01ne", "fine")]
)
@pytest.mark.parametrize("read", [True, False])
async def test_who_is_only_alike_is_neither_billed_nor_doubled(
    database_url: str, sandbox: QboSandbox, there: str, asked: str, *, read: bool
) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company) as d:
        id_ = await make(d, company, "Customer", DisplayName=there)
        before = len(names(d))
        if not read:
            one_by_one(d)
        await d.tell(invoice(d.realm, "Q-1", customer=asked), invoice(d.realm, "Q-2", customer=there))
        states = await d.until_ended()
        assert (states["Q-1", 1], states["Q-2", 1]) == ("waiting", "posted")
        assert (await parties(d))["Q-2"] == id_
        state, code, reason = await why(d, "Q-1")
        assert (state, code) == ("waiting", Code.MAPPING_MISSING)
        assert repr(asked) in reason
        assert f"{there!r} (Id {id_})" in reason
        assert len(names(d)) == before
        # What a person maps is meant for just that text.
        d.writer.references._policy = Policy.model_validate({"customers": {asked: {"id": id_}}})
        await d.tell(invoice(d.realm, "Q-1", 2, customer=asked))
        assert (await d.until_ended())["Q-1", 2] == "posted"
        assert customers_of(d) == [id_, id_]


async def test_two_new_names_that_are_alike_make_one_customer_and_a_question(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1", customer=SHARP), invoice(d.realm, "Q-2", customer=SPELLED))
        assert sorted((await d.until_ended()).values()) == ["posted", "waiting"]
        assert len([name for name in names(d) if name in (SHARP, SPELLED)]) == 1


async def test_who_was_merged_away_is_not_found_by_a_name_that_is_only_alike(database_url: str, sandbox: QboSandbox) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company) as d:
        loser = await make(d, company, "Customer", DisplayName=SHARP)
        winner = await make(d, company, "Customer", DisplayName="Anna White")
        await d.tell(invoice(d.realm, "Q-1", customer=SHARP))
        await d.until_ended()
        sandbox.person(d.realm, "merge", "Customer", loser, into=winner)
        await fed(d)
        await d.tell(invoice(d.realm, "Q-2", customer=SHARP), invoice(d.realm, "Q-3", customer=SPELLED))
        states = await d.until_ended()
        assert (states["Q-2", 1], states["Q-3", 1]) == ("posted", "waiting")
        assert (await parties(d))["Q-2"] == winner


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Gross", "GROSS", True), ("Gro\u00df", "GRO\u1e9e", True), ("Gro\u00df", "Gross", False), ("\ufb01ne", "fine", False),
        ("\u00c9mile", "E\u0301MILE", True), ("\u039d\u03b9\u03ba\u03bf\u03c2", "\u039d\u0399\u039a\u039f\u03a3", True),
        ("Acme\u00a0Corp", "acme  corp", True), ("a:b", "A : B", True), ("Acme", "Acme (deleted)", False),
    ],
)  # fmt: skip
def test_case_is_no_spelling(one: str, other: str, *, same: bool) -> None:
    assert (fold(one) == fold(other)) is same
    assert alike(one) == alike(other) or not same


def test_an_inactive_entry_is_called_by_its_own_name() -> None:
    assert own("Net 77 (deleted)", active=False) == own("Net 77 (deleted-2)", active=False) == "Net 77"
    assert own("Net 77 (deleted)", active=True) == "Net 77 (deleted)"
    with pytest.raises(Missing) as missing:
        best("Customer", SPELLED, [(Reference("Customer", "7", SHARP, active=False), "")])
    assert "the inactive customer 'Anna Wei\u00df' (Id 7)" in missing.value.unmapped.reason
    entries = Entries({}, {}, 0.0)
    used = reference("Term", {"Id": "3", "Name": "Net 30 (deleted)", "Active": True})
    unused = reference("Term", {"Id": "4", "Name": "Net 77 (deleted)", "Active": False})
    for one in (used, unused):
        put(entries, one)
    assert unfit(unused).reason == "The term 'Net 77' is inactive in QuickBooks."
    assert set(entries.by_name) == {"net 30 (deleted)", "net 77", "net 77 (deleted)"}
