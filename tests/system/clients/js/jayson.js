// jayson against a server.
'use strict'
const https = require('https')
const { faultWords, installed, teller, tls, words } = require('./words')
const jayson = installed('jayson')

class Fault extends Error {
  constructor ({ code, message }) {
    super(message)
    this.code = code
  }
}

const tell = teller((error) => error instanceof Fault && [error.code, error.message])

function client (url, more = {}) {
  const { hostname, port, pathname } = new URL(url)
  return jayson.client.https({ hostname, port, path: pathname, ...tls, ...more })
}

const server = client(process.env.URL)

const sent = (of, ...request) => new Promise((resolve, reject) =>
  of.request(...request, (error, answer) => error ? reject(error) : resolve(answer)))

async function call (method, params = [], of = server) {
  const answer = await sent(of, method, params)
  if (answer.error) throw new Fault(answer.error)
  return answer.result
}

// A value as JSON-RPC answers it: tagged objects become buffers and times.
function values (value) {
  if (Array.isArray(value)) return value.map(values)
  if (value === null || typeof value !== 'object') return value
  if (value.$nesssi === 'binary') return Buffer.from(value.base64, 'base64')
  if (value.$nesssi === 'datetime') return new Date(value.iso.replace(/(\d{4})(\d\d)(\d\d)T/, '$1-$2-$3T') + 'Z')
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, values(member)]))
}

const binary = (bytes) => ({ $nesssi: 'binary', base64: Buffer.from(bytes).toString('base64') })
const time = (iso) => ({ $nesssi: 'datetime', iso })

async function both (ability, params, numbers) {
  await tell(`${ability}.seen`, () => call('kinds.describe', params))
  await tell(`${ability}.back`, async () => words(values(await call('echo.echo', params)), numbers))
}

async function main () {
  await both('int', [0, 1, -1, 42, 2147483647, -2147483648])
  await tell('large.seen', () => call('kinds.describe', [2 ** 31, -(2 ** 31) - 1, 2 ** 53 - 1]))
  await tell('large.back', async () => words((await call('kinds.large')).slice(0, 3)))
  await both('double', [0.5, -1.5, 0.1, 1e300, 5e-324, 1.7976931348623157e308, 3, -0], 'double')
  await both('boolean', [true, false])
  await both('string', ['', ' a ', '<&>"\']]>', 'grüße €', '\u{1F600}\u{1D11E}', 'a\tb\nc', 'a\rb\r\nc', '\x7f'])
  await both('dateTime', [time('20261122T08:00:01'), time('19691231T23:59:59')])
  await both('base64', [binary(Array.from({ length: 256 }, (_, i) => i)), binary([])])
  await both('array', [[], [[]], [1, 'x', [2.5, [true, []]]]])
  await both('struct', [{}, { '': 1, 'a b': 'x', '<&>': [], 'é\u{1F600}': { deep: { er: [{}] } } }])
  await both('null', [null, [null, { a: null }]])

  await tell('fault.none', () => call('no.such'))
  await tell('fault.own', () => call('kinds.fail'))

  await tell('introspection.list', async () => words((await call('system.listMethods')).includes('kinds.describe')))
  await tell('introspection.help', async () => words(await call('system.methodHelp', ['kinds.add'])))
  await tell('introspection.signature', async () => words(await call('system.methodSignature', ['kinds.add'])))

  await tell('named', async () => words(await call('kinds.minus', { part: 2, whole: 5 })))
  await tell('named.wrong', () => call('kinds.minus', { part: 2 }))

  await tell('batch', async () => {
    const calls = [['kinds.add', [1, 2]], ['kinds.fail', []], ['echo.echo', ['last']]]
    const answers = await sent(server, calls.map(([method, params]) => server.request(method, params)))
    return answers.map(({ error, result }) => error ? faultWords(error.code, error.message) : words(result)).join(' ')
  })
  await tell('notification', async () => {
    await sent(server, 'kinds.note', ['quietly'], null)
    return words(await call('kinds.noted'))
  })

  const old = client(process.env.URL, { version: 1, headers: { 'Content-Type': 'text/json' } })
  await tell('1.0.call', async () => words(await call('kinds.add', [1, 2], old)))
  await tell('1.0.fault', () => call('no.such', [], old))

  await tell('keep-alive', async () => {
    const agent = new https.Agent({ keepAlive: true, ...tls })
    const relayed = client(process.env.RELAY, { agent })
    const sums = [await call('kinds.add', [1, 2], relayed), await call('kinds.add', [3, 4], relayed)]
    agent.destroy()
    return words(sums)
  })
}

main()
