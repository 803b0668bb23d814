"""Writes to QuickBooks: one journalled request or batch, and the answer for each document."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bookrelay import telemetry
from bookrelay.money import loads

from qbo_writer.domain import AccessToken, Answer, AnswerKind, BatchRequest, LookupUnreadable, Operation, Request
from qbo_writer.quickbooks import faults, mapping
from qbo_writer.quickbooks.answers import as_dict, is_deleted
from qbo_writer.quickbooks.transport import MINOR_VERSION, Transport

log = telemetry.get_logger(__name__)

_VOID_BY_UPDATE = frozenset({"Payment", "BillPayment", "SalesReceipt"})


class Writes:
    """Sends journalled requests, once; the caller holds a slot."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def send(self, request: Request, token: AccessToken) -> Answer:
        """Send one journalled request; every outcome is an Answer, including a time-out."""
        params = {"minorversion": MINOR_VERSION, "requestid": request.requestid}
        if request.operation is Operation.DELETE:
            params["operation"] = "delete"
        elif request.operation is Operation.VOID and request.entity in _VOID_BY_UPDATE:
            params.update(operation="update", include="void")
        elif request.operation is Operation.VOID:
            params["operation"] = "void"
        path = f"/{request.entity.lower()}"
        answer, value = await self._transport.post(
            request.realm, path, params, request.body, token, request.operation, request.operation.value
        )
        if answer.kind is not AnswerKind.SUCCESS:
            return answer
        return _done(answer, value, request)

    async def send_batch(self, batch: BatchRequest, token: AccessToken) -> Answer | dict[str, Answer]:
        """Send a journalled batch: one Answer for the whole call (silence, 429, 401, error), or one for each bId.

        A bId that is missing from a readable reply is silence. Items decide under any status below 500, as codes do; an item
        without a fault is a success only under 2xx.
        """
        params = {"minorversion": MINOR_VERSION, "requestid": batch.requestid}
        answer, value = await self._transport.post(batch.realm, "/batch", params, batch.body, token, None, "batch")
        replies = _replies(answer, value)
        if replies is None:
            return faults.unreadable(answer) if answer.kind is AnswerKind.SUCCESS else answer
        by_id = {str(reply.get("bId")): reply for reply in replies if isinstance(reply, dict)}
        answers = {item.b_id: _item(answer, by_id.get(item.b_id), item.request) for item in batch.items}
        if any(found.throttled for found in answers.values()):
            await self._transport.throttled(batch.realm, None)
        return answers


def _done(answer: Answer, value: Any, request: Request) -> Answer:
    """Fill in the entity of a success; without one the answer is silence."""
    raw = value.get(request.entity) if isinstance(value, dict) else None
    if not isinstance(raw, dict) or not raw.get("Id"):
        return faults.unreadable(answer)
    if request.operation is Operation.DELETE:
        return replace(answer, deleted=True) if is_deleted(raw) else faults.unreadable(answer)
    if raw.get("SyncToken") is None:
        return faults.unreadable(answer)
    try:
        return replace(answer, seen=mapping.seen(request.entity, raw))
    except LookupUnreadable as error:
        log.warning("answer.unreadable", realm=request.realm, error=str(error))
        return faults.unreadable(answer)


def _replies(answer: Answer, value: Any) -> list[Any] | None:
    """Return the items of a batch's answer; None if the whole call was refused or its outcome is unknown."""
    if answer.kind is not AnswerKind.SUCCESS:
        if (answer.http_status or 500) >= 500 or faults.parse(answer.body) != ():
            return None
        value = loads(answer.body)
    replies = value.get("BatchItemResponse") if isinstance(value, dict) else None
    return replies if isinstance(replies, list) else None


def _item(whole: Answer, reply: Mapping[str, Any] | None, request: Request) -> Answer:
    """Return the answer to one item of a batch."""
    if reply is None:
        return replace(
            faults.silence("the item is missing from the reply"), http_status=whole.http_status, intuit_tid=whole.intuit_tid
        )
    answer = replace(
        faults.item(reply, request.operation),
        http_status=whole.http_status,
        intuit_tid=whole.intuit_tid,
        body=mapping.dumps(as_dict(reply)),
    )
    if answer.kind is not AnswerKind.SUCCESS:
        return answer
    return _done(answer, reply, request) if whole.kind is AnswerKind.SUCCESS else faults.unreadable(answer)
