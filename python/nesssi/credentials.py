"""A credential is the certificate that a caller shows and its key; here it is found and loaded.

It is looked for where the original did, the first that is there is taken:

1. the files or texts that the program gave;
2. `X509_USER_PROXY`, then `X509_USER_CERT` with `X509_USER_KEY`;
3. `/tmp/x509up_u<uid>`, if it is this user's and nobody else may read it;
4. `~/.globus/usercert.pem` with `~/.globus/userkey.pem`.
"""

from __future__ import annotations

import getpass
import os
import re
import ssl
import stat
import sys
import tempfile
import warnings
from typing import Callable, NamedTuple

_GRID_TRUST_DIRECTORY = "/etc/grid-security/certificates"
_CA_FILE = re.compile(r".*\.(pem|crt|cer|[0-9])")


class Credential(NamedTuple):
    """A certificate and its key, as PEM files or as PEM texts."""

    certificate: str
    key: str
    is_text: bool = False


def find(
    certfile: str | None = None,
    keyfile: str | None = None,
    cert_text: str | None = None,
    key_text: str | None = None,
) -> Credential:
    """The credential to show; FileNotFoundError, saying where it looked, if there is none."""
    if cert_text:
        return Credential(cert_text, key_text or cert_text, is_text=True)
    if certfile:
        return Credential(certfile, keyfile or certfile)
    environment = os.environ
    if environment.get("X509_USER_PROXY"):
        return Credential(environment["X509_USER_PROXY"], environment["X509_USER_PROXY"])
    if environment.get("X509_USER_CERT"):
        certificate = environment["X509_USER_CERT"]
        return Credential(certificate, environment.get("X509_USER_KEY", certificate))
    proxy = f"/tmp/x509up_u{os.getuid()}"
    if _is_private(proxy):
        return Credential(proxy, proxy)
    globus = os.path.expanduser("~/.globus")
    certificate = os.path.join(globus, "usercert.pem")
    if os.path.exists(certificate):
        return Credential(certificate, keyfile or os.path.join(globus, "userkey.pem"))
    raise FileNotFoundError(
        f"no certificate found: not given, not in X509_USER_PROXY, {proxy} or {certificate}; "
        "guest=1 calls without one"
    )


def load(
    context: ssl.SSLContext,
    credential: Credential,
    passwd: str | None = None,
    callback: Callable[[], str] | None = None,
) -> None:
    """Lets `context` show `credential`, asking for a passphrase once, and only if there is one."""

    def passphrase() -> str:
        if passwd is not None:
            return passwd
        if callback is not None:
            return callback()
        if sys.stdin is not None and sys.stdin.isatty():
            return getpass.getpass("Enter the pass phrase of your key: ")
        raise ValueError("the key needs a pass phrase: give passwd or callback")

    if not credential.is_text:
        _load_files(context, credential.certificate, credential.key, passphrase)
        return
    with _private_file(credential.certificate) as certificate, _private_file(credential.key) as key:
        _load_files(context, certificate.name, key.name, passphrase)


def tls_context(cafile: str | None = None) -> ssl.SSLContext:
    """A context that verifies the server against `cafile`, or whom this machine trusts.

    Whoever is named, by `cafile` or by `NESSSI_CA`, is trusted alone. OSError if none is there.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    named = cafile or os.environ.get("NESSSI_CA")
    if named:
        _trust(context, named)
        return context
    directory = os.environ.get("X509_CERT_DIR", _GRID_TRUST_DIRECTORY)
    if os.path.isdir(directory):
        _trust(context, directory)
    context.load_default_certs()
    return context


def _load_files(
    context: ssl.SSLContext, certificate: str, key: str, passphrase: Callable[[], str]
) -> None:
    for path in (certificate, key):
        with open(path, "rb"):
            pass  # ssl says "No such file" without saying which
    try:
        context.load_cert_chain(certificate, key, passphrase)
    except ssl.SSLError as wrong:
        reason = wrong.reason or "is it PEM, and is the pass phrase right?"
        raise ValueError(f"the certificate cannot be used: {certificate}, {key}: {reason}") from wrong


def _is_private(path: str) -> bool:
    """Whether a file in a directory that all may write is ours alone.

    Another user may lay a file of this name there, to have us act in a name of his choice.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    private = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
    if not private or found.st_mode & 0o077:
        warnings.warn(f"{path} is not used: it must be a file of yours with mode 0600", stacklevel=4)
        return False
    return True


def _private_file(text: str) -> tempfile._TemporaryFileWrapper[bytes]:
    file = tempfile.NamedTemporaryFile()  # mode 0600
    file.write(text.encode())
    file.flush()
    return file


def _trust(context: ssl.SSLContext, path: str) -> None:
    if not os.path.isdir(path):
        context.load_verify_locations(cafile=path)
        return
    # By name and not by OpenSSL's hashes, which a directory of our own making need not have.
    for name in sorted(os.listdir(path)):
        if _CA_FILE.fullmatch(name):
            try:
                context.load_verify_locations(cafile=os.path.join(path, name))
            except (ssl.SSLError, OSError) as wrong:
                warnings.warn(f"{name} in {path} is no CA certificate: {wrong}", stacklevel=4)
