"""Which process of pytest-xdist gets which tests."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

APART = ("tests/dcos/", "tests/test_docs.py::")
"""Where tests take long and share nothing but what the workshop makes."""

TOGETHER = ("tests/dcos/test_kills.py",)
"""Where they share what one process has, all the same."""


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Files go to one worker each, for what their tests share; where they share nothing, tests do."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(APART) and not nodeid.startswith(TOGETHER):
            return nodeid
        return nodeid.partition("::")[0]
