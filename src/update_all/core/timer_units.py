"""The text of the systemd units, or of the cron line, that run update-all regularly. Pure.

From systemd.timer(5), systemd.service(5), systemd.kill(5), systemd.syntax(7), crontab(5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from update_all.core.errors import UsageError

SERVICE = "update-all.service"
TIMER = "update-all.timer"
MARK = "# Written by: update-all schedule"
"""The first line of our units; files without it are left alone."""

_SERVICE = """{mark}
[Unit]
Description=Bring everything on this machine up to date
Documentation=man:update-all(1)
{network}
[Service]
Type=oneshot
ExecStart={command}
{environment}Nice=10
IOSchedulingClass=idle
# TERM goes to update-all alone, which ends the rest in order. A package transaction must never be killed.
KillMode=mixed
SendSIGKILL=no
TimeoutStopSec=15min
"""

_NETWORK = "Wants=network-online.target\nAfter=network-online.target\n"

_TIMER = """{mark}
[Unit]
Description=Run update-all regularly

[Timer]
OnCalendar={calendar}
Persistent=true
RandomizedDelaySec=30min

[Install]
WantedBy=timers.target
"""

_CRON = {
    "hourly": "17 * * * *",
    "daily": "17 3 * * *",
    "weekly": "17 3 * * 1",
    "monthly": "17 3 1 * *",
}


def service_unit(command: Sequence[str], environment: Mapping[str, str], *, system: bool) -> str:
    """The service that runs `command`, an argument list that begins with an absolute path.

    User managers know no network-online.target, so only the service of the system waits for it.
    """
    return _SERVICE.format(
        mark=MARK,
        network=_NETWORK if system else "",
        command=" ".join(map(unit_word, command)),
        environment="".join(
            f"Environment={unit_word(f'{name}={value}', command=False)}\n"
            for name, value in environment.items()
        ),
    )


def timer_unit(calendar: str) -> str:
    """The timer; `calendar` is an expression of systemd.time(7). Raises UsageError for no line of text."""
    if not calendar.strip() or not calendar.isprintable():
        raise UsageError(
            f"{calendar!r} is no time",
            hint="weekly, daily, or an expression as of systemd.time(7): Sun 04:00",
        )
    return _TIMER.format(mark=MARK, calendar=calendar.strip().replace("%", "%%"))


def unit_word(word: str, *, command: bool = True) -> str:
    """One word of a unit file, quoted so that systemd reads it as it is. `$` counts in commands only."""
    if not word.isprintable():
        raise UsageError(f"{word!r} cannot stand in a unit file")
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    if command:
        escaped = escaped.replace("$", "$$")
    plain = word and all(character.isalnum() or character in "/-_.,:=+@%" for character in word)
    return escaped if plain else f'"{escaped}"'


def cron_lines(command: Sequence[str], calendar: str, path: str) -> str:
    """Lines for crontab(5), the first of which sets PATH for those below it.

    Raises UsageError for a time other than hourly, daily, weekly, monthly.
    """
    import shlex

    when = _CRON.get(calendar)
    if when is None:
        raise UsageError(
            f"cron has no {calendar!r}, and systemd does not run here", hint=f"one of: {', '.join(_CRON)}"
        )
    # crontab(5): a percent sign ends the command unless it is escaped.
    return f"PATH={path}\n{when} {shlex.join(command).replace('%', chr(92) + '%')}"
