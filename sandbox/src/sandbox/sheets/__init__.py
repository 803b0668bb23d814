"""A stand-in for the Google Sheets API v4, the part of Drive v3 that watches a sheet, and Google's token endpoint."""

from sandbox.sheets.generating import DIRECTIONS, HEADERS, Expected, LabelledRow, SerialDate, generate
from sandbox.sheets.project import Google
from sandbox.sheets.server import build, serve

__all__ = ["DIRECTIONS", "HEADERS", "Expected", "Google", "LabelledRow", "SerialDate", "build", "generate", "serve"]
