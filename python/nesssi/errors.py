"""What can go wrong before there is an answer. Each says which server, and what may be done.

    TransportError          a ConnectionError: no answer came
      CannotConnect         nothing was sent: no such host, nobody listens
      ServerNotTrusted      the server's certificate was refused by this client: nothing was sent
      CertificateRejected   the server ended the handshake over our certificate: nothing was done
      ReplyLost             the call was sent, and the answer did not come: it may have been carried out
      TimedOut              too slow; it may have been carried out (also a TimeoutError)
      BadReply              the answer is none, or beyond a bound (also a ValueError)
    CredentialError         a ValueError: the certificate or key cannot be used
      NoCredential          there is none (also a FileNotFoundError)
      WrongPassphrase       the key's pass phrase

    >>> error = CannotConnect("localhost", 8443, "connection refused", "is the server running?")
    >>> print(error)
    localhost:8443: connection refused; is the server running?
    >>> error.host, error.port, error.advice
    ('localhost', 8443, 'is the server running?')
"""

from __future__ import annotations

import socket
import ssl


class TransportError(ConnectionError):
    """No answer came from `host`, `port`; `reason` says why and `advice` what may be done."""

    def __init__(self, host: str, port: int, reason: str, advice: str = "") -> None:
        super().__init__(host, port, reason, advice)
        self.host = host
        self.port = port
        self.reason = reason
        self.advice = advice

    def __str__(self) -> str:
        said = f"{self.host}:{self.port}: {self.reason}"
        return f"{said}; {self.advice}" if self.advice else said


class CannotConnect(TransportError):
    """There is no connection: nothing was sent."""


class ServerNotTrusted(TransportError):
    """The server could not prove who it is: nothing was sent."""


class CertificateRejected(TransportError):
    """The server ended the handshake over the certificate that was shown, or over its absence."""


class ReplyLost(TransportError):
    """The call was sent and its reply did not come: it may have been carried out, or not.

    `tag` is the call's tag, if it had one: `system.last_call(tag)` tells what became of it.
    """

    tag: str | None = None


class TimedOut(TransportError, TimeoutError):
    """The server did not answer in time. A call may have been carried out nevertheless.

    `tag` is the call's tag, if it had one.
    """

    tag: str | None = None


class BadReply(TransportError, ValueError):
    """What came is no answer to what was asked, or goes beyond a bound of this client."""


class CredentialError(ValueError):
    """The certificate or its key cannot be used; the text says which file, and what may be done."""


class NoCredential(CredentialError, FileNotFoundError):
    """No certificate was found; the text says where it was looked for."""


class WrongPassphrase(CredentialError):
    """The key could not be decrypted with the pass phrase that was given."""


class CredentialWarning(UserWarning):
    """Something about a certificate that a person should know: it ends soon, it is not used."""


_OF_TRUST = (
    "the CA that signed it must be in cafile, NESSSI_CA or the directory X509_CERT_DIR "
    "(else ~/.globus/certificates, /etc/grid-security/certificates)"
)


def of_connecting(wrong: BaseException, host: str, port: int) -> TransportError:
    """What went wrong while a connection was made."""
    if isinstance(wrong, TransportError):
        return wrong
    if isinstance(wrong, ssl.SSLCertVerificationError):
        return _of_verification(wrong, host, port)
    if isinstance(wrong, ssl.SSLError):
        rejected = _of_alert(wrong, host, port)
        return rejected or CannotConnect(host, port, f"TLS failed: {said(wrong)}", "is it an https port?")
    if isinstance(wrong, socket.gaierror):
        return CannotConnect(host, port, f"no such host: {wrong.strerror}", "is the name right?")
    if isinstance(wrong, ConnectionRefusedError):
        return CannotConnect(host, port, "connection refused", "is the server running, on this port?")
    if isinstance(wrong, TimeoutError):
        return CannotConnect(host, port, "no connection within the time", "is there a firewall?")
    return CannotConnect(host, port, f"no connection: {said(wrong)}")


def of_exchange(wrong: BaseException, host: str, port: int) -> TransportError:
    """What went wrong after something had been sent."""
    if isinstance(wrong, TransportError):
        return wrong
    rejected = _of_alert(wrong, host, port) if isinstance(wrong, ssl.SSLError) else None
    return rejected or ReplyLost(
        host,
        port,
        f"the connection ended before the reply came ({said(wrong)})",
        "the call may have been carried out; see job.list before you make it again",
    )


def _of_verification(wrong: ssl.SSLCertVerificationError, host: str, port: int) -> TransportError:
    message = wrong.verify_message or said(wrong)
    if "expired" in message:
        advice = "the server's administrator must renew it (or this machine's clock is wrong)"
    elif "not yet valid" in message:
        advice = "is this machine's clock right?"
    elif "mismatch" in message or "doesn't match" in message:
        advice = "call the server by a name that is in its certificate"
    else:
        advice = _OF_TRUST
    return ServerNotTrusted(host, port, f"the server's certificate is refused: {message}", advice)


def _of_alert(wrong: ssl.SSLError, host: str, port: int) -> TransportError | None:
    """The server's reason, if it ended the connection with an alert about a certificate."""
    name = (wrong.reason or "").upper()
    if "ALERT" not in name or not ("CERT" in name or "UNKNOWN_CA" in name):
        return None
    if "EXPIRED" in name:
        advice = "renew it (a proxy: grid-proxy-init)"
    elif "UNKNOWN_CA" in name:
        advice = "the server does not trust who issued it"
    elif "REQUIRED" in name:
        advice = "this server answers nobody without one: leave guest out"
    else:
        advice = "ask the server's administrator, whose log says more"
    words = name.split("ALERT_", 1)[-1].lower().replace("_", " ")
    return CertificateRejected(host, port, f"the server rejects the certificate: {words}", advice)


def said(wrong: BaseException) -> str:
    """What an exception says, its name if it says nothing."""
    return str(wrong) or type(wrong).__name__
