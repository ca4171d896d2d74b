"""The keeper of a command that runs as root: `python -I -S as_root.py [--ask] PROGRAM [ARGUMENT …]`.

Of processes of root a user sees neither environment nor descriptors, so one that leaves its parent could not
be told from any other. But whatever does is adopted by the nearest subreaper, prctl(2): this process, below
which all of them stay. It ends as the program ends and with it; once it was told to end (TERM), with the last
of them.

With `--ask` it waits for the terminal first: sudo with `timestamp_timeout=0` gives up when it was stopped at
its question (measured, 1.9.13). It is stopped like any background process that reads from the terminal,
termios(3), and so it is whenever the program is; who continues it has lent it the terminal.
"""

import os
import signal
import sys
from ctypes import CDLL

PR_SET_CHILD_SUBREAPER = 36
TERMINAL_STOPS = (signal.SIGTTIN, signal.SIGTTOU)


class Keeper:
    """Waits for a program, and for what it leaves behind once that is to end too."""

    def __init__(self) -> None:
        self.ending = False

    def run(self, argv: list[str]) -> int:
        """The exit code of the program, negative for a signal."""
        # Handlers, not SIG_IGN: an ignored signal would be inherited.
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGTERM, self.end)
        # Python ignores these two.
        reset = (signal.SIGPIPE, signal.SIGXFSZ)
        program = os.posix_spawn(argv[0], argv, os.environ, setsigdef=reset, setsigmask=())
        code = 0
        while True:
            try:
                pid, status = os.waitpid(-1, os.WUNTRACED)
            except ChildProcessError:
                return code
            if pid != program:
                continue
            if not os.WIFSTOPPED(status):
                code = os.waitstatus_to_exitcode(status)
                if not self.ending:
                    return code
            elif os.WSTOPSIG(status) in TERMINAL_STOPS:
                os.kill(os.getpid(), os.WSTOPSIG(status))

    def end(self, *_: object) -> None:
        self.ending = True


def main() -> None:
    CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    argv = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if argv[0] == "--ask":
        del argv[0]
        os.kill(os.getpid(), signal.SIGTTIN)
    code = Keeper().run(argv)
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main()
