"""The pacer against the stand-in's limits, in real time: not one 429, nothing lost. What it leaves unused: see test_pacing."""

import asyncio
import time

from qbo_parts import Sandbox, ids_of, invoice, request_for, settings_for, wanted_of
from qbo_writer.domain import Answer, AnswerKind, BatchItem, BatchRequest, LedgerKind, Operation, Request
from qbo_writer.quickbooks import mapping
from qbo_writer.quickbooks.client import QboClient
from qbo_writer.quickbooks.pacing import Pacer

SECONDS = 8.0


async def test_backlog_of_singles_and_batches_meets_no_429(limited_sandbox: Sandbox) -> None:
    company = limited_sandbox.company()
    settings = settings_for(company)
    pacer = Pacer(settings)
    client, resolved, token = QboClient(settings, pacer), ids_of(company), company.token
    before, made, until = len(company.books("Invoice")), 0, time.monotonic() + SECONDS

    def request() -> Request:
        nonlocal made
        made += 1
        wanted = wanted_of(company, LedgerKind.INVOICE, invoice(), str(made), resolved)
        return request_for(company, wanted, Operation.CREATE, f"r{made}", mapping.create_body(wanted))

    async def singles() -> None:
        while time.monotonic() < until:
            async with pacer.slot(company.realm):
                answer = await client.send(request(), token)
            assert answer.kind is AnswerKind.SUCCESS, answer

    async def batches() -> None:
        while time.monotonic() < until:
            items = tuple(BatchItem(str(number), request()) for number in range(30))
            batch = BatchRequest(company.realm, f"batch-{items[0].request.requestid}", mapping.batch_body(items), items)
            async with pacer.slot(company.realm, batch=True):
                answers = await client.send_batch(batch, token)
            assert not isinstance(answers, Answer), answers
            assert {answer.kind for answer in answers.values()} == {AnswerKind.SUCCESS}

    await asyncio.gather(*(singles() for _ in range(9)), batches())
    await client.close()
    assert limited_sandbox.control("GET", "counters")["throttled"] == 0
    assert len(company.books("Invoice")) - before == made
