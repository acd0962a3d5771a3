"""The extension module: the Rust core behind the verbs. Private; `dcos_etcd.api` is the way in."""

import asyncio
from collections.abc import Callable
from typing import Any, Generic, Literal, TypeAlias, TypeVar, final

from dcos_etcd._access import Access
from dcos_etcd._rewrite import Rewrite
from dcos_etcd.models import Handover

_T = TypeVar("_T")
_Progress: TypeAlias = Callable[[Literal["receive", "read", "check", "write", "sync"], int, int | None], object]

__all__ = [
    "Comparison",
    "Cursor",
    "PutBackPlan",
    "Reader",
    "Table",
    "Work",
    "__version__",
    "ask",
    "backup",
    "compare",
    "diagnose",
    "in_use",
    "inspect",
    "leave",
    "make_snapshot",
    "member_list",
    "open",
    "plan_put_back",
    "restore",
    "status",
    "verify",
]

__version__: str

_Entry: TypeAlias = tuple[bytes, bytes, int, int, int, int]

@final
class Work(Generic[_T]):
    @property
    def lasts(self) -> str | None: ...
    def start(self) -> asyncio.Future[_T]: ...
    def stop(self) -> None: ...
    def tell(self) -> None: ...
    def wait(self) -> _T: ...

@final
class Table:
    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...

_Side: TypeAlias = tuple[int, bytes | None, int, int, int, int]

@final
class Comparison:
    @property
    def revisions(self) -> tuple[int, int]: ...
    def counts(self) -> dict[str, int]: ...
    def next(self, *, progress: _Progress | None) -> Work[list[tuple[Any, bytes, _Side | None, _Side | None]]]: ...
    def states(self) -> tuple[dict[str, Any] | None, dict[str, Any] | None]: ...

@final
class PutBackPlan:
    def about(self) -> dict[str, Any]: ...
    def applied(self) -> dict[str, Any] | None: ...
    def apply(self, *, progress: _Progress | None) -> Work[None]: ...
    def changes(self, first: int) -> list[tuple[Any, bytes, int, int]]: ...

@final
class Cursor:
    def keys(self) -> list[bytes]: ...
    def rows(self) -> list[_Entry]: ...

@final
class Reader:
    @property
    def closed(self) -> bool: ...
    def about(self) -> dict[str, Any]: ...
    def alarms(self) -> list[tuple[str, str]]: ...
    def arrow(
        self,
        *,
        prefix: bytes | None,
        start: bytes | None,
        end: bytes | None,
        revision: int | None,
        history: bool,
        keys_only: bool,
    ) -> Table: ...
    def auth_enabled(self) -> bool: ...
    def close(self) -> None: ...
    def cluster_version(self) -> str | None: ...
    def contains(self, key: bytes, revision: int | None) -> bool: ...
    def count(self, *, prefix: bytes | None, start: bytes | None, end: bytes | None, revision: int | None) -> int: ...
    def get(self, key: bytes, revision: int | None) -> _Entry | None: ...
    def hash_kv(self, *, revision: int | None, etcd_version: str | None) -> dict[str, int]: ...
    def history(self, key: bytes) -> list[_Entry]: ...
    def leases(self) -> list[tuple[int, int, int, list[bytes]]]: ...
    def members(self) -> list[tuple[str, str, list[str], list[str], bool]]: ...
    def range(
        self,
        *,
        prefix: bytes | None,
        start: bytes | None,
        end: bytes | None,
        revision: int | None,
        limit: int | None,
        keys_only: bool,
    ) -> Cursor: ...
    def resolve(self, revision: int) -> int: ...
    def roles(self) -> list[tuple[str, list[tuple[str, bytes, bytes]]]]: ...
    def size_in_use(self) -> int: ...
    def stats(
        self,
        *,
        prefix: bytes | None,
        start: bytes | None,
        end: bytes | None,
        revision: int | None,
        depth: int,
        top: int,
        spans: int,
    ) -> dict[str, Any]: ...
    def users(self) -> list[tuple[str, list[str], bool]]: ...

def ask(access: Access, *, prefix: bytes, revision: int | None) -> Work[int]: ...
def backup(
    path: str,
    *,
    access: Access,
    stall_timeout: float,
    compression: Literal["gzip", "zstd"] | None,
    max_rate: int | None,
    progress: _Progress | None,
) -> Work[dict[str, Any]]: ...
def compare(
    a: Reader | Access,
    b: Reader | Access,
    *,
    prefix: bytes,
    revision_a: int | None,
    revision_b: int | None,
    values: bool,
    state: bool,
    progress: _Progress | None,
) -> Work[Comparison]: ...
def diagnose(*, access: Access, expect: list[str]) -> Work[dict[str, Any]]: ...
def in_use(data_dir: str, *, wal_dir: str | None) -> str | None: ...
def inspect(data_dir: str, *, wal_dir: str | None, pages: bool, progress: _Progress | None) -> dict[str, Any]: ...
def leave() -> None: ...
def make_snapshot(path: str, changes: list[tuple[bytes, bytes | None]]) -> int: ...
def member_list(*, access: Access) -> Work[dict[str, Any]]: ...
def open(path: str, *, progress: _Progress | None) -> Work[Reader]: ...  # noqa: A001 - a snapshot is opened
def plan_put_back(
    reader: Reader,
    *,
    access: Access,
    prefix: bytes,
    revision: int | None,
    delete_extra: bool,
    skip_hash_check: bool,
    progress: _Progress | None,
) -> Work[PutBackPlan]: ...
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
) -> Work[dict[str, Any]]: ...
def status(path: str, *, progress: _Progress | None) -> Work[dict[str, Any]]: ...
def verify(path: str, *, skip_hash_check: bool, progress: _Progress | None) -> Work[dict[str, Any]]: ...
