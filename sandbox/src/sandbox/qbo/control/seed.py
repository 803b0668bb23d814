"""What a new company holds: preferences, chart of accounts, items, terms, tax, a few names. Deterministic by seed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sandbox.qbo.company.clock import pacific
from sandbox.qbo.company.schema import PLANS
from sandbox.qbo.company.store import ZERO, Company, Doc
from sandbox.qbo.documents.lists import CLASSIFICATION
from sandbox.qbo.rules import vat

# role, Id, name, type, subtype
ACCOUNTS = (
    ("checking", "35", "Checking", "Bank", "Checking"),
    ("", "36", "Savings", "Bank", "Savings"),
    ("receivable", "84", "Accounts Receivable (A/R)", "Accounts Receivable", "AccountsReceivable"),
    ("payable", "33", "Accounts Payable (A/P)", "Accounts Payable", "AccountsPayable"),
    ("undeposited", "4", "Undeposited Funds", "Other Current Asset", "UndepositedFunds"),
    ("inventory_asset", "81", "Inventory Asset", "Other Current Asset", "Inventory"),
    ("credit_card", "41", "Mastercard", "Credit Card", "CreditCard"),
    ("tax_payable", "89", "Sales Tax Payable", "Other Current Liability", "SalesTaxPayable"),
    ("", "43", "Notes Payable", "Long Term Liability", "OtherLongTermLiabilities"),
    ("", "37", "Truck", "Fixed Asset", "Vehicles"),
    ("opening_balance", "34", "Opening Balance Equity", "Equity", "OpeningBalanceEquity"),
    ("retained_earnings", "2", "Retained Earnings", "Equity", "RetainedEarnings"),
    ("services", "1", "Services", "Income", "ServiceFeeIncome"),
    ("sales", "79", "Sales of Product Income", "Income", "SalesOfProductIncome"),
    ("discounts", "86", "Discounts given", "Income", "DiscountsRefundsGiven"),
    ("shipping", "87", "Shipping Income", "Income", "ServiceFeeIncome"),
    ("uncategorized_income", "30", "Uncategorized Income", "Income", "ServiceFeeIncome"),
    ("unapplied", "88", "Unapplied Cash Payment Income", "Income", "UnappliedCashPaymentIncome"),
    ("cogs", "80", "Cost of Goods Sold", "Cost of Goods Sold", "SuppliesMaterialsCogs"),
    ("uncategorized_expense", "31", "Uncategorized Expense", "Expense", "OtherMiscellaneousServiceCost"),
    ("", "7", "Advertising", "Expense", "AdvertisingPromotional"),
    ("", "8", "Bank Charges", "Expense", "BankCharges"),
    ("", "15", "Office Expenses", "Expense", "OfficeGeneralAdministrativeExpenses"),
    ("", "17", "Rent or Lease", "Expense", "RentOrLeaseOfBuildings"),
    ("", "20", "Medical Supplies", "Expense", "SuppliesMaterials"),
    ("", "24", "Utilities", "Expense", "Utilities"),
    ("", "25", "Interest Earned", "Other Income", "InterestEarned"),
    ("", "14", "Miscellaneous", "Other Expense", "OtherMiscellaneousExpense"),
)
# The four clinic items carry the Ids that 4d.qbo maps to.
ITEMS = (
    ("1", "Services", "Service", "services", "0"),
    ("2", "Hours", "Service", "services", "80"),
    ("3", "Consultation", "Service", "services", "150"),
    ("1010000021", "Procedure", "Service", "services", "0"),
    ("66", "Supplies Charge", "Service", "sales", "0"),
    ("68", "Anesthesia Fee", "Service", "services", "0"),
    ("65", "OR Facility Fee", "Service", "services", "0"),
)
TERMS = (("1", "Due on receipt", 0), ("2", "Net 15", 15), ("3", "Net 30", 30), ("4", "Net 60", 60))
METHODS = (
    ("1", "Cash", "NON_CREDIT_CARD"),
    ("2", "Check", "NON_CREDIT_CARD"),
    ("3", "Visa", "CREDIT_CARD"),
    ("4", "MasterCard", "CREDIT_CARD"),
)
CUSTOMERS = ("Amy's Bird Sanctuary", "Bill's Windsurf Shop", "Cool Cars", "Diego Rodriguez", "Freeman Sporting Goods")
VENDORS = (
    "Bob's Burger Joint",
    "Books by Bessie",
    "Brosnahan Insurance Agency",
    "Hicks Hardware",
    "Norton Lumber and Building Materials",
)
SKUS = {
    "simple_start": "QuickBooks Online Simple Start",
    "essentials": "QuickBooks Online Essentials",
    "plus": "QuickBooks Online Plus",
    "advanced": "QuickBooks Online Advanced",
}


def fill(company: Company) -> None:
    """Put the seed data into an empty company; no webhooks for it."""
    stamp = pacific(company.clock.now() - 86_400)
    meta = {"CreateTime": stamp, "LastUpdatedTime": stamp}

    def add(kind: str, doc_id: str, **values: Any) -> Doc:
        doc = {**values, "domain": "QBO", "sparse": False, "Id": doc_id, "SyncToken": "0", "MetaData": dict(meta)}
        return company.put(kind, doc, quiet=True)

    add("Preferences", "1", **preferences(company))
    add("CompanyInfo", "1", **company_info(company))
    home = vat.home(company)
    for role, doc_id, name, kind, subtype in ACCOUNTS:
        if role:
            company.roles[role] = doc_id
        add(
            "Account",
            doc_id,
            Name=name,
            SubAccount=False,
            FullyQualifiedName=name,
            Active=True,
            Classification=CLASSIFICATION[kind],
            AccountType=kind,
            AccountSubType=subtype,
            CurrentBalance=ZERO,
            CurrentBalanceWithSubAccounts=ZERO,
            CurrencyRef=home,
        )
    for doc_id, name, days in TERMS:
        add("Term", doc_id, Name=name, Active=True, Type="STANDARD", DiscountPercent=0, DueDays=days)
    for doc_id, name, kind in METHODS:
        add("PaymentMethod", doc_id, Name=name, Active=True, Type=kind)
    if company.country in vat.COUNTRIES:
        vat.lists(company, add)
    else:
        _tax(add)
    for doc_id, name, kind, role, price in ITEMS:
        account = company.get("Account", company.roles[role])
        assert account is not None
        add(
            "Item",
            doc_id,
            Name=name,
            Active=True,
            FullyQualifiedName=name,
            Taxable=False,
            UnitPrice=Decimal(price),
            Type=kind,
            SubItem=False,
            IncomeAccountRef=company.reference("Account", account["Id"], account),
            PurchaseCost=ZERO,
            TrackQtyOnHand=False,
        )
    for index, name in enumerate(company.random.sample(CUSTOMERS, len(CUSTOMERS)), 1):
        add(
            "Customer",
            str(index),
            DisplayName=name,
            FullyQualifiedName=name,
            PrintOnCheckName=name,
            Active=True,
            Taxable=False,
            Job=False,
            BillWithParent=False,
            Level=0,
            CurrencyRef=home,
            PreferredDeliveryMethod="Print",
            CompanyName=name,
            PrimaryEmailAddr={"Address": f"customer{index}@example.com"},
            BillAddr={
                "Id": str(index),
                "Line1": f"{index}21 Main St.",
                "City": "Mountain View",
                "CountrySubDivisionCode": "CA",
                "PostalCode": "94042",
            },
        )
    for index, name in enumerate(company.random.sample(VENDORS, len(VENDORS)), 51):
        add(
            "Vendor",
            str(index),
            DisplayName=name,
            PrintOnCheckName=name,
            Active=True,
            Vendor1099=False,
            CurrencyRef=home,
            CompanyName=name,
        )
    add(
        "Employee",
        "61",
        DisplayName="Emily Platt",
        GivenName="Emily",
        FamilyName="Platt",
        PrintOnCheckName="Emily Platt",
        Active=True,
        BillableTime=False,
    )
    add("CustomerType", "1", Name="Retail", Active=True)
    add("CustomerType", "2", Name="Wholesale", Active=True)
    if PLANS.index(company.plan) >= PLANS.index("essentials"):
        add("Department", "1", Name="Main Clinic", FullyQualifiedName="Main Clinic", Active=True, SubDepartment=False)
    if PLANS.index(company.plan) >= PLANS.index("plus"):
        add("Class", "1", Name="Surgery", FullyQualifiedName="Surgery", Active=True, SubClass=False)
        add("Class", "2", Name="Aesthetics", FullyQualifiedName="Aesthetics", Active=True, SubClass=False)


def _tax(add: Any) -> None:
    add(
        "TaxAgency",
        "1",
        DisplayName="California Department of Tax and Fee Administration",
        TaxTrackedOnSales=True,
        TaxTrackedOnPurchases=False,
    )
    add(
        "TaxRate",
        "1",
        Name="California",
        Description="Sales Tax",
        Active=True,
        RateValue=Decimal(8),
        AgencyRef={"value": "1"},
        SpecialTaxType="NONE",
        DisplayType="ReadOnly",
    )
    add(
        "TaxRate",
        "2",
        Name="Tucson City",
        Description="Sales Tax",
        Active=True,
        RateValue=Decimal(2),
        AgencyRef={"value": "1"},
        SpecialTaxType="NONE",
        DisplayType="ReadOnly",
    )

    def rates(*ids: str) -> Doc:
        return {"TaxRateDetail": [{"TaxRateRef": {"value": i}, "TaxTypeApplicable": "TaxOnAmount", "TaxOrder": 0} for i in ids]}

    add(
        "TaxCode",
        "2",
        Name="California",
        Description="California",
        Active=True,
        Taxable=True,
        TaxGroup=True,
        Hidden=False,
        SalesTaxRateList=rates("1"),
        PurchaseTaxRateList={"TaxRateDetail": []},
    )
    add(
        "TaxCode",
        "3",
        Name="Tucson",
        Description="Tucson",
        Active=True,
        Taxable=True,
        TaxGroup=True,
        Hidden=False,
        SalesTaxRateList=rates("1", "2"),
        PurchaseTaxRateList={"TaxRateDetail": []},
    )


def _tax_group(company: Company) -> Doc:
    """The sales tax that lines get which ask for one: in the US only, elsewhere each line says its own."""
    return {} if company.country in vat.COUNTRIES else {"TaxGroupCodeRef": {"value": "2"}}


def preferences(company: Company) -> Doc:
    """Preferences of a new company."""
    advanced = PLANS.index(company.plan)
    plus = advanced >= PLANS.index("plus")
    return {
        "AccountingInfoPrefs": {
            "FirstMonthOfFiscalYear": "January",
            "UseAccountNumbers": False,
            "TaxYearMonth": "January",
            "ClassTrackingPerTxn": False,
            "ClassTrackingPerTxnLine": plus,
            "TrackDepartments": advanced >= 1,
            "DepartmentTerminology": "Location",
            "CustomerTerminology": "Customers",
        },
        "ProductAndServicesPrefs": {
            "ForSales": True,
            "ForPurchase": plus,
            "QuantityWithPriceAndRate": True,
            "QuantityOnHand": plus,
        },
        "SalesFormsPrefs": {
            "CustomTxnNumbers": True,
            "AllowDeposit": True,
            "AllowDiscount": True,
            "AllowEstimates": True,
            "AllowShipping": True,
            "AutoApplyCredit": False,
            "AutoApplyPayments": False,
            "AllowServiceDate": True,
            "DefaultTerms": {"value": "3"},
            "DefaultCustomerMessage": "Thank you for your business.",
            "ETransactionEnabledStatus": "NotApplicable",
            "IPNSupportEnabled": False,
            "CustomField": [],
        },
        "EmailMessagesPrefs": {
            "InvoiceMessage": {"Subject": f"Invoice from {company.name}", "Message": "Your invoice is attached."}
        },
        "VendorAndPurchasesPrefs": {"TrackingByCustomer": True, "BillableExpenseTracking": True, "POCustomField": []},
        "TimeTrackingPrefs": {
            "UseServices": True,
            "BillCustomers": True,
            "ShowBillRateToAll": False,
            "WorkWeekStartDate": "Monday",
            "MarkTimeEntriesBillable": True,
        },
        "TaxPrefs": {"UsingSalesTax": True, "PartnerTaxEnabled": False, **_tax_group(company)},
        "CurrencyPrefs": {"MultiCurrencyEnabled": False, "HomeCurrency": vat.home(company)},
        "ReportPrefs": {"ReportBasis": "Accrual", "CalcAgingReportFromTxnDate": False},
        "OtherPrefs": {
            "NameValue": [
                {"Name": "SalesFormsPrefs.DefaultItem", "Value": "1"},
                {"Name": "DTXCopyMemo", "Value": "false"},
                {"Name": "WarnDuplicateInvoiceNumber", "Value": "true"},
                {"Name": "WarnDuplicateBillNumber", "Value": "true"},
                {"Name": "WarnDuplicateCheckNumber", "Value": "false"},
                {"Name": "WarnDuplicateJournalNumber", "Value": "true"},
                {"Name": "VendorAndPurchasesPrefs.UseCustomTxnNumbers", "Value": "false"},
            ]
        },
    }


def company_info(company: Company) -> Doc:
    """CompanyInfo of a new company; OfferingSku tells the plan."""
    return {
        "CompanyName": company.name,
        "LegalName": company.name,
        "Country": company.country,
        "FiscalYearStartMonth": "January",
        "SupportedLanguages": "en",
        "CompanyStartDate": "2015-06-05",
        "Email": {"Address": "books@example.com"},
        "WebAddr": {},
        "PrimaryPhone": {"FreeFormNumber": "4081234567"},
        "CompanyAddr": {
            "Id": "1",
            "Line1": "123 Sierra Way",
            "City": "San Pablo",
            "CountrySubDivisionCode": "CA",
            "PostalCode": "87999",
        },
        "NameValue": [
            {"Name": "NeoEnabled", "Value": "true"},
            {"Name": "IndustryType", "Value": "Medical"},
            {"Name": "CompanyType", "Value": "Other"},
            {"Name": "SubscriptionStatus", "Value": "PAID"},
            {"Name": "OfferingSku", "Value": SKUS[company.plan]},
            {"Name": "PayrollFeature", "Value": "false"},
            {"Name": "AccountantFeature", "Value": "false"},
        ],
    }
