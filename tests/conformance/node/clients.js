'use strict'
// Points node-quickbooks and intuit-oauth at the stand-in whose facts come on standard input; prints what an area found as JSON.

const fs = require('fs')
const axios = require('axios')
const QuickBooks = require('node-quickbooks')

const facts = JSON.parse(fs.readFileSync(0, 'utf8'))
QuickBooks.V3_ENDPOINT_BASE_URL = facts.base_url + '/v3/company/'

// Both clients have Intuit's discovery and key addresses in their code.
axios.interceptors.request.use(request => {
  for (const host of ['https://developer.intuit.com', 'https://oauth.platform.intuit.com']) {
    request.url = request.url.replace(host, facts.base_url)
  }
  return request
})

const connect = (tokens = {}) =>
  new QuickBooks({
    consumerKey: facts.client_id,
    consumerSecret: facts.client_secret,
    token: facts.access_token,
    tokenSecret: false,
    realmId: facts.realm_id,
    useSandbox: true,
    debug: false,
    minorversion: null,
    oauthversion: '2.0',
    refreshToken: facts.refresh_token,
    ...tokens
  })

// One call of the client as a promise.
const call = (client, method, ...args) =>
  new Promise((resolve, reject) => {
    client[method](...args, (error, data, response) => {
      if (!error) return resolve(data)
      const answer = (response && response.data) || (error.response && error.response.data) || error
      reject(Object.assign(new Error(method), { status: (response || error.response || {}).status, answer }))
    })
  })

// What a refused call was told; a call that is not refused is an error.
const refusal = async promise => {
  try {
    await promise
  } catch (error) {
    if (!error.answer) throw error
    const fault = error.answer.Fault || error.answer.fault || {}
    const first = (fault.Error || fault.error || [{}])[0]
    return { status: error.status, type: fault.type, code: first.code, message: first.Message || first.message, answer: error.answer }
  }
  throw new Error('was not refused')
}

const run = area =>
  area(facts)
    .then(found => process.stdout.write(JSON.stringify(found)))
    .catch(error => {
      process.stderr.write((error.stack || String(error)) + '\n' + JSON.stringify(error.answer || null) + '\n')
      process.exitCode = 1
    })

module.exports = { axios, call, connect, facts, refusal, run, QuickBooks }
