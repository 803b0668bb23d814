"""The probe against the stand-in's ways of remembering a requestid: whatever it finds, the books stay as they are."""

import json
from dataclasses import replace
from typing import Any

import pytest
from qbo_parts import Company, invoice, request_for, settings_for, wanted_of
from qbo_writer.domain import BatchItem, BatchRequest, LedgerKind, Operation, Request
from qbo_writer.ledger.records import Sample
from qbo_writer.protocol import probe
from qbo_writer.protocol.probe import Probe, Verdict
from qbo_writer.quickbooks import mapping
from qbo_writer.quickbooks.client import QboClient
from qbo_writer.quickbooks.forms import QboForms

NOW = 1000.0


async def update(company: Company, client: QboClient) -> tuple[Request, str]:
    """Create an invoice; return an update of it that was not sent yet, and the SyncToken that it will give."""
    wanted = wanted_of(company, LedgerKind.INVOICE, invoice(), "1")
    create = request_for(company, wanted, Operation.CREATE, "c", mapping.create_body(wanted))
    seen = (await client.send(create, company.token)).seen
    assert seen
    changed = wanted_of(company, LedgerKind.INVOICE, invoice(memo="new"), "1")
    body = mapping.update_body(changed, seen.qbo_id, seen.sync_token)
    return request_for(company, changed, Operation.UPDATE, "u", body, qbo_id=seen.qbo_id), str(int(seen.sync_token) + 1)


async def sample_of(company: Company, client: QboClient) -> Sample:
    request, token = await update(company, client)
    answer = await client.send(request, company.token)
    assert answer.seen
    assert answer.seen.sync_token == token
    return Sample(request, answer.seen.sync_token, NOW)


async def batch_sample_of(company: Company, client: QboClient) -> Sample:
    request, token = await update(company, client)
    items = (BatchItem("1", request),)
    answers = await client.send_batch(BatchRequest(company.realm, "b-1", mapping.batch_body(items), items), company.token)
    assert isinstance(answers, dict)
    return Sample(request, token, NOW, "b-1", "1")


def books(company: Company) -> str:
    return json.dumps([company.books(kind) for kind in ("Invoice", "Customer", "Bill")], default=str)


def modes(company: Company, **values: Any) -> None:
    company.sandbox.control("POST", "modes", values)


@pytest.fixture(autouse=True)
def _modes(company: Company) -> Any:
    yield
    modes(company, ignore_requestid=False, requestid_seconds=None, requestid_other_body="replay")


@pytest.mark.parametrize("ignored", [False, True])
async def test_single_repetition_tells_and_changes_nothing(company: Company, client: QboClient, ignored: bool) -> None:
    modes(company, ignore_requestid=ignored)
    sample = await sample_of(company, client)
    before = books(company)
    verdict = await probe.repeat(client, sample, company.token)
    assert verdict is (Verdict.IGNORED if ignored else Verdict.HONOURED)
    assert books(company) == before


async def test_a_persons_edit_between_does_not_mislead(company: Company, client: QboClient) -> None:
    sample = await sample_of(company, client)
    assert sample.request.qbo_id
    company.person("edit", "Invoice", sample.request.qbo_id, CustomerMemo={"value": "x"})
    assert await probe.repeat(client, sample, company.token) is Verdict.HONOURED
    modes(company, ignore_requestid=True)
    assert await probe.repeat(client, sample, company.token) is Verdict.IGNORED


@pytest.mark.parametrize("fault", ["server_error", "throttle", "reset", "unauthorized"])
async def test_no_clear_answer_proves_nothing(company: Company, client: QboClient, fault: str) -> None:
    sample = await sample_of(company, client)
    company.fault(fault)
    assert await probe.repeat(client, sample, company.token) is Verdict.UNCLEAR


async def test_batch_remembered_as_a_whole_is_not_proven(company: Company, client: QboClient) -> None:
    """The stand-in keeps one answer for a batch: the second item is not executed."""
    sample = await batch_sample_of(company, client)
    before = books(company)
    assert await probe.repeat_in_batch(client, QboForms(), sample, company.token) is Verdict.IGNORED
    modes(company, ignore_requestid=True)
    assert await probe.repeat_in_batch(client, QboForms(), sample, company.token) is Verdict.IGNORED
    modes(company, ignore_requestid=False, requestid_other_body="refuse")
    assert await probe.repeat_in_batch(client, QboForms(), sample, company.token) is Verdict.UNCLEAR
    assert books(company) == before


