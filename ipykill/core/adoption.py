"""How the threads and processes that a job starts become members of its family.

The functions of the standard library that start threads and processes are wrapped once, at
the first launch of a job. If a wrapper is called outside any family, it finds that out and calls
the original, nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import shlex
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from .. import processes
from ..base import stack
from ..base.imports import when_imported
from ..kill import current_target, pool_of, sheltered
from ..processes import ChildProcess
from ..threads import ServiceThread
from .errands import errand
from .family import ADOPTED, Family, acting_family
from .process_pools import keeper_of
from .services import Service

__all__ = ["install"]

_SCRIPTS = "IPython.core.magics.script"
_TRIO_THREADS = "trio._core._thread_cache"  # its threads serve all runs of trio, one by one
# The original functions, each with the name of the wrapper below that calls it:
_thread_start: Callable[[threading.Thread], None] | None = None  # _start
_popen_init: Callable[..., None] | None = None  # _init_popen
_popen_signature: inspect.Signature | None = None
_process_start: Callable[[BaseProcess], None] | None = None  # _start_process
_pool_init: Callable[..., None] | None = None  # _init_pool
_pool_submit: Callable[..., Future[Any]] | None = None  # _submit
_MAKER = "_ipykill_maker"  # attribute of a thread pool: a weak reference to the family that made it
_starting = threading.local()  # `level`: in how many calls of _start_of_process the thread is


def _serves_all(thread: threading.Thread) -> bool:
    """Whether a thread belongs to the whole process, whoever happens to start it."""
    if isinstance(thread, ServiceThread):
        return True
    # The first bar starts the monitor of tqdm, which watches all bars from then on; the first long
    # message starts the garbage collector of pyzmq.
    if type(thread).__module__ in {"tqdm._monitor", "zmq.utils.garbage"}:
        return True
    if type(getattr(vars(thread).get("_target"), "__self__", None)).__module__ == _TRIO_THREADS:
        return True  # `_wrap_trio` makes each call that it makes for a job an errand
    # The first %%script or %%bash starts the event loop that all later ones use.
    name = getattr(getattr(thread, "_target", None), "__name__", "")
    return name == "run_forever" and any(it == _SCRIPTS for it in _callers())


def _callers() -> Iterator[str]:
    """Yield the modules of the four innermost callers; other tools may have wrapped `start` too."""
    frame: FrameType | None = sys._getframe(3)
    for _ in range(4):
        if frame is None:
            return
        yield frame.f_globals.get("__name__", "")
        frame = frame.f_back


def _starter(thread: threading.Thread) -> FrameType | None:
    """Return the frame that starts a thread.

    Methods of the thread itself do not count, nor wrappers of ``Thread.start`` by other tools:
    the first argument of both is the thread.
    """
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_argcount:
        if frame.f_locals.get(frame.f_code.co_varnames[0]) is not thread:
            break
        frame = frame.f_back
    return frame


def _service(family: Family, starter: FrameType | None) -> Service | None:
    """Return a record of what a library's frame `starter` starts; None if it is a user's frame."""
    if starter is None or stack.is_user(starter.f_code.co_filename):
        return None
    target = current_target()
    if target is None or target.service is None:
        return Service(starter, family.made)
    return Service(starter, family.made, functools.partial(target.group.shares, target))


@functools.wraps(threading.Thread.start)
def _start(thread: threading.Thread) -> None:
    assert _thread_start is not None
    target = current_target()
    adopted = vars(thread)
    if target is None or ADOPTED in adopted or _serves_all(thread):
        _thread_start(thread)
        return
    family = target.group
    assert isinstance(family, Family)
    if (pool := pool_of(thread)) is not None:
        maker = _maker(pool)
        if maker is None or maker.dissolved:
            _thread_start(thread)
            return
        family = maker
    own_run = adopted.get("run")
    starter = _starter(thread)
    # A ThreadWithExc has wrapped its `run` in a guard by now; the adoption wraps that again.
    service, keeper = _service(family, starter), keeper_of(starter)
    family._adopt(thread, parent=target, service=service, keeper=keeper)
    try:
        _thread_start(thread)
    except Exception as error:
        if thread.ident is not None and not isinstance(error, RuntimeError):
            raise  # it has started, and a tool that wraps `start` fails
        # It had been started before, or the system has no thread or no memory left.
        family.disown(thread)
        del adopted["run"], adopted[ADOPTED]
        if own_run is not None:
            adopted["run"] = own_run
        raise


def _maker(pool: ThreadPoolExecutor) -> Family | None:
    """Return the family that made a thread pool, if one did."""
    reference = vars(pool).get(_MAKER)
    return None if reference is None else reference()


@functools.wraps(ThreadPoolExecutor.__init__)
def _init_pool(pool: ThreadPoolExecutor, *args: Any, **kwargs: Any) -> None:
    assert _pool_init is not None
    _pool_init(pool, *args, **kwargs)
    # The thread's target says who makes the pool, not the context: a thread of others that does
    # something for a job makes the pool for those others.
    target = current_target()
    if target is not None and isinstance(target.group, Family):
        vars(pool)[_MAKER] = weakref.ref(target.group)


@functools.wraps(ThreadPoolExecutor.submit)  # type: ignore[arg-type]
def _submit(
    pool: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Future[Any]:
    assert _pool_submit is not None
    if not _is_of_interpreters(pool):  # into which no function of ours can be sent
        fn = _as_errand(fn)
    return _pool_submit(pool, fn, *args, **kwargs)


def _is_of_interpreters(pool: ThreadPoolExecutor) -> bool:
    module: Any = sys.modules.get("concurrent.futures.interpreter")
    return module is not None and isinstance(pool, module.InterpreterPoolExecutor)


def _wrap_trio(module: Any) -> None:
    start = module.ThreadCache.start_thread_soon

    @functools.wraps(start)
    def start_thread_soon(cache: Any, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        start(cache, _as_errand(fn), *args, **kwargs)

    module.ThreadCache.start_thread_soon = start_thread_soon


def _as_errand(fn: Callable[..., Any]) -> Callable[..., Any]:
    family = _family()
    return fn if family is None or family.in_foreground else errand(family, fn)


def _family() -> Family | None:
    """Return the family on whose behalf the caller acts."""
    family = acting_family.get(None)
    if family is None:
        target = current_target()
        family = target.group if target is not None and isinstance(target.group, Family) else None
    if family is not None and threading.get_ident() in family.let_go_idents:
        return None
    # The child of a fork has inherited the context, but belongs to no job.
    return family if family is not None and family._pid == os.getpid() else None


@contextlib.contextmanager
def _start_of_process() -> Iterator[None]:
    """Tell the wrappers of `os` functions in this block that the caller notes the process."""
    _starting.level = getattr(_starting, "level", 0) + 1
    try:
        yield
    finally:
        _starting.level -= 1


def _origin(family: Family) -> dict[str, Any]:
    """Return what a `ChildProcess` has to know about the thread that starts it."""
    target = current_target()
    foreign = target is None or target.group is not family
    return {"late": family.kill_requested and sheltered(), "watched": foreign}


@functools.wraps(subprocess.Popen.__init__)
def _init_popen(process: subprocess.Popen[Any], *args: Any, **kwargs: Any) -> None:
    assert _popen_init is not None
    assert _popen_signature is not None
    family = _family()
    if family is None:
        _popen_init(process, *args, **kwargs)
        return
    try:
        bound = _popen_signature.bind(process, *args, **kwargs)
    except TypeError:
        _popen_init(process, *args, **kwargs)  # raises the TypeError that the caller expects
        return
    leads = processes.own_group(bound.arguments, change=not family.in_foreground)
    with _start_of_process():
        _popen_init(*bound.args, **bound.kwargs)
    command = _command(bound.arguments.get("args"))
    child = ChildProcess(process.pid, command, handle=process, leads=leads, **_origin(family))
    family.note(child)


def _command(args: Any) -> str:
    if isinstance(args, str | bytes | os.PathLike):
        return os.fsdecode(args)
    try:
        return shlex.join(os.fsdecode(word) for word in args)
    except TypeError:
        return ""


@functools.wraps(BaseProcess.start)
def _start_process(process: BaseProcess) -> None:
    assert _process_start is not None
    family = _family()
    if family is None:
        _process_start(process)
        return
    deaf = processes.without_interrupt(process)
    with contextlib.nullcontext() if family.in_foreground else deaf, _start_of_process():
        _process_start(process)
    assert process.pid is not None
    child = ChildProcess(process.pid, process.name, handle=process, **_origin(family))
    child.service = _service(family, sys._getframe(1))
    family.note(child)


def _noting(really: Callable[..., Any], *, leads: bool = False) -> Callable[..., Any]:
    """Wrap a function of `os` that starts a process and returns its number."""

    @functools.wraps(really)
    def start(*args: Any, **kwargs: Any) -> Any:
        result = really(*args, **kwargs)
        pid = result[0] if isinstance(result, tuple) else result
        if pid and not getattr(_starting, "level", 0) and (family := _family()) is not None:
            family.note(ChildProcess(pid, leads=leads, **_origin(family)))
        return result

    return start


def _like_system(really: Callable[[Any], int]) -> Callable[[Any], int]:
    """Wrap `os.system`, which in a job is a `subprocess.Popen` that is waited for.

    The original, in C, does not look for signals while it waits, and makes the whole process
    ignore SIGINT meanwhile, so that no cell could be interrupted.
    """

    @functools.wraps(really)
    def system(command: Any) -> int:
        family = _family()
        if family is None or family.in_foreground or os.name != "posix":
            return really(command)
        sys.audit("os.system", command)
        with subprocess.Popen(
            os.fsencode(command), shell=True, close_fds=False, restore_signals=False
        ) as process:
            code = process.wait()
        return code << 8 if code >= 0 else -code

    return system


def install() -> None:
    """Wrap the functions that start a thread or a process; later calls do nothing."""
    global _thread_start, _popen_init, _popen_signature, _process_start, _pool_init, _pool_submit
    if _thread_start is not None:
        return
    _thread_start = threading.Thread.start
    _popen_init = subprocess.Popen.__init__
    try:
        _popen_signature = inspect.signature(_popen_init)
    except (TypeError, ValueError):  # another library put something in its place
        _popen_signature = inspect.signature(lambda self, *args, **kwargs: None)
    _process_start = BaseProcess.start
    _pool_init, _pool_submit = ThreadPoolExecutor.__init__, ThreadPoolExecutor.submit
    threading.Thread.start = _start  # type: ignore[method-assign, assignment]
    subprocess.Popen.__init__ = _init_popen  # type: ignore[method-assign, assignment]
    BaseProcess.start = _start_process  # type: ignore[method-assign, assignment]
    ThreadPoolExecutor.__init__ = _init_pool  # type: ignore[method-assign, assignment]
    ThreadPoolExecutor.submit = _submit  # type: ignore[method-assign, assignment]
    for name in ("fork", "forkpty", "posix_spawn", "posix_spawnp", "system"):
        if (really := getattr(os, name, None)) is not None:
            note = _noting(really, leads=name == "forkpty")
            wrapper = _like_system(really) if name == "system" else note
            wrapper.__module__ = "os"  # where it is, so that it can be pickled
            setattr(os, name, wrapper)
    when_imported(_TRIO_THREADS, _wrap_trio, for_good=True)
