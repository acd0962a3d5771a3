"""What the machine is, and who the masters are."""

from __future__ import annotations

from pathlib import Path

import pytest

import dcos_etcd
from dcos_etcd import dcos
from dcos_etcd.dcos import _masters, _profile
from dcos_profile.master import MASTERS, OWNER, Machine, MesosDns

# What the machine is.


def test_the_machine_tells_address_variant_and_certificates(tmp_path: Path) -> None:
    profile = _profile.read(Machine(tmp_path, "10.93.0.7", "enterprise").root)

    assert (profile.address, profile.enterprise) == ("10.93.0.7", True)
    assert profile.endpoint("10.93.0.7") == "https://10.93.0.7:2379"
    assert profile.tls == dcos_etcd.Tls(
        cacert=tmp_path / "run/dcos/pki/CA/ca-bundle.crt",
        cert=tmp_path / "run/dcos/pki/tls/certs/etcd-client-root.crt",
        key=tmp_path / "run/dcos/pki/tls/private/etcd-client-root.key",
    )
    assert _profile.owner(profile) == OWNER


def test_by_default_the_paths_are_those_of_dcos(tmp_path: Path) -> None:
    open_one = _profile.Profile(
        root=Path("/"), address="10.0.0.1", enterprise=False, number=None, mesos_dns=_profile.MESOS_DNS
    )

    assert open_one.tls is None
    assert open_one.endpoint(_profile.LEADER) == "http://master.dcos.thisdcos.directory:2379"
    assert [str(path) for path in (open_one.data_dir, open_one.initial_nodes, open_one.initial_state)] == [
        "/var/lib/dcos/etcd/default.etcd",
        "/var/lib/dcos/etcd/initial-nodes",
        "/var/lib/dcos/etcd/initial-state",
    ]
    assert not dcos.is_master(tmp_path)


@pytest.mark.parametrize(
    ("path", "content", "complaint"),
    [
        ("opt/mesosphere/bin/detect_ip", "#!/bin/sh\necho fd00::1\n", "IPv4 addresses alone"),
        ("opt/mesosphere/bin/detect_ip", "#!/bin/sh\necho none\n", "'none', which is no IP address"),
        ("opt/mesosphere/bin/detect_ip", "#!/bin/sh\necho broken >&2; exit 3\n", "ended with status 3: broken"),
        ("opt/mesosphere/etc/expanded.config.json", "{}", "does not tell dcos_variant"),
        ("opt/mesosphere/etc/expanded.config.json", '{"dcos_variant": "odd"}', "neither open nor enterprise"),
    ],
)
def test_a_machine_that_does_not_say_what_it_must_is_an_error(
    machine: Machine, path: str, content: str, complaint: str
) -> None:
    machine.write(path, content, 0o755)

    with pytest.raises(dcos_etcd.DcosError, match=complaint):
        _profile.read(machine.root)


# Who the masters are.


def found(machine: Machine, given: str | None = None, *, lenient: bool = False) -> _masters.Masters:
    return _masters.find(_profile.read(machine.root), given, lenient=lenient)


def test_mesos_dns_and_the_file_agree_in_whatever_order(machine: Machine, mesos_dns: MesosDns) -> None:
    machine.nodes(*MASTERS)
    mesos_dns.names(*reversed(MASTERS))

    assert found(machine) == _masters.Masters(addresses=MASTERS, source="Mesos-DNS")


def test_mesos_dns_alone_is_enough(machine: Machine, mesos_dns: MesosDns) -> None:
    mesos_dns.names("10.93.0.10", "10.93.0.9")

    assert found(machine).addresses == ("10.93.0.9", "10.93.0.10")


def test_a_file_from_before_the_others_joined_is_no_contradiction(machine: Machine) -> None:
    machine.nodes(MASTERS[0])
    known = found(machine)

    assert known.addresses == MASTERS
    assert "names 10.93.0.1 alone, Mesos-DNS 10.93.0.1, 10.93.0.2, 10.93.0.3" in known.warnings[0]


@pytest.mark.parametrize(
    "noted", [("10.93.0.1", "10.93.0.2", "10.93.0.4"), ("10.93.0.2", "10.93.0.3"), (*MASTERS, "10.93.0.4")]
)
def test_two_sources_that_disagree_are_an_error_that_shows_both(machine: Machine, noted: tuple[str, ...]) -> None:
    machine.nodes(*noted)

    with pytest.raises(dcos_etcd.DcosError, match="not clear who the masters are") as caught:
        found(machine)

    assert f"Mesos-DNS says {', '.join(MASTERS)}" in str(caught.value)
    assert f"initial-nodes says {', '.join(noted)}" in str(caught.value)
    assert "--masters" in str(caught.value)


def test_what_the_operator_says_decides_and_what_others_say_is_told(machine: Machine) -> None:
    machine.nodes("10.93.0.1")
    known = found(machine, "10.93.0.1, 10.93.0.5")

    assert (known.addresses, known.source) == (("10.93.0.1", "10.93.0.5"), "--masters")
    assert len(known.warnings) == 2
    assert found(machine, ",".join(MASTERS)).warnings == (
        f"--masters says {', '.join(MASTERS)}, {machine.state_dir / 'initial-nodes'} says 10.93.0.1: --masters decides",
    )


