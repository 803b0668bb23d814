"""The table of Intuit's codes: complete, careful about what is definitive, and blind to texts."""

import re

import pytest
from bookrelay.errors import Code, Disposition
from hypothesis import given
from hypothesis import strategies as st
from qbo_writer.domain import AnswerKind, Operation
from qbo_writer.quickbooks import faults
from qbo_writer.quickbooks.faults import TABLE, classify, parse

# Section 4.2 of the reference, written out: every code of Intuit's table, and the five seen in the wild.
CODES = """100 110 120 130 140 150 500 600 610 620 630 700 900 800 1000 1010 1020 1040 1050 2000 2010 2020 2030 2040 2050
2060 2070 2080 2090 2100 2110 2120 2130 2140 2150 2160 2170 2180 2190 2200 2210 2220 2230 2240 2250 2260 2270 2280 2290 2300
2500 2600 3000 3001 3002 3100 3200 3201 3202 4000 4001 4002 5000 5010 5020 5030 6000 6002 6010 6060 6430 6020 6030 6040 6041
6050 6070 6080 6090 6100 6160 6170 6230 6470 6110 6120 6460 6130 6150 6180 6140 6190 6200 6210 6220 6280 6240 6250 6270 6520
6290 6300 6310 6320 6330 6340 6350 6360 6370 6380 6390 6400 6480 6540 6420 6440 6450 6490 6500 6510 6530 10000 10100
10200""".split()  # noqa: SIM905

SILENT = {"130", "140", "150", "600", "1000", "1010", "1020", "6002", "10000", "10100", "10200"}


def body(code: str, detail: str = "Some detail", type_: str = "ValidationFault", **more: str) -> str:
    extra = "".join(f',"{key}":"{value}"' for key, value in more.items())
    return f'{{"Fault":{{"Error":[{{"Message":"M","Detail":"{detail}","code":"{code}"{extra}}}],"type":"{type_}"}},"time":"t"}}'


def test_table_knows_every_code_of_the_reference() -> None:
    assert set(TABLE) == set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_disposition_a_sentence_and_a_fix(code: str) -> None:
    entry = TABLE[code]
    assert entry.sentence.endswith(".")
    assert isinstance(entry.code, Code)
    if entry.kind is AnswerKind.ERROR:
        assert entry.fix, "who reads the sentence must know what to do"
    assert (entry.kind is AnswerKind.SILENCE) == (code in SILENT)


def test_halt_is_for_the_whole_company_only() -> None:
    assert {c for c, e in TABLE.items() if e.disposition is Disposition.HALT} == {"120", "3100", "3201", "5020", "6190", "10200"}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_is_silence_whatever_its_code(code: str, status: int) -> None:
    assert classify(status, {}, body(code), Operation.CREATE).kind is AnswerKind.SILENCE


@given(st.integers(100, 599), st.text(max_size=200))
def test_any_unreadable_body_is_silence_or_a_refusal(status: int, text: str) -> None:
    answer = classify(status, {}, "<" + text, Operation.CREATE)
    assert answer.kind is (AnswerKind.REFUSAL if status in (401, 429) else AnswerKind.SILENCE)


@given(st.integers(1, 99999).map(str))
def test_an_unknown_code_is_silence(code: str) -> None:
    if code not in TABLE:
        assert classify(400, {}, body(code), Operation.UPDATE).kind is AnswerKind.SILENCE


@pytest.mark.parametrize(
    ("status", "text", "code"),
    [
        (400, body("6140"), "6140"),
        (200, body("6190"), "6190"),
        (401, '{"warnings":null,"fault":{"error":[{"message":"m","detail":"Expired","code":"3200"}],"type":"AUTH"}}', "3200"),
        (403, '{"fault":{"error":[{"message":"m; errorCode=003100","detail":"","code":"3100"}],"type":"SERVICE"}}', "3100"),
        (400, '{"Fault":{"Error":{"code":2010,"Message":"m"},"type":"x"}}', "2010"),
        (400, "\ufeff " + body("003001"), "3001"),
        (
            429,
            '<?xml version="1.0"?><IntuitResponse time="t" xmlns="http://schema.intuit.com/finance/v3"><Fault type="SERVICE">'
            '<Error code="3001" element="a"><Message>message=ThrottleExceeded &amp; so</Message><Detail>Try</Detail></Error>'
            "</Fault></IntuitResponse>",
            "3001",
        ),
    ],
)  # fmt: skip
def test_every_envelope_is_read(status: int, text: str, code: str) -> None:
    answer = classify(status, {"Intuit_Tid": "1-abc"}, text, Operation.CREATE)
    assert (answer.intuit_code, answer.http_status, answer.intuit_tid) == (code, status, "1-abc")
    assert answer.kind is TABLE[code].kind


