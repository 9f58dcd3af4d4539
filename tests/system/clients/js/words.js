// What the Node clients share: values in the words of services/kinds, and a line for each result.
'use strict'
const fs = require('fs')
const path = require('path')
const { createRequire } = require('module')

const installed = createRequire(path.join(process.env.INSTALLED, 'node_modules', '.here'))
const read = (name) => fs.readFileSync(process.env[name])
const tls = { ca: read('CA'), cert: read('CERTIFICATE'), key: read('KEY') }

const quote = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (c) => '%' + c.charCodeAt(0).toString(16).toUpperCase())

// A number of JavaScript's is an int or a double by its value; where a double is meant, `numbers` says so.
function words (value, numbers) {
  if (value === null) return 'n'
  if (typeof value === 'boolean') return value ? 'b1' : 'b0'
  if (typeof value === 'number' && (numbers === 'double' || !Number.isInteger(value))) {
    const bytes = Buffer.alloc(8)
    bytes.writeDoubleBE(value)
    return 'd' + bytes.toString('hex')
  }
  if (typeof value === 'number') return 'i' + value
  if (typeof value === 'string') return 's' + quote(value)
  if (Buffer.isBuffer(value)) return 'x' + value.toString('hex')
  if (value instanceof Date) return 't' + value.toISOString().replace(/-/g, '').replace('.000Z', '')
  if (Array.isArray(value)) return '[' + value.map((item) => words(item, numbers)).join(',') + ']'
  const named = Object.keys(value).map((name) => [quote(name), words(value[name], numbers)])
  return '{' + named.sort(([a], [b]) => a < b ? -1 : 1).map(([name, member]) => `${name}:${member}`).join(',') + '}'
}

const faultWords = (code, text) => `f${code}:${quote(text)}`

// Prints what an act results in; `fault` gives code and text of an error that is one, or nothing.
const teller = (fault) => async (ability, act) => {
  let result
  try {
    result = await act()
  } catch (error) {
    const said = fault(error)
    result = said ? faultWords(...said) : `failed: ${error}`.replace(/\s+/g, ' ')
  }
  console.log(`${ability}\t${result}`)
}

module.exports = { faultWords, installed, teller, tls, words }
