'use strict'
// intuit-oauth for Node: consent, exchange, id token, refresh, user info, API call, revoke; node-quickbooks with its own refresh and revoke.

const OAuthClient = require('intuit-oauth')
const { axios, call, connect, facts, refusal, run, QuickBooks } = require('./clients')

const REDIRECT = 'http://localhost:8000/callback'
const { OpenId, Profile, Email, Accounting } = OAuthClient.scopes
OAuthClient.environment.sandbox = facts.base_url + '/'

const client = more =>
  new OAuthClient({
    clientId: facts.client_id,
    clientSecret: facts.client_secret,
    environment: 'sandbox',
    redirectUri: REDIRECT,
    ...more
  }).setAuthorizeURLs({
    authorizeEndpoint: facts.authorize_url,
    tokenEndpoint: facts.token_url,
    revokeEndpoint: facts.revoke_url,
    userInfoEndpoint: facts.base_url + '/v1/openid_connect/userinfo'
  })

// A person agrees on the authorize page; returns where the browser is sent.
const consent = async uri => {
  const form = new URLSearchParams({ decision: 'approve', realm_id: facts.realm_id })
  const answer = await axios.post(uri, form.toString(), { maxRedirects: 0, validateStatus: status => status === 302 })
  return answer.headers.location
}

const failure = async promise => {
  try {
    await promise
  } catch (error) {
    return { error: error.error, description: error.error_description, tid: Boolean(error.intuit_tid), message: error.message }
  }
  throw new Error('was not refused')
}

// node-quickbooks takes its addresses from discovery, in the background.
const discovered = async () => {
  QuickBooks.setOauthVersion('2.0', true)
  for (let n = 0; n < 200 && !String(QuickBooks.REVOKE_URL).startsWith(facts.base_url); n++) {
    await new Promise(resolve => setTimeout(resolve, 10))
  }
  return [QuickBooks.AUTHORIZATION_URL, QuickBooks.TOKEN_URL, QuickBooks.USER_INFO_URL, QuickBooks.REVOKE_URL]
}

run(async () => {
  const found = {}
  const oauth = client({ includeRefreshTokenHardExpiresIn: true })
  const uri = oauth.authorizeUri({ scope: [Accounting, OpenId, Profile, Email], state: 'from node' })
  const location = await consent(uri)
  const exchanged = await oauth.createToken(location)
  found.token = { ...oauth.getToken().getToken(), realmId: oauth.getToken().realmId, state: oauth.getToken().state }
  found.tid = Boolean(exchanged.getIntuitTid())
  found.idToken = await oauth.validateIdToken()
  found.userInfo = (await oauth.getUserInfo()).getJson()
  const path = `v3/company/${facts.realm_id}/companyinfo/${facts.realm_id}?minorversion=75`
  found.company = (await oauth.makeApiCall({ url: path })).json.CompanyInfo.CompanyName
  try {
    await oauth.makeApiCall({ url: `v3/company/${facts.realm_id}/invoice`, method: 'POST', body: JSON.stringify({ Nope: 1 }) })
  } catch (error) {
    found.fault = error.fault
  }
  found.refreshed = (await oauth.refresh()).getJson()
  found.usingToken = (await client().refreshUsingToken(found.token.refresh_token)).getJson()
  found.codeTwice = await failure(client().createToken(location))

  // The second use of the code ended that grant.
  found.afterwards = await failure(oauth.refresh())
  const second = client()
  await second.createToken(await consent(second.authorizeUri({ scope: Accounting, state: 'again' })))
  const kept = second.getToken().getToken()
  found.revoked = (await second.revoke()).status()
  found.afterRevoke = await failure(client().refreshUsingToken(kept.refresh_token))
  found.badSecret = await failure(client({ clientSecret: 'wrong' }).refreshUsingToken(kept.refresh_token))

  found.discovered = await discovered()
  const qb = connect()
  found.qbRefresh = await call(qb, 'refreshAccessToken')
  found.qbWorks = (await call(qb, 'getCompanyInfo', facts.realm_id)).Id
  found.noOpenId = await refusal(call(qb, 'getUserInfo'))
  const revoked = connect({ token: qb.token, refreshToken: qb.refreshToken })
  found.qbRevoke = await new Promise(resolve => revoked.revokeAccess(true, (error, response) => resolve(response.status)))
  found.dead = await refusal(call(qb, 'getCompanyInfo', facts.realm_id))
  return found
})
