"""A PostgreSQL of the tests' own, if the machine has its programs."""

import contextlib
import getpass
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["programs", "serving"]


def programs() -> Path | None:
    """Return the folder that has ``initdb`` and ``postgres``, the newest, None if there is none."""
    folders = [Path(it) for it in os.environ["PATH"].split(os.pathsep)]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((it for it in folders if (it / "initdb").exists()), None)


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Run a server, on a socket in a folder of its own; yield how to connect to it.

    PostgreSQL refuses to run as root: then the user postgres, whom its package makes, runs it.
    """
    found = programs()
    assert found is not None
    user = "postgres" if os.geteuid() == 0 else getpass.getuser()
    folder = Path(tempfile.mkdtemp(prefix="postgres"))
    rights: dict[str, object] = {"cwd": folder, "check": True, "stdout": subprocess.DEVNULL}
    if os.geteuid() == 0:
        account = pwd.getpwnam(user)
        os.chown(folder, account.pw_uid, account.pw_gid)
        rights |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    data = str(folder / "data")
    control = [str(found / "pg_ctl"), "-D", data, "-w", "-s"]
    try:
        make = [str(found / "initdb"), "-D", data, "-U", "tester", "-A", "trust", "--no-sync"]
        subprocess.run(make, **rights)  # type: ignore[call-overload]
        options = f"-k {folder} -c listen_addresses= -c fsync=off"
        start = [*control, "-o", options, "-l", str(folder / "log"), "start"]
        subprocess.run(start, **rights)  # type: ignore[call-overload]
        try:
            yield f"host={folder} user=tester dbname=postgres"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **rights)  # type: ignore[call-overload]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
