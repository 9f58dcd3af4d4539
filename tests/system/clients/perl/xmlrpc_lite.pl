# Perl's XMLRPC::Lite against a server. It knows the types of what it sends, and answers plain scalars.
use strict;
use warnings;
use utf8;
use FindBin;
use lib $FindBin::Bin;
use words;
use XMLRPC::Lite;

sub client {
    my ($url, %more) = @_;
    my $client = XMLRPC::Lite->proxy($url, %more);
    $client->transport->ssl_opts(
        SSL_ca_file => $ENV{CA}, SSL_cert_file => $ENV{CERTIFICATE}, SSL_key_file => $ENV{KEY}, verify_hostname => 1);
    return $client;
}

my $server = client($ENV{URL});

sub of { return XMLRPC::Data->type(@_) }
sub s_ { return of(string => $_[0]) }
sub i_ { return of(int => $_[0]) }
sub d_ { return of(double => $_[0]) }
sub b_ { return of(boolean => $_[0]) }
sub t_ { return of(dateTime => $_[0]) }
sub x_ { return of(base64 => $_[0]) }

# What came, with the types that the test knows: XMLRPC::Lite keeps none. `how` is a letter, or those of each item.
sub words {
    my ($value, $how) = @_;
    my $at = 0;
    return '[' . join(',', map { words($_, ref $how ? $how->[$at++] : $how) } @$value) . ']' if ref $value eq 'ARRAY';
    if (ref $value eq 'HASH') {
        my %named = map { (quote($_) => words($value->{$_}, ref $how ? $how->{$_} : $how)) } keys %$value;
        return '{' . join(',', map { "$_:$named{$_}" } sort keys %named) . '}';
    }
    return 'n' unless defined $value;
    return 'd' . unpack 'H*', pack 'd>', $value if $how eq 'd';
    return 'x' . unpack 'H*', $value if $how eq 'x';
    return $how . quote($value) if $how eq 's';
    return $how . $value;
}

sub call {
    my ($client, $how, @call) = @_;
    my $answer = $client->call(@call);
    return 'f' . $answer->faultcode . ':' . quote($answer->faultstring) if $answer->fault;
    return words($answer->result, $how);
}

sub said { my $answer = $server->call(@_); return $answer->fault ? $answer->faultstring : $answer->result }

sub both {
    my ($ability, $how, @values) = @_;
    tell("$ability.seen", sub { said('kinds.describe', @values) });
    tell("$ability.back", sub { call($server, $how, 'echo.echo', @values) });
}

both('int', 'i', map { i_($_) } 0, 1, -1, 42, 2147483647, -2147483648);
both('double', 'd', map { d_($_) } 0.5, -1.5, 0.1, 1e300, 5e-324, '1.7976931348623157e308', 3.0, '-0.0');
both('boolean', 'b', b_(1), b_(0));
both('string', 's', map { s_($_) } '', ' a ', "<&>\"']]>", 'grüße €', "\x{1F600}\x{1D11E}", "a\tb\nc");
tell('cr.seen', sub { said('kinds.describe', s_("a\rb\r\nc")) });
tell('cr.back', sub { call($server, 's', 'kinds.returns') });
tell('nil.back', sub { call($server, 's', 'kinds.nothing') });
both('dateTime', 't', t_('20261122T08:00:01'), t_('19691231T23:59:59'));
both('base64', 'x', x_(join '', map { chr } 0 .. 255), x_(''));
both('array', [0, 0, ['i', 's', ['d', ['b']]]], [], [[]], [i_(1), s_('x'), [d_(2.5), [b_(1), []]]]);
both('struct', [0, {'' => 'i', 'a b' => 's'}],
    {}, {'' => i_(1), 'a b' => s_('x'), '<&>' => [], "é\x{1F600}" => {deep => {er => [{}]}}});

tell('fault.none', sub { call($server, 's', 'no.such') });
tell('fault.own', sub { call($server, 's', 'kinds.fail') });

tell('introspection.list', sub {
    my $names = $server->call('system.listMethods')->result;
    return 'b' . scalar grep { $_ eq 'kinds.describe' } @$names;
});
tell('introspection.help', sub { call($server, 's', 'system.methodHelp', s_('kinds.add')) });
tell('introspection.signature', sub { call($server, 's', 'system.methodSignature', s_('kinds.add')) });

tell('multicall', sub {
    my @calls = (['kinds.add', i_(1), i_(2)], ['kinds.fail'], ['echo.echo', s_('last')]);
    my $answer = $server->call('system.multicall',
        [map { my ($name, @params) = @$_; {methodName => s_($name), params => \@params} } @calls])->result;
    return join ' ', map {
        ref $_ eq 'HASH' ? "f$_->{faultCode}:" . quote($_->{faultString}) : words($_->[0], ref $_->[0] ? 's' : 'i')
    } @$answer;
});

{
    my $latin = client($ENV{URL})->encoding('iso-8859-1');
    tell('encoding.seen', sub { $latin->call('kinds.describe', s_("gr\xFC\xDFe"))->result });
    tell('encoding.back', sub { call($latin, 's', 'echo.echo', s_("gr\xFC\xDFe")) });
}

tell('keep-alive', sub {
    my $relayed = client($ENV{RELAY}, keep_alive => 1);
    return '[' . join(',', map { call($relayed, 'i', 'kinds.add', i_($_->[0]), i_($_->[1])) } [1, 2], [3, 4]) . ']';
});

my %stooges = (moe => i_(1), larry => i_(2), curly => i_(3));
sub v { my ($name, $how, @params) = @_; tell("validator1.$name", sub { call($server, $how, "validator1.$name", @params) }) }
v('arrayOfStructsTest', 'i', [{%stooges}, {%stooges, curly => i_(-30)}, {%stooges}]);
v('countTheEntities', 'i', s_("<<<>>&&&&'\"\"\"\"\" x"));
v('easyStructTest', 'i', {%stooges});
v('echoStructTest', 'i', {one => {%stooges}, two => {%stooges, moe => i_(9)}});
v('manyTypesTest', [qw(i b s d t x)],
    i_(7), b_(1), s_('ä'), d_(2.5), t_('20261122T08:00:01'), x_("\x00\xFF\x10"));
v('moderateSizeArrayCheck', 's', [map { s_("no $_") } 0 .. 149]);
v('nestedStructTest', 'i', {'1999' => {}, '2000' => {'03' => {'31' => {}}, '04' => {'01' => {%stooges}, '02' => {}}}});
v('simpleStructReturnTest', 'i', i_(42));
