'use strict'
// node-quickbooks: batches, change data capture, reports, files.

const { Readable } = require('stream')
const { axios, call, connect, refusal, run } = require('./clients')

const REPORTS = [
  'BalanceSheet', 'ProfitAndLoss', 'ProfitAndLossDetail', 'TrialBalance', 'CashFlow', 'CustomerSales', 'CustomerBalance',
  'AgedReceivables', 'VendorBalance', 'AgedPayables', 'VendorExpenses', 'TransactionList', 'GeneralLedgerDetail'
]

const line = { Amount: 7, DetailType: 'SalesItemLineDetail', SalesItemLineDetail: { ItemRef: { value: '1' } } }
const expense = {
  Amount: 3,
  DetailType: 'AccountBasedExpenseLineDetail',
  AccountBasedExpenseLineDetail: { AccountRef: { value: '20' } }
}
const invoice = { CustomerRef: { value: '1' }, Line: [line] }
const byId = answer => Object.fromEntries(answer.BatchItemResponse.map(item => [item.bId, item]))

run(async () => {
  const qb = connect()
  const found = {}
  const since = new Date(Date.now() - 3600 * 1000)

  found.first = byId(await call(qb, 'batch', [
    { bId: 'a', operation: 'create', Invoice: invoice },
    { bId: 'b', operation: 'create', Customer: { DisplayName: 'No:Colon' } },
    { bId: 'c', operation: 'create', Customer: { DisplayName: 'Batched' } },
    { bId: 'd', Query: 'select * from Term' }
  ]))
  const made = found.first.a.Invoice
  const extra = await call(qb, 'createInvoice', invoice)
  found.second = byId(await call(qb, 'batch', [
    { bId: 'void', operation: 'update', optionsData: 'void', Invoice: { Id: made.Id, SyncToken: '0', sparse: true } },
    { bId: 'gone', operation: 'delete', Invoice: extra },
    { bId: 'named', operation: 'update', Customer: { ...found.first.c.Customer, Notes: 'called', sparse: true } },
    { bId: 'count', Query: 'select count(*) from Invoice' }
  ]))
  const many = Array.from({ length: 31 }, (_, n) => ({ bId: String(n), Query: 'select * from Term' }))
  found.tooMany = await refusal(call(qb, 'batch', many))

  const changes = await call(qb, 'changeDataCapture', ['Invoice', 'Customer', 'Bill'], since)
  found.changes = changes.CDCResponse[0].QueryResponse
  found.changesText = (await call(qb, 'changeDataCapture', 'Invoice', since.toISOString())).CDCResponse[0].QueryResponse
  found.tooLongAgo = await refusal(call(qb, 'changeDataCapture', 'Invoice', '2012-07-20T22:25:51-07:00'))

  await call(qb, 'createInvoice', invoice)
  await call(qb, 'createBill', { VendorRef: { value: '51' }, Line: [expense] })
  const day = shift => new Date(Date.now() + shift * 24 * 3600 * 1000).toISOString().slice(0, 10)
  const period = { start_date: day(-60), end_date: day(1) }
  found.reports = {}
  for (const name of REPORTS) {
    const report = await call(qb, `report${name}`, period)
    const { ReportName, StartPeriod } = report.Header
    found.reports[name] = [ReportName, StartPeriod, report.Columns.Column.length, (report.Rows.Row || []).length]
  }
  found.start = period.start_date

  const plain = await call(qb, 'upload', 'note.txt', 'text/plain', Readable.from([Buffer.from('plain')]))
  const linked = await call(qb, 'upload', 'lines.csv', 'text/csv', Buffer.from('a,b\r\n1,2\r\n'), 'Customer', '1')
  found.plain = plain
  found.linked = linked
  found.content = (await axios.get(linked.TempDownloadUri)).data
  const where = [
    { field: 'AttachableRef.EntityRef.Type', value: 'Customer' },
    { field: 'AttachableRef.EntityRef.value', value: '1' }
  ]
  found.attached = (await call(qb, 'findAttachables', where)).QueryResponse.Attachable.map(a => a.Id)
  found.badFile = await refusal(call(qb, 'upload', 'tool.exe', 'application/octet-stream', Buffer.from('MZ')))
  found.deleted = await call(qb, 'deleteAttachable', plain.Id)
  return found
})
