"""The stand-in through clients that we did not write: gspread, and google-api-python-client with its discovery document."""

import json
from importlib import resources
from typing import Any

import gspread
import jsonschema
import pytest
from google_standin import Google
from googleapiclient.errors import HttpError


def test_gspread_reads_writes_sorts_and_deletes(google: Google) -> None:
    book = google.gspread.open_by_key(google.id)
    assert [w.title for w in book.worksheets()] == ["inv_tbl"]
    tab = book.add_worksheet("work", rows=10, cols=5)
    tab.update([["name", "n", "when"], ["b", 2, "2026-01-02"], ["a", 1.5, "x"]], "A1", value_input_option="USER_ENTERED")
    assert tab.get_all_values() == [["name", "n", "when"], ["b", "2", "2026-01-02"], ["a", "1.5", "x"]]
    assert tab.get_all_records()[0] == {"name": "b", "n": 2, "when": "2026-01-02"}
    assert tab.row_values(3) == ["a", "1.5", "x"]
    assert tab.col_values(2) == ["n", "2", "1.5"]
    tab.sort((1, "asc"), range="A2:C3")
    assert tab.col_values(1) == ["name", "a", "b"]
    tab.append_row(["c", 3])
    assert tab.col_values(1) == ["name", "a", "b", "c"]
    tab.insert_row(["first"], index=2)
    assert tab.col_values(1) == ["name", "first", "a", "b", "c"]
    tab.delete_rows(2, 3)
    assert tab.col_values(1) == ["name", "b", "c"]
    tab.update_acell("B2", "=1+1")
    assert tab.acell("B2").value == "2"
    assert tab.acell("B2", value_render_option="FORMULA").value == "=1+1"
    assert tab.find("c").row == 3
    tab.batch_update([{"range": "A2", "values": [["z"]]}, {"range": "A3:B3", "values": [["y", 9]]}])
    assert tab.get("A2:B3") == [["z", "2"], ["y", "9"]]
    tab.batch_clear(["A2:A3"])
    assert tab.col_values(1) == ["name"]
    tab.resize(rows=20, cols=3)
    assert (tab.row_count, tab.col_count) == (20, 3)
    tab.freeze(rows=1)
    tab.update_title("renamed")
    tab.clear()
    assert tab.get_all_values() in ([], [[]])
    book.del_worksheet(tab)
    assert [w.title for w in book.worksheets()] == ["inv_tbl"]


def test_gspread_appends_below_the_table_and_grows_the_grid(google: Google) -> None:
    tab = google.gspread.open_by_key(google.id).add_worksheet("small", rows=2, cols=2)
    tab.append_rows([["h1", "h2"], ["a", "b"], ["c", "d"]])
    tab.append_row(["e", "f", "g"], value_input_option="RAW")
    assert tab.get_all_values() == [["h1", "h2", ""], ["a", "b", ""], ["c", "d", ""], ["e", "f", "g"]]


@pytest.mark.parametrize(
    ("area", "written"),
    [
        ("two", "B7"),
        ("two!B4", "B7"),
        ("two!C5:D5", "B7"),
        ("two!B2:D4", "B7"),
        ("two!A3:G10", "B7"),
        ("two!A1", "A3"),
        ("two!E4", "E4"),
    ],
)
def test_append_finds_the_table_as_the_documentation_says(google: Google, area: str, written: str) -> None:
    google.batch({"addSheet": {"properties": {"title": "two"}}})
    rows = [["x", "x", "x"], ["x", "x", "x"], [], ["", "x", "x", "x"], ["", "x", "x", "x"], ["", "x", "x", "x"]]
    google.values.update(spreadsheetId=google.id, range="two!A1", valueInputOption="RAW", body={"values": rows}).execute()
    body = {"values": [["new"]]}
    done = google.values.append(spreadsheetId=google.id, range=area, valueInputOption="RAW", body=body).execute()
    assert done["updates"]["updatedRange"] == f"two!{written}"


