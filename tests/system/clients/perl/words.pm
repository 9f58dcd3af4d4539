# What the two Perl clients share: values in the words of services/kinds, and a line for each result.
package words;
use strict;
use warnings;
use Exporter 'import';
our @EXPORT = qw(quote tell);

sub quote {
    my ($text) = @_;
    utf8::encode($text);
    $text =~ s/([^A-Za-z0-9\-_.~])/sprintf '%%%02X', ord $1/ge;
    return $text;
}

# tell(ability, sub { words }): what it dies of is its result.
sub tell {
    my ($ability, $act) = @_;
    my $result = eval { $act->() };
    $result = "failed: $@" unless defined $result;
    $result =~ s/\s+/ /g;
    local $| = 1;
    binmode STDOUT, ':utf8';
    print "$ability\t$result\n";
}

1;
