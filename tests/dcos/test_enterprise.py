"""The enterprise variant: clients and peers by mutual TLS, authentication enabled, etcd's root by certificate."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import trustme

from dcos.bed import BACKUPS, CA, CLIENT_CERT, CLIENT_KEY
from dcos.procedures import ARCHIVE, OLD_ARCHIVE, check_cluster, check_diagnostic, check_owners, restore_all
from scenario import capture

if TYPE_CHECKING:
    from collections.abc import Callable

    from dcos.bed import Bed, Master
    from dcos.procedures import Past

    Resume = Callable[..., tuple[Bed, Past]]


@pytest.mark.parametrize("archive", [ARCHIVE, OLD_ARCHIVE], ids=["ours", "the former tool's"])
def test_a_restore_brings_the_state_users_and_roles_back(resume: Resume, archive: str) -> None:
    bed, past = resume(3, "enterprise")
    assert "https://master.dcos.thisdcos.directory:2379" in past.backup_said
    assert past.state.users == {"root": ("root",), "alice": ("reader",)}
    bed.start()
    assert capture(bed.leader) == past.later

    bed.stop()
    restore_all(bed, archive)
    bed.each(check_owners)
    bed.start()

    check_cluster(bed, past.state)
    anonymous = bed.leader.machine.run("etcdctl", f"--endpoints={bed.leader.client_url}", f"--cacert={CA}", "get", "a")
    assert anonymous.returncode != 0
    for said in bed.each(lambda master: check_diagnostic(master, healthy=True)):
        assert [m.name for m in bed.masters] == sorted(member["name"] for member in said["members"])
        assert all(facts["hash_kv"] for facts in said["endpoints"])


def test_the_local_member_gives_the_backup_when_the_leader_is_down(resume: Resume) -> None:
    bed, past = resume(3, "enterprise")
    bed.start(bed.masters[1:])
    archive = f"{BACKUPS}/second.tar.gz"

    done = bed.masters[2].cli("backup", archive)

    assert done.returncode == 0, done.stderr
    assert f"taken from {bed.masters[2].client_url}" in done.stderr
    bed.stop()
    bed.spread(bed.masters[2], archive)
    restore_all(bed, archive)
    bed.start()
    check_cluster(bed, past.later)


def of_a_stranger(master: Master) -> None:
    """Signed by an authority that this cluster does not know."""
    stranger = trustme.CA().issue_cert("client.dcos", common_name="root")
    master._write(CLIENT_CERT, stranger.cert_chain_pems[0].bytes().decode())
    master._write(CLIENT_KEY, stranger.private_key_pem.bytes().decode(), 0o600)


def of_another_user(master: Master) -> None:
    """Right in every way, but not root's."""
    assert master.bed.certificates is not None
    alice = master.bed.certificates.authority.issue_cert("client.dcos", common_name="alice")
    master._write(CLIENT_CERT, alice.cert_chain_pems[0].bytes().decode())
    master._write(CLIENT_KEY, alice.private_key_pem.bytes().decode(), 0o600)


def of_no_authority(master: Master) -> None:
    """The bundle does not hold the authority that signed the server's certificate."""
    master._write(CA, trustme.CA().cert_pem.bytes().decode())


def absent(master: Master) -> None:
    master.path(CLIENT_CERT).unlink()


def no_certificate(master: Master) -> None:
    master._write(CLIENT_CERT, "this is no certificate\n")


WRONG = {
    of_a_stranger: ("certificate",),
    of_another_user: ("permission denied", "root"),
    of_no_authority: ("certificate",),
    absent: (CLIENT_CERT, "No such file"),
    no_certificate: (CLIENT_CERT,),
}


def test_a_wrong_certificate_is_a_clear_error(resume: Resume) -> None:
    bed, past = resume(3, "enterprise")
    bed.start()
    master = bed.masters[0]
    right = {path: master.path(path).read_bytes() for path in (CA, CLIENT_CERT, CLIENT_KEY)}
    for damage, words in WRONG.items():
        damage(master)

        backup = master.cli("backup", f"{BACKUPS}/second.tar.gz", "--dial-timeout=2s")
        diagnostic = master.cli("diagnostic", "--dial-timeout=2s")

        # A file that holds no certificate is an argument that makes no sense.
        assert backup.returncode == (2 if damage is no_certificate else 1)
        for word in words:
            assert word in backup.stderr, damage.__name__
        assert "Traceback" not in backup.stderr + diagnostic.stderr
        assert "PRIVATE KEY" not in backup.stderr + diagnostic.stdout + diagnostic.stderr
        assert not master.path(f"{BACKUPS}/second.tar.gz").exists()
        if damage is of_another_user:
            # Whoever may not compare the keys still sees the members, and is told what is missing.
            assert "HashKV needs the role root" in diagnostic.stdout
        else:
            assert diagnostic.returncode == backup.returncode, damage.__name__
        for path, content in right.items():
            master.path(path).write_bytes(content)
    assert capture(master) == past.later
    shutil.rmtree(master.path("/run/dcos/pki"))
    # Nothing of etcd is asked by a restore.
    bed.stop()
    restore_all(bed)


def test_the_python_functions_need_no_more_than_the_commands(resume: Resume) -> None:
    bed, past = resume(3, "enterprise")
    bed.start()
    master = bed.masters[1]
    program = """
import sys
from dcos_etcd import dcos
report = dcos.backup(sys.argv[1])
found = dcos.diagnostic()
result = [report.manifest.revision, found.healthy, list(found.masters), dcos.member_list()]
"""

    revision, healthy, masters, members = master.python(program, f"{BACKUPS}/python.tar.gz")

    assert (revision, healthy, masters) == (past.later.revision, True, bed.ips)
    assert members["members"] == master.etcdctl_json("member", "list")["members"]
