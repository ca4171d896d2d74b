"""The shim: one small process per run that starts the commands of steps and survives the orchestrator.

Runs as `python -I -S shim.py RUN_DIR` with a socket as stdin and its records file, locked with flock(2), as
stdout; imports the standard library only.
It outlives a killed orchestrator, so every command has somebody who waits for it and writes down how it
ended. One shim serves all commands of a run: an interpreter or a shell for each of them would double the
cost of a spawn (engine-limits.md section 1).

For each command it (1) creates the spool file `KEY.out` and takes a flock(2) on it, (2) starts the command
with that open file as stdout, stderr and descriptor LOCK_FD, so that the lock lives exactly as long as any
process of the command, whatever happens to us, (3) when the command ends, appends an exit record to its
records file. The records are not flushed: they matter when the orchestrator died, not when the machine did
(system.md section 4). The lock of the records file lives as long as the shim: who finds it locked knows that
records may still come.

A command that may ask gets a session and a pseudo-terminal of its own, which we hold: with the orchestrator
it would die, and the command would be hung up. What it shows goes to its spool; what it is to read comes
through the FIFO `KEY.in`, from whoever may write there.

Messages, one JSON object a line. In: `environment` {env}, `start` {key, argv, env, cwd, session, terminal}.
Out: `started` {key, pid, device}, `refused` {key, errno}, `exit` {key, code, cpu, rss, read, written},
`asks` {key}: the command was stopped because it reads from the terminal or sets it up (termios(3), SIGTTIN
and SIGTTOU).
When the socket closes, the shim waits for the commands that still run, then ends.
"""

import errno
import fcntl
import json
import os
import select
import signal
import socket
import sys
import time
from ctypes import CDLL

LOCK_FD = 250
PR_SET_CHILD_SUBREAPER = 36
HOLD_SECONDS = 0.005
"""How long the news of a start waits for that of the end: most of what costs is to wake the other side."""
MOST_READS = 1000
"""How often a terminal is read after the end of its command, at up to 4 KiB each time."""
RESET = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}

Message = dict[str, object]


def boot_id() -> str:
    """Identity of this boot: proc(5), /proc/sys/kernel/random/boot_id."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123 - no pathlib here
            return file.read().strip()
    except OSError:
        return ""


def start_ticks(pid: int) -> int:
    """Start time of a process in clock ticks since boot, 0 when it is gone: proc(5), stat field 22."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - no pathlib here
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0


