"""Write what was measured into docs/benchmarks.md or libraries.md, some in short elsewhere.

Each part stands between two comments, ``<!-- name -->`` and ``<!-- /name -->``, with its own
date, versions and machine, so that parts can be measured on different days.
"""

import statistics
from collections.abc import Callable, Sequence

from tests.benchmarks.killable import Cell
from tests.benchmarks.leftovers import Share
from tests.benchmarks.table import Table, machine
from tests.overlays import ROOT

KILLABLE = {
    "a loop, nested, in a comprehension, a recursion": (
        "loop nested_loops comprehension generator_expression recursion no_source sort_key "
        "short_c_calls"
    ),
    "a loop in a library": "library library_alone",
    "a loop that catches everything": "swallowing swallowing_bare_and_nested swallowed_sleep",
    "a query of sqlite3": (
        "sqlite_query sqlite_query_of_a_shared_connection sqlite_query_of_a_shared_cursor"
    ),
    "`time.sleep`": "sleep captured_sleep",
    "`Lock`, `RLock`, `Semaphore`": (
        "lock with_lock with_rlock_of_another_thread semaphore with_condition with_contextmanager"
    ),
    "`Event`, `Condition`, `Barrier`": "event event_with_timeout condition barrier",
    "`queue.Queue`": "queue_get queue_put",
    "`queue.SimpleQueue`": "simple_queue",
    "`Thread.join`, `Future.result`": "join_own_child future",
    "`ThreadPoolExecutor`": "with_executor executor_map",
    "a socket: `recv`, `accept`, `connect`": "recv recv_with_timeout accept connect",
    "a TLS handshake, an HTTP request": "tls_handshake urllib_request http_client requests",
    "`select`": "select_ selector",
    "`asyncio`": "asyncio_sleep asyncio_to_thread asyncio_busy",
    "a pipe, a fifo": "pipe pipe_as_file fifo",
    "`subprocess`": (
        "subprocess_run subprocess_check_output subprocess_wait subprocess_wait_with_timeout "
        "subprocess_communicate waitpid"
    ),
    "`multiprocessing.Pool`": "multiprocessing_pool",
}
LEFTOVERS = {
    "a lock of `acquire(); try: ... finally: release()` held": (
        "AcquireTry ContendedAcquireTry BlockedAcquireTry"
    ),
    "a lock of `with lock:` held": (
        "WithLock WithContendedLock WithRLock WithLockAroundALoop WithLockAroundConditions"
    ),
    "a lock inside `Condition`, `Event`, `Semaphore` held": "Conditions Events Semaphores Futures",
    "a `queue.Queue` that nobody can use any more": "Queues SimpleQueues",
    "the lock of `logging` held": "Logging",
    "a lock of the import system held": "Imports",
    "a `finally:` or a rollback cut short": "Finally FinallyThatGoesOn Rollback SharedNumber",
    "`__enter__` without `__exit__`": (
        "ContextManagerClass ContextManagerFunction ContextManagerOfOtherNames ExitStack"
    ),
    "`sys.stdout` still redirected, warnings off": "RedirectStdout CatchWarnings",
    "a temporary folder, an open file": "TemporaryDirectories Files",
    "a child process, alive or a zombie": "Subprocesses WaitingSubprocesses",
    "threads of a pool": "Executors Threads",
}


def killed(cells: Sequence[Cell]) -> str:
    """Sum up cases of one kind: the slowest median, if all died."""
    died = [cell for cell in cells if cell.died]
    if not died:
        return "no"
    if len(died) < len(cells):
        return f"{len(died)} of {len(cells)}"
    return f"{max(statistics.median(cell.milliseconds) for cell in cells):.1f}"


def left(cells: Sequence[Share]) -> str:
    """Sum up scenarios of one kind: the largest share; what does not die breaks nothing."""
    dead = [cell for cell in cells if cell.dies]
    if not dead:
        return "does not die"
    return str(max(dead, key=lambda cell: cell.share))


def _short(table: Table, groups: dict[str, str], sum_up: Callable[[Sequence], str]) -> str:
    known = {name.replace(" ", "_").strip("_"): cells for name, cells in table.rows.items()}
    rows = {}
    for label, names in groups.items():
        cells = [known[it.strip("_")] for it in names.split() if it.strip("_") in known]
        if cells:
            rows[label] = [sum_up(column) for column in zip(*cells, strict=True)]
    lines = str(Table("", "", table.columns, rows)).splitlines()
    return "\n".join(lines[4:])


def publish(part: str, table: Table) -> None:
    """Write a table where it belongs."""
    text = str(table).replace("\n\n", f"\n\n{machine()}\n\n", 1)
    _replace(f"docs/{'libraries' if part == 'libraries' else 'benchmarks'}.md", part, text)
    shorts = {"killable": (KILLABLE, killed), "leftovers": (LEFTOVERS, left)}
    if part in shorts:
        _replace("docs/how-it-works.md", part, f"{machine()}\n\n{_short(table, *shorts[part])}")


def _replace(name: str, part: str, text: str) -> None:
    file = ROOT / name
    before, begin, rest = file.read_text().partition(f"<!-- {part} -->\n")
    _, end, after = rest.partition(f"<!-- /{part} -->\n")
    assert end, f"{name} has no place for {part}"
    file.write_text(f"{before}{begin}\n{text.strip()}\n\n{end}{after}")
