"""Which threads and processes belong to a job.

A job is more than the thread its code starts in: whatever `threading.Thread` that code
starts, and whatever those start, is a member of its `Family`, and so are the processes they
start; how those end is said in `processes`. The functions of the standard library that start
threads and processes are wrapped once, at the first launch of a job, and for a caller that
is no member the wrapper only finds out that it is none.

A thread is a member's child if a member starts it. A process may also be started by somebody
else in a member's name: ``%%bash`` asks the event loop of another thread to do it, and what
is asked of an event loop is done in the context of who asks. So the context says whose a
process is.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import itertools
import operator
import os
import shlex
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, NoReturn

from . import processes, stack
from .exceptions import JobKilled, JobStopped
from .kill import (
    Look,
    Target,
    await_death,
    contain,
    current_target,
    get_ready,
    hindrance,
    pool_of,
    pursue,
    serves_cleanup,
    sheltered,
)
from .processes import ChildProcess
from .threads import ServiceThread, ThreadWithExc
from .waiting import Deadline, Latch

_asks: contextvars.ContextVar[Family] = contextvars.ContextVar("ipykill_asks")
"""Whose code is running, or asked for what is running."""


class Family:
    """The threads and processes of one job.

    Parameters
    ----------
    first
        The thread, not yet started, that the family begins with.
    enter
        Called in each thread of the family before its first line; it must not raise.
    finish
        Called in the first thread with what its code raised, when that has ended and
        nothing is raised in the thread from outside any more.

    Threading
    ---------
    Any thread may call any method. `_lock` guards the lists; it is never held while code
    of others runs, but for a signal handler, which may take it again.
    """

    def __init__(
        self,
        first: ThreadWithExc,
        enter: Callable[[], None],
        finish: Callable[[BaseException | None], None],
        leave: Callable[[], None] = lambda: None,
    ) -> None:
        self._enter = enter
        self._leave_thread = leave
        self._lock = threading.RLock()
        # Each with the fact that it left: its code ended, or it was let go. A thread that is
        # not alive and has not left is about to start. (Thread.ident does not tell: it is
        # set a moment before is_alive() says True.)
        self._threads: dict[threading.Thread, Latch] = {}
        self._targets: list[Target] = []
        self.past_idents: set[int] = set()
        self._processes: list[ChildProcess] = []
        self._look_at = _LOOK  # processes, when to forget those that are gone
        self._ender: Latch | None = None
        self._pid = os.getpid()
        self._past_cpu_time = 0.0
        self.kill_requested = self.struck = self.spares = self._desolate = False
        self._first = first
        first._guard()
        self._adopt(first, finish=finish)

    def start(self) -> None:
        """Start the first thread.

        Raises
        ------
        RuntimeError
            The system can start no more threads; the family is empty then.
        """
        _install()
        get_ready()
        try:
            self._first.start_soon()
        except Exception:
            if not self._first.runs_all_the_same():
                self._disown(self._first)
            raise

    def kill(self, patience: float = 0.0) -> None:
        """Kill every thread of the family, now and from now on.

        Parameters
        ----------
        patience
            Seconds that the caller is going to wait for the end anyway.

        Raises
        ------
        JobKilled
            In a member that kills its own family outside any shield.
        """
        self.kill_requested = True
        pursue(self, patience)
        target = current_target()
        if target is not None and target.group is self and target.wanted:
            raise target.strike()

    def targets(self) -> list[Target]:
        """Return the threads that have begun and not ended."""
        return self._targets.copy()  # atomic

    def threads(self) -> list[threading.Thread]:
        """Return the threads that live or are starting, in the order of their start."""
        with self._lock:
            # A list: the garbage collector may make a finalizer that starts a thread.
            for thread in filter(self._is_gone, list(self._threads)):
                del self._threads[thread]
            return list(self._threads)

    def _is_gone(self, thread: threading.Thread) -> bool:
        return self._threads[thread].is_set() and not thread.is_alive()

    def first_runs(self) -> bool:
        """Whether the code that the family began with still runs."""
        return any(target.open and target.thread is self._first for target in self.targets())

    def tree(self) -> Iterator[tuple[threading.Thread, int]]:
        """Return the threads, each below the one that started it, with its depth there."""
        threads = self.threads()
        living = set(threads)
        children: dict[threading.Thread | None, list[threading.Thread]] = {}
        for thread in threads:
            parent = vars(thread).get(_ADOPTED, _nobody)()
            children.setdefault(parent if parent in living else None, []).append(thread)

        def below(parent: threading.Thread | None, depth: int) -> Iterator[tuple[Any, int]]:
            for thread in children.get(parent, ()):
                # What a thread that has ended started stands on the first level.
                yield thread, depth if thread is self._first else max(depth, 1)
                yield from below(thread, depth + 1 if thread is self._first else max(depth, 1) + 1)

        return below(None, 0)

    def target_of(self, thread: threading.Thread) -> Target | None:
        """Return the record of a thread that has begun and not ended."""
        for target in self.targets():
            if target.thread is thread:
                return target
        return None

    def stacks(self, look: Look, labels: Mapping[str, str]) -> list[stack.Stack]:
        """Return where the threads are, in the order of `tree`."""
        found = []
        for thread, depth in self.tree():
            target = self.target_of(thread)
            frame = None if target is None else look(target)
            frames = stack.trim(stack.of_frame(frame, labels))
            why = ""
            if target is not None and self.kill_requested:
                why = hindrance(target, frame, labels)
            found.append(stack.Stack(thread.name, depth, False, tuple(frames), why))
        return found

    def hindrance(self, look: Look, labels: Mapping[str, str]) -> str:
        """Return in words why the family, which is being killed, still lives."""
        for child in self._children():
            if (due := child.due) is not None:
                what = f"process {child.pid} ({child.command[:40]})"
                return f"its {what} was asked to end and is killed in {due:.1f} s"
        for target in self.targets():
            frame = look(target)
            if why := hindrance(target, frame, labels):
                if target.thread is self._first:
                    return why
                here = stack.here(frame, labels)
                return f"{target.thread.name}{f' in {here}' if here else ''}: {why}"
        return ""

    def let_go(self, target: Target) -> None:
        """Forget a thread that turned out to serve others as well."""
        with self._lock:
            self._leave(target)
            left = self._threads.pop(target.thread)
        left.set()
        target.release()

    def _leave(self, target: Target) -> None:
        # With the lock held.
        if target in self._targets:
            self._targets.remove(target)
            self.past_idents.add(target.ident)
            self._past_cpu_time += target.cpu_time()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until every thread has ended, and every process that is being ended.

        The calling thread, if it is a member, does not wait for itself.
        """
        deadline = Deadline(timeout)
        ended = self.join_threads(timeout)
        ender = self._ender
        return ended and (ender is None or ender.wait(deadline.left()))

    def join_threads(self, timeout: float | None = None) -> bool:
        """Wait until every thread but the calling one has ended; return whether they have."""
        deadline = Deadline(timeout)
        me = threading.current_thread()
        while others := [thread for thread in self.threads() if thread is not me]:
            if deadline.left() == 0:
                return False
            with await_death():
                thread = others[0]
                # Not Thread.join: it refuses a thread that is only about to start, goes on
                # waiting for one that is let go, and takes a thread for dead when a Ctrl-C
                # breaks it (up to 3.12). None of that is true here, where there is one wait
                # instead of two:
                if sys.version_info >= (3, 13) and thread is self._first and thread.is_alive():
                    thread.join(deadline.left())
                    continue
                left = self._threads.get(thread)
                if left is not None and left.wait(deadline.left()) and thread in self._threads:
                    thread.join(deadline.left())
        return True

    # Processes. No one is forgotten:
    #
    # 1. A process is noted in the thread that started it, before the call that did returns;
    #    nothing is raised there from outside (`policy`).
    # 2. `end_processes` comes when no thread of the family lives. It declares the family
    #    desolate, with the lock held, and ends what is noted.
    # 3. After that only others start processes, in the family's name. Each of them sees with
    #    the lock held that it is desolate, unless it came before (2), and has its process
    #    ended itself.

    def note(self, child: ChildProcess) -> None:
        """Note that a process was started by the family or in its name."""
        with self._lock:
            if len(self._processes) >= self._look_at:
                self.forget_processes()
                self._look_at = 2 * len(self._processes) + _LOOK
            self._processes.append(child)
            desolate = self._desolate and not self.spares
        if desolate:
            _end_soon(functools.partial(processes.end, [child]))

    def processes(self) -> tuple[processes.ProcessInfo, ...]:
        """Return the processes that run, or that ended and nobody has waited for."""
        if not self._processes:  # as in most jobs, and a list of jobs asks them all
            return ()
        self.forget_processes()
        children = self._children()
        live_groups = functools.cache(processes.live_groups)
        return tuple(child.info(live_groups) for child in children)

    def processes_run(self) -> bool:
        """Whether one of its processes runs."""
        return any(child.running for child in self._children())

    def child_of(self, handle: object) -> ChildProcess | None:
        """Return the process that `handle` stands for, if it belongs to the family."""
        return next((child for child in self._children() if child.stands_for(handle)), None)

    def end_processes(self) -> None:
        """End the processes of the family, which has no thread any more; blocks."""
        with self._lock:
            self._desolate = True
            children = [] if self.spares else list(self._processes)
        if children:
            processes.end(children)
            self.forget_processes()

    def end_processes_soon(self) -> None:
        """End the processes when no thread of the family lives; `join` waits for it."""
        with self._lock:
            if self._ender is not None and not self._ender.is_set():
                return
            ender = self._ender = Latch()

        def run() -> None:
            try:
                self.join_threads()
                self.end_processes()
            finally:
                ender.set()

        if not _end_soon(run):
            ender.set()

    def kill_processes(self) -> None:
        """Kill the processes now, whoever may need them: the interpreter exits."""
        for child in self._children():
            if not child.is_daemon:
                child.signal(processes.SIGKILL)

    def _children(self) -> list[ChildProcess]:
        return self._processes.copy()  # atomic

    def forget_processes(self) -> None:
        """Let go of the processes that are gone: each costs a file descriptor."""
        if not self._processes:
            return
        with self._lock:
            gone = list(itertools.filterfalse(operator.attrgetter("exists"), self._processes))
            for child in gone:
                self._processes.remove(child)
                child.forget()

    def cpu_time(self) -> float:
        """CPU time that all threads of the family have used so far, in seconds."""
        with self._lock:
            total = self._past_cpu_time
            for target in self._targets:
                total += target.cpu_time()
            return total

    def _adopt(
        self,
        thread: threading.Thread,
        *,
        parent: threading.Thread | None = None,
        finish: Callable[[BaseException | None], None] | None = None,
    ) -> None:
        body = thread.run
        left = Latch()

        def contained(target: Target) -> BaseException | None:
            error = contain(target, body)
            try:
                if os.getpid() != self._pid:
                    _end_fork(error)
                return error
            finally:
                error = None  # else it and this frame, in its traceback, are a cycle

        def run() -> None:
            target = Target(self, thread)
            target.last = finish is None and serves_cleanup(thread)
            with self._lock:
                self._targets.append(target)
            self.claim()
            self._enter()
            error: BaseException | None
            try:
                if finish is not None:
                    # No name here, so that `finish` can let go of what its traceback holds.
                    finish(contained(target))
                    return
                error = contained(target)
                if error is not None and not isinstance(error, JobKilled | JobStopped):
                    raise error
            finally:
                error = None  # else it and this frame, in its traceback, are a cycle
                with self._lock:
                    self._leave(target)
                left.set()
                vars(thread).pop("run", None)  # who keeps the thread shall not keep the job
                target.answer()

        thread.run = run  # type: ignore[method-assign]
        vars(thread)[_ADOPTED] = _nobody if parent is None else weakref.ref(parent)
        with self._lock:
            self._threads[thread] = left

    def errand(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return `work` as a call that is a member while a thread of others makes it."""

        def run(*args: Any, **kwargs: Any) -> Any:
            if current_target() is not None:  # one of another job: nobody else ends what it does
                return work(*args, **kwargs)
            call = functools.partial(work, *args, **kwargs)
            return contextvars.copy_context().run(self._run_errand, call)

        return run

    def _run_errand(self, work: Callable[[], Any]) -> Any:
        values: list[Any] = []
        target = Target(self, threading.current_thread())
        with self._lock:
            self._threads[target.thread] = Latch()
            self._targets.append(target)
            self._past_cpu_time -= time.thread_time()  # that is not the family's
        self.claim()
        self._enter()
        error: BaseException | None = None
        try:
            error = contain(target, lambda: values.append(work()))
            if error is not None:
                raise error
            return values.pop()
        finally:
            error = None  # else it and this frame, in its traceback, are a cycle
            self._leave_thread()
            self.let_go(target)

    def claim(self) -> None:
        """Make the calling context, of the code it runs and asks for, the family's."""
        _asks.set(self)

    def _disown(self, thread: threading.Thread) -> None:
        """Forget a thread that did not start."""
        with self._lock:
            left = self._threads.pop(thread)
        left.set()


_LOOK = 16

_ADOPTED = "_ipykill_parent"  # the attribute of an adopted thread: who started it, a weakref


def _nobody() -> None:
    """Be the reference to the parent of a thread that nobody of its family started."""


_SCRIPTS = "IPython.core.magics.script"
_thread_start: Callable[[threading.Thread], None] | None = None  # what _start wraps,
_popen_init: Callable[..., None] | None = None  # and _init_popen,
_popen_signature: inspect.Signature | None = None
_process_start: Callable[[BaseProcess], None] | None = None  # and _start_process
_pool_init: Callable[..., None] | None = None  # and _init_pool,
_pool_submit: Callable[..., Future[Any]] | None = None  # and _submit
_MAKER = "_ipykill_maker"
_starting = threading.local()  # has `level` in a thread that starts a process


def _serves_all(thread: threading.Thread) -> bool:
    """Whether a thread belongs to the whole process, whoever happens to start it."""
    if isinstance(thread, ServiceThread):
        return True
    # The monitor of tqdm is started with the first bar, and watches all bars from then on; the
    # collector of pyzmq with the first long message.
    if type(thread).__module__ in {"tqdm._monitor", "zmq.utils.garbage"}:
        return True
    # The event loop of %%script and %%bash is started with the first of them.
    name = getattr(getattr(thread, "_target", None), "__name__", "")
    return name == "run_forever" and any(it == _SCRIPTS for it in _callers())


def _callers() -> Iterator[str]:
    """Return the names of the modules that call, as far as a wrapper of `start` may hide."""
    frame: FrameType | None = sys._getframe(3)
    for _ in range(4):
        if frame is None:
            return
        yield frame.f_globals.get("__name__", "")
        frame = frame.f_back


@functools.wraps(threading.Thread.start)
def _start(thread: threading.Thread) -> None:
    assert _thread_start is not None
    target = current_target()
    adopted = vars(thread)
    if target is None or _ADOPTED in adopted or _serves_all(thread):
        _thread_start(thread)
        return
    family = target.group
    assert isinstance(family, Family)
    if (pool := pool_of(thread)) is not None:
        maker = _maker(pool)
        if maker is None:
            _thread_start(thread)
            return
        family = maker
    own_run = adopted.get("run")
    family._adopt(thread, parent=target.thread)  # a ThreadWithExc has guarded its body by now
    try:
        _thread_start(thread)
    except RuntimeError:  # it had been started before, or the system has no thread left
        family._disown(thread)
        del adopted["run"], adopted[_ADOPTED]
        if own_run is not None:
            adopted["run"] = own_run
        raise


def _end_fork(error: BaseException | None) -> NoReturn:
    """End the child of a fork whose code has come to its end, as a program ends.

    Nothing of what surrounds the job is this process's: not the sockets, not the log.
    """
    code: object = 0
    if isinstance(error, SystemExit):
        code = error.code
    elif error is not None:
        code = 1
        with contextlib.suppress(Exception):
            tb = stack.without_machinery(error.__traceback__)
            text = "".join(traceback.format_exception(type(error), error, tb))
            os.write(2, text.encode(errors="replace"))
    os._exit(code & 255 if isinstance(code, int) else int(code is not None))


def _maker(pool: ThreadPoolExecutor) -> Family | None:
    """Return the family that made a thread pool, if one did."""
    reference = vars(pool).get(_MAKER)
    return None if reference is None else reference()


@functools.wraps(ThreadPoolExecutor.__init__)
def _init_pool(pool: ThreadPoolExecutor, *args: Any, **kwargs: Any) -> None:
    assert _pool_init is not None
    _pool_init(pool, *args, **kwargs)
    if (family := _family()) is not None:
        vars(pool)[_MAKER] = weakref.ref(family)


@functools.wraps(ThreadPoolExecutor.submit)  # type: ignore[arg-type]
def _submit(
    pool: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Future[Any]:
    assert _pool_submit is not None
    family = _family()
    if family is not None and _maker(pool) is not family:
        fn = family.errand(fn)
    return _pool_submit(pool, fn, *args, **kwargs)


def _end_soon(work: Callable[[], None]) -> bool:
    try:
        ServiceThread(work, "ender").start()
    except RuntimeError:  # the system has no thread left, or the interpreter exits
        return False
    return True


def _family() -> Family | None:
    """Return the family in whose name the caller acts."""
    family = _asks.get(None)
    if family is None:
        target = current_target()
        family = target.group if target is not None and isinstance(target.group, Family) else None
    # The child of a fork has inherited this, and is no job's.
    return family if family is not None and family._pid == os.getpid() else None


@contextlib.contextmanager
def _start_of_process() -> Iterator[None]:
    """Within, a process is started by a function that notes it itself."""
    _starting.level = getattr(_starting, "level", 0) + 1
    try:
        yield
    finally:
        _starting.level -= 1


def _origin(family: Family) -> dict[str, Any]:
    """Return what a `ChildProcess` has to know about who starts it."""
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
        _popen_init(process, *args, **kwargs)  # which says what is wrong
        return
    leads = processes.own_group(bound.arguments)
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
    with processes.without_interrupt(process), _start_of_process():
        _process_start(process)
    assert process.pid is not None
    family.note(ChildProcess(process.pid, process.name, handle=process, **_origin(family)))


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

    In C it does not look for signals while it waits, and makes the whole process ignore
    SIGINT meanwhile, so that no cell could be interrupted.
    """

    @functools.wraps(really)
    def system(command: Any) -> int:
        if _family() is None or os.name != "posix":
            return really(command)
        sys.audit("os.system", command)
        with subprocess.Popen(
            os.fsencode(command), shell=True, close_fds=False, restore_signals=False
        ) as process:
            code = process.wait()
        return code << 8 if code >= 0 else -code

    return system


def _install() -> None:
    """Wrap what starts a thread or a process, once."""
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
    for name in ("fork", "forkpty", "posix_spawn", "posix_spawnp"):
        if (really := getattr(os, name, None)) is not None:
            setattr(os, name, _noting(really, leads=name == "forkpty"))
    os.system = _like_system(os.system)  # type: ignore[assignment]
