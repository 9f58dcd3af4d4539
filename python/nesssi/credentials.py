"""A credential is the certificate that a caller shows and its key; here it is found and loaded.

It is looked for where grid tools leave it, the first that is there is taken:

1. the files or texts that the program gave;
2. `X509_USER_PROXY`, then `X509_USER_CERT` with `X509_USER_KEY`;
3. `/tmp/x509up_u<uid>`, if it is this user's and nobody else may read it;
4. `~/.globus/usercert.pem` with `~/.globus/userkey.pem`.

A key that others may read is refused, as grid tools do. An encrypted key's pass phrase is asked for once in a
process: thrice if it is wrong, and not for each connection.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import getpass
import inspect
import os
import re
import ssl
import stat
import sys
import tempfile
import threading
import time
import warnings
from typing import Any, Callable, NamedTuple

from nesssi.errors import CredentialError, CredentialWarning, NoCredential, WrongPassphrase

PASSPHRASE_TRIES_MAX = 3
# A certificate or key file, with its chain.
FILE_BYTES_MAX = 1024 * 1024
# A person is told so long before a certificate's end, or in the last tenth of its life if that is shorter.
WARNING_SECONDS_MAX = 14 * 86400

_GRID_TRUST_DIRECTORY = "/etc/grid-security/certificates"
_CA_FILE = re.compile(r".*\.(pem|crt|cer|[0-9])")
_CERTIFICATE = re.compile(
    rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----(.*?)-----END (?:X509 |TRUSTED )?CERTIFICATE-----", re.S
)
_ENCRYPTED = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED", re.M)
_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")

# Pass phrases that were right, by the key's file and its state: asked for once in a process.
_remembered: dict[tuple[Any, ...], str] = {}
_asking = threading.Lock()


class Credential(NamedTuple):
    """A certificate and its key, as PEM files or as PEM texts."""

    certificate: str
    key: str
    is_text: bool = False


Callback = Callable[..., str]


def find(
    certfile: str | None = None,
    keyfile: str | None = None,
    cert_text: str | None = None,
    key_text: str | None = None,
) -> Credential:
    """The credential to show; `NoCredential`, saying where it looked, if there is none."""
    if cert_text:
        return Credential(cert_text, key_text or cert_text, is_text=True)
    if certfile:
        return Credential(os.fspath(certfile), os.fspath(keyfile or certfile))
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
    pkcs12 = os.path.join(globus, "usercred.p12")
    if os.path.exists(pkcs12):
        raise CredentialError(_convert(pkcs12))
    raise NoCredential(
        f"no certificate found: not given, not in X509_USER_PROXY, {proxy} or {certificate}; "
        "guest=1 calls without one"
    )


def load(
    context: ssl.SSLContext,
    credential: Credential,
    passwd: str | None = None,
    callback: Callback | None = None,
) -> None:
    """Lets `context` show `credential`, asking for a passphrase once, and only if there is one."""
    if credential.is_text:
        certificate, key = credential.certificate.encode(), credential.key.encode()
        name = "the certificate that was given"
        with _private_file(certificate) as first, _private_file(key) as second:
            _load(context, first, second, key, name, (hash(key),), passwd, callback)
    else:
        certificate = _read(credential.certificate)
        key = _read(credential.key)
        _check_private(credential.key, key)
        name = f"{credential.certificate}, {credential.key}"
        state = os.stat(credential.key)
        identity = (os.path.realpath(credential.key), state.st_ino, state.st_mtime_ns)
        _load(context, credential.certificate, credential.key, key, name, identity, passwd, callback)
    _warn_of_end(certificate, credential)


def stamp(credential: Credential | None) -> tuple[int, ...]:
    """What changes when the files do: a proxy that is renewed is taken up with the next connection."""
    if credential is None or credential.is_text:
        return ()
    try:
        states = [os.stat(path) for path in {credential.certificate, credential.key}]
    except OSError:
        return ()
    return tuple(part for state in states for part in (state.st_ino, state.st_mtime_ns, state.st_size))


def tls_context(cafile: str | None = None) -> ssl.SSLContext:
    """A context that verifies the server against `cafile`, or whom this machine trusts.

    Whoever is named, by `cafile` or by `NESSSI_CA`, is trusted alone. OSError if none is there.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    named = cafile or os.environ.get("NESSSI_CA")
    if named:
        _trust(context, os.fspath(named))
        return context
    own = os.path.expanduser("~/.globus/certificates")
    directory = os.environ.get("X509_CERT_DIR") or (own if os.path.isdir(own) else _GRID_TRUST_DIRECTORY)
    if os.path.isdir(directory):
        _trust(context, directory)
    elif "X509_CERT_DIR" in os.environ:
        warnings.warn(f"X509_CERT_DIR names no directory: {directory}", CredentialWarning, stacklevel=4)
    context.load_default_certs()
    return context


