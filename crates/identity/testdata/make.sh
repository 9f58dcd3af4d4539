#!/bin/sh
# Makes the certificates that rcgen cannot: weak digests and keys, version 1, odd names. Run in
# this folder; the private keys are thrown away.
set -eu
keys=$(mktemp -d)
trap 'rm -r "$keys"' EXIT

root() { # NAME, then options of openssl req
    name=$1; shift
    openssl req -x509 -newkey rsa:2048 -nodes -days 36500 -keyout "$keys/$name.key" -out "$name.pem" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign "$@"
}
leaf() { # NAME ISSUER SUBJECT KEY EXTENSIONS, then options of openssl x509
    name=$1 issuer=$2 subject=$3 key=$4 extensions=$5; shift 5
    openssl req -new -newkey "$key" -nodes -multivalue-rdn -utf8 -subj "$subject" \
        -keyout "$keys/$name.key" -out "$keys/$name.csr"
    printf '%b' "$extensions" >"$keys/$name.ext"
    openssl x509 -req -in "$keys/$name.csr" -CA "$issuer.pem" -CAkey "$keys/$issuer.key" \
        -set_serial "0x$(openssl rand -hex 8)" -days 36500 -extfile "$keys/$name.ext" -out "$name.pem" "$@"
}
user='keyUsage=critical,digitalSignature\n'
ca='basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n'

root root-signed-over-sha1 -sha1 -subj '/O=Grid/CN=Old Root'
leaf user-of-sha1-root root-signed-over-sha1 '/O=Grid/CN=Alice' rsa:2048 "$user" -sha256
leaf user-signed-over-sha1 root-signed-over-sha1 '/O=Grid/CN=Alice' rsa:2048 "$user" -sha1
leaf user-with-rsa-1024 root-signed-over-sha1 '/O=Grid/CN=Alice' rsa:1024 "$user" -sha256
leaf user-with-rsa-8192 root-signed-over-sha1 '/O=Grid/CN=Alice' rsa:8192 "$user" -sha512
leaf user-with-two-attributes-in-one-rdn root-signed-over-sha1 '/O=Grid/CN=Alice+UID=alice' rsa:2048 "$user" -sha256
leaf user-whose-cn-holds-slash-o root-signed-over-sha1 '/O=Grid/CN=Alice\/O=Evil' rsa:2048 "$user" -sha256
leaf user-with-signature-in-pss root-signed-over-sha1 '/O=Grid/CN=Alice' rsa:2048 "$user" -sha256 \
    -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32
leaf subca-signed-over-sha1 root-signed-over-sha1 '/O=Grid/CN=Old Sub' rsa:2048 "$ca" -sha1
root root-with-rsa-1024 -sha256 -newkey rsa:1024 -subj '/O=Grid/CN=Small Root'

# Version 1, as the oldest roots are.
openssl req -new -newkey rsa:2048 -nodes -subj '/O=Grid/CN=First Root' -keyout "$keys/v1.key" -out "$keys/v1.csr"
openssl x509 -req -in "$keys/v1.csr" -signkey "$keys/v1.key" -days 36500 -sha256 -out root-of-version-1.pem