def test_xml_is_read_with_its_texts() -> None:
    error = '<Error code="3001"><Message>a &amp; b</Message><Detail>c</Detail></Error>'
    text = f'<IntuitResponse><Fault type="SERVICE">{error}</Fault></IntuitResponse>'
    assert parse(text) == (faults.Fault("3001", "a & b", "c", "", "SERVICE"),)
    prefixed = f'<q:IntuitResponse xmlns:q="urn:q"><q:Fault type="SERVICE">{error}{error}</q:Fault></q:IntuitResponse>'
    assert parse(prefixed.replace("<Error", "<q:Error").replace("</Error", "</q:Error")) == parse(text) + parse(text)
    commented = text.replace("<Error", "<!-- <Error code='1'> --><Error")
    assert parse(commented.replace("a &amp; b", "<![CDATA[a & b]]>")) == parse(text)


@pytest.mark.parametrize("cut", range(1, 100, 7))
def test_xml_that_was_cut_off_is_none(cut: int) -> None:
    text = '<IntuitResponse><Fault type="SERVICE"><Error code="3001"><Message>a</Message></Error></Fault></IntuitResponse>'
    assert parse(text[:-cut]) is None


def test_no_entity_is_expanded() -> None:
    bomb = '<!DOCTYPE a [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    assert parse(f'<?xml version="1.0"?>{bomb}<Fault type="x"><Error code="3001"><Message>&b;</Message></Error></Fault>') is None


