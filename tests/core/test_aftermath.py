"""What is left to do after a run, read from trees of files laid out as on real machines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.core.aftermath import (
    Aftermath,
    flavour,
    kernel_advice,
    look,
    parse_needrestart,
    reboot_flag,
    stale_processes,
    version_key,
)

BATCH = """NEEDRESTART-VER: 3.6
NEEDRESTART-KCUR: 6.1.0-18-amd64
NEEDRESTART-KEXP: 6.1.0-21-amd64
NEEDRESTART-KSTA: 3
NEEDRESTART-SVC: systemd-journald.service
NEEDRESTART-SVC: ssh.service
NEEDRESTART-CONT: LXC web1
NEEDRESTART-SESS: metabase @ user manager service
NEEDRESTART-SESS: root @ session #28017
"""
"""The sample of needrestart's README.batch.md, with a pending kernel."""


def kernels(root: Path, *releases: str, modules: tuple[str, ...] = ()) -> Path:
    (root / "boot").mkdir(parents=True)
    for release in releases:
        (root / f"boot/vmlinuz-{release}").touch()
    for release in modules:
        (root / f"usr/lib/modules/{release}").mkdir(parents=True)
        (root / f"usr/lib/modules/{release}/pkgbase").touch()
    return root


@pytest.mark.parametrize(
    ("installed", "running", "newest"),
    [
        (["6.1.0-18-amd64", "6.1.0-21-amd64"], "6.1.0-18-amd64", "6.1.0-21-amd64"),
        (["6.1.0-9-amd64", "6.1.0-10-amd64"], "6.1.0-9-amd64", "6.1.0-10-amd64"),
        (["6.1.0-18-amd64", "6.1.0-21-amd64"], "6.1.0-21-amd64", None),
        (["6.8.0-90-generic", "6.8.0-91-lowlatency"], "6.8.0-90-generic", None),
        (["5.14.0-427.el9.x86_64", "5.14.0-503.el9.x86_64"],
         "5.14.0-427.el9.x86_64", "5.14.0-503.el9.x86_64"),
        (["6.10.3-200.fc40.x86_64", "6.11.4-301.fc41.x86_64"],
         "6.10.3-200.fc40.x86_64", "6.11.4-301.fc41.x86_64"),
        (["6.1.0-21-amd64"], "6.18.0-microvm", None),
        ([], "6.18.0", None),
    ],
)  # fmt: skip
def test_a_newer_kernel_of_the_same_flavour(
    tmp_path: Path, installed: list[str], running: str, newest: str | None
) -> None:
    advice = kernel_advice(kernels(tmp_path, *installed), running)
    assert advice == (f"kernel {newest} installed, {running} running" if newest else "")


def test_old_copies_and_links_are_no_kernels(tmp_path: Path) -> None:
    assert kernel_advice(kernels(tmp_path, "6.1.0-18-amd64", "6.1.0-21-amd64.old"), "6.1.0-18-amd64") == ""


def test_a_kernel_whose_modules_were_replaced(tmp_path: Path) -> None:
    root = kernels(tmp_path, modules=("6.12.3-arch1-1",))
    assert "6.12.3-arch1-1 installed" in kernel_advice(root, "6.12.1-arch1-1")
    assert kernel_advice(root, "6.12.3-arch1-1") == ""
    (root / "run/systemd").mkdir(parents=True)
    (root / "run/systemd/container").touch()
    assert kernel_advice(root, "6.12.1-arch1-1") == ""


@given(
    st.text(), st.lists(st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=9), max_size=4)
)
def test_names_of_kernels_may_be_anything(release: str, others: list[str]) -> None:
    assert isinstance(flavour(release), str)
    assert all(isinstance(number, int) for number in version_key(release))
    assert sorted(others, key=version_key) is not None


def test_the_flag_of_debian_names_the_packages_once(tmp_path: Path) -> None:
    assert reboot_flag(tmp_path) == ""
    (tmp_path / "run").mkdir()
    (tmp_path / "run/reboot-required").write_text("*** System restart required ***\n")
    assert "/run/reboot-required" in reboot_flag(tmp_path)
    (tmp_path / "run/reboot-required.pkgs").write_text("libc6\nlinux-image-6.1.0-21-amd64\nlibc6\n\x1b[31m\n")
    assert reboot_flag(tmp_path) == "because of libc6, linux-image-6.1.0-21-amd64"


