"""Certificates as a user makes them."""

from __future__ import annotations

import subprocess
from pathlib import Path


def certificate(folder: Path, *more: str) -> tuple[Path, Path]:
    """A self-signed certificate and its key, made by openssl; `more` are further arguments."""
    folder.mkdir(parents=True, exist_ok=True)
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-days", "2", "-subj", "/CN=ipymesos"]
    command += ["-keyout", str(key), "-out", str(cert), *(more or ("-nodes",))]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    key.chmod(0o600)
    return cert, key
