// Node's xmlrpc against a server.
'use strict'
const https = require('https')
const { faultWords, installed, teller, tls, words } = require('./words')
const xmlrpc = installed('xmlrpc')

const tell = teller((error) => error.faultCode !== undefined && [error.faultCode, error.faultString])
const client = (url, more) => xmlrpc.createSecureClient({ url, ...tls, ...more })
const server = client(process.env.URL)

const call = (name, params = [], of = server) => new Promise((resolve, reject) =>
  of.methodCall(name, params, (error, value) => error ? reject(error) : resolve(value)))

async function both (ability, values, numbers) {
  await tell(`${ability}.seen`, () => call('kinds.describe', values))
  await tell(`${ability}.back`, async () => words(await call('echo.echo', values), numbers))
}

async function main () {
  await both('int', [0, 1, -1, 42, 2147483647, -2147483648])
  await both('double', [0.5, -1.5, 0.1, 5e-324], 'double')
  await both('boolean', [true, false])
  await both('string', ['', ' a ', '<&>"\']]>', 'grüße €', '\u{1F600}\u{1D11E}', 'a\tb\nc'])
  await tell('cr.seen', () => call('kinds.describe', ['a\rb\r\nc']))
  await tell('cr.back', async () => words(await call('kinds.returns')))
  await tell('i8.seen', () => call('kinds.describe', [2 ** 31, -(2 ** 31) - 1, 2 ** 53 - 1]))
  await tell('i8.back', async () => words(await call('kinds.large')))
  await both('dateTime', [new Date('2026-11-22T08:00:01Z'), new Date('1969-12-31T23:59:59Z')])
  await both('base64', [Buffer.from(Array.from({ length: 256 }, (_, i) => i)), Buffer.alloc(0)])
  await both('array', [[], [[]], [1, 'x', [2.5, [true, []]]]])
  await both('struct', [{}, { '': 1, 'a b': 'x', '<&>': [], 'é\u{1F600}': { deep: { er: [{}] } } }])
  await tell('nil.seen', () => call('kinds.describe', [null, [null, { a: null }]]))
  await tell('nil.back', async () => words(await call('kinds.nothing')))

  await tell('fault.none', () => call('no.such'))
  await tell('fault.own', () => call('kinds.fail'))

  await tell('introspection.list', async () => words((await call('system.listMethods')).includes('kinds.describe')))
  await tell('introspection.help', async () => words(await call('system.methodHelp', ['kinds.add'])))
  await tell('introspection.signature', async () => words(await call('system.methodSignature', ['kinds.add'])))

  await tell('multicall', async () => {
    const calls = [['kinds.add', [1, 2]], ['kinds.fail', []], ['echo.echo', ['last']]]
    const answer = await call('system.multicall', [calls.map(([methodName, params]) => ({ methodName, params }))])
    return answer.map((one) => Array.isArray(one) ? words(one[0]) : faultWords(one.faultCode, one.faultString)).join(' ')
  })

  await tell('keep-alive', async () => {
    const relayed = client(process.env.RELAY, { agent: new https.Agent({ keepAlive: true, ...tls }) })
    const sums = [await call('kinds.add', [1, 2], relayed), await call('kinds.add', [3, 4], relayed)]
    relayed.options.agent.destroy()
    return words(sums)
  })

  const stooges = { moe: 1, larry: 2, curly: 3 }
  const v = (name, ...params) => tell(`validator1.${name}`, async () => words(await call(`validator1.${name}`, params)))
  await v('arrayOfStructsTest', [stooges, { ...stooges, curly: -30 }, stooges])
  await v('countTheEntities', '<<<>>&&&&\'""""" x')
  await v('easyStructTest', stooges)
  await v('echoStructTest', { one: stooges, two: { ...stooges, moe: 9 } })
  await v('manyTypesTest', 7, true, 'ä', 2.5, new Date('2026-11-22T08:00:01Z'), Buffer.from([0, 255, 16]))
  await v('moderateSizeArrayCheck', Array.from({ length: 150 }, (_, i) => `no ${i}`))
  await v('nestedStructTest', { 1999: {}, 2000: { '03': { 31: {} }, '04': { '01': stooges, '02': {} } } })
  await v('simpleStructReturnTest', 42)
}

main()
