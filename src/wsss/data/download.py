"""Downloads: resumed after interruptions, checked by digest, tried at every mirror, extracted safely."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from wsss.runtime.patience import in_time
from wsss.runtime.progress import Progress, log

CHUNK = 1 << 20
ATTEMPTS = 5
"""Attempts per address; only those without new bytes count."""
TIMEOUT = 60.0
"""Timeout in seconds without a byte."""


@dataclass(frozen=True)
class Archive:
    """A published file.

    url: its official address. digest: of the whole file, by `algorithm` of hashlib. called: its local name, if other
    than in the address.
    """

    url: str
    digest: str
    algorithm: str = "md5"
    called: str = ""

    @property
    def name(self) -> str:
        return self.called or self.url.partition("?")[0].rsplit("/", 1)[-1]


class DownloadError(OSError):
    """The file could not be downloaded from any address; the text is one line."""


def fetch(archive: Archive, folder: Path, mirrors: Sequence[str] = (), *, answer_within: float | None = None) -> Path:
    """The path of the archive in `folder`, downloaded from a mirror or its official address unless present.

    An interrupted download stays as `NAME.part` and is resumed by the next call.
    answer_within: seconds, DNS included, after which an address without any answer is given up at once; None: attempts
    continue for a minute.

    Raises:
        DownloadError: every address failed; names each with its reason.
    """
    target, kind = folder / archive.name, archive.algorithm.upper()
    if target.is_file():
        if file_digest(target, archive.algorithm) == archive.digest:
            return target
        log.warning("%s is not the published file (%s differs); it is downloaded again", target, kind)
        target.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{archive.name}.part")
    failures = []
    for url in [*(f"{mirror.rstrip('/')}/{archive.name}" for mirror in mirrors), archive.url]:
        try:
            _download(url, part, answer_within)
        except (OSError, http.client.HTTPException, ValueError) as error:
            failures.append(f"{url}: {_reason(error)}")
            continue
        found = file_digest(part, archive.algorithm)
        if found == archive.digest:
            part.replace(target)
            return target
        part.unlink()
        failures.append(f"{url}: {kind} {found}, published is {archive.digest}")
    raise DownloadError(f"cannot download {archive.name}: {'; '.join(failures)}")


def extract(archive: Path, into: Path, wanted: Callable[[str], bool] = lambda name: True) -> None:
    """Unpacks the wanted members of a tar file into the folder `into`, whole or not at all.

    Members outside the folder, links, devices and the like are refused; owners, rights and times are not taken over.

    Raises:
        ValueError: a damaged archive, or a refused member.
    """
    temporary = into.with_name(f".{into.name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                if wanted(member.name):
                    _unpack(tar, member, temporary, archive)
        temporary.replace(into)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{archive}: cannot be unpacked ({error})") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _unpack(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, archive: Path) -> None:
    """Writes a file or folder of an archive; tarfile's own filter for this needs Python 3.11.4."""
    name = PurePosixPath(member.name)
    if not (member.isreg() or member.isdir()) or name.is_absolute() or ".." in name.parts:
        raise ValueError(f"{archive}: refused to unpack: '{member.name}' is no file or folder within it")
    target = folder / name
    (target if member.isdir() else target.parent).mkdir(parents=True, exist_ok=True)
    if member.isreg():
        with tar.extractfile(member) as source, target.open("wb") as out:
            shutil.copyfileobj(source, out)


def _download(url: str, part: Path, answer_within: float | None) -> None:
    """Appends to `part` until the download is complete; resumes after every interruption."""
    idle, attempts = 0, ATTEMPTS if answer_within is None else 1
    while True:
        before = part.stat().st_size if part.is_file() else 0
        try:
            if _continue(url, part, answer_within):
                return
            reason: Exception = OSError("the connection ended early")
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise
            reason = error
        except (OSError, http.client.HTTPException) as error:
            reason = error
        if part.is_file() and part.stat().st_size > before:
            idle, attempts = 0, ATTEMPTS
        else:
            idle += 1
        if idle >= attempts:
            raise reason
        log.warning("%s: %s; continuing", url, _reason(reason))
        time.sleep(min(30.0, 0.1 * 4**idle))


def _continue(url: str, part: Path, answer_within: float | None) -> bool:
    """Requests the rest of `part`; returns whether the file is then complete."""
    start = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = answer(request, answer_within)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # complete, or another file: the checksum decides
            return True
        raise
    with response:
        resumed = response.status == 206 and _starts_at(response, start)
        length = response.headers.get("Content-Length")
        total = (start if resumed else 0) + int(length) if length else None
        with part.open("ab" if resumed else "wb") as file:
            meter = Progress((total or 0) // CHUNK, "MiB", done=file.tell() // CHUNK, rate_unit="MiB")
            while chunk := response.read(CHUNK):
                file.write(chunk)
                meter.update(file.tell() // CHUNK - meter.done)
            return total is None or file.tell() == total


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Refuses redirects from https to another protocol."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if req.type == "https" and not newurl.startswith("https://"):
            raise urllib.error.HTTPError(newurl, 403, "refused: leads from https to another protocol", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def answer(request: urllib.request.Request, within: float | None) -> http.client.HTTPResponse:
    """The server's response. within: time limit in seconds, DNS included; None: no limit.

    Raises:
        OSError: no response, or none in time.
    """
    opener = urllib.request.build_opener(_NoDowngrade)
    if within is None:
        return opener.open(request, timeout=TIMEOUT)
    return in_time(lambda: opener.open(request, timeout=TIMEOUT), within)


def _starts_at(response: http.client.HTTPResponse, start: int) -> bool:
    return response.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def file_digest(path: Path, algorithm: str) -> str:
    """Hexadecimal digest of a file; algorithm: a name of hashlib."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError):
        return str(error.reason)
    return str(error) or type(error).__name__
