"""Every entity of the stand-in as data: properties, lengths, references, what may be done with it, what can be asked for.

A property is written in a small language: `!` required, `=` read-only (taken and ignored), then the type: `text:N` (at most N
characters), `id`, `num` (number), `money` (number of at most 15 digits), `pos` (not negative), `int:LO:HI`, `bool`, `date`, `time`,
`email`, `url`, `ref:Kind|Kind` (must exist and be active), `ref` (unchecked), `enum:A|B`, `obj:Shape`, `list:Shape`, `any`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

REF_TXN = "LinkedTxn"

SHAPES: dict[str, dict[str, str]] = {
    "Ref": {"value": "text:100", "name": "any", "type": "text:100"},
    "MetaData": {"CreateTime": "=any", "LastUpdatedTime": "=any", "LastModifiedByRef": "=any", "LastChangedInQB": "=any",
                 "CreatedByRef": "=any", "Synchronized": "=any"},
    "Address": {"Id": "=any", **{f"Line{n}": "text:500" for n in range(1, 6)}, "City": "text:255", "Country": "text:255",
                "CountryCode": "text:255", "CountrySubDivisionCode": "text:255", "PostalCode": "text:30", "PostalCodeSuffix": "text:30",
                "Lat": "=any", "Long": "=any", "Note": "text:500", "Tag": "any"},
    "Email": {"Address": "email", "Id": "=any", "Default": "any", "Tag": "any"},
    "Phone": {"FreeFormNumber": "text:30", "Id": "=any", "DeviceType": "any", "CountryCode": "any", "AreaCode": "any",
              "ExchangeCode": "any", "Extension": "any", "Default": "any", "Tag": "any"},
    "Web": {"URI": "url", "Id": "=any", "Default": "any", "Tag": "any"},
    "Memo": {"value": "text:1000", "id": "any", "type": "any"},
    "NameValue": {"Name": "text:1000", "Value": "any"},
    "CustomField": {"DefinitionId": "text:20", "Name": "text:100", "Type": "enum:StringType|NumberType|DateType|BooleanType",
                    "StringValue": "text:31", "NumberValue": "any", "DateValue": "any", "BooleanValue": "any"},
    "LinkedTxn": {"TxnId": "text:20", "TxnType": "text:50", "TxnLineId": "text:20"},
    "MarkupInfo": {"PercentBased": "bool", "Value": "num", "Percent": "num", "PriceLevelRef": "ref", "MarkUpIncomeAccountRef": "ref:Account"},
    "LineExtras": {"NameValue": "any", "CustomExtensions": "any"},
    "SalesItem": {"ItemRef": "ref:Item", "Qty": "num", "UnitPrice": "num", "TaxCodeRef": "ref:TaxCode", "ClassRef": "ref:Class",
                  "ServiceDate": "date", "DiscountRate": "num", "DiscountAmt": "num", "TaxInclusiveAmt": "num", "ItemAccountRef": "=any",
                  "MarkupInfo": "obj:MarkupInfo", "RatePercent": "num", "PriceLevelRef": "ref", "TaxClassificationRef": "ref",
                  "UOMRef": "any", "DeferredRevenue": "any"},
    "GroupLine": {"GroupItemRef": "ref:Item", "Quantity": "num", "Line": "list:SalesLine", "ServiceDate": "date", "UOMRef": "any"},
    "Description": {"ServiceDate": "date", "TaxCodeRef": "ref:TaxCode"},
    "Discount": {"PercentBased": "bool", "DiscountPercent": "num", "DiscountAccountRef": "ref:Account", "ClassRef": "ref:Class",
                 "TaxCodeRef": "ref:TaxCode", "DiscountRef": "ref", "ServiceDate": "date"},
    "SubTotal": {"ItemRef": "ref", "ServiceDate": "any", "UnitPrice": "any", "Qty": "any", "ItemAccountRef": "=any", "TaxCodeRef": "any"},
    "SalesLine": {"Id": "any", "LineNum": "any", "Description": "text:4000", "Amount": "money", "DetailType":
                  "enum:SalesItemLineDetail|GroupLineDetail|DescriptionOnly|DiscountLineDetail|SubTotalLineDetail|DescriptionLineDetail",
                  "SalesItemLineDetail": "obj:SalesItem", "GroupLineDetail": "obj:GroupLine", "DescriptionLineDetail": "obj:Description",
                  "DiscountLineDetail": "obj:Discount", "SubTotalLineDetail": "obj:SubTotal", "LinkedTxn": "list:LinkedTxn",
                  "CustomField": "list:CustomField", "Received": "any", "LineEx": "any", "CustomExtensions": "any"},
    "AccountExpense": {"AccountRef": "ref:Account", "ClassRef": "ref:Class", "CustomerRef": "ref:Customer",
                       "BillableStatus": "enum:Billable|NotBillable|HasBeenBilled", "TaxCodeRef": "ref:TaxCode", "TaxAmount": "num",
                       "MarkupInfo": "obj:MarkupInfo", "TaxInclusiveAmt": "num", "DepartmentRef": "ref:Department", "ExpenseDetailLineDetail": "any"},
    "ItemExpense": {"ItemRef": "ref:Item", "Qty": "num", "UnitPrice": "num", "CustomerRef": "ref:Customer", "ClassRef": "ref:Class",
                    "TaxCodeRef": "ref:TaxCode", "BillableStatus": "enum:Billable|NotBillable|HasBeenBilled", "MarkupInfo": "obj:MarkupInfo",
                    "TaxInclusiveAmt": "num", "PriceLevelRef": "ref", "ItemAccountRef": "=any", "UOMRef": "any", "ItemReceiptLineDetail": "any"},
    "ExpenseLine": {"Id": "any", "LineNum": "any", "Description": "text:4000", "Amount": "money",
                    "DetailType": "enum:AccountBasedExpenseLineDetail|ItemBasedExpenseLineDetail|DescriptionOnly|GroupLineDetail|SubTotalLineDetail",
                    "AccountBasedExpenseLineDetail": "obj:AccountExpense", "ItemBasedExpenseLineDetail": "obj:ItemExpense",
                    "DescriptionLineDetail": "obj:Description", "GroupLineDetail": "any", "SubTotalLineDetail": "obj:SubTotal",
                    "LinkedTxn": "list:LinkedTxn", "CustomField": "list:CustomField", "Received": "any", "LineEx": "any",
                    "CustomExtensions": "any", "ProjectRef": "ref"},
    "PaymentLine": {"Id": "any", "LineNum": "any", "Description": "text:4000", "Amount": "money", "LinkedTxn": "list:LinkedTxn",
                    "LineEx": "any", "DetailType": "any", "CustomField": "any"},
    "JournalDetail": {"PostingType": "enum:Debit|Credit", "AccountRef": "ref:Account", "Entity": "obj:JournalEntity", "ClassRef": "ref:Class",
                      "DepartmentRef": "ref:Department", "TaxCodeRef": "ref:TaxCode", "TaxApplicableOn": "enum:Sales|Purchase", "TaxAmount": "num",
                      "TaxInclusiveAmt": "num", "BillableStatus": "enum:Billable|NotBillable|HasBeenBilled", "JournalCodeRef": "ref"},
    "JournalEntity": {"Type": "enum:Customer|Vendor|Employee", "EntityRef": "ref:Customer|Vendor|Employee"},
    "JournalLine": {"Id": "any", "LineNum": "any", "Description": "text:4000", "Amount": "money", "DetailType": "enum:JournalEntryLineDetail|DescriptionOnly",
                    "JournalEntryLineDetail": "obj:JournalDetail", "DescriptionLineDetail": "obj:Description", "LinkedTxn": "any",
                    "CustomField": "any", "ProjectRef": "ref", "CustomExtensions": "any"},
    "DepositDetail": {"AccountRef": "ref:Account", "Entity": "ref:Customer|Vendor|Employee", "PaymentMethodRef": "ref:PaymentMethod",
                      "CheckNum": "text:21", "ClassRef": "ref:Class", "TxnType": "any", "TaxCodeRef": "ref:TaxCode", "TaxApplicableOn": "any"},
    "DepositLine": {"Id": "any", "LineNum": "any", "Description": "text:4000", "Amount": "money", "DetailType": "enum:DepositLineDetail",
                    "DepositLineDetail": "obj:DepositDetail", "LinkedTxn": "list:LinkedTxn", "CustomField": "any", "ProjectRef": "ref",
                    "CustomExtensions": "any"},
    "CashBack": {"AccountRef": "ref:Account", "Amount": "money", "Memo": "text:4000"},
    "TaxDetail": {"TotalTax": "num", "TxnTaxCodeRef": "ref:TaxCode", "TaxLine": "any", "DefaultTaxCodeRef": "any", "TaxReviewStatus": "any",
                  "UseAutomatedSalesTax": "any"},
    "CheckPayment": {"BankAccountRef": "ref:Account", "PrintStatus": "enum:NotSet|NeedToPrint|PrintComplete", "CheckNum": "text:21",
                     "CheckDetail": "any", "PayeeAddr": "any", "Status": "any"},
    "CardPayment": {"CCAccountRef": "ref:Account", "CCDetail": "any"},
    "AttachRef": {"EntityRef": "ref", "IncludeOnSend": "bool", "LineInfo": "any", "NoRefOnly": "bool", "CustomField": "any", "Inactive": "any", "Ref": "any"},
    "BudgetLine": {"BudgetDate": "date", "Amount": "num", "AccountRef": "ref:Account", "CustomerRef": "ref:Customer", "ClassRef": "ref:Class",
                   "DepartmentRef": "ref:Department"},
}

BASE = {"Id": "id", "SyncToken": "text:20", "sparse": "any", "domain": "=any", "MetaData": "obj:MetaData", "status": "=any",
        "NameAndId": "=any", "Overview": "=any", "HeaderLite": "=any", "HeaderFull": "=any", "AttachableRef": "any", "CustomExtensions": "any"}
TXN = {"DocNumber": "text:21", "TxnDate": "date", "PrivateNote": "text:4000", "CurrencyRef": "ref", "ExchangeRate": "num",
       "LinkedTxn": "list:LinkedTxn", "TxnTaxDetail": "obj:TaxDetail", "DepartmentRef": "ref:Department", "TxnStatus": "any", "TxnSource": "any",
       "GlobalTaxCalculation": "enum:TaxExcluded|TaxInclusive|NotApplicable", "RecurDataRef": "=any", "HomeTotalAmt": "=any",
       "TransactionLocationType": "text:100", "CustomField": "list:CustomField", "TaxFormType": "any", "TaxFormNum": "any"}
SALES = {**TXN, "Line": "list:SalesLine", "CustomerRef": "ref:Customer", "CustomerMemo": "obj:Memo", "BillAddr": "obj:Address", "ShipAddr": "obj:Address",
         "ShipFromAddr": "obj:Address", "ShipDate": "date", "TrackingNum": "text:31", "ShipMethodRef": "ref", "ClassRef": "ref:Class",
         "SalesTermRef": "ref:Term", "DueDate": "date", "BillEmail": "obj:Email", "BillEmailCc": "obj:Email", "BillEmailBcc": "obj:Email",
         "PrintStatus": "enum:NotSet|NeedToPrint|PrintComplete", "EmailStatus": "enum:NotSet|NeedToSend|EmailSent", "DeliveryInfo": "=any",
         "ApplyTaxAfterDiscount": "bool", "TotalAmt": "=any", "Balance": "=any", "HomeBalance": "=any", "FreeFormAddress": "=any",
         "InvoiceLink": "=any", "TaxExemptionRef": "=any", "ProjectRef": "ref", "PONumber": "text:25", "FOB": "any", "SalesRepRef": "ref",
         "RemitToRef": "ref", "ARAccountRef": "ref:Account", "Tag": "any", "ShippingTaxIncluded": "any", "EInvoiceStatus": "=any",
         "ECloudStatusTimeStamp": "=any", "LessCIS": "any"}
PAID = {"PaymentMethodRef": "ref:PaymentMethod", "PaymentRefNum": "text:21", "DepositToAccountRef": "ref:Account", "PaymentType": "any",
        "CheckPayment": "any", "CreditCardPayment": "any", "TxnSource": "any"}
PURCHASING = {**TXN, "Line": "list:ExpenseLine", "APAccountRef": "ref:Account", "VendorAddr": "obj:Address", "TotalAmt": "=any", "Balance": "=any",
              "HomeBalance": "=any", "SalesTermRef": "ref:Term", "DueDate": "date", "Memo": "text:4000", "VendorRef": "!ref:Vendor",
              "IncludeInAnnualTPAR": "any", "UnitBasedExpenseLineDetail": "any", "PayerRef": "any", "RemitToAddr": "any", "ShipAddr": "obj:Address",
              "LessCIS": "any"}
NAME = {"Title": "text:16", "GivenName": "text:100", "MiddleName": "text:100", "FamilyName": "text:100", "Suffix": "text:16",
        "DisplayName": "text:500", "FullyQualifiedName": "=any", "PrintOnCheckName": "text:110", "Active": "bool",
        "PrimaryPhone": "obj:Phone", "AlternatePhone": "obj:Phone", "Mobile": "obj:Phone", "Fax": "obj:Phone",
        "PrimaryEmailAddr": "obj:Email", "BillAddr": "obj:Address", "Notes": "text:2000", "CurrencyRef": "ref", "V4IDPseudonym": "=any",
        "UserId": "=any", "Organization": "any", "IntuitId": "=any", "OtherContactInfo": "any", "CustomField": "list:CustomField"}


@dataclass(frozen=True)
class Entity:
    """What one kind is and what may be done with it."""

    kind: str
    group: str  # txn | name | list | other
    props: dict[str, str]
    filters: frozenset[str]
    delete: bool = False
    void: str = ""  # "operation" | "include" | ""
    create: bool = True
    update: bool = True
    plan: str = "simple_start"
    cdc: bool = True
    pdf: bool = False
    webhook: str = ""  # letters of section 6.2: C U D M V E
    unsortable: frozenset[str] = frozenset({"Id"})
    path: str = field(default="")


PLANS = ("simple_start", "essentials", "plus", "advanced")
EVERYWHERE = ("Id", "MetaData.CreateTime", "MetaData.LastUpdatedTime")
TXN_FILTERS = ("DocNumber", "TxnDate", "TotalAmt")
NAME_FILTERS = ("DisplayName", "GivenName", "MiddleName", "FamilyName", "Suffix", "Title", "CompanyName", "PrintOnCheckName", "Active",
                "PrimaryEmailAddr", "PrimaryPhone", "FullyQualifiedName", "Balance")


def _entity(kind: str, group: str, props: dict[str, str], filters: tuple[str, ...], **more: object) -> Entity:
    active = {"Active": "bool"} if group in ("name", "list") else {}
    return Entity(kind, group, {**BASE, **active, **props}, frozenset((*EVERYWHERE, *filters)), path=kind.lower(), **more)  # type: ignore[arg-type]


_SALES_FILTERS = (*TXN_FILTERS, "CustomerRef", "DueDate", "Balance", "SalesTermRef", "DepartmentRef", "ClassRef", "EmailStatus", "PrintStatus", "BillEmail")
_LIST_TREE = {"Name": "!text:100", "FullyQualifiedName": "=any", "ParentRef": "ref"}

KINDS: dict[str, Entity] = {e.kind: e for e in (
    _entity("Invoice", "txn", {**SALES, "CustomerRef": "!ref:Customer", "Line": "!list:SalesLine", "Deposit": "num",
                               "DepositToAccountRef": "ref:Account", "AllowOnlineCreditCardPayment": "bool", "AllowOnlineACHPayment": "bool",
                               "AllowIPNPayment": "bool", "AllowOnlinePayment": "bool", "AllowOnlinePayPalPayment": "bool", "CostEnvelope": "any",
                               "PaymentMethodRef": "ref:PaymentMethod", "PaymentRefNum": "text:21"}, _SALES_FILTERS,
            delete=True, void="operation", pdf=True, webhook="CUDVE"),
    _entity("Estimate", "txn", {**SALES, "CustomerRef": "!ref:Customer", "TxnStatus": "enum:Accepted|Closed|Pending|Rejected|Converted",
                                "ExpirationDate": "date", "AcceptedBy": "text:100", "AcceptedDate": "date"},
            (*_SALES_FILTERS, "TxnStatus", "ExpirationDate"), delete=True, pdf=True, webhook="CUDE"),
    _entity("CreditMemo", "txn", {**SALES, "CustomerRef": "!ref:Customer", "Line": "!list:SalesLine", "RemainingCredit": "=any",
                                  "PaymentMethodRef": "ref:PaymentMethod", "DepositToAccountRef": "ref:Account", "InvoiceRef": "ref"},
            (*_SALES_FILTERS, "RemainingCredit"), delete=True, pdf=True, webhook="CUDVE"),
    _entity("SalesReceipt", "txn", {**SALES, **PAID, "Line": "!list:SalesLine"}, (*_SALES_FILTERS, "DepositToAccountRef", "PaymentMethodRef", "PaymentRefNum"),
            delete=True, void="include", pdf=True, webhook="CUDVE"),
    _entity("RefundReceipt", "txn", {**SALES, **PAID, "Line": "!list:SalesLine", "DepositToAccountRef": "!ref:Account"},
            (*_SALES_FILTERS, "DepositToAccountRef", "PaymentMethodRef"), delete=True, pdf=True, webhook="CUDVE"),
    _entity("Payment", "txn", {**TXN, **PAID, "CustomerRef": "!ref:Customer", "TotalAmt": "!money", "Line": "list:PaymentLine", "UnappliedAmt": "=any",
                               "ARAccountRef": "ref:Account", "ProcessPayment": "bool", "ProjectRef": "ref", "Balance": "=any", "TaxExemptionRef": "any"},
            ("TxnDate", "TotalAmt", "CustomerRef", "UnappliedAmt", "PaymentMethodRef", "PaymentRefNum", "DepositToAccountRef", "DocNumber"),
            delete=True, void="include", pdf=True, webhook="CUDVE"),
    _entity("Bill", "txn", {**PURCHASING, "Line": "!list:ExpenseLine", "Balance": "=any"},
            (*TXN_FILTERS, "VendorRef", "DueDate", "Balance", "SalesTermRef", "APAccountRef", "DepartmentRef"), delete=True, plan="essentials", webhook="CUD"),
    _entity("BillPayment", "txn", {**TXN, "VendorRef": "!ref:Vendor", "TotalAmt": "!money", "PayType": "!enum:Check|CreditCard", "Line": "!list:PaymentLine",
                                   "CheckPayment": "obj:CheckPayment", "CreditCardPayment": "obj:CardPayment", "APAccountRef": "ref:Account",
                                   "ProcessBillPayment": "bool", "PrintStatus": "any"},
            (*TXN_FILTERS, "VendorRef", "PayType", "APAccountRef"), delete=True, void="include", plan="essentials", webhook="CUDV"),
    _entity("VendorCredit", "txn", {**PURCHASING, "Line": "!list:ExpenseLine"}, (*TXN_FILTERS, "VendorRef", "Balance", "APAccountRef"),
            delete=True, plan="essentials", webhook="CUD"),
    _entity("Purchase", "txn", {**TXN, "PaymentType": "!enum:Cash|Check|CreditCard", "AccountRef": "!ref:Account", "Line": "!list:ExpenseLine",
                                "EntityRef": "ref:Customer|Vendor|Employee", "PaymentMethodRef": "ref:PaymentMethod", "Credit": "bool", "TotalAmt": "=any",
                                "RemitToAddr": "obj:Address", "PrintStatus": "enum:NotSet|NeedToPrint|PrintComplete", "PaymentRefNum": "text:21",
                                "Memo": "text:4000", "PurchaseEx": "any", "IncludeInAnnualTPAR": "any"},
            (*TXN_FILTERS, "PaymentType", "AccountRef", "EntityRef", "PaymentMethodRef"), delete=True, void="include", webhook="CUDV"),
    _entity("PurchaseOrder", "txn", {**PURCHASING, "Line": "!list:ExpenseLine", "APAccountRef": "ref:Account", "POStatus": "enum:Open|Closed",
                                     "POEmail": "obj:Email", "EmailStatus": "enum:NotSet|NeedToSend|EmailSent", "ShipTo": "ref", "ShipMethodRef": "ref",
                                     "ClassRef": "ref:Class", "ShipAddr": "obj:Address", "POEmailCc": "any", "POEmailBcc": "any"},
            (*TXN_FILTERS, "VendorRef", "POStatus", "DueDate", "APAccountRef"), delete=True, plan="plus", pdf=True, webhook="CUDE"),
    _entity("Deposit", "txn", {**TXN, "DepositToAccountRef": "!ref:Account", "Line": "!list:DepositLine", "CashBack": "obj:CashBack", "TotalAmt": "=any",
                               "ClassRef": "ref:Class"},
            (*TXN_FILTERS, "DepositToAccountRef"), delete=True, webhook="CUD"),
    _entity("Transfer", "txn", {**TXN, "FromAccountRef": "!ref:Account", "ToAccountRef": "!ref:Account", "Amount": "!money", "ClassRef": "ref:Class"},
            ("TxnDate", "Amount", "FromAccountRef", "ToAccountRef"), delete=True, webhook="CUDV"),
    _entity("JournalEntry", "txn", {**TXN, "Line": "!list:JournalLine", "Adjustment": "bool", "TotalAmt": "=any"},
            (*TXN_FILTERS, "Adjustment"), delete=True, webhook="CUD"),
    _entity("TimeActivity", "txn", {"NameOf": "!enum:Employee|Vendor|Other", "EmployeeRef": "ref:Employee", "VendorRef": "ref:Vendor", "OtherNameRef": "ref",
                                    "CustomerRef": "ref:Customer", "ItemRef": "ref:Item", "ClassRef": "ref:Class", "DepartmentRef": "ref:Department",
                                    "TxnDate": "date", "BillableStatus": "enum:Billable|NotBillable|HasBeenBilled", "Taxable": "bool", "HourlyRate": "num",
                                    "CostRate": "num", "Hours": "num", "Minutes": "num", "Seconds": "num", "StartTime": "time", "EndTime": "time",
                                    "BreakHours": "num", "BreakMinutes": "num", "BreakSeconds": "num", "TimeZone": "any", "Description": "text:4000",
                                    "ProjectRef": "ref", "TransactionLocationType": "text:100", "TimeChargeId": "any", "PayrollItemRef": "ref",
                                    "LinkedTxn": "=any", "TimeZoneOffset": "any"},
            ("TxnDate", "EmployeeRef", "VendorRef", "CustomerRef", "BillableStatus", "NameOf", "ItemRef"), delete=True, plan="essentials", cdc=False, webhook="CUD"),
    _entity("Customer", "name", {**NAME, "CompanyName": "text:100", "ShipAddr": "obj:Address", "WebAddr": "obj:Web", "ResaleNum": "text:16",
                                 "SalesTermRef": "ref:Term", "PaymentMethodRef": "ref:PaymentMethod", "Taxable": "bool", "DefaultTaxCodeRef": "ref:TaxCode",
                                 "TaxExemptionReasonId": "any", "ParentRef": "ref:Customer", "Job": "bool", "Level": "=any", "BillWithParent": "bool",
                                 "PreferredDeliveryMethod": "enum:Print|Email|None", "Balance": "num", "OpenBalanceDate": "date", "BalanceWithJobs": "=any",
                                 "CustomerTypeRef": "ref:CustomerType", "ARAccountRef": "ref:Account", "IsProject": "=any", "ClientEntityId": "=any",
                                 "ClientCompanyId": "=any", "PrimaryTaxIdentifier": "text:20", "SecondaryTaxIdentifier": "text:20", "GSTIN": "any",
                                 "GSTRegistrationType": "any", "BusinessNumber": "any", "AcctNum": "text:100", "Source": "any", "TaxRegime": "any",
                                 "OverDueBalance": "=any", "TotalRevenue": "=any", "TotalExpense": "=any"},
            (*NAME_FILTERS, "Job", "ParentRef", "Taxable", "IsProject"), webhook="CUDM"),
    _entity("Vendor", "name", {**NAME, "PrintOnCheckName": "text:110", "CompanyName": "text:100", "ShipAddr": "obj:Address", "WebAddr": "obj:Web", "AcctNum": "text:100",
                               "TaxIdentifier": "text:20", "Vendor1099": "bool", "TermRef": "ref:Term", "BillRate": "num", "CostRate": "num",
                               "APAccountRef": "ref:Account", "Balance": "num", "OpenBalanceDate": "date", "GSTIN": "any", "GSTRegistrationType": "any",
                               "HasTPAR": "any", "TaxReportingBasis": "any", "VendorPaymentBankDetail": "any", "BusinessNumber": "any", "Source": "any",
                               "T4AEligible": "any", "T5018Eligible": "any", "EffectiveDate": "any", "TaxCountry": "any", "PurchaseTaxIncluded": "any",
                               "VendorDelivery": "any", "CISRate": "any"},
            (*NAME_FILTERS, "AcctNum", "Vendor1099", "TermRef"), webhook="CUDM"),
    _entity("Employee", "name", {**NAME, "PrimaryAddr": "obj:Address", "SSN": "text:100", "EmployeeNumber": "text:100", "HiredDate": "date",
                                 "ReleasedDate": "date", "BirthDate": "date", "Gender": "any", "BillRate": "num", "CostRate": "num", "BillableTime": "bool",
                                 "EmployeeType": "any"},
            NAME_FILTERS, webhook="CUDM"),
    _entity("Item", "list", {"Name": "!text:100", "Type": "!enum:Inventory|NonInventory|Service|Group|Category|Bundle", "Sku": "text:100", "Description": "text:4000",
                             "PurchaseDesc": "text:1000", "UnitPrice": "pos", "PurchaseCost": "pos", "RatePercent": "num", "IncomeAccountRef": "ref:Account",
                             "ExpenseAccountRef": "ref:Account", "AssetAccountRef": "ref:Account", "COGSAccountRef": "ref:Account", "InvStartDate": "date",
                             "QtyOnHand": "num", "QtyOnPurchaseOrder": "=any", "QtyOnSalesOrder": "=any", "TrackQtyOnHand": "bool", "ReorderPoint": "num",
                             "Taxable": "bool", "SalesTaxIncluded": "bool", "PurchaseTaxIncluded": "bool", "SalesTaxCodeRef": "ref:TaxCode",
                             "PurchaseTaxCodeRef": "ref:TaxCode", "ClassRef": "ref:Class", "ParentRef": "ref:Item", "SubItem": "bool", "Level": "=any",
                             "FullyQualifiedName": "=any", "PrefVendorRef": "ref:Vendor", "ItemCategoryType": "any", "TaxClassificationRef": "ref",
                             "DeferredRevenue": "any", "ItemGroupDetail": "any", "PrintGroupedItems": "bool", "ManPartNum": "any", "Source": "any",
                             "AbatementRate": "any", "ReverseChargeRate": "any", "ServiceType": "any", "UOMSetRef": "any", "AvgCost": "=any"},
            ("Name", "Type", "Sku", "Active", "FullyQualifiedName", "UnitPrice", "ParentRef", "QtyOnHand", "Taxable", "SubItem", "TrackQtyOnHand"), webhook="CUDM"),
    _entity("Account", "list", {"Name": "!text:100", "AcctNum": "text:20", "Description": "text:100", "AccountType":
                                "enum:Bank|Accounts Receivable|Other Current Asset|Fixed Asset|Other Asset|Accounts Payable|Credit Card|Other Current Liability"
                                "|Long Term Liability|Equity|Income|Cost of Goods Sold|Expense|Other Income|Other Expense|Non-Posting",
                                "AccountSubType": "text:100", "Classification": "=any", "CurrentBalance": "=any", "CurrentBalanceWithSubAccounts": "=any",
                                "FullyQualifiedName": "=any", "ParentRef": "ref:Account", "SubAccount": "bool", "CurrencyRef": "ref", "TaxCodeRef": "ref:TaxCode",
                                "AccountAlias": "any", "TxnLocationType": "any", "OpeningBalance": "num", "OpeningBalanceDate": "date", "FIName": "any",
                                "BankNum": "any", "JournalCodeRef": "any", "OnlineBankingEnabled": "any"},
            ("Name", "AcctNum", "AccountType", "AccountSubType", "Classification", "Active", "FullyQualifiedName", "SubAccount", "ParentRef", "CurrentBalance", "Description"),
            webhook="CUD"),
    _entity("Class", "list", {**_LIST_TREE, "ParentRef": "ref:Class", "SubClass": "bool"}, ("Name", "FullyQualifiedName", "Active", "ParentRef", "SubClass"),
            plan="plus", webhook="CUDM"),
    _entity("Department", "list", {**_LIST_TREE, "ParentRef": "ref:Department", "SubDepartment": "bool", "Address": "obj:Address"},
            ("Name", "FullyQualifiedName", "Active", "ParentRef", "SubDepartment"), plan="essentials", webhook="CUM"),
    _entity("Term", "list", {"Name": "!text:31", "Type": "any", "DueDays": "int:0:999", "DiscountPercent": "int:0:100", "DiscountDays": "int:0:999",
                             "DayOfMonthDue": "int:1:31", "DueNextMonthDays": "int:0:999", "DiscountDayOfMonth": "int:1:31"}, ("Name", "Active", "DueDays", "Type"), webhook="CU"),
    _entity("PaymentMethod", "list", {"Name": "!text:31", "Type": "enum:CREDIT_CARD|NON_CREDIT_CARD"}, ("Name", "Active", "Type"), webhook="CUM"),
    _entity("TaxCode", "list", {"Name": "!text:100", "Description": "text:100", "Taxable": "bool", "TaxGroup": "bool", "Hidden": "bool", "SalesTaxRateList": "any",
                                "PurchaseTaxRateList": "any", "TaxCodeConfigType": "any"}, ("Name", "Active", "Description", "Taxable", "Hidden"),
            create=False, cdc=False),
    _entity("TaxRate", "list", {"Name": "!text:100", "Description": "text:100", "RateValue": "num", "AgencyRef": "ref:TaxAgency", "TaxReturnLineRef": "any",
                                "SpecialTaxType": "any", "DisplayType": "any", "EffectiveTaxRate": "any"}, ("Name", "Active", "Description", "AgencyRef"), create=False, update=False, cdc=False),
    _entity("TaxAgency", "other", {"DisplayName": "!text:100", "TaxTrackedOnSales": "bool", "TaxTrackedOnPurchases": "bool", "TaxRegistrationNumber": "text:30",
                                   "TaxAgencyConfig": "any", "LastFileDate": "=any"}, ("DisplayName", "Name"), cdc=False, update=False, webhook="CU"),
    _entity("CustomerType", "list", {"Name": "!text:100"}, ("Name", "Active"), create=False, update=False),
    _entity("CompanyCurrency", "list", {"Name": "text:100", "Code": "!text:3"}, ("Name", "Code", "Active"), plan="essentials", webhook="CU"),
    _entity("Budget", "other", {"Name": "!text:100", "StartDate": "!date", "EndDate": "!date", "BudgetType": "!enum:ProfitAndLoss", "BudgetEntryType":
                                "!enum:Monthly|Quarterly|Annually", "BudgetDetail": "list:BudgetLine", "Active": "bool"}, ("Name", "Active", "StartDate", "EndDate", "BudgetType"),
            delete=True, plan="plus", webhook="CU"),
    _entity("Attachable", "other", {"FileName": "text:1000", "Note": "text:2000", "Category": "enum:Contact Photo|Document|Image|Receipt|Signature|Sound|Other",
                                    "ContentType": "text:100", "Tag": "text:2000", "AttachableRef": "list:AttachRef", "Size": "=any", "FileAccessUri": "=any",
                                    "TempDownloadUri": "=any", "PlaceName": "text:2000", "Lat": "any", "Long": "any", "ThumbnailFileAccessUri": "=any",
                                    "ThumbnailTempDownloadUri": "=any", "CustomField": "any"},
            ("FileName", "Note", "Category", "ContentType", "AttachableRef.EntityRef.Type", "AttachableRef.EntityRef.value", "AttachableRef.EntityRef"), delete=True),
    _entity("CompanyInfo", "other", {"CompanyName": "text:1024", "LegalName": "text:1024", "CompanyAddr": "obj:Address", "CustomerCommunicationAddr": "obj:Address",
                                     "LegalAddr": "obj:Address", "CompanyEmailAddr": "any", "CustomerCommunicationEmailAddr": "any", "PrimaryPhone": "obj:Phone",
                                     "CompanyStartDate": "date", "EmployerId": "any", "FiscalYearStartMonth": "any", "Country": "text:255", "Email": "obj:Email",
                                     "WebAddr": "obj:Web", "SupportedLanguages": "any", "NameValue": "any", "DefaultTimeZone": "any", "CompanyURL": "any",
                                     "CompanyFileName": "any", "MultiByteCharsSupported": "any"}, ("CompanyName", "LegalName", "Country", "CompanyStartDate", "EmployerId"), create=False),
    _entity("Preferences", "other", {p: "any" for p in ("AccountingInfoPrefs", "ProductAndServicesPrefs", "SalesFormsPrefs", "EmailMessagesPrefs",
                                     "VendorAndPurchasesPrefs", "TimeTrackingPrefs", "TaxPrefs", "CurrencyPrefs", "ReportPrefs", "OtherPrefs")}, (), create=False, webhook="U"),
)}

PATHS: dict[str, Entity] = {e.path: e for e in KINDS.values()}

# What a query may call an entity; the answer goes under the canonical name.
QUERY_NAMES: dict[str, str] = {**{k.lower(): k for k in KINDS}, "currency": "CompanyCurrency"}

UPLOAD_TYPES = frozenset("ai csv doc docx eps gif jpeg jpg ods pages pdf png rtf tif txt xls xlsx xml".split())

# Amounts of these detail keys must equal Qty x UnitPrice.
PRICED_DETAILS = {"SalesItemLineDetail": "SalesItemLineDetail", "ItemBasedExpenseLineDetail": "ItemBasedExpenseLineDetail"}
