"""The flags of `etcdctl` as Python values: durations, booleans, and the `ETCDCTL_*` variables behind them."""

from __future__ import annotations

import argparse
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dcos_etcd._access import COMMAND_TIMEOUT, DIAL_TIMEOUT, FASTEST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "UsageError",
    "add_cluster_flags",
    "cluster_arguments",
    "duration",
    "given_to_choose_servers",
    "rate",
    "read_boolean",
    "settle_booleans",
]

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_RATE = re.compile(r"(\d+\.?\d*|\.\d+)(k|K|Ki|M|Mi|G|Gi)?B?", re.ASCII)
_MULTIPLES = {
    "": 1,
    "k": 1000,
    "K": 1000,
    "Ki": 1 << 10,
    "M": 1000**2,
    "Mi": 1 << 20,
    "G": 1000**3,
    "Gi": 1 << 30,
}
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class UsageError(Exception):
    """The command line or the environment makes no sense; exit status 2."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def duration(text: str) -> float:
    """Read a duration of Go, such as `5s`, `1m30s` or `500ms`, into seconds."""
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; write 5s, 1m30s or 500ms")
    total = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if total <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time limit; it must be more than 0")
    return total


def rate(text: str) -> int:
    """Read bytes a second, such as `20MiB`, `1.5G` or `800k`: `k` is 1000, `Ki` is 1024."""
    parts = _RATE.fullmatch(text)
    if not parts:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate; write 20MiB, 1.5G or 500000: bytes a second")
    total = float(parts[1]) * _MULTIPLES[parts[2] or ""]
    if not 1 <= total < FASTEST:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate; it must be at least one byte a second, and below 2^64")
    return int(total)


def read_boolean(text: str) -> bool:
    """Read a boolean as Go's flags do."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def _boolean_flags(parser: argparse.ArgumentParser) -> frozenset[str]:
    """Name the flags that say yes by being there, in the program and in all its commands."""
    flags: set[str] = set()
    for action in parser._actions:
        if action.nargs == 0 and action.const is True:
            flags.update(option for option in action.option_strings if option.startswith("--"))
        commands: dict[str, argparse.ArgumentParser] | None = getattr(action, "choices", None)
        if isinstance(commands, dict):
            for command in commands.values():
                flags |= _boolean_flags(command)
    return frozenset(flags)


def settle_booleans(arguments: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """Spell `--skip-hash-check=true` as the bare flag, and drop it when it says false: etcdutl's flags take both."""
    boolean = _boolean_flags(parser)
    settled: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            settled += [argument, *rest]
            break
        flag, equals, value = argument.partition("=")
        if not equals or flag not in boolean:
            settled.append(argument)
            continue
        try:
            wanted = read_boolean(value)
        except ValueError as error:
            raise UsageError(f"argument {flag}: {error}") from None
        if wanted:
            settled.append(flag)
    return settled


@dataclass(frozen=True)
class _Flag:
    """A cluster flag; its variable is `ETCDCTL_` and its name."""

    name: str
    metavar: str
    help: str
    variable: bool = True

    @property
    def dest(self) -> str:
        return self.name.replace("-", "_")


_CLUSTER_FLAGS = (
    _Flag("endpoints", "URL,...", "members to talk to; may be given again (default http://127.0.0.1:2379)"),
    _Flag("cacert", "FILE", "trust servers that this CA signed (PEM)"),
    _Flag("cert", "FILE", "this client's certificate (PEM)"),
    _Flag("key", "FILE", "this client's key (PEM)"),
    _Flag("server-name", "NAME", "name to expect in the servers' certificates", variable=False),
    _Flag("user", "NAME[:PASSWORD]", "user; without a password, it is asked for on a terminal"),
    _Flag("password", "PASSWORD", "password of --user; others on this machine can see it, the variable they cannot"),
    _Flag("dial-timeout", "DURATION", "limit for one connection, such as 500ms or 1m30s (default 2s)"),
    _Flag("command-timeout", "DURATION", "limit for one request (default 5s)"),
)


def add_cluster_flags(parser: argparse.ArgumentParser, *, before_command: bool = False) -> None:
    """Add etcdctl's flags; they may stand before the command too, where help does not repeat them."""
    about = "Each but --server-name has a variable: --dial-timeout is ETCDCTL_DIAL_TIMEOUT."
    group: argparse._ActionsContainer = parser if before_command else parser.add_argument_group("cluster flags", about)
    for flag in _CLUSTER_FLAGS:
        options: dict[str, Any] = {"metavar": flag.metavar, "default": argparse.SUPPRESS, "help": flag.help}
        if before_command:
            options["help"] = argparse.SUPPRESS
        if flag.name == "endpoints":
            # Another destination, since a subcommand's list would replace this one.
            options |= {"action": "append", "dest": "endpoints_before" if before_command else "endpoints"}
        if flag.name.endswith("-timeout"):
            options["type"] = duration
        group.add_argument(f"--{flag.name}", **options)


def cluster_arguments(flags: argparse.Namespace, environment: Mapping[str, str]) -> dict[str, Any]:
    """Make keyword arguments of the networked verbs: a flag wins over its variable, that over the default."""
    _refuse_unsupported(environment)
    values: dict[str, Any] = {}
    for flag in _CLUSTER_FLAGS:
        value: Any = getattr(flags, flag.dest, None)
        variable = f"ETCDCTL_{flag.dest.upper()}"
        if flag.name == "endpoints":
            value = [*getattr(flags, "endpoints_before", []), *(value or [])] or None
        if value is None and flag.variable and environment.get(variable):
            value = _from_variable(flag, variable, environment[variable])
        values[flag.dest] = value
    arguments = {"tls": _tls(values), "user": _user(values)}
    if values["endpoints"] is not None:
        arguments["endpoints"] = [piece.strip() for text in values["endpoints"] for piece in text.split(",")]
    arguments["dial_timeout"] = values["dial_timeout"] or DIAL_TIMEOUT
    arguments["command_timeout"] = values["command_timeout"] or COMMAND_TIMEOUT
    return arguments


def given_to_choose_servers(arguments: Mapping[str, Any]) -> list[str]:
    """Name the flags, or those whose variables, say which servers are asked and how."""
    flags = {"endpoints": "--endpoints", "tls": "--cacert", "user": "--user"}
    return [flag for name, flag in flags.items() if arguments.get(name) is not None]


def _from_variable(flag: _Flag, variable: str, text: str) -> Any:  # noqa: ANN401 - what the flag would give
    if flag.name == "endpoints":
        return [text]
    if flag.name.endswith("-timeout"):
        try:
            return duration(text)
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"{variable}: {error}") from None
    return text