def test_gspread_sees_googles_error(google: Google) -> None:
    tab = google.gspread.open_by_key(google.id).sheet1
    with pytest.raises(gspread.exceptions.APIError, match="exceeds grid limits"):
        tab.update([["x"]], "A5000")
    with pytest.raises(gspread.exceptions.SpreadsheetNotFound):
        google.gspread.open_by_key("nothing-here")


def test_official_client_renders_as_asked(google: Google) -> None:
    body = {"values": [["1,234.50", "$1,234.50", "5/6/2026", "true", '=HYPERLINK("http://x","here")', "12%", "'007"]]}
    done = google.values.update(spreadsheetId=google.id, range="inv_tbl!A2", valueInputOption="USER_ENTERED", body=body).execute()
    assert (done["updatedRange"], done["updatedCells"]) == ("inv_tbl!A2:G2", 7)

    def get(**options: str) -> list[Any]:
        answer = google.values.get(spreadsheetId=google.id, range="inv_tbl!A2:Z2", **options).execute()
        return answer["values"][0]

    assert get() == ["1,234.50", "$1,234.50", "5/6/2026", "TRUE", "here", "12%", "007"]
    assert get(valueRenderOption="UNFORMATTED_VALUE") == [1234.5, 1234.5, 46148, True, "here", 0.12, "007"]
    both = get(valueRenderOption="UNFORMATTED_VALUE", dateTimeRenderOption="FORMATTED_STRING")
    assert both[2] == "5/6/2026"
    assert get(valueRenderOption="FORMULA")[4] == '=HYPERLINK("http://x","here")'


def test_raw_is_stored_as_given_and_null_leaves_a_cell(google: Google) -> None:
    for line in ([["=1+1", "5/6/2026", "TRUE", True, 1.25, "gone"]], [[None, None, None, None, None, ""]]):
        google.values.update(spreadsheetId=google.id, range="inv_tbl!A2", valueInputOption="RAW", body={"values": line}).execute()
    answer = google.values.get(spreadsheetId=google.id, range="inv_tbl!A2:F2", valueRenderOption="UNFORMATTED_VALUE").execute()
    assert answer["values"] == [["=1+1", "5/6/2026", "TRUE", True, 1.25]]


def test_reading_is_ragged_and_an_empty_range_has_no_values(google: Google) -> None:
    google.control("POST", "/rows", {"rows": [["a", None, "c"], [], ["b"]]})
    answer = google.values.batchGet(spreadsheetId=google.id, ranges=["inv_tbl!A2:E9", "inv_tbl!F5:H9", "inv_tbl!A2:A"]).execute()
    first, second, third = answer["valueRanges"]
    assert first["values"] == [["a", "", "c"], [], ["b"]]
    assert "values" not in second
    assert third["range"] == "inv_tbl!A2:A1000"
    columns = google.values.get(spreadsheetId=google.id, range="inv_tbl!A2:C4", majorDimension="COLUMNS").execute()
    assert columns["values"] == [["a", "", "b"], [], ["c"]]


def test_batch_is_whole_or_not_at_all(google: Google) -> None:
    data = [{"range": "inv_tbl!A2", "values": [["x"]]}, {"range": "inv_tbl!A2000", "values": [["y"]]}]
    with pytest.raises(HttpError) as refused:
        google.values.batchUpdate(spreadsheetId=google.id, body={"valueInputOption": "RAW", "data": data}).execute()
    assert refused.value.resp.status == 400
    assert "Max rows: 1000" in refused.value.reason
    with pytest.raises(HttpError):
        google.batch({"appendDimension": {"sheetId": 0, "dimension": "ROWS", "length": 5}}, {"deleteSheet": {"sheetId": 77}})
    assert google.control("GET", "/grid")["inv_tbl"]["rows"] == 1000
    assert len(google.control("GET", "/grid")["inv_tbl"]["values"]) == 1
    data.pop()
    done = google.values.batchUpdate(spreadsheetId=google.id, body={"valueInputOption": "RAW", "data": data}).execute()
    assert (done["totalUpdatedCells"], done["totalUpdatedSheets"]) == (1, 1)


