# Perl's SOAP::Lite against a server: rpc/encoded, from nothing but the service's name.
use strict;
use warnings;
use utf8;
use FindBin;
use lib $FindBin::Bin;
use words;
use SOAP::Lite;

my $version = $ENV{VERSION};

sub client {
    my ($url, %more) = @_;
    my $client = SOAP::Lite->soapversion($version)->uri('urn:nesssi:kinds')->proxy("${url}kinds", %more);
    $client->autotype(1);
    $client->on_fault(sub { return $_[1] });
    $client->transport->ssl_opts(
        SSL_ca_file => $ENV{CA}, SSL_cert_file => $ENV{CERTIFICATE}, SSL_key_file => $ENV{KEY}, verify_hostname => 1);
    return $client;
}

my $server = client($ENV{URL});

sub of { return SOAP::Data->type(@_) }
my %write = (
    int => sub { of(long => $_[0]) },
    double => sub { of(double => $_[0]) },
    boolean => sub { of(boolean => $_[0] ? 'true' : 'false') },
    string => sub { of(string => $_[0]) },
    dateTime => sub { of(dateTime => $_[0]) },
    base64 => sub { of(base64Binary => $_[0]) },
    array => sub { $_[0] },
    struct => sub { of(map => $_[0]) },
);

# What came, with the types that the test knows: SOAP::Lite answers plain values. `how` is a letter, or those of each item.
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
    return 'b' . ($value eq 'true' || $value eq '1' ? 1 : 0) if $how eq 'b';
    return 'x' . unpack 'H*', $value if $how eq 'x';
    return 's' . quote($value) if $how eq 's';
    return 't' . $value =~ s/^(\d+)-(\d+)-(\d+)/$1$2$3/r if $how eq 't';
    return $how . $value;
}

sub fault { my ($answer) = @_; return 'f' . $answer->faultdetail->{fault}{code} . ':' . quote($answer->faultstring) }

sub said { my $answer = $server->call(@_); return ref $answer && $answer->fault ? $answer->faultstring : $answer->result }

sub call {
    my ($client, $how, @call) = @_;
    my $answer = $client->call(@call);
    die "no answer: $answer" unless ref $answer;
    return $answer->fault ? fault($answer) : words($answer->result, $how);
}

sub typed {
    my ($type, $how, @values) = @_;
    tell("$type.seen", sub { join ' ', map { said("${type}_seen", $write{$type}->($_)) } @values });
    my $at = 0;
    tell("$type.back", sub {
        join ' ', map { call($server, ref $how ? $how->[$at++] : $how, "${type}_same", $write{$type}->($_)) } @values;
    });
}

typed('int', 'i', 0, 1, -1, 42, 2147483647, -2147483648, 9007199254740991, '9223372036854775807', '-9223372036854775808');
typed('double', 'd', 0.5, -1.5, 0.1, 1e300, '5e-324', '1.7976931348623157e308', 3.0, '-0.0');
typed('boolean', 'b', 1, 0);
typed('string', 's', '', ' a ', "<&>\"']]>", 'grüße €', "\x{1F600}\x{1D11E}", "a\tb\nc");
typed('dateTime', 't', '2026-11-22T08:00:01', '1969-12-31T23:59:59');
typed('base64', 'x', join('', map { chr } 0 .. 255), '');
typed('array', ['', '', ['i', 's', ['d', ['b']]]], [], [[]],
    [of(int => 1), of(string => 'x'), [of(double => 2.5), [of(boolean => 'true'), []]]]);
typed('struct', ['', {'' => 'i', 'a b' => 's'}],
    {}, {'' => of(int => 1), 'a b' => of(string => 'x'), '<&>' => [], "é\x{1F600}" => of(map => {deep => of(map => {er => [of(map => {})]})})});
tell('cr.seen', sub { said('string_seen', of(string => "a\rb\r\nc")) });
tell('cr.back', sub { call($server, 's', 'returns') });
tell('any.seen', sub {
    said('describe', of(int => 1), of(string => 'x'), of(double => 2.5), of(boolean => 'true'),
        of(dateTime => '2026-11-22T08:00:01'), $write{base64}->("\x00\xFF\x10"));
});
tell('any.back', sub { call($server, [qw(i s d b t x)], 'several') });
tell('nil.seen', sub { said('describe', undef, [undef, of(map => {a => undef})]) });
tell('nil.back', sub { call($server, 's', 'nothing') });
tell('version', sub { said('protocol') eq 'soap' . $version =~ s/\.//r ? 'True' : 'False' });
# Of a fault of SOAP 1.2 it knows that there is one, and reads nothing of it.
tell('fault.own', sub { call($server, 's', 'fail') }) if $version eq '1.1';
tell('keep-alive', sub {
    my $relayed = client($ENV{RELAY}, keep_alive => 1);
    return '[' . join(',', map { call($relayed, 'i', 'add', of(int => $_->[0]), of(int => $_->[1])) } [1, 2], [3, 4]) . ']';
});