# What a variable would change, and what to do instead. Ignoring one would talk to other servers, or to servers in
# another manner, than its owner asked for.
_UNSUPPORTED = {
    "ETCDCTL_INSECURE_SKIP_TLS_VERIFY": (
        "false",
        "name the CA with --cacert, or the certificate's name by --server-name",
    ),
    "ETCDCTL_INSECURE_TRANSPORT": ("true", "an endpoint with https:// is reached by TLS, one with http:// without"),
    "ETCDCTL_DISCOVERY_SRV": ("", "name the members with --endpoints"),
    "ETCDCTL_DISCOVERY_SRV_NAME": ("", "name the members with --endpoints"),
    "ETCDCTL_API": ("3", "etcd's second API is not spoken here"),
}


def _refuse_unsupported(environment: Mapping[str, str]) -> None:
    for variable, (harmless, hint) in _UNSUPPORTED.items():
        text = environment.get(variable, "")
        if text in ("", harmless):
            continue
        if harmless in ("true", "false"):
            try:
                if read_boolean(text) == read_boolean(harmless):
                    continue
            except ValueError as error:
                raise UsageError(f"{variable}: {error}") from None
        raise UsageError(f"{variable}={text} is not supported", f"unset it; {hint}")


def _tls(values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a Tls, whose module is loaded only when one is made
    if bool(values["cert"]) != bool(values["key"]):
        given, missing = ("--cert", "--key") if values["cert"] else ("--key", "--cert")
        raise UsageError(f"{given} needs {missing}")
    if not any(values[name] for name in ("cacert", "cert", "server_name")):
        return None
    from dcos_etcd.models import Tls  # noqa: PLC0415 - help and offline verbs need none

    return Tls(**{name: values[name] for name in ("cacert", "cert", "key", "server_name")})


def _user(values: Mapping[str, Any]) -> tuple[str, str] | None:
    user, password = values["user"], values["password"]
    if not user:
        if password:
            raise UsageError("--password needs --user")
        return None
    if password is not None:
        return user, password
    name, colon, password = user.partition(":")
    return name, password if colon else _ask(name)


def _ask(name: str) -> str:
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        raise UsageError(
            f"no password for user {name!r}, and no terminal to ask for it", "set ETCDCTL_PASSWORD"
        ) from None
    os.close(terminal)
    from getpass import getpass  # noqa: PLC0415 - only where a password is asked for

    return getpass(f"Password for {name}: ")