def test_what_makes_no_sense_is_refused_and_not_failed_at(google: Google) -> None:
    nothing = {"sheetId": 0, "startRowIndex": 3, "endRowIndex": 3, "startColumnIndex": 0, "endColumnIndex": 1}
    with pytest.raises(HttpError, match="source range is empty") as refused:
        google.batch({"copyPaste": {"source": nothing, "destination": {**nothing, "endRowIndex": 9}}})
    assert refused.value.resp.status == 400
    with google.http() as http:
        body = {"destinationSpreadsheetId": google.id}
        answer = http.post(f"/v4/spreadsheets/{google.id}/sheets/first:copyTo", json=body)
    assert answer.status_code == 400, answer.text
    assert "sheet_id" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("area", "values", "words"),
    [
        ("inv_tbl!A2:B2", [["a", "b", "c"]], "tried writing to column"),
        ("inv_tbl!A2:B2", [["a"], ["b"]], "tried writing to row"),
        ("inv_tbl!AT1", [["a"]], "exceeds grid limits"),
        ("inv_tbl!A1000", [["a"], ["b"]], "exceeds grid limits"),
        ("nosuch!A1", [["a"]], "Unable to parse range"),
        ("inv_tbl!A2", [[{"a": 1}]], "Invalid values"),
    ],
)
def test_wrong_writes_are_400_with_the_reason(google: Google, area: str, values: Any, words: str) -> None:
    with pytest.raises(HttpError) as refused:
        google.values.update(spreadsheetId=google.id, range=area, valueInputOption="RAW", body={"values": values}).execute()
    assert refused.value.resp.status == 400
    assert words in refused.value.reason


def test_unknown_field_in_a_body_is_400(google: Google) -> None:
    with google.http() as http:
        response = http.post(f"/v4/spreadsheets/{google.id}/values:batchUpdate", json={"valueInputOption": "RAW", "date": []})
    assert response.status_code == 400
    assert response.json()["error"]["status"] == "INVALID_ARGUMENT"


def test_metadata_follow_inserts_and_moves_but_not_a_sort(google: Google) -> None:
    google.control("POST", "/rows", {"rows": [["b"], ["a"]]})
    span = {"sheetId": 0, "dimension": "ROWS", "startIndex": 1, "endIndex": 2}
    item = {"metadataKey": "key", "metadataValue": "row-b", "location": {"dimensionRange": span}, "visibility": "DOCUMENT"}
    reply = google.batch({"createDeveloperMetadata": {"developerMetadata": item}})[0]
    made = reply["createDeveloperMetadata"]["developerMetadata"]
    lookup = {"dataFilters": [{"developerMetadataLookup": {"metadataKey": "key"}}]}

    def cells() -> list[list[str]]:
        answer = google.values.batchGetByDataFilter(spreadsheetId=google.id, body=lookup).execute()
        return answer["valueRanges"][0]["valueRange"]["values"]

    assert cells() == [["b"]]
    google.control("POST", "/insert", {"row": 2, "count": 3})
    google.control("POST", "/move", {"row": 5, "to": 7})
    assert cells() == [["b"]]
    google.control("POST", "/sort", {"column": 0})
    metadata = google.sheets.spreadsheets().developerMetadata()
    found = metadata.search(spreadsheetId=google.id, body=lookup).execute()
    assert found["matchedDeveloperMetadata"][0]["developerMetadata"]["metadataId"] == made["metadataId"]
    where = metadata.get(spreadsheetId=google.id, metadataId=made["metadataId"]).execute()["location"]["dimensionRange"]
    grid = google.control("GET", "/grid")["inv_tbl"]["values"]
    assert [line[0] for line in grid[1:] if line] == ["a", "b"]
    assert where["startIndex"] == 5  # where the row went before the sort
    google.control("DELETE", "/faults")
    google.batch({"deleteDimension": {"range": {**span, "startIndex": 5, "endIndex": 6}}})
    assert metadata.search(spreadsheetId=google.id, body=lookup).execute() == {}


