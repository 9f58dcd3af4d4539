# Ruby's xmlrpc against a server.
require 'xmlrpc/client'
require 'date'

# These two are switched on as the library's page says, before a client is made.
XMLRPC::Config.send(:remove_const, :ENABLE_NIL_CREATE)
XMLRPC::Config.const_set(:ENABLE_NIL_CREATE, true)
XMLRPC::Config.send(:remove_const, :ENABLE_NIL_PARSER)
XMLRPC::Config.const_set(:ENABLE_NIL_PARSER, true)
XMLRPC::Config.send(:remove_const, :ENABLE_BIGINT)
XMLRPC::Config.const_set(:ENABLE_BIGINT, true)

def client(url)
  client = XMLRPC::Client.new2(url)
  client.http.ca_file = ENV['CA']
  client.http.verify_mode = OpenSSL::SSL::VERIFY_PEER
  client.http.cert = OpenSSL::X509::Certificate.new(File.read(ENV['CERTIFICATE']))
  client.http.key = OpenSSL::PKey.read(File.read(ENV['KEY']))
  client
end

SERVER = client(ENV['URL'])

def quote(text)
  text.dup.force_encoding('UTF-8').b.gsub(/[^A-Za-z0-9\-_.~]/n) { |c| format('%%%02X', c.ord) }
end

# A base64 comes as a String of binary encoding or none: the test says which strings are bytes.
def words(value, bytes = false)
  case value
  when nil then 'n'
  when true then 'b1'
  when false then 'b0'
  when Integer then "i#{value}"
  when Float then 'd' + [value].pack('G').unpack1('H*')
  when String then bytes ? 'x' + value.unpack1('H*') : 's' + quote(value)
  when XMLRPC::DateTime then format('t%04d%02d%02dT%02d:%02d:%02d', *value.to_a)
  when Array then "[#{value.map { |item| words(item, bytes) }.join(',')}]"
  when Hash
    named = value.map { |name, item| [quote(name), words(item, bytes)] }
    "{#{named.sort.map { |pair| pair.join(':') }.join(',')}}"
  else raise "a #{value.class}"
  end
end

def tell(ability)
  result = begin
    yield
  rescue XMLRPC::FaultException => e
    "f#{e.faultCode}:#{quote(e.faultString)}"
  rescue StandardError => e
    "failed: #{e.class}: #{e.message}".gsub(/\s+/, ' ')
  end
  puts "#{ability}\t#{result}"
end

def both(ability, *values, bytes: false)
  tell("#{ability}.seen") { SERVER.call('kinds.describe', *values) }
  tell("#{ability}.back") { words(SERVER.call('echo.echo', *values), bytes) }
end

both 'int', 0, 1, -1, 42, 2**31 - 1, -(2**31)
both 'double', 0.5, -1.5, 0.1, 1e300, 5e-324, 1.7976931348623157e308, 3.0, -0.0
both 'boolean', true, false
both 'string', '', ' a ', '<&>"\']]>', 'grüße €', "\u{1F600}\u{1D11E}", "a\tb\nc"
tell('cr.seen') { SERVER.call('kinds.describe', "a\rb\r\nc") }
tell('cr.back') { words(SERVER.call('kinds.returns')) }
tell('i8.seen') { SERVER.call('kinds.describe', 2**31, -(2**31) - 1, 2**53 - 1, 2**63 - 1, -(2**63)) }
tell('i8.back') { words(SERVER.call('kinds.large')) }
both 'dateTime', XMLRPC::DateTime.new(2026, 11, 22, 8, 0, 1), XMLRPC::DateTime.new(1969, 12, 31, 23, 59, 59)
both 'base64', XMLRPC::Base64.new((0..255).to_a.pack('C*')), XMLRPC::Base64.new(''), bytes: true
both 'array', [], [[]], [1, 'x', [2.5, [true, []]]]
both 'struct', {}, { '' => 1, 'a b' => 'x', '<&>' => [], "é\u{1F600}" => { 'deep' => { 'er' => [{}] } } }
tell('nil.seen') { SERVER.call('kinds.describe', nil, [nil, { 'a' => nil }]) }
tell('nil.back') { words(SERVER.call('kinds.nothing')) }

tell('fault.none') { SERVER.call('no.such') }
tell('fault.own') { SERVER.call('kinds.fail') }

tell('introspection.list') { words(SERVER.call('system.listMethods').include?('kinds.describe')) }
tell('introspection.help') { words(SERVER.call('system.methodHelp', 'kinds.add')) }
tell('introspection.signature') { words(SERVER.call('system.methodSignature', 'kinds.add')) }

tell('multicall') do
  answer = SERVER.multicall(['kinds.add', 1, 2], ['kinds.fail'], ['echo.echo', 'last'])
  answer.map { |one| one.is_a?(XMLRPC::FaultException) ? "f#{one.faultCode}:#{quote(one.faultString)}" : words(one) }.join(' ')
end

tell('keep-alive') do
  relayed = client(ENV['RELAY'])
  words([relayed.call('kinds.add', 1, 2), relayed.call('kinds.add', 3, 4)])
end

STOOGES = { 'moe' => 1, 'larry' => 2, 'curly' => 3 }.freeze

def v(name, *params)
  tell("validator1.#{name}") { words(SERVER.call("validator1.#{name}", *params)) }
end

v 'arrayOfStructsTest', [STOOGES, STOOGES.merge('curly' => -30), STOOGES]
v 'countTheEntities', '<<<>>&&&&\'""""" x'
v 'easyStructTest', STOOGES
v 'echoStructTest', { 'one' => STOOGES, 'two' => STOOGES.merge('moe' => 9) }
tell('validator1.manyTypesTest') do
  time = XMLRPC::DateTime.new(2026, 11, 22, 8, 0, 1)
  answer = SERVER.call('validator1.manyTypesTest', 7, true, 'ä', 2.5, time, XMLRPC::Base64.new("\x00\xFF\x10".b))
  "[#{answer.each_with_index.map { |item, at| words(item, at == 5) }.join(',')}]"
end
v 'moderateSizeArrayCheck', (0...150).map { |i| "no #{i}" }
v 'nestedStructTest', { '1999' => {}, '2000' => { '03' => { '31' => {} }, '04' => { '01' => STOOGES, '02' => {} } } }
v 'simpleStructReturnTest', 42
