"""What verbs are told, and what they tell while they run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import os


@dataclass(frozen=True, kw_only=True, slots=True)
class Tls:
    """How to speak TLS with etcd; each file is PEM.

    Attributes:
        cacert: The authority that signed the servers' certificates; `None` trusts the system's authorities.
        cert: The client's certificate, for servers that ask for one.
        key: The client's key; with `cert` or not at all.
        server_name: The name to expect in the servers' certificates, where it is not the endpoint's own host.
    """

    cacert: str | os.PathLike[str] | None = None
    cert: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    server_name: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a verb is; what a progress callback gets.

    Attributes:
        stage: `receive`: bytes come from a server. `read`: bytes of a snapshot are read out of its file, or keys and
            values out of a live cluster. `check`: pages of the database are checked. `write`: keys and values are
            written into a live cluster. `sync`: written files are put on stable storage.
        done: Bytes done in this stage.
        total: Bytes that this stage has, if that is known.
    """

    stage: Literal["receive", "read", "check", "write", "sync"]
    done: int
    total: int | None


class Handover(Protocol):
    """What a caller of `restore` has to do around the instant at which the directory takes its place."""

    def before(self) -> object:
        """Called when everything is written and proven, and nothing is in place: an exception stops the restore."""

    def after(self) -> object:
        """Called when the directory stands: an exception brings the old one back."""