async def test_batch_with_memory_for_each_item_is_proven(company: Company, client: QboClient) -> None:
    """No stand-in has it: the answer is what such a QuickBooks would give, read by the same client."""
    import httpx

    sample = await batch_sample_of(company, client)

    def per_item(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)["BatchItemRequest"]
        assert request.url.params["requestid"] == "b-1"
        assert asked[0]["bId"] == "1"
        entity = {"Id": sample.request.qbo_id, "SyncToken": sample.answered_sync_token}
        answers = [{"bId": "1", "Invoice": entity}, {"bId": asked[1]["bId"], "QueryResponse": {"totalCount": 3}}]
        return httpx.Response(200, json={"BatchItemResponse": answers})

    remembering = QboClient(settings_for(company), transport=httpx.MockTransport(per_item))
    assert await probe.repeat_in_batch(remembering, QboForms(), sample, company.token) is Verdict.HONOURED
    await remembering.close()


async def test_company_becomes_proven_late_and_falls_back(company: Company, client: QboClient) -> None:
    """Honoured at once is not enough: memory must outlast W + B + X."""
    settings = settings_for(company)
    sample = replace(await sample_of(company, client), answered_at=NOW)
    late = NOW + probe.late_seconds(settings)
    single = probe.offer(Probe(), sample, settings)
    assert probe.due(single, NOW)
    single, _ = await probe.step(client, QboForms(), single, Probe(), company.token, NOW, settings)
    assert (single.proven, single.early, single.next_at) == (False, True, late)
    assert not probe.due(single, late - 1)
    single = Probe.of(json.loads(json.dumps(single.plain())))  # across a restart
    single, _ = await probe.step(client, QboForms(), single, Probe(), company.token, late + 1, settings)
    assert (single.proven, single.sample, single.last) == (True, None, "honoured")
    assert probe.offer(single, replace(sample, answered_at=late + 2), settings) is single, "measured a moment ago"
    again = probe.offer(single, replace(sample, answered_at=late + 1 + settings.probe_seconds), settings)
    assert again.proven, "holds while it is measured anew"
    modes(company, ignore_requestid=True)
    again, _ = await probe.step(client, QboForms(), again, Probe(), company.token, again.next_at, settings)
    assert not again.proven


async def test_forgotten_requestid_is_found_late(company: Company, client: QboClient) -> None:
    settings = settings_for(company)
    modes(company, requestid_seconds=3600)
    single = probe.offer(Probe(), await sample_of(company, client), settings)
    single, _ = await probe.step(client, QboForms(), single, Probe(), company.token, NOW, settings)
    assert single.early
    company.sandbox.control("POST", "clock", {"advance": 3700})
    company.told.update(company.sandbox.control("POST", "companies", {"realm": company.realm}))  # a fresh access token
    single, _ = await probe.step(client, QboForms(), single, Probe(), company.token, single.next_at, settings)
    assert (single.proven, single.last) == (False, "ignored")


def test_unclear_answers_end_after_a_while_and_keep_what_was_known(company: Company) -> None:
    settings = settings_for(company)
    request = Request(company.realm, LedgerKind.INVOICE, "Invoice", Operation.UPDATE, "r", "{}", "1", "0")
    single = probe.offer(Probe(proven=True), Sample(request, "1", NOW), settings)
    for _ in range(5):
        assert single.sample
        single = probe.conclude(single, Verdict.UNCLEAR, single.next_at, settings)
    assert (single.sample, single.proven) == (None, True)


@pytest.mark.parametrize("operation", [Operation.CREATE, Operation.VOID, Operation.DELETE])
def test_only_updates_are_samples(company: Company, operation: Operation) -> None:
    request = Request(company.realm, LedgerKind.INVOICE, "Invoice", operation, "r", "{}", "1", "0")
    assert probe.offer(Probe(), Sample(request, "1", NOW), settings_for(company)).sample is None
