'use strict'
// node-quickbooks' finders: each kind, operators, paging, counting, text that must be escaped.

const { call, connect, refusal, run } = require('./clients')

const KINDS = {
  Accounts: 'Account', Attachables: 'Attachable', Bills: 'Bill', BillPayments: 'BillPayment', Budgets: 'Budget', Classes: 'Class',
  CompanyInfos: 'CompanyInfo', CompanyCurrencies: 'CompanyCurrency', CreditMemos: 'CreditMemo', Customers: 'Customer',
  CustomerTypes: 'CustomerType', Departments: 'Department', Deposits: 'Deposit', Employees: 'Employee', Estimates: 'Estimate',
  Invoices: 'Invoice', Items: 'Item', JournalEntries: 'JournalEntry', Payments: 'Payment', PaymentMethods: 'PaymentMethod',
  Preferenceses: 'Preferences', Purchases: 'Purchase', PurchaseOrders: 'PurchaseOrder', RefundReceipts: 'RefundReceipt',
  SalesReceipts: 'SalesReceipt', TaxAgencies: 'TaxAgency', TaxCodes: 'TaxCode', TaxRates: 'TaxRate', Terms: 'Term',
  TimeActivities: 'TimeActivity', Transfers: 'Transfer', Vendors: 'Vendor', VendorCredits: 'VendorCredit'
}

run(async () => {
  const qb = connect()
  const found = { kinds: {} }
  for (const [plural, kind] of Object.entries(KINDS)) {
    const rows = (await call(qb, `find${plural}`, {})).QueryResponse[kind] || []
    const since = [{ field: 'MetaData.LastUpdatedTime', value: '2015-01-01', operator: '>=' }]
    const changed = (await call(qb, `find${plural}`, since)).QueryResponse[kind] || []
    found.kinds[kind] = [rows.length, changed.length]
  }

  const special = ["O'Neil & Sons", '100% #1 + Beef <=>', 'Zoë 名']
  found.special = {}
  for (const name of special) {
    const made = await call(qb, 'createCustomer', { DisplayName: name })
    const rows = (await call(qb, 'findCustomers', { DisplayName: name })).QueryResponse.Customer || []
    found.special[name] = rows.length === 1 && rows[0].Id === made.Id
  }

  for (let n = 0; n < 25; n++) {
    await call(qb, 'createVendor', { DisplayName: `Paged ${String(n).padStart(2, '0')}` })
  }
  const like = { field: 'DisplayName', value: 'Paged%', operator: 'LIKE' }
  const names = async criteria => ((await call(qb, 'findVendors', criteria)).QueryResponse.Vendor || []).map(v => v.DisplayName)
  found.page = await names([like, { field: 'limit', value: 10 }, { field: 'offset', value: 21 }, { field: 'asc', value: 'DisplayName' }])
  found.down = await names([like, { field: 'limit', value: 2 }, { field: 'desc', value: 'DisplayName' }])
  const all = [like, { field: 'fetchAll', value: true }, { field: 'limit', value: 10 }]
  found.all = (await names(all)).length
  found.count = (await call(qb, 'findVendors', [like, { count: true }])).QueryResponse
  found.in = await names({ DisplayName: ['Paged 03', 'Paged 07'] })
  found.text = await names("where DisplayName = 'Paged 11'")
  found.active = await names([{ field: 'Active', value: true }, { field: 'DisplayName', value: 'Paged 1%', operator: 'LIKE' }])
  found.none = (await call(qb, 'findVendors', { DisplayName: 'nobody' })).QueryResponse
  found.unknownField = await refusal(call(qb, 'findCustomers', { AcctNum: '1' }))
  found.syntax = await refusal(call(qb, 'findCustomers', 'where DisplayName === 1'))
  return found
})
