"""Writing a file as a whole: a reader, or a crash, finds the old file or the new one."""

import errno
import os
import tempfile
from pathlib import Path


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write the content beside its target, flush it to the disk and rename it. A link is followed, a mode is kept.

    Raises
    ------
    OSError
        If it cannot be written, with the path as it was given; the old file is as it was. PermissionError for one that
        is read-only, to root as well.
    """
    name = os.fspath(path)
    try:
        if not name:  # which pathlib takes for the current folder
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        _replace(Path(name).resolve(), content)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, name) from None


def _replace(target: Path, content: bytes) -> None:
    if target.exists() and not target.is_file():  # a device must not become a file
        target.write_bytes(content)
        return
    if target.exists() and not target.stat().st_mode & 0o222:
        raise PermissionError(errno.EACCES, "the file is read-only")
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:200]}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
