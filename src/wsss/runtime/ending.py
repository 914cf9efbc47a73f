"""Exit of every program: a user's mistake is one line and exit status 2, and a closed pipe is no error."""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import yaml

log = logging.getLogger("wsss")


@contextmanager
def plain_ending(command: str = "") -> Iterator[None]:
    """Context of a command's work that reports a user's mistakes in one line; programming errors keep their traceback.

    command: prefix of the message, unless the log already names the program.
    """
    open_streams()
    try:
        try:
            yield
        finally:
            _flush()
    except BrokenPipeError:  # of `wsss describe | head`
        sys.exit(128 + signal.SIGPIPE)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # rich's console ends so
            sys.exit(128 + signal.SIGPIPE)
        raise
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        if not isinstance(error, (ValueError, OSError, yaml.YAMLError)) and not (_lacks_memory(error) or _loops(error)):
            raise
        text = f"error: {one_line(told(error))}"
        if command or not log.handlers:
            with suppress(OSError):
                print(f"[{command}] {text}" if command else text, file=sys.stderr)
        else:
            log.debug("details", exc_info=True)
            log.error("%s", text)
        sys.exit(2)


def open_streams() -> None:
    """Makes standard output and error accept any text in any locale, and opens closed streams on the null device.

    Otherwise the next opened file would get the number of a closed stream, and receive what a library prints.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


def _flush() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):  # else Python flushes again at its exit, and prints a second message
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _lacks_memory(error: Exception) -> bool:
    """Whether Python, numpy or torch could not allocate memory."""
    told = re.search(r"can't allocate memory|out of memory|bad_alloc", str(error), re.I)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and told is not None)


def _loops(error: Exception) -> bool:
    """Whether `Path.resolve` met a link that leads to itself, which is no OSError before Python 3.13."""
    return isinstance(error, RuntimeError) and str(error).startswith("Symlink loop")


def told(error: Exception) -> str:
    """What an error says, of the system's and of lack of memory in plain words."""
    if _lacks_memory(error):
        size = re.search(r"allocate ([\d.]+) ?(\w+)", str(error))
        wanted = f" ({size[1]} {size[2]} at once)" if size else ""
        return f"more memory is needed than there is{wanted}; smaller crops, batches, scales or images need less"
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    if error.filename is None:  # a path that is relative to the current folder, made absolute
        return "the current folder is gone" if error.errno == errno.ENOENT else error.strerror.lower()
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    return f"{' → '.join(names)}: {error.strerror.lower()}"


def one_line(message: object) -> str:
    """A message without line ends and terminal control characters; spaces within names stay."""
    text = re.sub(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*|\t", " ", str(message).strip())
    return re.sub(r"[\x00-\x1f\x7f\x80-\x9f\ud800-\udfff]", lambda found: f"\\x{ord(found[0]):02x}", text)