def validity(pem: bytes) -> tuple[float, float] | None:
    """Begin and end (Unix seconds) of the first certificate in a PEM text to end; None if there is none."""
    found = []
    for one in _CERTIFICATE.finditer(pem):
        try:
            found.append(_validity(base64.b64decode(one.group(1))))
        except (ValueError, IndexError, binascii.Error):
            continue  # OpenSSL says what is wrong with it
    return min(found, key=lambda times: times[1], default=None)


def _load(
    context: ssl.SSLContext,
    certificate: str,
    key: str,
    key_pem: bytes,
    name: str,
    identity: tuple[Any, ...],
    passwd: str | None,
    callback: Callback | None,
) -> None:
    if not _ENCRYPTED.search(key_pem):
        _load_once(context, certificate, key, None, name)
        return
    # One at a time: two threads that need the same key ask its owner once.
    with _asking:
        known = passwd if passwd is not None else _remembered.get(identity)
        if known is not None:
            _load_once(context, certificate, key, known, name)
            return
        for left in range(PASSPHRASE_TRIES_MAX - 1, -1, -1):
            phrase = _ask(callback, name)
            try:
                _load_once(context, certificate, key, phrase, name)
            except WrongPassphrase:
                if not left:
                    raise
                if callback is None:
                    print("Wrong pass phrase, try again.", file=sys.stderr)
            else:
                _remembered[identity] = phrase
                return


def _load_once(
    context: ssl.SSLContext, certificate: str, key: str, phrase: str | None, name: str
) -> None:
    """Loads both; `phrase` is None for a key that is not encrypted."""
    try:
        context.load_cert_chain(certificate, key, lambda: phrase or "")
    except ssl.SSLError as wrong:
        reason = wrong.reason or "is it PEM?"
        if phrase is not None and reason != "KEY_VALUES_MISMATCH":
            raise WrongPassphrase(
                f"the certificate cannot be used: {name}: the key does not open with this pass phrase"
            ) from wrong
        if reason == "KEY_VALUES_MISMATCH":
            reason = "the key is not this certificate's"
        elif reason == "PEM_LIB" or reason == "NO_START_LINE":
            reason = "is it PEM, with certificate and key?"
        raise CredentialError(f"the certificate cannot be used: {name}: {reason}") from wrong
    except ValueError as wrong:  # a pass phrase of more than 1023 bytes
        raise WrongPassphrase(f"the certificate cannot be used: {name}: {wrong}") from wrong


def _ask(callback: Callback | None, name: str) -> str:
    if callback is not None:
        phrase = callback(*_arguments_due(callback))
        return phrase.decode() if isinstance(phrase, bytes) else phrase
    if sys.stdin is not None and sys.stdin.isatty():
        return getpass.getpass(f"Pass phrase of {name.rpartition(', ')[2]}: ")
    raise CredentialError(f"the key needs a pass phrase: give passwd or callback ({name})")


def _arguments_due(callback: Callback) -> list[int]:
    """The original's callbacks take a flag, whether the phrase is to be typed twice: it never is."""
    try:
        inspect.signature(callback).bind()
    except TypeError:
        return [0]
    except ValueError:
        pass
    return []


def _read(path: str) -> bytes:
    """The text of a PEM file; a word on what to do if it is PKCS#12."""
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except IsADirectoryError:
        raise CredentialError(f"the certificate cannot be used: {path} is a directory") from None
    if len(data) > FILE_BYTES_MAX:
        raise CredentialError(f"the certificate cannot be used: {path} is no certificate: it is too large")
    if b"-----BEGIN" not in data and (data[:1] == b"\x30" or path.lower().endswith((".p12", ".pfx"))):
        raise CredentialError(_convert(path))
    return data


