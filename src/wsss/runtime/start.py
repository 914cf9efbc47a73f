"""Starts a stage's program: in a copy of a process that has imported the libraries already, or in this process.

    python -m wsss.runtime.start wsss.stages.infer_cam --config …

Importing torch costs every program of a run seconds. Below a Snakemake whose jobs run on this machine, the first
program leaves a process behind that has imported the libraries. For each program it forks a copy of itself, which gets
the program's arguments, folder, environment and open files, and imports the stage. This process passes signals on and
ends as the copy does; if it is killed, so is the copy. The process behind ends when Snakemake and all copies have.
"""

from __future__ import annotations

import gc
import os
import runpy
import secrets
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess as Process
from pathlib import Path
from typing import NamedTuple

from wsss.runtime.process import THREADS

SERVED = "WSSS_SERVED"
"""Environment variable: process id of the Snakemake whose programs share imports, and a random name for the socket."""
LIBRARIES = ("torch", "numpy", "h5py", "pandas", "PIL.Image", "pydantic", "yaml", "timm")


def can_share() -> bool:
    """Whether programs can share imports on this system (Linux)."""
    return hasattr(os, "pidfd_open") and hasattr(socket, "SO_PEERCRED")


def share_imports() -> None:
    """Lets the programs that this process starts share imports, where the system can."""
    if can_share():
        os.environ[SERVED] = f"{os.getpid()}:{secrets.token_hex(16)}"


class Program(NamedTuple):
    """What a program is started with. arguments: the first is its module. files: standard streams of a copy."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    files: tuple[int, ...] = ()

    def run(self) -> None:
        """Runs it as this process's main program."""
        for number, file in enumerate(self.files):
            os.dup2(file, number)
            os.close(file)
            _open_stream(number)
        os.chdir(self.folder)
        os.environ.clear()
        os.environ.update(self.environment)
        sys.argv = list(self.arguments)
        runpy.run_module(self.arguments[0], run_name="__main__", alter_sys=True)


def main() -> None:
    """Command line."""
    program = Program(sys.argv[1:], str(Path.cwd()), dict(os.environ))
    snakemake, _, name = os.environ.get(SERVED, "").partition(":")
    if program.arguments[0] == "--serve":
        Server(socket.socket(fileno=int(program.arguments[1])), int(snakemake)).serve()
    elif not name or not run_in_copy(program, f"\0wsss-{name}"):
        program.run()


def run_in_copy(program: Program, address: str) -> bool:
    """Runs a program in a copy and ends as that does; False if there is none."""
    try:
        leave_server(address)
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(address)
            if not _of_this_user(caller):
                return False
            socket.send_fds(caller, [b"\0"], [0, 1, 2])
            server = Connection(caller.detach())
        server.send(program[:3])
        copy = server.recv()
    except (OSError, EOFError):
        return False
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: os.kill(copy, number))
    try:
        status = server.recv()
    except (OSError, EOFError):  # the server was killed
        status = -signal.SIGKILL
        with suppress(ProcessLookupError):
            os.kill(copy, signal.SIGKILL)
    if status < 0:
        if status != -signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


def leave_server(address: str) -> None:
    """Starts the server of an address, unless there is one; connections wait until it has imported the libraries."""
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(address)
        except OSError:
            return
        listener.listen(64)
        # numpy's number of threads is fixed at its import; torch's is set by each stage.
        one = dict.fromkeys(THREADS, "1")
        command = [sys.executable, "-m", "wsss.runtime.start", "--serve", str(listener.fileno())]
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        subprocess.Popen(command, env=os.environ | one, pass_fds=[listener.fileno()], start_new_session=True, **streams)


class Server:
    """Forks a copy of its process for every program that connects.

    snakemake: process with whose end it accepts no more programs.
    """

    def __init__(self, listener: socket.socket, snakemake: int) -> None:
        self.listener, self.snakemake = listener, os.pidfd_open(snakemake)
        self.waiting: dict[Connection, Process] = {}
        """Connection of a program that waits → its copy."""
        for name in LIBRARIES:
            import_module(name)
        gc.freeze()  # otherwise each copy writes to all objects, and so copies their memory

    def serve(self) -> None:
        """Starts copies until the end of Snakemake and of the last copy."""
        accepting = True
        while accepting or self.waiting:
            ended = {copy.sentinel: caller for caller, copy in self.waiting.items()}
            for ready in wait([*([self.listener, self.snakemake] if accepting else []), *ended, *self.waiting]):
                if ready is self.listener:
                    with suppress(OSError, EOFError):  # of a program killed while it asked
                        self._start()
                elif ready == self.snakemake:
                    accepting = False
                elif ready in ended:
                    self._report(ended[ready])
                elif ready in self.waiting:  # at its end: the program was killed
                    self.waiting[ready].kill()

    def _start(self) -> None:
        """Starts the copy of the next program."""
        accepted, _ = self.listener.accept()
        if not _of_this_user(accepted):
            accepted.close()
            return
        _, files, *_ = socket.recv_fds(accepted, 1, 3)
        caller = Connection(accepted.detach())
        copy = get_context("fork").Process(target=self._run, args=(caller, Program(*caller.recv(), tuple(files))))
        copy.start()
        for file in files:
            os.close(file)
        self.waiting[caller] = copy
        caller.send(copy.pid)

    def _run(self, caller: Connection, program: Program) -> None:
        """Runs a program, in its copy."""
        for connection in (self.listener, caller, *self.waiting):
            connection.close()
        os.close(self.snakemake)
        program.run()

    def _report(self, caller: Connection) -> None:
        """Sends the exit status of an ended copy, negative for a signal."""
        copy = self.waiting.pop(caller)
        copy.join()
        with suppress(OSError):  # of a program that was killed
            caller.send(copy.exitcode)
        caller.close()
        copy.close()


def _open_stream(number: int) -> None:
    """Opens a standard stream again, whose file is another one now."""
    name = ("stdin", "stdout", "stderr")[number]
    before = getattr(sys, name)
    line = number == 2 or os.isatty(number)
    stream = open(  # noqa: SIM115
        number,
        "w" if number else "r",
        buffering=1 if line else -1,
        encoding=before.encoding,
        errors=before.errors,
        closefd=False,
    )
    setattr(sys, name, stream)


def _of_this_user(connection: socket.socket) -> bool:
    """Whether the process at the other end belongs to this user."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return struct.unpack("3i", credentials)[1] == os.getuid()


if __name__ == "__main__":
    main()
