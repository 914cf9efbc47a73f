"""Atomic writing of files, and readable errors where that fails."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from wsss.runtime.cells import frame_text

_ROOM = 120
"""Bytes of a file's name in the name of its temporary file; file systems allow 255, and host names are long."""
_KINDS = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}


def write_atomically(path: Path, content: str | bytes | Callable[[Path], None]) -> None:
    """Writes a file whole or not at all, through a temporary file beside it.

    content: text (as UTF-8), bytes, or a function that writes to the path that it receives.

    Raises:
        OSError: the file cannot be written; the message names it and the reason.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{_short(path.name)}.{os.getpid()}@{platform.node()}.tmp")
    try:
        if callable(content):
            temporary.touch()
            mode = temporary.stat().st_mode  # some writers make a file of their own, which only its owner may read
            content(temporary)
            temporary.chmod(mode)
        else:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    except Exception as error:
        raise write_error(path, error) from error
    finally:
        with suppress(OSError):  # on a read-only disk there is none, and even looking for it fails
            temporary.unlink()


class NoFile(ValueError):
    """A path that is no file: the text names it and its kind."""


def regular(path: Path) -> Path:
    """The path, after a check of its kind: reading a pipe, a socket or a device might never end.

    A path that does not exist is left to the caller, whose opening names the reason.

    Raises:
        NoFile: it is neither a file nor a folder.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return path
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise NoFile(f"{path}: is a {_KINDS.get(stat.S_IFMT(mode), 'device')}; accepted is a file")
    return path


def _short(name: str) -> str:
    """The name, or its beginning and a digest if it is longer than `_ROOM` bytes."""
    data = os.fsencode(name)
    return name if len(data) <= _ROOM else f"{os.fsdecode(data[:_ROOM])}{hashlib.sha256(data).hexdigest()[:16]}"


def remove_leftovers(folder: Path) -> None:
    """Removes temporary files below a folder whose process, of this machine, is dead."""
    for path in folder.rglob(".*.tmp"):
        found = re.fullmatch(r"\..+\.(\d+)@(.*)\.tmp", path.name)
        if found and found[2] == platform.node() and not is_alive(int(found[1])):
            path.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Whether a process with this id runs on this machine."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # no process, or a number that no process can have
        return False
    except PermissionError:
        pass
    return True


_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
_TOLD = re.compile(r"No space left on device|File too large|Disk quota exceeded|Read-only file system", re.I)
_FAILED = re.compile(r"failed writing|write failed|inline_container.*unexpected pos", re.I)  # torch gives no reason


def write_error(path: Path, error: Exception) -> Exception:
    """An OSError that names the file and the reason, if `error` is a failed write of any library; else `error`."""
    if isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
        reason = os.strerror(error.errno).lower()
    elif told := _TOLD.search(str(error)):
        reason = told[0].lower()
    elif _FAILED.search(str(error)):
        reason = "the disk is full, or files may not grow so large"
    else:
        return error
    closed = reason.startswith(("read-only", "permission", "operation not permitted"))
    advice = "change that, or choose another place" if closed else "free some space, and the same command resumes"
    return OSError(f"cannot write {path} ({reason}); {advice}")


def write_csv(frame: Any, path: Path, digits: int = 4) -> None:
    """Writes a pandas table as CSV, without its index. digits: decimals of a float."""
    write_atomically(path, frame_text(frame, digits))