class Terminal:
    """The pseudo-terminal of one command: what it shows to its spool, what is typed from its FIFO.

    `device` is open until the command has it. Raises OSError.
    """

    def __init__(self, spool: str, columns: int, rows: int) -> None:
        import struct
        import termios

        self.path = spool.removesuffix(".out") + ".in"
        self.fds: list[int] = []
        try:
            os.mkfifo(self.path, 0o600)
            # Also open for writing, so that it never ends.
            self.input = self.keep(os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW))
            # Not a copy of the spool's descriptor: that one is the lock, which is the command's.
            self.spool = self.keep(os.open(spool, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW))
            self.master, self.device = (self.keep(end) for end in os.openpty())
            os.set_blocking(self.master, False)
            self.name = os.ttyname(self.device)
            fcntl.ioctl(self.device, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
        except OSError:
            self.close()
            raise

    def keep(self, descriptor: int) -> int:
        self.fds.append(descriptor)
        return descriptor

    def taken(self) -> None:
        """The command has its terminal, or will never have it."""
        if self.device in self.fds:
            self.fds.remove(self.device)
            os.close(self.device)

    def show(self) -> bool:
        """Take what the command has written; False when there is no more, for now or for ever."""
        try:
            data = os.read(self.master, 1 << 16)
        except OSError:
            return False
        try:
            os.write(self.spool, data)
        except OSError:
            return bool(data)  # A full disk: what does not fit is lost, the command goes on.
        return bool(data)

    def type(self) -> None:
        """Hand on what was typed; what a command does not read for 4 KiB is lost, as on any terminal."""
        try:
            os.write(self.master, os.read(self.input, 4096))
        except OSError:
            return

    def close(self) -> None:
        for descriptor in self.fds:
            os.close(descriptor)
        self.fds.clear()
        if os.path.exists(self.path):  # noqa: PTH110 - no pathlib here
            os.unlink(self.path)  # noqa: PTH108 - no pathlib here


class Shim:
    """State of the process: what runs, and the socket to the orchestrator while it lives."""

    def __init__(self, directory: str, records: int, connection: socket.socket) -> None:
        self.directory = directory
        self.records = records
        self.connection: socket.socket | None = connection
        self.buffer = bytearray()
        self.base = dict(os.environ)
        self.running: dict[int, str] = {}
        self.held = bytearray()
        self.held_until = 0.0
        self.poll = select.poll()
        self.terminals: dict[str, Terminal] = {}
        self.watched: dict[int, Terminal] = {}

    def serve(self) -> None:
        """Answer messages and reap children until the orchestrator is gone and nothing runs."""
        wakeup_read, wakeup_write = os.pipe()
        for end in (wakeup_read, wakeup_write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
        # Handlers, not SIG_IGN: an ignored signal would be inherited by every command.
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, lambda *_: None)
        self.poll.register(wakeup_read, select.POLLIN)
        if self.connection is not None:
            self.poll.register(self.connection, select.POLLIN)
        while self.connection is not None or self.running:
            for descriptor, _ in self.poll.poll(self.hold()):
                if descriptor == wakeup_read:
                    os.read(wakeup_read, 4096)
                elif descriptor in self.watched:
                    self.serve_terminal(descriptor, self.watched[descriptor])
                elif self.connection is not None and not self.receive():
                    self.poll.unregister(self.connection)
                    self.connection = None
            self.reap()

    def serve_terminal(self, descriptor: int, terminal: Terminal) -> None:
        if descriptor == terminal.input:
            terminal.type()
        elif not terminal.show():
            # Nobody has it open: poll(2) would say so again and again.
            self.unwatch(descriptor)

    def unwatch(self, descriptor: int) -> None:
        if self.watched.pop(descriptor, None) is not None:
            self.poll.unregister(descriptor)

    def hold(self) -> int | None:
        """Milliseconds for which news may still be held; None when there are none."""
        if not self.held:
            return None
        left = self.held_until - time.monotonic()
        if left > 0:
            return int(left * 1000) + 1
        self.send_held()
        return None

    def receive(self) -> bool:
        """Take what the orchestrator sent; False when it is gone."""
        assert self.connection is not None  # noqa: S101 - narrows the type
        try:
            data = self.connection.recv(1 << 18)
        except InterruptedError:
            return True
        except OSError:
            return False
        if not data:
            return False
        self.buffer += data
        while (end := self.buffer.find(b"\n")) >= 0:
            line = bytes(self.buffer[:end])
            del self.buffer[: end + 1]
            self.handle(json.loads(line))
        return True

    def handle(self, message: Message) -> None:
        kind = message["do"]
        if kind == "start":
            self.start(message)
        elif kind == "environment":
            env = message["env"]
            assert isinstance(env, dict)  # noqa: S101 - narrows the type
            self.base = {str(name): str(value) for name, value in env.items()}

    def start(self, message: Message) -> None:
        """Create and lock the spool, start the command, record its pid."""
        key, argv, cwd = str(message["key"]), message["argv"], message["cwd"]
        changes = message["env"]
        assert isinstance(argv, list) and isinstance(changes, dict)  # noqa: S101, PT018 - narrows the types
        env = {**self.base, **changes}
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        path = os.path.join(self.directory, f"{key}.out")  # noqa: PTH118 - no pathlib here
        spool, pid, refusal, terminal = None, 0, None, None
        try:
            spool = os.open(path, flags, 0o600)
            # Nobody else locks it but for the instant of a test: is_locked() in core.evidence.
            fcntl.flock(spool, fcntl.LOCK_EX)
            size = message.get("terminal")
            if isinstance(size, list):
                terminal = Terminal(path, *size)
            session = bool(message["session"])
            pid = self.spawn(argv, env, None if cwd is None else str(cwd), spool, session, terminal)
        except OSError as error:
            refusal = (error.errno or errno.EIO, str(error.filename or ""))
        except ValueError:
            # A NUL, or what the encoding of the file system cannot express.
            refusal = (errno.EINVAL, "")
        finally:
            if spool is not None:
                os.close(spool)
            if terminal is not None:
                terminal.taken()
        if refusal is not None:
            if terminal is not None:
                terminal.close()
            self.record({"key": key, "refused": refusal[0]})
            self.send({"did": "refused", "key": key, "errno": refusal[0], "file": refusal[1]})
            return
        self.running[pid] = key
        device = {} if terminal is None else {"device": terminal.name}
        if terminal is not None:
            self.terminals[key] = terminal
            for descriptor in (terminal.master, terminal.input):
                self.watched[descriptor] = terminal
                self.poll.register(descriptor, select.POLLIN)
        self.record({"key": key, "pid": pid, "ticks": start_ticks(pid), **device})
        self.send({"did": "started", "key": key, "pid": pid, **device}, hold=True)

    def spawn(
        self,
        argv: list[str],
        env: dict[str, str],
        cwd: str | None,
        spool: int,
        session: bool,
        terminal: Terminal | None,
    ) -> int:
        # The first terminal that the leader of a session opens becomes its controlling one: tty_ioctl(4).
        device = "/dev/null" if terminal is None else terminal.name
        output = spool if terminal is None else 0
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, device, os.O_RDONLY if terminal is None else os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
            (os.POSIX_SPAWN_DUP2, spool, LOCK_FD),
        ]
        if cwd is not None:
            os.chdir(cwd)
        try:
            # A group of its own, in our session: sudo's ticket belongs to the session (reliability.md F8).
            # Programs of third parties get a session of their own, so that they cannot ride the ticket.
            if session or terminal is not None:
                return os.posix_spawnp(
                    argv[0], argv, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=RESET
                )
            return os.posix_spawnp(
                argv[0], argv, env, file_actions=actions, setpgroup=0, setsigmask=(), setsigdef=RESET
            )
        finally:
            if cwd is not None:
                os.chdir("/")

    def reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            key = self.running.get(pid)
            if key is None:
                continue  # An orphan that we adopted as subreaper.
            if os.WIFSTOPPED(status):
                if os.WSTOPSIG(status) in (signal.SIGTTIN, signal.SIGTTOU):
                    self.tell("asks", {"key": key, "asks": True})
                continue
            del self.running[pid]
            self.leave_terminal(key)
            self.tell(
                "exit",
                {
                    "key": key,
                    "code": os.waitstatus_to_exitcode(status),
                    "ended": time.time(),
                    "cpu": round(usage.ru_utime + usage.ru_stime, 6),
                    "rss": usage.ru_maxrss * 1024,
                    "read": usage.ru_inblock * 512,
                    "written": usage.ru_oublock * 512,
                },
            )

    def leave_terminal(self, key: str) -> None:
        """The command has ended: what it has shown by now is in its spool before its end is told."""
        terminal = self.terminals.pop(key, None)
        if terminal is not None:
            for descriptor in (terminal.master, terminal.input):
                self.unwatch(descriptor)
            # Not for ever: another process may still write.
            for _ in range(MOST_READS):
                if not terminal.show():
                    break
            terminal.close()

    def tell(self, did: str, message: Message) -> None:
        """Record first, then send: what the orchestrator heard is never news to the next one."""
        self.record(message)
        self.send({"did": did, **message})

    def record(self, message: Message) -> None:
        """One line, one write(2): what was written survives our death."""
        data = json.dumps(message).encode() + b"\n"
        try:
            os.write(self.records, data)
        except OSError:
            # A full disk: the lock and the orchestrator still know; nothing better can be done here.
            return

    def send(self, message: Message, *, hold: bool = False) -> None:
        if not self.held:
            self.held_until = time.monotonic() + HOLD_SECONDS
        self.held += json.dumps(message).encode() + b"\n"
        if not hold:
            self.send_held()

    def send_held(self) -> None:
        news = bytes(self.held)
        self.held.clear()
        if self.connection is None:
            return
        try:
            self.connection.sendall(news)
        except OSError:
            return  # The orchestrator is gone, as the next receive() will find.


def main() -> None:
    os.umask(0o077)
    # A group of our own: a Ctrl-C on the terminal is the orchestrator's to interpret.
    if os.getpgid(0) != os.getpid():
        os.setpgid(0, 0)
    CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    Shim(sys.argv[1], 1, socket.socket(fileno=0)).serve()


if __name__ == "__main__":
    main()
