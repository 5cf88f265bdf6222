"""A process of one contender, which may hang, crash, or leave its own processes behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.benchmarks.contenders import PEERS


def run(module: str, arguments: Sequence[object], cache: Path, timeout: float) -> list:
    """Run ``python -m module arguments`` and return what it said, a list of JSON values.

    A process that hangs is ended after `timeout` seconds; what it said before counts.
    """
    with tempfile.TemporaryDirectory(prefix="ipykill-") as folder:
        said, complaints = Path(folder, "said"), Path(folder, "complaints")
        with complaints.open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", module, *map(str, arguments)],
                env=os.environ
                | {"PYTHONPATH": PEERS.path(cache), "PYTEST_TMP": folder}
                | {"BENCHMARK_SAID": str(said)},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,  # no pipe: the child processes that are left would keep it open
                start_new_session=True,
            )
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout)
        finally:
            # With the child processes that a Kill left behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if not said.exists():
            raise RuntimeError(f"{module} {arguments} failed:\n{complaints.read_text()[-2000:]}")
        return [json.loads(line) for line in said.read_text().splitlines()]


def say(value: object) -> None:
    """Tell a value to `run`, at once; from a fork of the process as well."""
    with open(os.environ["BENCHMARK_SAID"], "a") as file:
        file.write(json.dumps(value) + "\n")


def serve(main: Callable[..., None]) -> None:
    """Be the process that `run` has started: say that it lives, call ``main(*arguments)``."""
    say("ready")
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    threading.excepthook = lambda args: None
    main(*sys.argv[1:])
    # Without waiting for threads that did not die.
    os._exit(0)