def _convert(path: str) -> str:
    return (
        f"the certificate cannot be used: {path} is not PEM; if it is PKCS#12 (.p12, .pfx), convert it: "
        f"openssl pkcs12 -in {path} -clcerts -nokeys -out ~/.globus/usercert.pem && "
        f"openssl pkcs12 -in {path} -nocerts -out ~/.globus/userkey.pem && chmod 400 ~/.globus/userkey.pem"
    )


def _check_private(path: str, pem: bytes) -> None:
    """A key that others can read is no secret; ssh and the grid's tools refuse it too."""
    if not _KEY.search(pem):
        return
    found = os.stat(path)
    if found.st_uid not in (os.geteuid(), 0):
        raise CredentialError(f"the certificate cannot be used: {path} belongs to another user")
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        raise CredentialError(
            f"the certificate cannot be used: others may read {path} (mode {mode:04o}): chmod 600 {path}"
        )


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
        said = f"{path} is not used: it must be a file of yours with mode 0600"
        warnings.warn(said, CredentialWarning, stacklevel=7)
        return False
    return True


def _warn_of_end(pem: bytes, credential: Credential) -> None:
    times = validity(pem)
    if times is None:
        return
    begin, end = times
    left = end - time.time()
    if left > min(WARNING_SECONDS_MAX, (end - begin) / 10):
        return
    is_proxy = not credential.is_text and credential.certificate == credential.key
    name = "the certificate that was given" if credential.is_text else credential.certificate
    when = datetime.datetime.fromtimestamp(end, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    said = "expired" if left <= 0 else "expires"
    advice = "renew it: grid-proxy-init" if is_proxy else "renew it"
    warnings.warn(f"{name} {said} on {when}: {advice}", CredentialWarning, stacklevel=7)


class _private_file:
    """A file that nobody else can read, by its path: in memory alone where the system can."""

    def __init__(self, text: bytes) -> None:
        self._file: Any = None
        if hasattr(os, "memfd_create"):
            self._file = os.fdopen(os.memfd_create("nesssi"), "wb")
            self._path = f"/proc/self/fd/{self._file.fileno()}"
        if self._file is None or not os.path.exists(self._path):
            self._file = tempfile.NamedTemporaryFile()  # mode 0600
            self._path = self._file.name
        self._file.write(text)
        self._file.flush()

    def __enter__(self) -> str:
        return self._path

    def __exit__(self, *_: object) -> None:
        self._file.close()


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
                said = f"{name} in {path} is no CA certificate: {wrong}"
                warnings.warn(said, CredentialWarning, stacklevel=7)


def _validity(der: bytes) -> tuple[float, float]:
    """A certificate's validity (RFC 5280, section 4.1): of DER no more is read than it takes."""
    tbs = _inside(_inside(der))
    at = _end(tbs, 0) if tbs[0] == 0xA0 else 0  # the version
    for _ in range(3):  # serial number, signature's algorithm, issuer
        at = _end(tbs, at)
    times = _inside(tbs[at:])
    return _time(times), _time(times[_end(times, 0) :])


def _time(der: bytes) -> float:
    text = _inside(der).decode("ascii")
    if der[0] == 0x17:  # UTCTime: its years are 1950 to 2049
        text = ("19" if text[:2] >= "50" else "20") + text
    moment = datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ")
    return moment.replace(tzinfo=datetime.timezone.utc).timestamp()


def _header(der: bytes, at: int) -> tuple[int, int]:
    """Where the content of the element at `at` begins, and where it ends."""
    length = der[at + 1]
    if length < 0x80:
        return at + 2, at + 2 + length
    count = length & 0x7F
    if not 1 <= count <= 4:
        raise ValueError("a length that DER does not have")
    begin = at + 2 + count
    end = begin + int.from_bytes(der[at + 2 : begin], "big")
    if end > len(der):
        raise ValueError("a length beyond the end")
    return begin, end


def _inside(der: bytes) -> bytes:
    begin, end = _header(der, 0)
    return der[begin:end]


def _end(der: bytes, at: int) -> int:
    return _header(der, at)[1]
