<?php
// PHP's xmlrpc extension against a server. It writes and reads the messages; PHP's own streams carry them.

function post($body, $url = null, $type = 'text/xml')
{
    $context = stream_context_create([
        'http' => ['method' => 'POST', 'header' => "Content-Type: $type", 'content' => $body, 'ignore_errors' => true],
        'ssl' => ['cafile' => getenv('CA'), 'local_cert' => getenv('CERTIFICATE'), 'local_pk' => getenv('KEY')],
    ]);
    $answer = file_get_contents($url ?? getenv('URL'), false, $context);
    if ($answer === false) {
        throw new Exception(error_get_last()['message']);
    }
    return $answer;
}

class Fault extends Exception
{
}

function call($name, $params = [], $options = ['encoding' => 'utf-8', 'escaping' => 'markup'])
{
    $body = xmlrpc_encode_request($name, $params, $options + ['version' => 'xmlrpc']);
    $answer = xmlrpc_decode(post($body), 'utf-8');
    if (is_array($answer) && $answer && xmlrpc_is_fault($answer)) {
        throw new Fault($answer['faultString'], $answer['faultCode']);
    }
    return $answer;
}

function typed($value, $type)
{
    xmlrpc_set_type($value, $type);
    return $value;
}

// PHP has one array for lists and structs, and none of the two when it is empty.
function words($value)
{
    if (is_null($value)) {
        return 'n';
    }
    if (is_bool($value)) {
        return $value ? 'b1' : 'b0';
    }
    if (is_int($value)) {
        return "i$value";
    }
    if (is_float($value)) {
        return 'd' . bin2hex(pack('E', $value));
    }
    if (is_string($value)) {
        return 's' . rawurlencode($value);
    }
    if (is_object($value)) {
        if ($value->xmlrpc_type === 'datetime') {
            return 't' . $value->scalar;
        }
        return 'x' . bin2hex($value->scalar);
    }
    if (array_is_list($value)) {
        return '[' . implode(',', array_map('words', $value)) . ']';
    }
    $members = [];
    foreach ($value as $name => $member) {
        $members[rawurlencode($name)] = rawurlencode($name) . ':' . words($member);
    }
    ksort($members, SORT_STRING);
    return '{' . implode(',', $members) . '}';
}

function tell($ability, $act)
{
    try {
        $result = $act();
    } catch (Fault $fault) {
        $result = 'f' . $fault->getCode() . ':' . rawurlencode($fault->getMessage());
    } catch (Throwable $error) {
        $result = 'failed: ' . preg_replace('/\s+/', ' ', $error->getMessage());
    }
    echo "$ability\t$result\n";
}

function both($ability, ...$values)
{
    tell("$ability.seen", fn() => call('kinds.describe', $values));
    tell("$ability.back", fn() => words(call('echo.echo', $values)));
}

$time = typed('20261122T08:00:01', 'datetime');
both('int', 0, 1, -1, 42, 2147483647, -2147483648);
both('double', 0.5, -1.5, 0.1, 1e300, 5e-324, 1.7976931348623157e308, 3.0, -0.0);
both('boolean', true, false);
both('string', '', ' a ', '<&>"\']]>', 'grüße €', "\u{1F600}\u{1D11E}", "a\tb\nc");
tell('cr.seen', fn() => call('kinds.describe', ["a\rb\r\nc"]));
tell('cr.back', fn() => words(call('kinds.returns')));
both('dateTime', $time, typed('19691231T23:59:59', 'datetime'));
both('base64', typed(implode('', array_map('chr', range(0, 255))), 'base64'), typed('', 'base64'));
both('array', [], [[]], [1, 'x', [2.5, [true, []]]]);
both('struct', ['a b' => 'x', '<&>' => [], "é\u{1F600}" => ['deep' => ['er' => ['a' => 1]]]]);
tell('nil.seen', fn() => call('kinds.describe', [null, [null, ['a' => null]]]));
tell('nil.back', fn() => words(call('kinds.nothing')));

tell('fault.none', fn() => call('no.such'));
tell('fault.own', fn() => call('kinds.fail'));

tell('introspection.list', fn() => words(in_array('kinds.describe', call('system.listMethods'))));
tell('introspection.help', fn() => words(call('system.methodHelp', ['kinds.add'])));
tell('introspection.signature', fn() => words(call('system.methodSignature', ['kinds.add'])));

tell('multicall', function () {
    $calls = [];
    foreach ([['kinds.add', [1, 2]], ['kinds.fail', []], ['echo.echo', ['last']]] as [$name, $params]) {
        $calls[] = ['methodName' => $name, 'params' => $params];
    }
    $told = [];
    foreach (call('system.multicall', [$calls]) as $one) {
        $told[] = isset($one['faultCode']) ? "f{$one['faultCode']}:" . rawurlencode($one['faultString']) : words($one[0]);
    }
    return implode(' ', $told);
});

$latin = ['encoding' => 'iso-8859-1', 'escaping' => 'markup'];
tell('encoding.seen', fn() => call('kinds.describe', ["gr\xFC\xDFe"], $latin));
tell('encoding.back', fn() => words(call('echo.echo', ["gr\xFC\xDFe"], $latin)));

$stooges = ['moe' => 1, 'larry' => 2, 'curly' => 3];
function v($name, ...$params)
{
    tell("validator1.$name", fn() => words(call("validator1.$name", $params)));
}
v('arrayOfStructsTest', [$stooges, ['curly' => -30] + $stooges, $stooges]);
v('countTheEntities', '<<<>>&&&&\'""""" x');
v('easyStructTest', $stooges);
v('echoStructTest', ['one' => $stooges, 'two' => ['moe' => 9] + $stooges]);
v('manyTypesTest', 7, true, 'ä', 2.5, $time, typed("\x00\xFF\x10", 'base64'));
v('moderateSizeArrayCheck', array_map(fn($i) => "no $i", range(0, 149)));
v('nestedStructTest', ['y1999' => ['x' => 1], '2000' => ['m3' => ['d' => 1], '04' => ['01' => $stooges, 'd2' => ['x' => 1]]]]);
v('simpleStructReturnTest', 42);
