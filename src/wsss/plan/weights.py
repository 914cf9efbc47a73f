"""Files and folders named in settings: checks of existence and SHA-256, and downloads before any work starts."""

from __future__ import annotations

from wsss.config.outside import BY_HAND, OutsideFile, OutsideFolder
from wsss.data.download import Archive, DownloadError, fetch, file_digest
from wsss.runtime.contents import Contents, digest_of
from wsss.runtime.locks import alone_in
from wsss.runtime.patience import ANSWER_SECONDS


def digest(file: OutsideFile | OutsideFolder, contents: Contents, what: str) -> str:
    """16 hex digits of the content; from the stated SHA-256 if there is one, even before the file exists."""
    if isinstance(file, OutsideFolder):
        return contents.digest(file.files(), what)
    if file.stated_sha256 is not None:
        return digest_of("file", file.stated_sha256)
    return contents.digest([("file", file.path)], what)


def obtain(file: OutsideFile | OutsideFolder) -> str | None:
    """Makes sure that the file or folder is at `file.path`; None, or one line on what to do."""
    if isinstance(file, OutsideFolder):
        return None if file.path.exists() else f"no folder or file '{file}'"
    if file.path.is_file():
        return _wrong_content(file)
    if file.address is None:
        return f"{_absent(file)}; get it by hand: {file.known.where}" if file.known else f"no checkpoint '{file}'"
    if file.stated_sha256 is None:
        return (
            f"{_absent(file)}; it is downloaded if you give its SHA-256: {{url: {file.address}, sha256: …}} "
            f"({file.known.where})"
        )
    archive = Archive(file.address, file.stated_sha256, "sha256", file.path.name)
    try:
        with alone_in(file.path.parent):
            fetch(archive, file.path.parent, answer_within=ANSWER_SECONDS)
    except DownloadError as error:
        place = BY_HAND / file.known.file if file.known else file.path
        return f"{error}; or get {file.address} by hand and put it at {place}"
    return None


def _absent(file: OutsideFile) -> str:
    return f"{file} is not at {file.path}"


def _wrong_content(file: OutsideFile) -> str | None:
    """One line if the file has another SHA-256 than stated."""
    if file.stated_sha256 is None or (found := file_digest(file.path, "sha256")) == file.stated_sha256:
        return None
    return f"{file.path}: SHA-256 {found}, stated is {file.stated_sha256}; remove it, or give the other digest"
