"""Certificates for servers and clients on loopback."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from dcos_etcd.models import Tls


@dataclass(frozen=True)
class Certificates:
    """An authority of its own, a certificate for servers on 127.0.0.1 and one for clients, as PEM files."""

    ca: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path

    @classmethod
    def create(cls, directory: str | os.PathLike[str], client_name: str = "root") -> Certificates:
        """Make new ones in a directory.

        Args:
            directory: Made when it does not exist.
            client_name: Common name of the client's certificate: the user that etcd takes it for.

        Raises:
            ImportError: trustme is not installed.
        """
        try:
            import trustme  # noqa: PLC0415 - only TLS tests need it
        except ImportError as error:
            raise ImportError("certificates for tests need the package trustme: pip install trustme") from error

        into = Path(directory)
        into.mkdir(parents=True, exist_ok=True)
        made = cls(*(into / f"{name}.pem" for name in ("ca", "server", "server-key", "client", "client-key")))
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(made.ca))
        for cert, cert_path, key_path in (
            (authority.issue_cert("127.0.0.1", "localhost"), made.server_cert, made.server_key),
            (authority.issue_cert("127.0.0.1", common_name=client_name), made.client_cert, made.client_key),
        ):
            cert.cert_chain_pems[0].write_to_path(str(cert_path))
            cert.private_key_pem.write_to_path(str(key_path))
            key_path.chmod(0o600)
        return made

    @property
    def tls(self) -> Tls:
        """What the verbs of `dcos_etcd` take."""
        from dcos_etcd.models import Tls  # noqa: PLC0415 - the servers can do without the rest of the package

        return Tls(cacert=self.ca, cert=self.client_cert, key=self.client_key)

    def context(self) -> ssl.SSLContext:
        """A client's settings for the standard library."""
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(self.client_cert, self.client_key)
        return context
