# Perl's RPC::XML against a server.
use strict;
use warnings;
use utf8;
use FindBin;
use lib $FindBin::Bin;
use words;
use RPC::XML;
use RPC::XML::Client;

$RPC::XML::ENCODING = 'utf-8';
$RPC::XML::ALLOW_NIL = 1;

sub client {
    my ($url, %more) = @_;
    my $client = RPC::XML::Client->new($url, useragent => [%more]);
    $client->useragent->ssl_opts(
        SSL_ca_file => $ENV{CA}, SSL_cert_file => $ENV{CERTIFICATE}, SSL_key_file => $ENV{KEY}, verify_hostname => 1);
    return $client;
}

my $server = client($ENV{URL});

# What is sent, with its types; text as characters.
sub s_ { return RPC::XML::string->new($_[0]) }
sub i_ { return RPC::XML::int->new($_[0]) }
sub i8 { return RPC::XML::i8->new($_[0]) }
sub d_ { return RPC::XML::double->new($_[0]) }
sub b_ { return RPC::XML::boolean->new($_[0]) }
sub t_ { return RPC::XML::datetime_iso8601->new($_[0]) }
sub x_ { return RPC::XML::base64->new($_[0]) }
sub a_ { return RPC::XML::array->new(@_) }
sub h_ { return RPC::XML::struct->new(@_) }
sub n_ { return RPC::XML::nil->new }

# What came: RPC::XML answers objects of its types.
sub words {
    my ($value) = @_;
    my $type = $value->type;
    return 'n' if $type eq 'nil';
    return 'b' . $value->value if $type eq 'boolean';
    return 'i' . $value->value if $type =~ /^(int|i4|i8)$/;
    return 'd' . unpack 'H*', pack 'd>', $value->value if $type eq 'double';
    return 's' . quote($value->value) if $type eq 'string';
    return 'x' . unpack 'H*', $value->value if $type eq 'base64';
    return 't' . $value->value if $type eq 'dateTime.iso8601';
    return '[' . join(',', map { words($_) } @$value) . ']' if $type eq 'array';
    my %named = map { (quote($_) => $value->{$_}) } keys %$value;
    return '{' . join(',', map { "$_:" . words($named{$_}) } sort keys %named) . '}';
}

sub call {
    my ($client, @call) = @_;
    my $answer = $client->send_request(@call);
    die $answer unless ref $answer;
    return 'f' . $answer->code . ':' . quote($answer->string) if $answer->is_fault;
    return words($answer);
}

# The text that kinds.describe answers, as it is.
sub said {
    my $answer = $server->send_request(@_);
    die $answer unless ref $answer;
    return $answer->is_fault ? $answer->string : $answer->value;
}

sub both {
    my ($ability, @values) = @_;
    tell("$ability.seen", sub { said('kinds.describe', @values) });
    tell("$ability.back", sub { call($server, 'echo.echo', @values) });
}

both('int', map { i_($_) } 0, 1, -1, 42, 2147483647, -2147483648);
tell('i8.seen', sub {
    said('kinds.describe', map { i8($_) } 2147483648, -2147483649, 9007199254740991, '9223372036854775807', '-9223372036854775808');
});
tell('i8.back', sub { call($server, 'kinds.large') });
both('double', map { d_($_) } 0.5, -1.5, 0.1, 1e300, 5e-324, 1.7976931348623157e308, 3.0, -0.0);
both('boolean', b_('true'), b_(0));
both('string', s_(''), s_(' a '), s_("<&>\"']]>"), s_('grüße €'), s_("\x{1F600}\x{1D11E}"), s_("a\tb\nc"));
both('dateTime', t_('20261122T08:00:01'), t_('19691231T23:59:59'));
both('base64', x_(join '', map { chr } 0 .. 255));
both('array', a_(), a_(a_()), a_(i_(1), s_('x'), a_(d_(2.5), a_(b_(1), a_()))));
both('struct', h_(), h_('' => i_(1), 'a b' => s_('x'), '<&>' => a_(),
    "é\x{1F600}" => h_(deep => h_(er => a_(h_())))));
tell('nil.seen', sub { said('kinds.describe', n_(), a_(n_(), h_(a => n_()))) });
tell('nil.back', sub { call($server, 'kinds.nothing') });
tell('cr.seen', sub { said('kinds.describe', s_("a\rb\r\nc")) });
tell('cr.back', sub { call($server, 'kinds.returns') });

tell('fault.none', sub { call($server, 'no.such') });
tell('fault.own', sub { call($server, 'kinds.fail') });

tell('introspection.list', sub {
    my $names = $server->send_request('system.listMethods')->value;
    return 'b' . scalar grep { $_ eq 'kinds.describe' } @$names;
});
tell('introspection.help', sub { call($server, 'system.methodHelp', s_('kinds.add')) });
tell('introspection.signature', sub { call($server, 'system.methodSignature', s_('kinds.add')) });

# RPC::XML has no calls of many; the container's method takes what it writes.
tell('multicall', sub {
    my @calls = (['kinds.add', i_(1), i_(2)], ['kinds.fail'], ['echo.echo', s_('last')]);
    my $answer = $server->send_request('system.multicall',
        a_(map { my ($name, @params) = @$_; h_(methodName => s_($name), params => a_(@params)) } @calls));
    return join ' ', map {
        $_->type eq 'struct'
            ? 'f' . $_->{faultCode}->value . ':' . quote($_->{faultString}->value)
            : words($_->[0])
    } @$answer;
});

tell('keep-alive', sub {
    my $relayed = client($ENV{RELAY}, keep_alive => 1);
    return '[' . join(',', map { call($relayed, 'kinds.add', i_($_->[0]), i_($_->[1])) } [1, 2], [3, 4]) . ']';
});

my @stooges = (moe => i_(1), larry => i_(2), curly => i_(3));
sub v { my ($name, @params) = @_; tell("validator1.$name", sub { call($server, "validator1.$name", @params) }) }
v('arrayOfStructsTest', a_(h_(@stooges), h_(@stooges, curly => i_(-30)), h_(@stooges)));
v('countTheEntities', s_("<<<>>&&&&'\"\"\"\"\" x"));
v('easyStructTest', h_(@stooges));
v('echoStructTest', h_(one => h_(@stooges), two => h_(@stooges, moe => i_(9))));
v('manyTypesTest', i_(7), b_(1), s_('ä'), d_(2.5), t_('20261122T08:00:01'), x_("\x00\xFF\x10"));
v('moderateSizeArrayCheck', a_(map { s_("no $_") } 0 .. 149));
v('nestedStructTest', h_('1999' => h_(), '2000' =>
    h_('03' => h_('31' => h_()), '04' => h_('01' => h_(@stooges), '02' => h_()))));
v('simpleStructReturnTest', i_(42));
