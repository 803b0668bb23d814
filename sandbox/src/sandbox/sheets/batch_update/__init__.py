"""`spreadsheets.batchUpdate`: what its requests do to a spreadsheet, a module for each subject. Knows no HTTP.

A request's function takes the spreadsheet and the request's body; it returns its reply, if it has one, and raises SheetsError, or
what Python raises about a body of another form (`applying` tells the client which request it was).
"""

from typing import Any

Request = dict[str, Any]
