"""Intuit's two formats, as they come and as they might."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from bookrelay.messages import EntityChangedData
from webhook_gateway.domain import UnreadableDeliveryError
from webhook_gateway.mapping import read


def event(**changes: Any) -> dict[str, Any]:
    whole = {
        "specversion": "1.0",
        "id": "88cd52aa-33b6-4351-9aa4-47572edbd068",
        "source": "intuit.dsnBgbseACLLRZNxo2dfc4evmEJdxde58xeeYcZliOU=",
        "type": "qbo.invoice.updated.v1",
        "datacontenttype": "application/json",
        "time": "2025-09-10T21:31:25.179550123Z",
        "intuitentityid": "1234",
        "intuitaccountid": "310687",
        "data": {},
    } | changes
    return {name: value for name, value in whole.items() if value is not None}


def entity(**changes: Any) -> dict[str, Any]:
    whole = {"name": "Customer", "id": "1", "operation": "Create", "lastUpdated": "2023-10-27T19:26:27.000Z"} | changes
    return {name: value for name, value in whole.items() if value is not None}


def classic(*entities: Any, realm: Any = "310687") -> dict[str, Any]:
    return {"eventNotifications": [{"realmId": realm, "dataChangeEvent": {"entities": list(entities)}}]}


def read_json(content: Any) -> list[EntityChangedData]:
    delivery = read(json.dumps(content).encode())
    assert delivery.unreadable == []
    return [message.data for message in delivery.messages]


def reasons(content: Any) -> list[str]:
    delivery = read(json.dumps(content).encode())
    return [f"{refused.where}: {refused.reason}" for refused in delivery.unreadable]


def test_a_cloudevent_becomes_one_message() -> None:
    (data,) = read_json([event()])
    assert data == EntityChangedData(
        realm="310687",
        entity="Invoice",
        entity_id="1234",
        operation="updated",
        changed_at=datetime(2025, 9, 10, 21, 31, 25, 179550, tzinfo=UTC),
        notification_id="88cd52aa-33b6-4351-9aa4-47572edbd068",
        format="cloudevents",
    )


def test_a_classic_delivery_becomes_one_message_for_each_entity_in_order() -> None:
    data = read_json(classic(entity(), entity(name="Vendor", operation="Merge", deletedId="2")))
    assert [(one.entity, one.operation, one.deleted_id) for one in data] == [
        ("Customer", "created", None),
        ("Vendor", "merged", "2"),
    ]
    assert {one.format for one in data} == {"classic"}


def test_several_companies_in_one_delivery_keep_their_own() -> None:
    whole = {
        "eventNotifications": classic(entity(), realm="1")["eventNotifications"]
        + classic(entity(), realm="2")["eventNotifications"]
    }
    assert [one.realm for one in read_json(whole)] == ["1", "2"]
    assert [one.realm for one in read_json([event(intuitaccountid="1"), event(intuitaccountid="2")])] == ["1", "2"]


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("created", "created"), ("Create", "created"), ("UPDATED", "updated"), ("update", "updated"), ("deleted", "deleted"),
        ("Delete", "deleted"), ("merged", "merged"), ("Merge", "merged"), ("void", "voided"), ("voided", "voided"),
        ("Void", "voided"),
        ("emailed", "emailed"), ("Emailed", "emailed"), ("exploded", "unknown"),
    ],
)  # fmt: skip
def test_operation_words_are_taken_in_every_form(word: str, meaning: str) -> None:
    assert read_json([event(type=f"qbo.invoice.{word}.v1")])[0].operation == meaning
    assert read_json(classic(entity(operation=word)))[0].operation == meaning


@pytest.mark.parametrize(
    ("written", "name"),
    [("billpayment", "BillPayment"), ("BillPayment", "BillPayment"), ("INVOICE", "Invoice"), ("somethingnew", "somethingnew")],
)
def test_entities_bear_the_name_of_the_api_in_both_formats(written: str, name: str) -> None:
    assert read_json([event(type=f"qbo.{written}.updated.v1")])[0].entity == name
    assert read_json(classic(entity(name=written)))[0].entity == name


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2023-10-27T19:26:27.000Z", datetime(2023, 10, 27, 19, 26, 27, tzinfo=UTC)),
        ("2023-10-27T12:26:27-0700", datetime(2023, 10, 27, 19, 26, 27, tzinfo=UTC)),
        ("2023-10-27T12:26:27.5-07:00", datetime(2023, 10, 27, 19, 26, 27, 500000, tzinfo=UTC)),
        ("2023-10-27T19:26:27.123456789Z", datetime(2023, 10, 27, 19, 26, 27, 123456, tzinfo=UTC)),
        ("2023-10-27T19:26:27", datetime(2023, 10, 27, 19, 26, 27, tzinfo=UTC)),
    ],
)
def test_times_are_read_in_every_form(text: str, moment: datetime) -> None:
    assert read_json(classic(entity(lastUpdated=text)))[0].changed_at == moment
    assert read_json([event(time=text)])[0].changed_at == moment


def test_ids_that_come_as_numbers_are_text() -> None:
    (data,) = read_json(classic(entity(id=17), realm=310687))
    assert (data.realm, data.entity_id) == ("310687", "17")


def test_a_merge_names_what_was_deleted_in_both_formats() -> None:
    assert read_json([event(type="qbo.vendor.merged.v1", data={"deletedid": "9"})])[0].deleted_id == "9"
    assert read_json(classic(entity(operation="Merge", deletedId="9")))[0].deleted_id == "9"


def test_the_same_notification_is_the_same_message_byte_for_byte() -> None:
    for content in ([event()], classic(entity())):
        body = json.dumps(content).encode()
        assert [m.encode() for m in read(body).messages] == [m.encode() for m in read(body).messages]


def test_the_id_does_not_depend_on_the_delivery_that_brought_it() -> None:
    alone = read(json.dumps(classic(entity())).encode()).messages[0]
    second = read(json.dumps(classic(entity(id="2"), entity())).encode()).messages[1]
    assert alone.id == second.id


@pytest.mark.parametrize(
    "change",
    [{"name": "Vendor"}, {"id": "2"}, {"operation": "Update"}, {"lastUpdated": "2023-10-27T19:26:28.000Z"}, {"deletedId": "7"}],
)
def test_another_classic_record_is_another_message(change: dict[str, str]) -> None:
    first, second = read(json.dumps(classic(entity(), entity(**change))).encode()).messages
    assert first.id != second.id


def test_another_company_is_another_message() -> None:
    one, other = (read(json.dumps(classic(entity(), realm=realm)).encode()).messages[0] for realm in ("1", "2"))
    assert one.id != other.id
    one, other = (read(json.dumps([event(intuitaccountid=realm)]).encode()).messages[0] for realm in ("1", "2"))
    assert one.id != other.id


def test_a_cloudevent_without_an_id_still_has_a_key_of_its_own() -> None:
    first, second = read(json.dumps([event(id=None), event(id=None, intuitentityid="2")]).encode()).messages
    assert first.id != second.id
    assert len(first.data.notification_id) == 64


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (event(type=None), "type is missing"),
        (event(type="qbo"), "type is not qbo.<entity>.<operation>.v1"),
        (event(intuitaccountid=None), "intuitaccountid is missing"),
        (event(intuitentityid=""), "intuitentityid is missing"),
        (event(intuitentityid={}), "intuitentityid is neither text nor a number"),
        (event(time="yesterday"), "the time is not ISO 8601"),
        (event(intuitentityid="x" * 1001), "entity_id: String should have at most 1000 characters"),
        (
            event(intuitentityid="\ud800"),
            "entity_id: Input should be a valid string, unable to parse raw data as a unicode string",
        ),
        ("a string", "the record is not an object"),
        (None, "the record is not an object"),
    ],
)
def test_a_bad_cloudevent_is_refused_alone(bad: Any, reason: str) -> None:
    delivery = read(json.dumps([event(), bad, event(id="other")]).encode())
    assert len(delivery.messages) == 2
    assert [(one.where, one.reason) for one in delivery.unreadable] == [("[1]", reason)]
    assert json.loads(delivery.unreadable[0].raw) == bad


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (entity(id=None), "id is missing"),
        (entity(name=None), "name is missing"),
        (entity(lastUpdated=True), "lastUpdated is neither text nor a number"),
        ([], "the record is not an object"),
    ],
)
def test_a_bad_classic_record_is_refused_alone(bad: Any, reason: str) -> None:
    delivery = read(json.dumps(classic(entity(), bad, entity(id="2"))).encode())
    assert [message.data.entity_id for message in delivery.messages] == ["1", "2"]
    assert [(one.where, one.reason) for one in delivery.unreadable] == [("eventNotifications[0].entities[1]", reason)]


@pytest.mark.parametrize(
    ("notification", "reason"),
    [
        ({"dataChangeEvent": {"entities": []}}, "realmId is missing"),
        ({"realmId": "1"}, "dataChangeEvent.entities is not a list"),
        ({"realmId": "1", "dataChangeEvent": {"entities": {}}}, "dataChangeEvent.entities is not a list"),
        ({"realmId": "1", "dataChangeEvent": []}, "dataChangeEvent.entities is not a list"),
        ("text", "realmId is missing"),
    ],
)
def test_a_bad_classic_notification_is_refused_and_the_next_goes_on(notification: Any, reason: str) -> None:
    good = classic(entity())["eventNotifications"]
    assert reasons({"eventNotifications": [notification, *good]}) == [f"eventNotifications[0]: {reason}"]


@pytest.mark.parametrize("empty", [[], {"eventNotifications": []}, classic()])
def test_a_delivery_without_records_is_taken(empty: Any) -> None:
    assert read_json(empty) == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON at line 1 column 1"),
        (b'[{"id": ', "not JSON at line 1"),
        (b"\xff\xfe\x00", "not JSON"),
        (b'"text"', "neither a list of CloudEvents nor an object"),
        (b"{}", "neither a list of CloudEvents nor an object"),
        (b'{"eventNotifications": {}}', "neither a list of CloudEvents nor an object"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_an_unreadable_delivery_has_a_reason(body: bytes, reason: str) -> None:
    with pytest.raises(UnreadableDeliveryError, match=reason):
        read(body)


def test_no_reason_repeats_the_content() -> None:
    secret = "Maria Canary"
    bad = [event(time=secret), event(type=secret), event(intuitentityid=secret * 200), {"x": secret}, secret]
    assert len(reasons(bad)) == 5
    assert not any("Canary" in reason for reason in reasons(bad))


def test_a_refused_record_is_kept_within_a_kafka_record() -> None:
    (refused,) = read(json.dumps([{"x": "y" * 500_000}]).encode()).unreadable
    assert len(refused.raw) == 100_000


@pytest.mark.parametrize(
    "poison",
    [
        event(intuitentityid="a\x00b"), event(intuitaccountid="\ud83d"), event(time="0001-01-01T00:00:00+14:00"),
        event(time="9999-12-31T23:59:59-14:00"), event(id="x" * 1001), event(type="qbo.in\nvoice.updated.v1"),
        event(data={"deletedId": "\x00"}), event(intuitaccountid="9" * 101),
    ],
)  # fmt: skip
def test_a_record_that_nobody_can_store_is_refused_alone(poison: Any) -> None:
    delivery = read(json.dumps([event(), poison, event(intuitentityid="5")]).encode())
    assert [message.data.entity_id for message in delivery.messages] == ["1234", "5"]
    assert [refused.where for refused in delivery.unreadable] == ["[1]"]


def test_a_number_of_thousands_of_digits_spoils_only_its_record() -> None:
    body = json.dumps([event(), event(intuitentityid=4711), event(intuitentityid="5")]).replace("4711", "9" * 10_000)
    delivery = read(body.encode())
    assert [message.data.entity_id for message in delivery.messages] == ["1234", "5"]
    assert [refused.where for refused in delivery.unreadable] == ["[1]"]
