"""TLS between the daemon and those who talk to it, on both ends.

The daemon file, which only its owner can read, holds the fingerprint of the daemon's certificate. Who reads the token
there reads the fingerprint too and trusts that certificate alone: nobody has to sign it, and whatever it says of names
and dates is of no importance. Browsers know nothing of that file; to them it is a certificate like any other.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import re
import ssl
from dataclasses import dataclass
from pathlib import Path

from .errors import ConfigError
from .paths import NotPrivate, read_private

HOW_TO = "openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=ipymesos -keyout key.pem -out cert.pem"
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of a certificate in DER, in hex."""
    return hashlib.sha256(certificate).hexdigest()


@dataclass(frozen=True)
class Identity:
    """What a server shows to prove who it is."""

    context: ssl.SSLContext
    fingerprint: str


def identity(certfile: str, keyfile: str) -> Identity | None:
    """From the options of these names; None if they are empty. ConfigError names the option, and the cure if any."""
    if not certfile and not keyfile:
        return None
    if not certfile:
        raise ConfigError(f"keyfile: {keyfile!r} goes with no certificate; name the certfile whose key it is")
    name, secret = ("keyfile", Path(keyfile)) if keyfile else ("certfile", Path(certfile))
    try:
        read_private(secret.expanduser())
    except NotPrivate as error:
        raise ConfigError(f"{name}: {secret} holds a private key, and {error}") from None
    except OSError as error:
        raise ConfigError(f"{name}: {secret} can't be read: {error.strerror}") from None
    return _load(name, Path(certfile).expanduser(), secret.expanduser())


def _load(name: str, certfile: Path, keyfile: Path) -> Identity:
    try:
        found = _CERTIFICATE.search(certfile.read_text("ascii", "replace"))
        shown = fingerprint(ssl.PEM_cert_to_DER_cert(found[0])) if found else ""
    except OSError as error:
        raise ConfigError(f"certfile: {certfile} can't be read: {error.strerror}") from None
    except ValueError:
        shown = ""
    if not shown:
        raise ConfigError(f"certfile: {certfile} holds no certificate in PEM; to make one: {HOW_TO}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certfile, keyfile, password=_no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        why = "the key is encrypted, and nobody is there to be asked" if isinstance(error, _Encrypted) else error
        raise ConfigError(f"{name}: certificate and key can't be used: {why}; to make some: {HOW_TO}") from None
    return Identity(context, shown)


class _Encrypted(ValueError):
    pass


def _no_password() -> str:
    raise _Encrypted  # else OpenSSL asks the terminal


class PinnedConnection(http.client.HTTPSConnection):
    """HTTPS to whoever shows the certificate with this fingerprint. Nothing is sent to anybody else."""

    def __init__(self, host: str, port: int | None, pinned: str, timeout: float) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the fingerprint is stricter than any chain: see connect()
        super().__init__(host, port, timeout=timeout, context=context)
        self._pinned = pinned

    def connect(self) -> None:
        super().connect()
        shown = self.sock.getpeercert(binary_form=True)
        if not hmac.compare_digest(fingerprint(shown or b""), self._pinned):
            self.close()
            raise ssl.SSLCertVerificationError("the certificate there isn't the one in the daemon file")
