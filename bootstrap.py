#!/usr/bin/env python3
"""Set everything up in .venv, from a machine with only Python 3.11 or newer, and run or test update-all.

    python3 bootstrap.py run [OPTIONS]    set up, then `update-all run OPTIONS`
    python3 bootstrap.py test [OPTIONS]   set up with the development tools, then lint, types and tests

Installs exactly what requirements/*.txt name, by hash. Nothing outside this directory is touched, except
that Debian's own Python may need its package python3-venv, which is then installed by apt-get, as root.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
PYTHON = VENV / "bin" / "python"
SCRIPT = """#!{python}
import sys
from update_all.cli.main import main
sys.exit(main())
"""


def call(*command: object) -> None:
    """Run a command; end with its exit code if it fails."""
    code = subprocess.run([str(part) for part in command], cwd=HERE, check=False).returncode
    if code:
        sys.exit(code)


def make_environment() -> None:
    if PYTHON.exists():
        return
    try:
        import ensurepip  # noqa: F401 - Debian ships Python without it
        import venv  # noqa: F401
    except ImportError:
        install = ["apt-get", "install", "-y", "python3-venv"]
        if shutil.which("apt-get") is None:
            sys.exit("bootstrap: this Python has no venv module; install it with your package manager")
        if os.geteuid() != 0:
            install = ["sudo", *install]
        sys.stderr.write(f"bootstrap: this Python has no venv module: {' '.join(install)}\n")
        call(*install)
    call(sys.executable, "-m", "venv", VENV)


def install(requirements: Path) -> None:
    """Install a lock file, unless exactly this one was installed before; make our sources importable."""
    stamp = VENV / f"{requirements.stem}.sha256"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        call(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes",
             "-r", requirements)  # fmt: skip
        stamp.write_text(digest)
    packages = next((VENV / "lib").glob("python3.*/site-packages"))
    (packages / "update_all.pth").write_text(f"{HERE / 'src'}\n")
    script = VENV / "bin" / "update-all"
    script.write_text(SCRIPT.format(python=PYTHON))
    script.chmod(0o755)


def install_system_packages(names: Path) -> None:
    """On a CI machine, the real tools that tests drive; without them those tests say why they are skipped."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    wanted = [name for name in names.read_text().split() if not shutil.which(name.partition("=")[2])]
    if wanted:
        packages = [name.partition("=")[0] for name in wanted]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *packages]):
            done = subprocess.run(
                ["apt-get", *command], env=environment, stdout=subprocess.DEVNULL, check=False
            )
            if done.returncode:
                sys.stderr.write(f"bootstrap: apt-get {command[0]} failed; some tests will be skipped\n")
                return


def main() -> None:
    if sys.version_info < (3, 11):
        sys.exit("bootstrap: update-all needs Python 3.11 or newer; this is " + sys.version.split()[0])
    action, options = (sys.argv[1] if len(sys.argv) > 1 else ""), sys.argv[2:]
    if action not in ("run", "test"):
        sys.exit(str(__doc__))
    make_environment()
    if action == "run":
        install(HERE / "requirements" / "run.txt")
        os.execv(PYTHON, [str(PYTHON), "-m", "update_all", "run", *options])
    install(HERE / "requirements" / "dev.txt")
    if os.environ.get("CI"):
        install_system_packages(HERE / "requirements" / "debian.txt")
    call(PYTHON, "-m", "ruff", "check", ".")
    call(PYTHON, "-m", "ruff", "format", "--check", ".")
    call(PYTHON, "-m", "mypy")
    for conftest in sorted((HERE / "tests").rglob("conftest.py")):
        call(PYTHON, "-m", "mypy", conftest)
    call(PYTHON, "-m", "pytest", *(options or ["-n", "auto"]))


if __name__ == "__main__":
    main()
