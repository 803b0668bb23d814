"""What the attempts log keeps of a body."""

import json

from qbo_writer.quickbooks.forms import QboForms


def test_names_and_notes_are_left_out_and_amounts_and_ids_kept() -> None:
    body = (
        '{"Id":"9","TotalAmt":100.10,"CustomerRef":{"value":"7","name":"Canary Jane"},"PrivateNote":"Canary Jane\\nbookrelay:ab",'
        '"PrimaryEmailAddr":{"Address":"canary@example.org"},"Line":[{"Amount":1e2,"Description":"for Canary Jane"}]}'
    )
    kept = QboForms().redacted(body)
    assert "canary" not in json.dumps(kept).lower()
    assert kept["TotalAmt"] == "100.10"
    assert (kept["Id"], kept["CustomerRef"]) == ("9", {"value": "7", "name": "..."})


def test_a_faults_message_is_left_out_and_its_code_kept() -> None:
    kept = QboForms().redacted(
        '{"Fault":{"Error":[{"Message":"Duplicate","Detail":"Canary Jane","code":"6240"}],"type":"ValidationFault"}}'
    )
    assert kept == {"Fault": {"Error": [{"Message": "...", "Detail": "...", "code": "6240"}], "type": "ValidationFault"}}


def test_what_is_no_json_is_not_kept() -> None:
    assert QboForms().redacted("<html>Canary Jane</html>") is None