@pytest.mark.parametrize("given", ["", "10.93.0.1,host", "fd00::1"])
def test_what_the_operator_says_must_be_addresses(machine: Machine, given: str) -> None:
    with pytest.raises(dcos_etcd.InvalidArgumentError, match="--masters"):
        found(machine, given)


@pytest.mark.parametrize("answer", ["[]", '[{"host":"","ip":""}]', "not json", '{"ip": 3}', '[{"ip": "x"}]'])
def test_the_file_stands_in_for_a_mesos_dns_that_does_not_tell(
    machine: Machine, mesos_dns: MesosDns, answer: str
) -> None:
    machine.nodes(*MASTERS)
    mesos_dns.answer = answer
    known = found(machine)

    assert (known.addresses, known.source) == (MASTERS, str(machine.state_dir / "initial-nodes"))
    assert "Mesos-DNS did not tell the masters" in known.warnings[0]


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[{",
        b"",
        b"HTTP/1.1 200 OK\r\n" * 200,
    ],
    ids=["no HTTP", "half", "nothing", "endless headers"],
)
def test_what_is_no_whole_answer_is_none(machine: Machine, mesos_dns: MesosDns, raw: bytes) -> None:
    machine.nodes(*MASTERS)
    mesos_dns.raw = raw

    known = found(machine)

    assert known.addresses == MASTERS
    assert "Mesos-DNS did not tell the masters" in known.warnings[0]


def test_a_number_of_masters_that_mesos_dns_does_not_reach_is_an_error(machine: Machine, mesos_dns: MesosDns) -> None:
    """One mesos-master is down: a restore for the others would leave its etcd out."""
    machine.configure(num_masters="3")
    mesos_dns.names(*MASTERS[:2])

    with pytest.raises(dcos_etcd.DcosError, match=r"there are 3 masters; say it with --masters") as caught:
        found(machine)
    assert f"Mesos-DNS says {', '.join(MASTERS[:2])};" in str(caught.value)

    mesos_dns.names(*MASTERS)
    assert found(machine) == _masters.Masters(addresses=MASTERS, source="Mesos-DNS")
    mesos_dns.names(*MASTERS[:2])
    known = found(machine, ",".join(MASTERS[:2]))
    assert (known.addresses, len(known.warnings)) == (MASTERS[:2], 1)
    assert known.warnings[0].endswith("says there are 3 masters: --masters decides")


def test_a_member_of_the_old_data_that_mesos_dns_lacks_is_an_error_unless_it_was_replaced(
    machine: Machine, mesos_dns: MesosDns, archive: Path
) -> None:
    machine.old_data(archive, *MASTERS)
    mesos_dns.names(*MASTERS[:2])
    with pytest.raises(dcos_etcd.DcosError, match=f"default.etcd says {', '.join(MASTERS)}; say it with --masters"):
        found(machine)

    # Replaced for good, so there are three again.
    machine.configure(num_masters="3")
    now = (*MASTERS[:2], "10.93.0.4")
    mesos_dns.names(*now)
    known = found(machine)
    assert (known.addresses, len(known.warnings)) == (now, 1)
    assert "default.etcd knows 10.93.0.3 too, Mesos-DNS names 10.93.0.1, 10.93.0.2, 10.93.0.4" in known.warnings[0]

    # It joined after this data was written.
    machine.configure()
    mesos_dns.names(*MASTERS, "10.93.0.4")
    assert found(machine).warnings == ()


def test_who_only_looks_takes_every_master_that_is_named_or_as_many_as_there_are(
    machine: Machine, mesos_dns: MesosDns, archive: Path
) -> None:
    machine.configure(num_masters="3")
    machine.nodes(*MASTERS)
    mesos_dns.names(*MASTERS[:2])
    known = found(machine, lenient=True)
    assert (known.addresses, len(known.warnings)) == (MASTERS, 1)
    assert known.source == f"Mesos-DNS and {machine.state_dir / 'initial-nodes'}"
    assert "there are 3 masters" in known.warnings[0]

    now = (*MASTERS[:2], "10.93.0.4")
    mesos_dns.names(*now)
    known = found(machine, lenient=True)
    assert (known.addresses, known.source, len(known.warnings)) == (now, "Mesos-DNS", 1)

    mesos_dns.answer = "[]"
    machine.old_data(archive, *now)
    known = found(machine, lenient=True)
    assert (known.addresses, len(known.warnings)) == ((*MASTERS, "10.93.0.4"), 2)


@pytest.mark.usefixtures("no_mesos_dns")
def test_with_nobody_to_tell_the_operator_is_asked(machine: Machine) -> None:
    with pytest.raises(dcos_etcd.DcosError, match=r"Connection refused.*initial-nodes.*give --masters"):
        found(machine)
    machine.write("var/lib/dcos/etcd/initial-nodes", "rubbish")
    with pytest.raises(dcos_etcd.DcosError, match="holds 'rubbish'"):
        found(machine)


@pytest.mark.usefixtures("no_mesos_dns")
def test_a_file_that_the_old_data_contradicts_is_an_error(machine: Machine, archive: Path) -> None:
    machine.old_data(archive, *MASTERS)
    machine.nodes(MASTERS[0])

    with pytest.raises(dcos_etcd.DcosError, match="not clear who the masters are") as caught:
        found(machine)
    assert f"default.etcd says {', '.join(MASTERS)}" in str(caught.value)

    machine.nodes(*MASTERS)
    assert found(machine).addresses == MASTERS