def test_structure_requests(google: Google) -> None:
    google.control("POST", "/rows", {"rows": [["c", 3], ["a", 1], ["b"]]})
    area = {"sheetId": 0, "startRowIndex": 1, "endRowIndex": 4}
    google.batch({"sortRange": {"range": area, "sortSpecs": [{"dimensionIndex": 1, "sortOrder": "DESCENDING"}]}})
    column = google.values.get(spreadsheetId=google.id, range="inv_tbl!A2:A").execute()["values"]
    assert column == [["c"], ["a"], ["b"]]  # an empty cell sorts last
    source = {"sheetId": 0, "dimension": "COLUMNS", "startIndex": 0, "endIndex": 1}
    google.batch({"moveDimension": {"source": source, "destinationIndex": 2}})
    assert google.values.get(spreadsheetId=google.id, range="inv_tbl!A2:B2").execute()["values"] == [["3", "c"]]
    cell = {"userEnteredValue": {"stringValue": "set"}}
    start = {"sheetId": 0, "rowIndex": 1, "columnIndex": 0}
    google.batch({"updateCells": {"start": start, "rows": [{"values": [cell]}], "fields": "userEnteredValue"}})
    assert google.values.get(spreadsheetId=google.id, range="inv_tbl!A2").execute()["values"] == [["set"]]


def test_get_with_masks_and_grid_data(google: Google) -> None:
    google.control("POST", "/rows", {"rows": [["x", 1.5]]})
    spreadsheets = google.sheets.spreadsheets()
    answer = spreadsheets.get(spreadsheetId=google.id, fields="sheets.properties(title,gridProperties.rowCount)").execute()
    assert answer == {"sheets": [{"properties": {"title": "inv_tbl", "gridProperties": {"rowCount": 1000}}}]}
    full = spreadsheets.get(spreadsheetId=google.id, ranges="inv_tbl!A2:B2", includeGridData=True).execute()
    data = full["sheets"][0]["data"][0]
    assert data["startRow"] == 1
    assert [cell["formattedValue"] for cell in data["rowData"][0]["values"]] == ["x", "1.5"]
    assert "data" not in spreadsheets.get(spreadsheetId=google.id).execute()["sheets"][0]


def test_drive_version_counts_changes(google: Google) -> None:
    def version() -> int:
        return int(google.drive.files().get(fileId=google.id, fields="version,modifiedTime").execute()["version"])

    before = version()
    assert version() == before
    google.control("POST", "/cells", {"cell": "A2", "value": "typed"})
    assert version() > before
    assert google.drive.files().get(fileId=google.id).execute()["mimeType"].endswith("spreadsheet")


# Every answer against the discovery document that google ships with its client.


def _schema(name: str, version: str) -> dict[str, Any]:
    text = (resources.files("googleapiclient.discovery_cache") / "documents" / f"{name}.{version}.json").read_text()
    return json.loads(text)["schemas"]


def _strict(schemas: dict[str, Any], node: Any) -> Any:
    """A discovery schema as JSON Schema that admits no unknown property."""
    if "$ref" in node:
        return {"$ref": f"#/definitions/{node['$ref']}"}
    kind = node.get("type")
    if kind == "object" and "properties" in node:
        return {
            "type": "object",
            "additionalProperties": False,
            "properties": {k: _strict(schemas, v) for k, v in node["properties"].items()},
        }
    if kind == "array":
        return {"type": "array", "items": _strict(schemas, node["items"])}
    if kind == "any":
        return {}
    if kind == "string" and "enum" in node:
        return {"enum": node["enum"]}
    return {"type": "string" if node.get("format") == "int64" else kind} if kind else {}


