"""Processes that share a study of Optuna in a PostgreSQL server that the test starts, and that listens to no port."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import studies

pytestmark = pytest.mark.slow
optuna = pytest.importorskip("optuna")


def programs() -> Path:
    """The folder of the newest server, which Debian keeps out of PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    found = shutil.which("initdb")
    if not folders and found is None:
        pytest.skip("PostgreSQL is not installed: tests/tools/system_packages.sh postgresql")
    return folders[-1] if folders else Path(str(found)).parent


def run(folder: Path, *command: str | Path) -> None:
    """Runs a command as a user that may run the server: root may not."""
    as_user = ["runuser", "-u", user_name(), "--"] if os.geteuid() == 0 else []
    nowhere = subprocess.DEVNULL  # a pipe would be open as long as the server
    subprocess.run([*as_user, *map(str, command)], check=True, stdout=nowhere, stderr=nowhere, cwd=folder)


def user_name() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    """The folder of the socket."""
    pytest.importorskip("psycopg", reason="the driver of the dependency group hosts is not installed")
    bin_folder = programs()
    folder = Path(tempfile.mkdtemp(prefix="stoop-pg-"))  # the path of a socket must be short
    if os.geteuid() == 0:
        shutil.chown(folder, user_name())
    data = folder / "data"
    try:
        run(folder, bin_folder / "initdb", "-D", data, "-U", "stoop", "-A", "trust", "-N")
        options = f"-c listen_addresses= -c fsync=off -k {folder}"
        run(folder, bin_folder / "pg_ctl", "-D", data, "-l", folder / "log", "-w", "-o", options, "start")
        yield folder
    finally:
        if (data / "postmaster.pid").exists():
            run(folder, bin_folder / "pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database(server: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The URL of an empty database, and a function that loads the study."""
    name = request.node.name[:40]
    subprocess.run([programs() / "createdb", "-h", server, "-U", "stoop", name], check=True, cwd=server)
    url = f"postgresql+psycopg://stoop@/{name}?host={server}"
    storages: list[Any] = []

    def load() -> Any:
        if not storages:  # when the processes have made the tables
            storages.append(optuna.storages.RDBStorage(url))
        return optuna.load_study(study_name="stoop", storage=storages[0])

    yield url, load
    for storage in storages:
        storage.remove_session()
        storage.engine.dispose()


def test_two_processes_share_a_database_and_one_is_killed(database: Any, tmp_path: Path) -> None:
    url, load = database
    studies.check_kill(url, tmp_path, load)


def test_two_processes_begin_at_once_and_make_as_many_trials_as_one(database: Any, tmp_path: Path) -> None:
    url, load = database
    studies.check_share(url, tmp_path, load)
