"""What speaks against a run just now: battery, a metered network, a full disk, a busy package manager.

Only looks, and only where there is something to look at: a machine without batteries or NetworkManager costs
a few system calls.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from update_all.core import host_checks
from update_all.core.config_schema import Guard, GuardsConfig
from update_all.core.errors import CommandNotFoundError, StepError, UpdateAllError
from update_all.core.host_checks import Finding, Level
from update_all.core.queries import query

ASK_SECONDS = 2.0
METERED = frozenset({"1", "3"})
"""NM_METERED_YES and NM_METERED_GUESS_YES: NetworkManager's D-Bus types, NMMetered."""

HINTS = {
    "battery": "plug it in, or: update-all config set guards.battery ignore",
    "metered": "use another network, or: update-all config set guards.metered ignore",
    "disk": "free some space, or: update-all config set guards.disk ignore",
    "busy": "wait until it ends, or: update-all config set guards.busy ignore",
}


class GuardError(UpdateAllError):
    """The configuration forbids a run under these circumstances."""


class OnBatteryError(GuardError):
    """The machine runs on battery."""

    code = "on-battery"


class MeteredError(GuardError):
    """The network is paid for by volume."""

    code = "metered"


class LowDiskError(GuardError):
    """A file system is nearly full, or cannot be written to."""

    code = "low-disk"


class PackageManagerBusyError(GuardError):
    """Another program holds a lock of a package manager."""

    code = "package-manager-busy"


ERRORS: Mapping[str, type[GuardError]] = {
    "battery": OnBatteryError,
    "metered": MeteredError,
    "disk": LowDiskError,
    "busy": PackageManagerBusyError,
}
"""By the key under `[guards]`."""


@dataclass(frozen=True, slots=True)
class Power:
    """The power supply. `percent` is the charge of the weakest battery, None where it is not told."""

    on_battery: bool
    percent: int | None = None

    @property
    def text(self) -> str:
        if not self.on_battery:
            return "on mains power"
        return "on battery" + ("" if self.percent is None else f" ({self.percent} % left)")


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that speaks against a run, by the name of its key under `[guards]`."""

    guard: str
    message: str

    @property
    def code(self) -> str:
        return ERRORS[self.guard].code

    @property
    def hint(self) -> str:
        return HINTS[self.guard]


def power(system: Path = Path("/sys")) -> Power | None:
    """How this machine is supplied; None without a battery of its own.

    The kernel's /sys/class/power_supply (Documentation/ABI/testing/sysfs-class-power): a supply of `scope`
    Device feeds a mouse or the like.
    """
    batteries: list[tuple[str, str]] = []
    mains = False
    for supply in _supplies(system):
        if _value(supply, "type") == "Battery":
            if _value(supply, "present") != "0":
                batteries.append((_value(supply, "status"), _value(supply, "capacity")))
        elif _value(supply, "online") not in ("", "0"):
            mains = True
    if not batteries:
        return None
    charges = [int(charge) for _, charge in batteries if charge.isdigit()]
    discharging = any(status == "Discharging" for status, _ in batteries)
    return Power(discharging and not mains, min(charges, default=None))


def _supplies(system: Path) -> Iterator[Path]:
    try:
        supplies = sorted((system / "class/power_supply").iterdir())
    except OSError:
        return
    yield from (supply for supply in supplies if _value(supply, "scope") != "Device")


def _value(supply: Path, name: str) -> str:
    try:
        return (supply / name).read_text("ascii", "replace").strip()
    except OSError:
        return ""


async def is_metered(run: Path = Path("/run")) -> bool | None:
    """Whether the network in use is paid for by volume; None where nobody can tell.

    Asks NetworkManager, by busctl(1) where it is, else by nmcli(1), whose answer is one for each device.
    """
    if not ((run / "NetworkManager").is_dir() and (run / "dbus/system_bus_socket").exists()):
        return None
    name, path = "org.freedesktop.NetworkManager", "/org/freedesktop/NetworkManager"
    try:
        if shutil.which("busctl"):
            answer = await query(
                ["busctl", "--system", "get-property", name, path, name, "Metered"], timeout=ASK_SECONDS
            )
            # The answer is a type and a number: `u 4`.
            return answer.stdout.split()[-1] in METERED if answer.ok and answer.stdout.strip() else None
        answer = await query(["nmcli", "-t", "-f", "GENERAL.METERED", "device", "show"], timeout=ASK_SECONDS)
    except (CommandNotFoundError, StepError):
        return None
    # A line is like `GENERAL.METERED:no (guessed)`, nmcli(1).
    values = [line.partition(":")[2].split(" ")[0] for line in answer.stdout.splitlines() if ":" in line]
    return "yes" in values if answer.ok and values else None


async def look(
    config: GuardsConfig, places: Sequence[Path], *, root: bool, machine: Path = Path("/")
) -> list[Notice]:
    """What speaks against a run that writes to `places`, and does something as root or not.

    Raises GuardError for the first thing for which the configuration has a run refused.
    """
    actions = {
        "battery": config.battery,
        "metered": config.metered,
        "disk": config.disk,
        "busy": config.busy if root else Guard.IGNORE,
    }
    notices: list[Notice] = []
    for guard, action in actions.items():
        if action is Guard.IGNORE:
            continue
        found = [Notice(guard, text) for text in await _found(guard, places, machine)]
        if found and action is Guard.REFUSE:
            raise ERRORS[guard](f"nothing was run: {found[0].message}", hint=found[0].hint)
        notices += found
    return notices


async def _found(guard: str, places: Sequence[Path], machine: Path) -> list[str]:
    match guard:
        case "battery":
            supply = power(machine / "sys")
            return [f"this machine runs {supply.text}"] if supply is not None and supply.on_battery else []
        case "metered":
            metered = await is_metered(machine / "run")
            return ["this network is paid for by volume"] if metered else []
        case "disk":
            return _problems(host_checks.check_disks(places))
        case _:
            return _problems(host_checks.check_package_locks(machine, machine / "proc"))


def _problems(findings: Sequence[Finding]) -> list[str]:
    return [finding.text for finding in findings if finding.level is not Level.OK]