def test_every_answer_keeps_to_the_discovery_document(google: Google) -> None:
    schemas = _schema("sheets", "v4")
    definitions = {name: _strict(schemas, node) for name, node in schemas.items()}

    def check(name: str, answer: Any) -> None:
        jsonschema.validate(answer, {"$ref": f"#/definitions/{name}", "definitions": definitions})

    google.control("POST", "/rows", {"generate": {"count": 12, "seed": 1}})
    sheets, values, ident = google.sheets.spreadsheets(), google.values, {"spreadsheetId": google.id}
    span = {"sheetId": 0, "dimension": "ROWS", "startIndex": 1, "endIndex": 2}
    item = {"metadataKey": "k", "location": {"dimensionRange": span}, "visibility": "DOCUMENT"}
    lookup = {"dataFilters": [{"developerMetadataLookup": {"metadataKey": "k"}}, {"a1Range": "inv_tbl!A1:B2"}]}
    one = {"values": [["x"]]}
    requests = [
        {"createDeveloperMetadata": {"developerMetadata": item}},
        {"addSheet": {"properties": {"title": "new"}}},
        {"appendDimension": {"sheetId": 0, "dimension": "ROWS", "length": 1}},
    ]
    echo = {"includeValuesInResponse": True}
    for name, call in {
        "BatchUpdateSpreadsheetResponse": sheets.batchUpdate(
            **ident, body={"requests": requests, "includeSpreadsheetInResponse": True, "responseIncludeGridData": True}
        ),
        "Spreadsheet": sheets.get(**ident, includeGridData=True),
        "ValueRange": values.get(**ident, range="inv_tbl"),
        "BatchGetValuesResponse": values.batchGet(**ident, ranges=["inv_tbl", "A1"]),
        "BatchGetValuesByDataFilterResponse": values.batchGetByDataFilter(**ident, body=lookup),
        "UpdateValuesResponse": values.update(**ident, range="A50", valueInputOption="RAW", body=one, **echo),
        "AppendValuesResponse": values.append(**ident, range="inv_tbl", valueInputOption="RAW", body=one),
        "ClearValuesResponse": values.clear(**ident, range="A50"),
        "BatchClearValuesResponse": values.batchClear(**ident, body={"ranges": ["A50"]}),
        "BatchClearValuesByDataFilterResponse": values.batchClearByDataFilter(
            **ident, body={"dataFilters": [{"a1Range": "A60"}]}
        ),
        "BatchUpdateValuesResponse": values.batchUpdate(
            **ident, body={"valueInputOption": "RAW", "data": [{"range": "A50", **one}], "includeValuesInResponse": True}
        ),
        "BatchUpdateValuesByDataFilterResponse": values.batchUpdateByDataFilter(
            **ident, body={"valueInputOption": "RAW", "data": [{"dataFilter": {"a1Range": "A51"}, **one}]}
        ),
        "SearchDeveloperMetadataResponse": sheets.developerMetadata().search(**ident, body=lookup),
        "DeveloperMetadata": sheets.developerMetadata().get(**ident, metadataId=1),
    }.items():
        check(name, call.execute())


def test_append_answers_with_the_values_if_asked(google: Google) -> None:
    options = {"includeValuesInResponse": True, "responseValueRenderOption": "UNFORMATTED_VALUE"}
    body = {"values": [["n", 2], ["=1+1"]]}
    where = {"spreadsheetId": google.id, "range": "inv_tbl!A1", "valueInputOption": "USER_ENTERED"}
    done = google.values.append(**where, body=body, **options).execute()
    assert done["updates"]["updatedData"]["values"] == [["n", 2], [2]]
    assert "updatedData" not in google.values.append(**where, body=body).execute()["updates"]


