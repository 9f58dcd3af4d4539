// Node's soap against a server, from the server's WSDL.
'use strict'
const fs = require('fs')
const https = require('https')
const { installed, teller, tls, words } = require('./words')
const soap = installed('soap')

const VERSION = process.env.VERSION

// The fault's code and text, as the two versions of SOAP have them.
const tell = teller((error) => {
  const fault = error.root && error.root.Envelope.Body.Fault
  if (!fault) return
  const inner = (fault.detail || fault.Detail).fault
  return [inner.code, inner.text]
})

// A fetch of the WSDL with the certificate; soap itself is given a file.
function wsdl () {
  return new Promise((resolve, reject) => https.get(process.env.URL + 'kinds?wsdl', tls, (answer) => {
    let text = ''
    answer.on('data', (chunk) => { text += chunk })
    answer.on('end', () => {
      fs.writeFileSync('kinds.wsdl', text)
      resolve('kinds.wsdl')
    })
  }).on('error', reject))
}

// What stands where the WSDL says anyType needs a type: soap writes what it is told.
const SIMPLE = { boolean: 'xsd:boolean', string: 'xsd:string' }
const XSI = { 'xmlns:xsi': 'http://www.w3.org/2001/XMLSchema-instance', 'xmlns:xsd': 'http://www.w3.org/2001/XMLSchema' }
const N = { 'xmlns:n': 'urn:nesssi-types:1' }
const MAP = { 'xmlns:map': 'http://xml.apache.org/xml-soap' }

function any (value) {
  const typed = ($value, type, more) => ({ attributes: { ...XSI, ...more, 'xsi:type': type }, ...(typeof $value === 'object' ? $value : { $value }) })
  if (value === null) return { attributes: { ...XSI, 'xsi:nil': 'true' } }
  if (typeof value === 'number') return typed(value, Number.isInteger(value) ? 'xsd:long' : 'xsd:double')
  if (Buffer.isBuffer(value)) return typed(value.toString('base64'), 'xsd:base64Binary')
  if (value instanceof Date) return typed(stamp(value), 'xsd:dateTime')
  if (Array.isArray(value)) return typed(array(value), 'n:Array', N)
  if (typeof value === 'object') return typed(map(value), 'map:Map', MAP)
  return typed(value, SIMPLE[typeof value])
}

const stamp = (date) => date.toISOString().replace('.000Z', '')
const array = (items) => items.length ? { item: items.map(any) } : {}
const map = (members) => {
  const item = Object.entries(members).map(([key, value]) => ({ key, value: any(value) }))
  return item.length ? { item } : {}
}

const WRITE = {
  int: (v) => v,
  double: (v) => v,
  boolean: (v) => v,
  string: (v) => v,
  dateTime: stamp,
  base64: (v) => v.toString('base64'),
  array,
  struct: map
}

// What soap makes of an answer of a type that the caller knows.
function read (value, type) {
  if (value === null || value === undefined) return value ?? null
  const kind = type || ((value.attributes || {})['xsi:type'] || '').split(':').pop()
  const items = (value.item === undefined) ? [] : [].concat(value.item)
  if (kind === 'array' || kind === 'Array') return items.map((item) => read(item))
  if (kind === 'struct' || kind === 'Map') return Object.fromEntries(items.map(({ key, value }) => [key || '', read(value)]))
  const plain = value.$value === undefined ? value : value.$value
  if (kind === 'base64' || kind === 'base64Binary') return Buffer.from(plain, 'base64')
  if (kind === 'long' || kind === 'double') return Number(plain)
  if (kind === 'boolean' && typeof plain === 'string') return plain === 'true'
  if (kind === 'dateTime' && typeof plain === 'string') return new Date(plain + 'Z')
  return plain
}

const VALUES = {
  int: [0, 1, -1, 42, 2 ** 31 - 1, -(2 ** 31), 2 ** 53 - 1],
  double: [0.5, -1.5, 0.1, 1e300, 5e-324, 1.7976931348623157e308, 3, -0],
  boolean: [true, false],
  string: ['', ' a ', '<&>"\']]>', 'grüße €', '\u{1F600}\u{1D11E}', 'a\tb\nc'],
  dateTime: [new Date('2026-11-22T08:00:01Z'), new Date('1969-12-31T23:59:59Z')],
  base64: [Buffer.from(Array.from({ length: 256 }, (_, i) => i)), Buffer.alloc(0)],
  array: [[], [[]], [1, 'x', [2.5, [true, []]]]],
  struct: [{}, { '': 1, 'a b': 'x', '<&>': [], 'é\u{1F600}': { deep: { er: [{}] } } }]
}

async function main () {
  const file = await wsdl()
  const options = { forceSoap12Headers: VERSION === '1.2', preserveWhitespace: true }
  const make = async (url, more) => {
    const client = await soap.createClientAsync(file, options, url + 'kinds')
    client.setSecurity(new soap.ClientSSLSecurity(process.env.KEY, process.env.CERTIFICATE, process.env.CA, more))
    const port = client.kinds[VERSION === '1.2' ? 'kinds.soap12' : 'kinds.soap11']
    return async (method, args) => new Promise((resolve, reject) =>
      port[method](args, (error, answer) => error ? reject(error) : resolve(answer.return)))
  }
  const call = await make(process.env.URL)
  const each = async (values, act) => {
    const all = []
    for (const value of values) all.push(await act(value))
    return all.join(' ')
  }
  for (const [type, values] of Object.entries(VALUES)) {
    await tell(`${type}.seen`, () => each(values, (v) => call(`${type}_seen`, { arg0: WRITE[type](v) })))
    const numbers = type === 'double' ? type : undefined
    await tell(`${type}.back`, () => each(values, async (v) =>
      words(read(await call(`${type}_same`, { arg0: WRITE[type](v) }), type), numbers)))
  }
  await tell('cr.seen', () => call('string_seen', { arg0: 'a\rb\r\nc' }))
  await tell('cr.back', async () => words(await call('returns', {})))
  const describe = async (values) => read(await call('describe', { arg: values.map(any) }))
  const several = [1, 'x', 2.5, true, new Date('2026-11-22T08:00:01Z'), Buffer.from([0, 255, 16])]
  await tell('any.seen', () => describe(several))
  await tell('any.back', async () => words(read(await call('several', {}), 'array')))
  await tell('nil.seen', () => describe([null, [null, { a: null }]]))
  await tell('nil.back', async () => words(read(await call('nothing', {}), 'array')))
  await tell('version', async () => await call('protocol', {}) === 'soap' + VERSION.replace('.', '') ? 'True' : 'False')
  await tell('fault.own', () => call('fail', {}))
  await tell('keep-alive', async () => {
    const relayed = await make(process.env.RELAY, { forever: true })
    const sums = [await relayed('add', { arg0: 1, arg1: 2 }), await relayed('add', { arg0: 3, arg1: 4 })]
    return words(sums.map((sum) => read(sum, 'long')))
  })
}

main()