def test_many_packages_are_counted(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/reboot-required").touch()
    (tmp_path / "run/reboot-required.pkgs").write_text("".join(f"p{number}\n" for number in range(40)))
    assert reboot_flag(tmp_path).endswith("p11 and 28 more")


def test_needrestart_is_understood() -> None:
    assert parse_needrestart(BATCH) == Aftermath(
        "kernel 6.1.0-21-amd64 installed, 6.1.0-18-amd64 running",
        ("systemd-journald", "ssh"),
        ("metabase @ user manager service", "root @ session #28017"),
    )
    quiet = parse_needrestart("NEEDRESTART-VER: 3.6\nNEEDRESTART-KSTA: 1\n")
    assert quiet == Aftermath()
    assert parse_needrestart("Scanning processes...\n") is None


@given(st.text())
def test_any_output_of_needrestart_can_be_read(text: str) -> None:
    found = parse_needrestart(text)
    assert found is None or isinstance(found, Aftermath)


def process(proc: Path, pid: int, comm: str, maps: str, cgroup: str) -> None:
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "comm").write_text(comm + "\n")
    (proc / str(pid) / "maps").write_text(maps)
    (proc / str(pid) / "cgroup").write_text(cgroup)


CODE = "7f0a2c000000-7f0a2c100000 r-xp 00028000 08:01 131090                     "


def test_services_and_programs_that_run_replaced_code(tmp_path: Path) -> None:
    gone = f"{CODE}/usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)\n"
    here = f"{CODE}/usr/lib/x86_64-linux-gnu/libssl.so.3\n"
    service = "0::/system.slice/ssh.service\n"
    process(tmp_path, 10, "sshd", here + gone, service)
    process(tmp_path, 11, "sshd", gone, service)
    process(tmp_path, 12, "cron", here, "0::/system.slice/cron.service\n")
    process(tmp_path, 13, "firefox", gone, "0::/user.slice/user-1000.slice/app.scope\n")
    process(tmp_path, 14, "php", gone, "1:name=systemd:/system.slice/system-php.slice/php@8.service\n")
    process(tmp_path, 15, "game", f"{CODE}/dev/shm/x (deleted)\n{CODE}/home/a/lib.so (deleted)\n", "0::/\n")
    process(tmp_path, 16, "data", gone.replace("r-xp", "r--p"), "0::/system.slice/data.service\n")
    assert stale_processes(tmp_path) == (("php@8", "ssh"), ("firefox",))


def test_a_real_process_whose_program_is_replaced_is_found(tmp_path: Path) -> None:
    """The kernel's own words for it: a program is started, then its file removed."""
    program = tmp_path / "sleeper"
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    child = subprocess.Popen([str(program), "60"], stdin=subprocess.DEVNULL)
    try:
        while str(program) not in Path(f"/proc/{child.pid}/maps").read_text():
            assert child.poll() is None
        program.unlink()
        line = next(
            line
            for line in Path(f"/proc/{child.pid}/maps").read_text().splitlines()
            if str(program) in line and "r-xp" in line
        )
    finally:
        child.kill()
        child.wait()
    process(tmp_path / "proc", 5, "sleeper", line.replace(str(program), "/usr/bin/sleeper") + "\n", "0::/\n")
    assert stale_processes(tmp_path / "proc") == ((), ("sleeper",))


def test_nothing_to_look_at_is_nothing_to_do(tmp_path: Path) -> None:
    assert look(tmp_path, release="6.1.0") == Aftermath()
    assert Aftermath().advice() == []


def test_advice_names_the_command() -> None:
    advice = dict(Aftermath("because of libc6", ("ssh", "cron"), ("firefox",)).advice())
    assert advice["Restart needed"] == "because of libc6"
    assert "sudo systemctl restart ssh cron" in advice["Restart services"]
    assert "firefox" in advice["Still open"]


def test_looking_at_this_machine_never_fails() -> None:
    assert isinstance(look(), Aftermath)
    assert sys.platform == "linux"
