"""The table of fault codes and the envelopes they travel in: `Fault`, lower-case `fault`, XML and HTML."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

VALIDATION, SYSTEM, AUTHENTICATION, SERVICE = "ValidationFault", "SystemFault", "AUTHENTICATION", "SERVICE"
AUTHORIZATION = "AuthorizationFault"


@dataclass(frozen=True, slots=True)
class Row:
    """One code: HTTP status, fault type, Message; `detail` is the default Detail (a format string)."""

    status: int
    type: str
    message: str
    detail: str = ""


_V = VALIDATION
TABLE: dict[str, Row] = {
    "100": Row(401, AUTHENTICATION, "General Authentication Error", "The Authorization header names no bearer token."),
    "110": Row(401, AUTHENTICATION, "OAuth Authentication Error", "OAuth 1.0a is not supported any more. Use OAuth 2.0."),
    "120": Row(403, AUTHORIZATION, "Authorization Failure", ": -11014-You do not have access to use QuickBooks Online {plan}."),
    "130": Row(400, SYSTEM, "Wrong Cluster", "The company has moved to another cluster. Try again later."),
    "140": Row(400, SYSTEM, "Company Locked Out", "The company is locked. Try again later."),
    "150": Row(400, SYSTEM, "Company Under Maintenance", "The company is under maintenance. Try again later."),
    "500": Row(400, _V, "Unsupported Operation", "Operation {operation} is not supported."),
    "600": Row(400, _V, "Duplicate Request Id", "The request id {value} is being processed already."),
    "610": Row(
        400,
        _V,
        "Object Not Found",
        "Object Not Found: Something you're trying to use has been made inactive. "
        "Check the fields with accounts, customers, items, vendors or employees.",
    ),
    "620": Row(400, _V, "Transaction cannot be linked", "Transaction Id {value} cannot be linked."),
    "630": Row(400, _V, "Duplicate Object", "An object with the same unique value exists: {value}."),
    "700": Row(400, _V, "Invalid Parent", "The parent reference {value} is invalid."),
    "800": Row(400, _V, "Delete not allowed", "The object cannot be deleted because other objects depend on it."),
    "900": Row(400, _V, "Invalid Parent", "An object cannot be its own parent."),
    "1000": Row(400, _V, "Operation Failed", "The operation failed."),
    "1010": Row(400, _V, "Create Failed", "The object could not be created."),
    "1020": Row(400, _V, "Update Failed", "The object could not be updated."),
    "1040": Row(400, _V, "Batch size exceeded", "Batch request has {value} items. The maximum is 30."),
    "1050": Row(400, _V, "Unsupported Content Type", "Content type {value} is not supported."),
    "2000": Row(400, _V, "Unknown Object", "{value} is not a known object."),
    "2010": Row(
        400, _V, "Request has invalid or unsupported property", "Property Name:{element} specified is unsupported or invalid"
    ),
    "2020": Row(
        400,
        _V,
        "Required param missing, need to supply the required value for the API",
        "Required parameter {element} is missing in the request",
    ),
    "2030": Row(400, _V, "Invalid ID", "Id should be a valid number. Supplied value:{value}"),
    "2040": Row(
        400,
        _V,
        "Invalid String. The string has characters that are not supported",
        "{element} has unsupported characters. Supplied value:{value}",
    ),
    "2050": Row(
        400,
        _V,
        "String length is either shorter or longer than supported by specification",
        "The string length specified does not match the supported length. Min:0 Max:{limit} supported. Supplied length:{value}",
    ),
    "2060": Row(400, _V, "Invalid Date Format", "Date format should be YYYY-MM-DD. Supplied value:{value}"),
    "2070": Row(400, _V, "Invalid Date", "The date is not valid. Supplied value:{value}"),
    "2080": Row(400, _V, "Invalid Number Format", "The number format is not valid. Supplied value:{value}"),
    "2090": Row(400, _V, "Invalid Number", "Invalid Number: {element}. Supplied value:{value}"),
    "2100": Row(400, _V, "Invalid Decimal Format", "The decimal format is not valid. Supplied value:{value}"),
    "2110": Row(400, _V, "Invalid Decimal", "The decimal is not valid. Supplied value:{value}"),
    "2120": Row(400, _V, "Incompatible Type", "{element} has a type that does not fit. Supplied value:{value}"),
    "2130": Row(
        400, _V, "Invalid Request Id Format", "The request id must have 1 to {limit} characters. Supplied length:{value}"
    ),
    "2140": Row(400, _V, "Invalid Amount", "Amount is not valid. Supplied value:{value}"),
    "2150": Row(400, _V, "Invalid Percent", "Percent must be between 0 and 100. Supplied value:{value}"),
    "2160": Row(400, _V, "Invalid Quantity", "Quantity is not valid. Supplied value:{value}"),
    "2170": Row(400, _V, "Invalid Enumeration", "{element} is not one of the supported values. Supplied value:{value}"),
    "2180": Row(400, _V, "String out of range", "{element} is out of range. Supplied value:{value}"),
    "2190": Row(400, _V, "Date out of range", "{element} is out of range. Supplied value:{value}"),
    "2200": Row(400, _V, "Invalid URL", "The URL is not valid. Supplied value:{value}"),
    "2210": Row(
        400, _V, "Invalid Email Address format", "Email Address does not conform to the RFC 822 standard. Supplied value:{value}"
    ),
    "2220": Row(400, _V, "Invalid Currency", "The currency is not valid. Supplied value:{value}"),
    "2230": Row(400, _V, "Invalid Boolean", "The boolean is not valid. Supplied value:{value}"),
    "2240": Row(400, _V, "Number out of range", "{element} must be between {limit}. Supplied value:{value}"),
    "2250": Row(400, _V, "Line is missing", "At least one line is required."),
    "2260": Row(400, _V, "PostingType is missing", "PostingType is required on each journal line."),
    "2270": Row(400, _V, "TaxApplicableOn is missing", "TaxApplicableOn is required where TaxCodeRef is given."),
    "2280": Row(400, _V, "Tax amount is missing", "TaxAmount is required."),
    "2290": Row(400, _V, "Negative line amount", "The line amount must not be negative. Supplied value:{value}"),
    "2300": Row(400, _V, "Debits do not equal credits", "Total debits {debits} differ from total credits {credits}."),
    "2500": Row(
        400,
        _V,
        "Invalid Reference Id",
        "Invalid Reference Id: Something you're trying to use has been made inactive. "
        "Check the fields with accounts, customers, items, vendors or employees. {target} element id {value} not found",
    ),
    "2600": Row(400, _V, "Conflicting elements", "{element} cannot be used together."),
    "3000": Row(400, _V, "Invalid Custom Field", "Custom field {value} is not valid."),
    "3001": Row(
        429,
        SERVICE,
        "message=ThrottleExceeded; errorCode=003001; statusCode=429",
        "The request limit was reached. Try again later",
    ),
    "3002": Row(
        429,
        SERVICE,
        "message=ThrottleExceeded; errorCode=003002; statusCode=429",
        "The request limit was reached. Try again later",
    ),
    "3100": Row(403, SERVICE, "message=ApplicationAuthorizationFailed; errorCode=003100; statusCode=403", ""),
    "3200": Row(401, AUTHENTICATION, "message=AuthenticationFailed; errorCode=003200; statusCode=401", "Token expired: {value}"),
    "3201": Row(
        403,
        SERVICE,
        "message=AuthorizationFailure; errorCode=003201; statusCode=403",
        "AuthorizationFailed: the token does not have sufficient scope",
    ),
    "3202": Row(401, AUTHENTICATION, "message=OAuthFieldEmpty; errorCode=003202; statusCode=401", "Authorization field is empty"),
    "4000": Row(400, _V, "Error parsing query", "QueryParserError: {value}"),
    "4001": Row(400, _V, "Invalid query", "QueryValidationError: {value}"),
    "4002": Row(400, _V, "Error processing query", "QueryProcessingError: {value}"),
    "5000": Row(400, _V, "Deprecated field", "The field {element} is deprecated and must not be used."),
    "5010": Row(
        400,
        _V,
        "Stale Object Error",
        "Stale Object Error: You and {value} were working on this at the same time. "
        "{value} finished before you did, so your work was not saved.",
    ),
    "5020": Row(
        400, _V, "Permission Denied Error", "Permission Denied Error: You do not have the access rights to use this feature."
    ),
    "5030": Row(
        400,
        _V,
        "Feature Not Supported Error",
        "Feature Not Supported Error: {value} is not supported in this version of QuickBooks.",
    ),
    "6000": Row(
        400, _V, "A business validation error has occurred while processing your request", "Business Validation Error: {value}"
    ),
    "6002": Row(504, SERVICE, "message=GatewayTimeout; errorCode=006002; statusCode=504", "Gateway timeout"),
    "6010": Row(400, _V, "Account type or subtype is missing", "AccountType or AccountSubType must be given."),
    "6020": Row(400, _V, "Content-Length is missing", "The content length of the upload is missing or wrong."),
    "6030": Row(400, _V, "Unsupported file", "The file is larger than 100 MB or of a type that is not supported: {value}"),
    "6040": Row(400, _V, "Metadata is not an Attachable", "The metadata part is not an Attachable."),
    "6041": Row(400, _V, "Bad file", "The file cannot be read."),
    "6050": Row(400, _V, "Unsupported reference type", "Attachments to {value} are not supported."),
    "6060": Row(400, _V, "OpenBalanceDate is missing", "OpenBalanceDate is required with Balance."),
    "6070": Row(
        400,
        _V,
        "Amount calculation incorrect in the request",
        "Amount calculation incorrect in the request: Amount is not equal to UnitPrice * Qty. Supplied value:{value}",
    ),
    "6080": Row(
        400, _V, "Name is missing", "At least one of DisplayName, Title, GivenName, MiddleName, FamilyName, Suffix must be given."
    ),
    "6090": Row(400, _V, "Discount is incomplete", "A discount line needs an amount or a percent."),
    "6100": Row(400, _V, "Invalid tax code", "Line tax code must be TAX or NON for a US company. Supplied value:{value}"),
    "6110": Row(400, _V, "Transaction cannot be updated", "The transaction was processed by merchant services."),
    "6120": Row(400, _V, "Transaction cannot be deleted", "The transaction was processed by merchant services."),
    "6130": Row(400, _V, "BillWithParent locked", "BillWithParent cannot be changed."),
    "6140": Row(
        400,
        _V,
        "Duplicate Document Number Error",
        "Duplicate Document Number Error: You must specify a different number. This number has already been used. "
        "DocNumber={value} is assigned to TxnType={kind} with TxnId={id}",
    ),
    "6150": Row(
        400,
        _V,
        "ParentRef is missing",
        "ParentRef is required where Job, SubItem, SubClass, SubAccount or SubDepartment is true.",
    ),
    "6160": Row(400, _V, "CustomSalesTax cannot be used", "CustomSalesTax is reserved."),
    "6170": Row(400, _V, "Invalid tax detail", "TxnTaxDetail is not allowed with GlobalTaxCalculation NotApplicable."),
    "6180": Row(400, _V, "Too many levels", "A hierarchy may have at most 5 levels."),
    "6190": Row(200, _V, "Invalid Company Status", "Subscription period has ended or canceled or there was a billing problem"),
    "6200": Row(
        400,
        _V,
        "Account Period Closed, Cannot Update Through Services API",
        "The account period has closed and the account books cannot be updated through the QBO Services API. "
        "Please use the QBO website to make these changes.",
    ),
    "6210": Row(
        400,
        _V,
        "Account Period Closed, Cannot Update Through Services API",
        "The account period has closed and the account books cannot be updated through the QBO Services API. "
        "Please use the QBO website to make these changes.",
    ),
    "6220": Row(400, _V, "Name has an open balance", "A name with an open balance cannot be made inactive."),
    "6230": Row(400, _V, "Invalid tax detail", "TxnTaxDetail is not allowed with GlobalTaxCalculation NotApplicable."),
    "6240": Row(400, _V, "Duplicate Name Exists Error", "The name supplied already exists.: {value}"),
    "6250": Row(400, _V, "Customer is missing or inactive", "Select a customer that exists and is active."),
    "6270": Row(400, _V, "Date before inventory start", "The transaction date is before the inventory start date of {value}."),
    "6280": Row(400, _V, "Name has unbilled expenses", "A name with unbilled expenses cannot be made inactive."),
    **{
        code: Row(400, _V, "Invalid time activity", text)
        for code, text in {
            "6290": "EmployeeRef is required where NameOf is Employee.",
            "6300": "VendorRef is required where NameOf is Vendor.",
            "6310": "EmployeeRef and VendorRef cannot both be given.",
            "6320": "CustomerRef is required where BillableStatus is Billable.",
            "6330": "ItemRef is required where BillableStatus is Billable.",
            "6340": "HourlyRate is required where BillableStatus is Billable.",
            "6350": "Hours and Minutes, or StartTime and EndTime, must be given.",
            "6360": "StartTime must be before EndTime.",
            "6370": "Hours must be between 0 and 8760.",
            "6380": "Minutes must be between 0 and 59.",
            "6390": "Break must be shorter than the activity.",
        }.items()
    },
    "6400": Row(400, _V, "Delete would break a link", "The transaction is linked to others. Unlink them first."),
    "6420": Row(400, _V, "Email address is missing", "An e-mail address is required when the delivery is by e-mail."),
    "6430": Row(
        400,
        _V,
        "Invalid account type",
        "Invalid account type: You need to select a different type of account for this transaction. {value}",
    ),
    "6440": Row(400, _V, "Line is incomplete", "A line with an amount needs an account or an item."),
    "6450": Row(400, _V, "Transaction cannot be voided", "The transaction is settled already."),
    "6460": Row(400, _V, "Deposit mismatch", "The deposited amount does not match the transaction."),
    "6470": Row(400, _V, "Tax not allowed", "Tax is not allowed here, or its rate is missing."),
    "6480": Row(400, _V, "Transaction is matched", "The transaction is matched in the bank feed."),
    "6490": Row(400, _V, "Invalid budget", "BudgetDetail is required."),
    "6500": Row(400, _V, "Invalid budget", "BudgetDate is outside of the budget's period."),
    "6510": Row(400, _V, "Invalid budget", "AccountRef is required on each budget line."),
    "6520": Row(400, _V, "Quantity is missing", "QtyOnHand and InvStartDate are required for a tracked item."),
    "6530": Row(400, _V, "Card number not allowed", "A raw card number must not be sent."),
    "6540": Row(
        400,
        _V,
        "Transaction is deposited",
        "You cannot change this transaction: it is part of a deposit. Remove the deposit first.",
    ),
    "10000": Row(
        500,
        SYSTEM,
        "An application error has occurred while processing your request",
        "System Failure Error: Internal Server Error",
    ),
    "10100": Row(400, _V, "Query result too large", "The query returns too many rows. Narrow it."),
    "10200": Row(400, _V, "Company was reset", "The company was reset; the request is stale."),
}


class Fault(Exception):  # noqa: N818 - Intuit's own word
    """A refusal by its code; `element` names the property, the other names fill the Detail."""

    def __init__(
        self,
        code: str,
        *,
        element: str = "",
        detail: str | None = None,
        message: str | None = None,
        status: int | None = None,
        **fill: object,
    ) -> None:
        row = TABLE.get(code) or Row(400, VALIDATION, "Unlisted", "A code that is not in the table.")
        super().__init__(code)
        self.code = code
        self.element = element
        self.status = status or row.status
        self.type = row.type
        self.message = message or row.message
        self.detail = detail if detail is not None else _filled(row.detail, element, fill)

    def error(self) -> dict[str, object]:
        """One entry of the Error list."""
        return {"Message": self.message, "Detail": self.detail, "code": self.code, "element": self.element}


def _filled(template: str, element: str, fill: dict[str, object]) -> str:
    if "{" not in template:
        return template
    names = {key: str(value)[:200] for key, value in fill.items()}
    names.setdefault("element", element)
    for key in ("value", "plan", "operation", "limit", "debits", "credits", "target", "kind", "id"):
        names.setdefault(key, "")
    return template.format(**names).strip()


def envelope(fault: Fault, time: str) -> dict[str, object]:
    """The ordinary JSON envelope."""
    return {"Fault": {"Error": [fault.error()], "type": fault.type}, "time": time}


def item_fault(fault: Fault) -> dict[str, object]:
    """What a batch item or an upload part carries."""
    return {"Error": [fault.error()], "type": fault.type}


def lower_envelope(fault: Fault, epoch: float) -> dict[str, object]:
    """The envelope of 401 and 403: lower-case keys, time in milliseconds."""
    return {
        "warnings": None,
        "intuitObject": None,
        "fault": {
            "error": [{"message": fault.message, "detail": fault.detail, "code": fault.code, "element": None}],
            "type": fault.type,
        },
        "report": None,
        "queryResponse": None,
        "batchItemResponse": [],
        "attachableResponse": [],
        "syncErrorResponse": None,
        "requestId": None,
        "time": int(epoch * 1000),
        "status": None,
        "cdcresponse": [],
    }


def xml_envelope(fault: Fault, time: str) -> bytes:
    """The gateway's XML, which comes whatever was asked for."""
    shown = Element("Fault", type=fault.type)
    error = SubElement(shown, "Error", {"code": fault.code} | ({"element": fault.element} if fault.element else {}))
    SubElement(error, "Message").text = fault.message
    SubElement(error, "Detail").text = fault.detail
    return intuit_response(time, shown)


def intuit_response(time: str, *inner: Element) -> bytes:
    """The XML document that all of Intuit's XML is."""
    root = Element("IntuitResponse", time=time, xmlns="http://schema.intuit.com/finance/v3")
    root.extend(inner)
    text = tostring(root, "unicode", short_empty_elements=False)
    return f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>{text}'.encode()


HTML_503 = (
    b"<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n<body>\r\n"
    b"<center><h1>503 Service Temporarily Unavailable</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
