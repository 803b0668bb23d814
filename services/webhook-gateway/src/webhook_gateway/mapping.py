"""Converts Intuit's two webhook formats to one message for each entity. Pure: bytes in, messages out.

Classic is an object with `eventNotifications`, CloudEvents is a list. A delivery may concern several companies.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from bookrelay.messages import EntityChanged, EntityChangedData
from bookrelay.money import loads
from bookrelay.topics import GATEWAY
from pydantic import ValidationError

from webhook_gateway.domain import ENTITIES, OPERATIONS, Delivery, Format, Operation, UnreadableDeliveryError, UnreadableRecord

RAW_KEPT = 100_000  # bytes of an unreadable record: a dead letter must fit into a Kafka record


def read(body: bytes) -> Delivery:
    """Parse a delivery; raise UnreadableDeliveryError if it cannot be read at all."""
    try:
        content = loads(body)
    except ValueError as error:  # includes invalid UTF-8
        where = f" at line {error.lineno} column {error.colno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else ""
        raise UnreadableDeliveryError(f"the body is not JSON{where}") from None
    if isinstance(content, list):
        return _collect("cloudevents", _cloudevents(content))
    if isinstance(content, dict) and isinstance(content.get("eventNotifications"), list):
        return _collect("classic", _classic(content["eventNotifications"]))
    raise UnreadableDeliveryError("the body is neither a list of CloudEvents nor an object with eventNotifications")


def _collect(form: Format, records: Iterator[tuple[str, Any, EntityChangedData | str]]) -> Delivery:
    messages: list[EntityChanged] = []
    unreadable: list[UnreadableRecord] = []
    for where, raw, result in records:
        if isinstance(result, str):
            unreadable.append(UnreadableRecord(where, json.dumps(raw, default=str).encode()[:RAW_KEPT], result))
        else:
            # The envelope's time is Intuit's, so that the same notification delivered twice gives the same bytes.
            messages.append(EntityChanged.of(result, sender=GATEWAY, time=result.changed_at))
    return Delivery(form, messages, unreadable)


def _cloudevents(events: list[Any]) -> Iterator[tuple[str, Any, EntityChangedData | str]]:
    for number, event in enumerate(events):
        yield f"[{number}]", event, _guarded(_cloudevent, event)


def _cloudevent(event: dict[str, Any]) -> EntityChangedData:
    # qbo.invoice.created.v1
    segments = _text(event, "type").split(".")
    if len(segments) < 3:
        raise ValueError("type is not qbo.<entity>.<operation>.v1")
    data = event.get("data")
    extra = data if isinstance(data, dict) else {}
    return _changed(
        realm=_text(event, "intuitaccountid"),
        entity=segments[1],
        entity_id=_text(event, "intuitentityid"),
        operation=segments[2],
        time=_text(event, "time"),
        deleted_id=_optional(extra, "deletedid") or _optional(extra, "deletedId"),
        notification_id=_optional(event, "id"),
        form="cloudevents",
    )


def _classic(notifications: list[Any]) -> Iterator[tuple[str, Any, EntityChangedData | str]]:
    for outer, notification in enumerate(notifications):
        where = f"eventNotifications[{outer}]"
        try:
            realm = _text(notification, "realmId")
            entities = notification["dataChangeEvent"]["entities"]
            if not isinstance(entities, list):
                raise TypeError
        except (KeyError, TypeError):
            yield where, notification, "dataChangeEvent.entities is not a list"
            continue
        except ValueError as error:
            yield where, notification, str(error)
            continue
        for inner, entity in enumerate(entities):
            yield f"{where}.entities[{inner}]", {"realmId": realm, "entity": entity}, _guarded(_entity, entity, realm)


def _entity(entity: dict[str, Any], realm: str) -> EntityChangedData:
    return _changed(
        realm=realm,
        entity=_text(entity, "name"),
        entity_id=_text(entity, "id"),
        operation=_text(entity, "operation"),
        time=_text(entity, "lastUpdated"),
        deleted_id=_optional(entity, "deletedId"),
        notification_id=None,
        form="classic",
    )


def _changed(
    *,
    realm: str,
    entity: str,
    entity_id: str,
    operation: str,
    time: str,
    deleted_id: str | None,
    notification_id: str | None,
    form: Format,
) -> EntityChangedData:
    word: Operation = OPERATIONS.get(operation.lower(), "unknown")
    about = "\x1f".join((realm, entity.lower(), entity_id, operation.lower(), time, deleted_id or ""))
    return EntityChangedData(
        realm=realm,
        entity=ENTITIES.get(entity.lower(), entity),
        entity_id=entity_id,
        operation=word,
        changed_at=_moment(time),
        deleted_id=deleted_id,
        notification_id=notification_id or hashlib.sha256(about.encode("utf-8", "surrogatepass")).hexdigest(),
        format=form,
    )


def _guarded(reader: Any, record: Any, *more: str) -> EntityChangedData | str:
    """Return the parsed record, or the reason why it cannot be read, without its content."""
    if not isinstance(record, dict):
        return "the record is not an object"
    try:
        result: EntityChangedData = reader(record, *more)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    except (ValueError, ArithmeticError) as error:
        return str(error)
    return result


def _text(record: Any, name: str) -> str:
    """Return a field as text; numeric ids are accepted."""
    value = _optional(record, name)
    if not value:
        raise ValueError(f"{name} is missing")
    return value


def _optional(record: Any, name: str) -> str | None:
    value = record.get(name) if isinstance(record, dict) else None
    if value is None or (isinstance(value, str | int) and not isinstance(value, bool)):
        return None if value is None else str(value).strip()
    raise ValueError(f"{name} is neither text nor a number")


def _moment(text: str) -> datetime:
    """Parse 2023-10-27T19:26:27.000Z, with nanoseconds, or with -0700 as in an old sample; without a zone it is UTC."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("the time is not ISO 8601") from None
    return value if value.tzinfo else value.replace(tzinfo=UTC)