def test_a_tab_is_copied_within_and_between_spreadsheets(google: Google) -> None:
    google.control("POST", "/rows", {"rows": [["a", "b"]]})
    tabs = google.sheets.spreadsheets().sheets()
    names = []
    for _ in range(2):
        order = {"spreadsheetId": google.id, "sheetId": 0, "body": {"destinationSpreadsheetId": google.id}}
        names.append(tabs.copyTo(**order).execute()["title"])
    assert names == ["Copy of inv_tbl", "Copy of inv_tbl 2"]
    got = google.values.get(spreadsheetId=google.id, range=f"'{names[1]}'!A2:B2").execute()
    assert got["values"] == [["a", "b"]]
    with pytest.raises(HttpError, match="404"):
        tabs.copyTo(spreadsheetId=google.id, sheetId=0, body={"destinationSpreadsheetId": "nothing"}).execute()


def test_cut_cells_are_gone_and_pasted(google: Google) -> None:
    google.control("POST", "/rows", {"rows": [["a", "b"], ["c", "d"]]})
    source = {"sheetId": 0, "startRowIndex": 1, "endRowIndex": 3, "startColumnIndex": 0, "endColumnIndex": 1}
    google.batch({"cutPaste": {"source": source, "destination": {"sheetId": 0, "rowIndex": 2, "columnIndex": 2}}})
    got = google.values.get(spreadsheetId=google.id, range="inv_tbl!A2:C4").execute()
    assert got["values"] == [["", "b"], ["", "d", "a"], ["", "", "c"]]


def test_requests_for_the_looks_pass_but_must_name_a_tab_that_is_there(google: Google) -> None:
    area = {"sheetId": 0, "dimension": "COLUMNS", "startIndex": 0, "endIndex": 1}
    look = {"range": area, "properties": {"pixelSize": 90}, "fields": "pixelSize"}
    assert google.batch({"updateDimensionProperties": look}, {"clearBasicFilter": {"sheetId": 0}}) == [{}, {}]
    with pytest.raises(HttpError, match="400"):
        google.batch({"updateDimensionProperties": {**look, "range": {**area, "sheetId": 77}}})


def test_pygsheets_reads_the_default_format_of_a_spreadsheet(google: Google) -> None:
    found = google.sheets.spreadsheets().get(spreadsheetId=google.id).execute()
    assert found["properties"]["defaultFormat"]["textFormat"]["fontSize"] == 10


@pytest.mark.parametrize(
    ("request_name", "dimension", "left"),
    [
        ("deleteRange", "ROWS", [["c", "2"], ["e", "4"], ["", "6"]]),
        ("deleteRange", "COLUMNS", [["2"], ["c", "4"], ["e", "6"]]),
        ("insertRange", "ROWS", [["", "2"], ["a", "4"], ["c", "6"], ["e"]]),
        ("insertRange", "COLUMNS", [["", "a", "2"], ["c", "4"], ["e", "6"]]),
    ],
)
def test_cells_shift_but_rows_and_their_metadata_stay(
    google: Google, request_name: str, dimension: str, left: list[list[str]]
) -> None:
    google.control("POST", "/rows", {"rows": [["a", "2"], ["c", "4"], ["e", "6"]]})
    row = {"sheetId": 0, "dimension": "ROWS", "startIndex": 2, "endIndex": 3}
    mark = {"metadataKey": "k", "visibility": "DOCUMENT", "location": {"dimensionRange": row}}
    google.batch({"createDeveloperMetadata": {"developerMetadata": mark}})
    area = {"sheetId": 0, "startRowIndex": 1, "endRowIndex": 2, "startColumnIndex": 0, "endColumnIndex": 1}
    google.batch({request_name: {"range": area, "shiftDimension": dimension}})
    assert google.values.get(spreadsheetId=google.id, range="inv_tbl!A2:C9").execute()["values"] == left
    search = {"dataFilters": [{"developerMetadataLookup": {"metadataKey": "k"}}]}
    found = google.sheets.spreadsheets().developerMetadata().search(spreadsheetId=google.id, body=search).execute()
    (match,) = found["matchedDeveloperMetadata"]
    assert match["developerMetadata"]["location"]["dimensionRange"]["startIndex"] == 2
