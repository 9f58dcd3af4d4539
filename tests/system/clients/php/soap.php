<?php
// PHP's SoapClient against a server, from the server's WSDL.

// PHP writes so many digits of a double.
ini_set('precision', '17');
$context = stream_context_create([
    'ssl' => ['cafile' => getenv('CA'), 'local_cert' => getenv('CERTIFICATE'), 'local_pk' => getenv('KEY')],
]);
$version = getenv('VERSION');
$options = [
    'soap_version' => $version === '1.2' ? SOAP_1_2 : SOAP_1_1,
    'stream_context' => $context,
    'cache_wsdl' => WSDL_CACHE_NONE,
    'features' => SOAP_SINGLE_ELEMENT_ARRAYS,
    'exceptions' => true,
    'encoding' => 'UTF-8',
];
$server = new SoapClient(getenv('URL') . 'kinds?wsdl', $options);

const XSD = 'http://www.w3.org/2001/XMLSchema';

// A value where the WSDL says anyType, with the type that it has.
function any($value)
{
    if (is_array($value)) {
        return list_of($value, true);
    }
    if ($value instanceof stdClass) {
        return map_of($value, true);
    }
    if ($value instanceof SoapVar || is_null($value)) {
        return $value;
    }
    return match (true) {
        is_bool($value) => new SoapVar($value, XSD_BOOLEAN, 'boolean', XSD),
        is_int($value) => new SoapVar($value, XSD_LONG, 'long', XSD),
        is_float($value) => new SoapVar($value, XSD_DOUBLE, 'double', XSD),
        default => new SoapVar($value, XSD_STRING, 'string', XSD),
    };
}

function list_of($items, $typed = false)
{
    $array = (object) ['item' => array_map('any', $items)];
    return $typed ? new SoapVar($array, SOAP_ENC_OBJECT, 'Array', 'urn:nesssi-types:1') : $array;
}

function map_of($members, $typed = false)
{
    // PHP itself knows this type: an array with names.
    $map = array_map('any', (array) $members);
    return $typed ? new SoapVar($map, APACHE_MAP, 'Map', 'http://xml.apache.org/xml-soap') : $map;
}

function write($value, $type)
{
    return match ($type) {
        'array' => list_of($value),
        'struct' => map_of($value),
        default => $value,
    };
}

function words($value)
{
    return match (true) {
        is_null($value) => 'n',
        is_bool($value) => $value ? 'b1' : 'b0',
        is_int($value) => "i$value",
        is_float($value) => 'd' . bin2hex(pack('E', $value)),
        is_string($value) => 's' . rawurlencode($value),
        default => '[' . implode(',', array_map('words', $value)) . ']',
    };
}

function named($members)
{
    $words = [];
    foreach ($members as $name => $member) {
        $words[rawurlencode($name)] = rawurlencode($name) . ':' . $member;
    }
    ksort($words, SORT_STRING);
    return '{' . implode(',', $words) . '}';
}

// What came, in words. PHP makes strings of bytes and times: there the test says the type.
function read($value, $type = null)
{
    if ($value instanceof SoapVar) {
        return read($value->enc_value); // what it makes of an Array in a Map
    }
    if (is_null($value)) {
        return 'n';
    }
    if ($type === 'array' || ($value instanceof stdClass && $type !== 'struct')) {
        return '[' . implode(',', array_map('read', (array) ($value->item ?? []))) . ']';
    }
    if ($type === 'struct' || is_array($value)) {
        $members = [];
        if (is_array($value)) {
            foreach ($value as $name => $member) {
                $members[$name] = read($member);
            }
        } else {
            foreach ($value->item ?? [] as $item) {
                $members[$item->key] = read($item->value);
            }
        }
        return named($members);
    }
    if ($type === 'base64') {
        return 'x' . bin2hex($value);
    }
    if ($type === 'dateTime') {
        return 't' . str_replace('-', '', $value);
    }
    return words($value);
}

function call($method, $args = [], $of = null)
{
    global $server;
    return ($of ?? $server)->__soapCall($method, [(object) $args])->return;
}

function tell($ability, $act)
{
    try {
        $result = $act();
    } catch (SoapFault $fault) {
        $inner = $fault->detail->fault ?? null;
        $result = $inner ? "f$inner->code:" . rawurlencode($fault->getMessage()) : 'failed: ' . $fault->getMessage();
    } catch (Throwable $error) {
        $result = 'failed: ' . preg_replace('/\s+/', ' ', $error->getMessage());
    }
    echo "$ability\t$result\n";
}

$bytes = implode('', array_map('chr', range(0, 255)));
$values = [
    'int' => [0, 1, -1, 42, 2147483647, -2147483648, 9007199254740991, PHP_INT_MAX, PHP_INT_MIN],
    'double' => [0.5, -1.5, 0.1, 1e300, 5e-324, 1.7976931348623157e308, 3.0, -0.0],
    'boolean' => [true, false],
    'string' => ['', ' a ', '<&>"\']]>', 'grüße €', "\u{1F600}\u{1D11E}", "a\tb\nc"],
    'dateTime' => ['2026-11-22T08:00:01', '1969-12-31T23:59:59'],
    'base64' => [$bytes, ''],
    'array' => [[], [[]], [1, 'x', [2.5, [true, []]]]],
    'struct' => [
        new stdClass(),
        (object) ['' => 1, 'a b' => 'x', '<>' => [], "é\u{1F600}" => (object) ['deep' => (object) ['er' => [new stdClass()]]]],
    ],
];
foreach ($values as $type => $all) {
    tell("$type.seen", fn() => implode(' ', array_map(fn($v) => call("{$type}_seen", ['arg0' => write($v, $type)]), $all)));
    tell("$type.back", fn() => implode(' ', array_map(fn($v) => read(call("{$type}_same", ['arg0' => write($v, $type)]), $type), $all)));
}
tell('cr.seen', fn() => call('string_seen', ['arg0' => "a\rb\r\nc"]));
tell('cr.back', fn() => words(call('returns')));
$several = [1, 'x', 2.5, true, new SoapVar('2026-11-22T08:00:01', XSD_DATETIME, 'dateTime', XSD),
    new SoapVar("\x00\xFF\x10", XSD_BASE64BINARY, 'base64Binary', XSD)];
tell('any.seen', fn() => call('describe', ['arg' => array_map('any', $several)]));
tell('any.back', fn() => read(call('several'), 'array'));
tell('nil.seen', fn() => call('describe', ['arg' => [null, any([null, (object) ['a' => null]])]]));
tell('nil.back', fn() => read(call('nothing'), 'array'));
tell('version', fn() => call('protocol') === 'soap' . str_replace('.', '', $version) ? 'True' : 'False');
tell('fault.own', fn() => call('fail'));
tell('keep-alive', function () use ($options) {
    $relayed = new SoapClient(getenv('URL') . 'kinds?wsdl', ['location' => getenv('RELAY') . 'kinds', 'keep_alive' => true] + $options);
    return words([call('add', ['arg0' => 1, 'arg1' => 2], $relayed), call('add', ['arg0' => 3, 'arg1' => 4], $relayed)]);
});
