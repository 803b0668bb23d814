'use strict'
// Create, read, update, sparse update, delete and void through node-quickbooks; PDF and send.

const { call, connect, refusal, run } = require('./clients')

const line = amount => ({
  Amount: amount,
  DetailType: 'SalesItemLineDetail',
  SalesItemLineDetail: { ItemRef: { value: '1' } }
})
const invoice = (amount, more) => ({ CustomerRef: { value: '1' }, Line: [line(amount)], ...more })
const expense = amount => ({
  Amount: amount,
  DetailType: 'AccountBasedExpenseLineDetail',
  AccountBasedExpenseLineDetail: { AccountRef: { value: '20' } }
})
const posting = (kind, account) => ({
  Amount: 10,
  DetailType: 'JournalEntryLineDetail',
  JournalEntryLineDetail: { PostingType: kind, AccountRef: { value: account } }
})

// kind -> what is created; each is read, changed sparsely, and deleted where the client can.
const KINDS = {
  Account: { Name: 'Lasers', AccountType: 'Fixed Asset', AccountSubType: 'MachineryAndEquipment' },
  Bill: { VendorRef: { value: '51' }, Line: [expense(5)] },
  Class: { Name: 'North' },
  CreditMemo: invoice(5),
  Customer: { DisplayName: 'Node Customer' },
  Department: { Name: 'North' },
  Deposit: {
    DepositToAccountRef: { value: '35' },
    Line: [{ Amount: 5, DetailType: 'DepositLineDetail', DepositLineDetail: { AccountRef: { value: '25' } } }]
  },
  Employee: { GivenName: 'Jo', FamilyName: 'Ng' },
  Estimate: invoice(5),
  Invoice: invoice(5),
  Item: { Name: 'Gauze', Type: 'Service', IncomeAccountRef: { value: '79' } },
  JournalEntry: { Line: [posting('Debit', '15'), posting('Credit', '35')] },
  Payment: { CustomerRef: { value: '1' }, TotalAmt: 5 },
  PaymentMethod: { Name: 'Barter' },
  Purchase: { PaymentType: 'Cash', AccountRef: { value: '35' }, Line: [expense(5)] },
  PurchaseOrder: { VendorRef: { value: '51' }, APAccountRef: { value: '33' }, Line: [expense(5)] },
  RefundReceipt: invoice(5, { DepositToAccountRef: { value: '35' } }),
  SalesReceipt: invoice(5),
  Term: { Name: 'Net 7', DueDays: 7 },
  TimeActivity: { NameOf: 'Employee', EmployeeRef: { value: '61' }, ItemRef: { value: '2' }, Hours: 1, Minutes: 0 },
  Transfer: { Amount: 5, FromAccountRef: { value: '35' }, ToAccountRef: { value: '36' } },
  Vendor: { DisplayName: 'Node Vendor' },
  VendorCredit: { VendorRef: { value: '51' }, Line: [expense(5)] }
}

const around = async qb => {
  const found = {}
  for (const [kind, body] of Object.entries(KINDS)) {
    const made = await call(qb, `create${kind}`, body)
    const read = await call(qb, `get${kind}`, made.Id)
    const named = kind === 'Term' || kind === 'PaymentMethod' ? { Name: made.Name + ' changed' } : {}
    const note = 'TotalAmt' in made || kind === 'Transfer' ? { PrivateNote: 'changed' } : {}
    const changed = await call(qb, `update${kind}`, { ...read, sparse: false, ...note, ...named })
    const gone = qb[`delete${kind}`] ? await call(qb, `delete${kind}`, made.Id) : null
    found[kind] = {
      same: JSON.stringify(made) === JSON.stringify(read),
      token: [made.SyncToken, changed.SyncToken],
      note: changed.PrivateNote,
      total: [made.TotalAmt, changed.TotalAmt],
      gone: gone && gone[kind].status
    }
  }
  return found
}

run(async facts => {
  const qb = connect()
  const found = { around: await around(qb) }

  const made = await call(qb, 'createInvoice', invoice(100, { DocNumber: 'N-1', PrivateNote: 'stays', requestId: 'node-1' }))
  const again = await call(qb, 'createInvoice', invoice(100, { DocNumber: 'N-1', PrivateNote: 'stays', requestId: 'node-1' }))
  found.replayed = made.Id === again.Id
  found.sparse = await call(qb, 'updateInvoice', { Id: made.Id, SyncToken: '0', DocNumber: 'N-2' })
  found.stale = await refusal(call(qb, 'updateInvoice', { Id: made.Id, SyncToken: '0', DocNumber: 'N-3' }))
  found.duplicate = await refusal(call(qb, 'createInvoice', invoice(1, { DocNumber: 'N-2' })))
  found.allowed = await call(qb, 'createInvoice', invoice(1, { DocNumber: 'N-2', allowDuplicateDocNum: true }))
  found.nothing = await refusal(call(qb, 'getInvoice', '999999'))
  found.wrapped = await refusal(call(qb, 'createCustomer', { Customer: { DisplayName: 'Wrapped' } }))

  const linked = [{ TxnId: made.Id, TxnType: 'Invoice' }]
  const payment = await call(qb, 'createPayment', {
    CustomerRef: { value: '1' },
    TotalAmt: 40,
    Line: [{ Amount: 40, LinkedTxn: linked }]
  })
  found.owed = (await call(qb, 'getInvoice', made.Id)).Balance
  found.paymentVoid = await call(qb, 'voidPayment', { Id: payment.Id, SyncToken: payment.SyncToken })
  found.invoiceVoid = (await call(qb, 'voidInvoice', made.Id)).Invoice

  const sent = await call(qb, 'createInvoice', invoice(12))
  const pdf = await call(qb, 'getInvoicePdf', sent.Id)
  found.pdf = { head: pdf.subarray(0, 5).toString(), bytes: pdf.length }
  found.sent = await call(qb, 'sendInvoicePdf', sent.Id, 'pat@example.com')

  found.company = await call(qb, 'getCompanyInfo', facts.realm_id)
  const preferences = await call(qb, 'getPreferences')
  found.preferences = preferences.SalesFormsPrefs
  found.taxCode = await call(qb, 'createTaxService', {
    TaxCode: 'County',
    TaxRateDetails: [{ TaxRateName: 'County', RateValue: '7.5', TaxAgencyId: '1', TaxApplicableOn: 'Sales' }]
  })
  return found
})
