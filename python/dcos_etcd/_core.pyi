"""The extension module: the Rust core behind the verbs. Private; `dcos_etcd.api` is the way in."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from dcos_etcd._access import Access
from dcos_etcd._rewrite import Rewrite
from dcos_etcd.models import Handover

_Progress: TypeAlias = Callable[[Literal["receive", "read", "check", "write", "sync"], int, int | None], object]

__all__ = [
    "__version__",
    "backup",
    "diagnose",
    "in_use",
    "inspect",
    "member_list",
    "restore",
    "status",
    "verify",
]

__version__: str

def backup(
    path: str,
    *,
    access: Access,
    stall_timeout: float,
    compression: Literal["gzip", "zstd"] | None,
    progress: _Progress | None,
) -> dict[str, Any]: ...
def diagnose(*, access: Access, expect: list[str]) -> dict[str, Any]: ...
def in_use(data_dir: str, *, wal_dir: str | None) -> str | None: ...
def inspect(data_dir: str, *, wal_dir: str | None, pages: bool, progress: _Progress | None) -> dict[str, Any]: ...
def member_list(*, access: Access) -> dict[str, Any]: ...
def restore(
    path: str,
    *,
    data_dir: str,
    wal_dir: str | None,
    existing: str,
    carry_over: list[str],
    owner: tuple[int, int] | None,
    handover: Handover | None,
    name: str,
    initial_cluster: str,
    initial_advertise_peer_urls: str,
    initial_cluster_token: str,
    derive_token: bool,
    bump_revision: int | None,
    mark_compacted: bool,
    rewrite: Rewrite,
    skip_hash_check: bool,
    dry_run: bool,
    progress: _Progress | None,
) -> dict[str, Any]: ...
def status(path: str, *, progress: _Progress | None) -> dict[str, Any]: ...
def verify(path: str, *, skip_hash_check: bool, progress: _Progress | None) -> dict[str, Any]: ...
