"""Files that are written as a whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def replace_file(path: str, content: bytes) -> None:
    """Write `content` beside the target, flush it to the disk and rename it, so that there is never half a file.

    A link is followed, a file that is replaced keeps its mode, and a device stays a device.

    Raises
    ------
    OSError
        If it cannot be written; an old file is as it was then.
    """
    target = Path(path).resolve()
    if target.exists() and not target.is_file():  # a device must not become a file
        target.write_bytes(content)
        return
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