@pytest.mark.parametrize(
    "text",
    [
        "", "<html><body>503</body></html>", '{"Invoice":', "[]", "null", "<Fault type='x'></Fault>", "<Fault>\ud800</Fault>",
        "<Fault>\x00</Fault>", "<" * 100_000, "<a>" * 100_000,
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_none(text: str) -> None:
    assert parse(text) is None


def test_a_fault_without_errors_is_silence() -> None:
    assert classify(400, {}, '{"Fault":{"type":"ValidationFault"}}', None).kind is AnswerKind.SILENCE
    assert classify(400, {}, '{"time":"t"}', None).kind is AnswerKind.SILENCE
    assert classify(302, {}, '{"Invoice":{}}', None).kind is AnswerKind.SILENCE


def test_several_errors_the_least_certain_decides() -> None:
    both = '{"Fault":{"Error":[{"code":"2050"},{"code":"10000"}],"type":"ValidationFault"}}'
    assert classify(400, {}, both, None).kind is AnswerKind.SILENCE
    conflict = '{"Fault":{"Error":[{"code":"2050"},{"code":"5010"}],"type":"ValidationFault"}}'
    assert classify(400, {}, conflict, None).intuit_code == "5010"


@pytest.mark.parametrize("other", ["2050", "10000", "5010", "99999"])
def test_a_halting_code_halts_beside_any_other(other: str) -> None:
    both = f'{{"Fault":{{"Error":[{{"code":"{other}"}},{{"code":"6190"}}],"type":"ValidationFault"}}}}'
    answer = classify(400, {}, both, Operation.CREATE)
    assert (answer.halt, answer.intuit_code) == (True, "6190")
    assert answer.kind is (AnswerKind.SILENCE if other in ("10000", "99999") else AnswerKind.REFUSAL)


def test_6140_names_the_other_document() -> None:
    detail = "Duplicate Document Number Error: You must specify ... DocNumber=X is assigned to TxnType=Invoice with TxnId=17984"
    answer = classify(400, {}, body("6140", detail), Operation.CREATE)
    assert (answer.kind, answer.conflicting_id) == (AnswerKind.CONFLICT, "17984")
    assert classify(400, {}, body("6140", "Doppelte Nummer"), Operation.CREATE).conflicting_id is None


def test_6000_with_an_internal_cause_is_silence() -> None:
    assert classify(400, {}, body("6000", "You must set a transaction amount."), None).kind is AnswerKind.ERROR
    assert classify(400, {}, body("6000", "An unexpected error occurred: -30003"), None).kind is AnswerKind.SILENCE
    assert classify(400, {}, body("6000", type_="SystemFault"), None).kind is AnswerKind.SILENCE
    for amount in ("-1500.00", "-1,500", "-15000.5"):
        text = f"Transaction amount must be 0 or greater: {amount} was given."
        assert classify(400, {}, body("6000", text), None).kind is AnswerKind.ERROR, amount


def test_610_on_a_create_means_a_reference() -> None:
    create, update = classify(400, {}, body("610"), Operation.CREATE), classify(400, {}, body("610"), Operation.UPDATE)
    assert (create.kind, create.disposition) == (AnswerKind.ERROR, Disposition.RETRY)
    assert update.kind is AnswerKind.CONFLICT


def test_no_remedy_of_a_halt_promises_that_posting_waits_for_a_person() -> None:
    """A halt ends by itself at the next answer that means service; only `qbo-writer halt` waits for a person."""
    fixes = {code: entry.fix for code, entry in TABLE.items() if entry.disposition is Disposition.HALT}
    assert not [code for code, fix in fixes.items() if "before posting goes on" in fix]
    assert "qbo-writer halt" in fixes["10200"]


HALTING = {"120", "3100", "3201", "5020", "6190", "10200"}
TOKEN = {"100", "110", "3200", "3202"}
PACE = {"3001", "3002"}
CONFLICTING = {"5010", "610", "6140"}


@pytest.mark.parametrize("status", [200, 400, 401, 403, 429, 500, 503])
@pytest.mark.parametrize("code", CODES)
def test_the_code_decides_before_the_status(code: str, status: int) -> None:
    answer = classify(status, {}, body(code), Operation.UPDATE)
    assert answer.halt == (code in HALTING)
    assert answer.unauthorized == (code in TOKEN)
    assert answer.throttled == (code in PACE)
    if status >= 500 or code in SILENT:
        kind = AnswerKind.SILENCE  # whether something was done is not known
    elif code in HALTING | TOKEN | PACE:
        kind = AnswerKind.REFUSAL  # nothing was done, and no document is to blame
    else:
        kind = AnswerKind.CONFLICT if code in CONFLICTING else AnswerKind.ERROR
    assert answer.kind is kind
    item = faults.item({"Fault": {"Error": [{"code": code}], "type": "ValidationFault"}}, Operation.UPDATE)
    if status < 500:
        assert (item.kind, item.halt, item.throttled, item.unauthorized) == (
            kind, answer.halt, answer.throttled, answer.unauthorized,
        )  # fmt: skip


@pytest.mark.parametrize("text", ["", "<html>Forbidden</html>", body("99999")])
def test_without_a_known_code_the_status_decides(text: str) -> None:
    kinds = {status: classify(status, {}, text, Operation.CREATE) for status in (200, 400, 401, 403, 404, 414, 429, 500)}
    assert kinds[401].unauthorized
    assert kinds[429].throttled
    assert all(a.kind is AnswerKind.SILENCE and not a.halt for status, a in kinds.items() if status not in (401, 429))


def test_texts_never_decide() -> None:
    words = "Stale Object Error Duplicate Document Number ThrottleExceeded 6140 5010 Token expired TxnId=5"
    answer = classify(400, {}, body("2050", words), Operation.CREATE)
    assert (answer.kind, answer.conflicting_id, answer.throttled) == (AnswerKind.ERROR, None, False)


@pytest.mark.parametrize(("header", "seconds"), [("30", 30.0), ("0", 0.0), ("soon", None), ("-1", 0.0), (None, None)])
def test_retry_after(header: str | None, seconds: float | None) -> None:
    headers = {"Retry-After": header} if header is not None else {}
    assert classify(429, headers, "", None).retry_after == seconds


def test_retry_after_as_a_date() -> None:
    seconds = classify(429, {"retry-after": "Wed, 21 Oct 2099 07:28:00 GMT"}, "", None).retry_after
    assert seconds
    assert seconds > 1e9


def test_intuits_words_are_shown_where_only_they_say_what_is_wrong() -> None:
    shown = classify(400, {}, body("6000", "You must set a transaction amount."), None).reason
    assert "You must set a transaction amount." in shown
    hidden = classify(400, {}, body("6240", "The name supplied already exists. : Jane Doe"), None).reason
    assert "Jane" not in hidden
    assert len(classify(400, {}, body("6000", "x" * 5000), None).reason) < 500


def test_success_has_no_fault() -> None:
    answer = classify(200, {"intuit_tid": "1"}, '{"Invoice":{"Id":"1"},"time":"t"}', Operation.CREATE)
    assert (answer.kind, answer.intuit_tid) == (AnswerKind.SUCCESS, "1")


def test_sentences_are_for_people() -> None:
    for code, entry in TABLE.items():
        assert not re.search(r"\b(API|JSON|HTTP|null)\b", entry.sentence), code
