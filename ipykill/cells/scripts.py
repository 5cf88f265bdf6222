"""``%run`` and `runpy` in a job: the script has a `__main__`, arguments and a path of its own.

A script is run as if it were a program: its module replaces ``sys.modules["__main__"]``, its
arguments replace `sys.argv`, and its folder is put in front of `sys.path`. All three belong to
the whole process, in which the foreground may pickle classes of its own `__main__` meanwhile. So
in a job, IPython and `runpy` see a stand-in for `sys`, which stores what they set for that job
only. As long as a script runs in a job, `sys.argv`, `sys.path` and the attributes of `__main__`
are looked up anew at each use, for the job or the foreground code that uses them.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from ..base.wrapping import replace, wrap
from ..core.current import current_job
from ..core.job import Job

__all__ = ["install"]

_lock = threading.RLock()
_states: weakref.WeakKeyDictionary[Job, _State] = weakref.WeakKeyDictionary()


class _State:
    """The arguments, module and folders that a script in a job has for itself."""

    def __init__(self) -> None:
        self.argv: list[str] | None = None
        self.main: ModuleType | None = None
        self.folders: list[str] = []

    @property
    def is_empty(self) -> bool:
        """Whether no script runs in the job."""
        return self.argv is None and self.main is None and not self.folders


def _state() -> _State | None:
    job = current_job()
    return None if job is None else _states.get(job)


def _own_state(job: Job) -> _State:
    return _states.setdefault(job, _State())


class _Shown(list):  # type: ignore[type-arg]
    """Replaces a list of `sys`; in a job that runs a script it acts as the list of that job."""

    def __init__(self, real: list[str], seen: Callable[[], list[str] | None]) -> None:
        super().__init__(real)
        self.real = real
        self._seen = seen

    def _now(self) -> list[str]:
        seen = self._seen()
        return self.real if seen is None else seen

    def __reduce_ex__(self, protocol: Any) -> Any:
        return list, (list(self._now()),)


def _looked_up(name: str) -> Any:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._now(), name)(*args, **kwargs)

    return method


for _name in (
    *("__getitem__", "__setitem__", "__delitem__", "__len__", "__iter__", "__contains__"),
    *("__repr__", "__eq__", "__ne__", "__add__", "__mul__", "__rmul__", "__reversed__"),
    *("__lt__", "__le__", "__gt__", "__ge__"),
    *("append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse"),
    *("index", "count", "copy"),
):
    setattr(_Shown, _name, _looked_up(_name))


def _radd(self: Any, other: Any) -> Any:
    return other + list(self._now())


def _iadd(self: Any, other: Any) -> Any:
    self._now().extend(other)
    return self


def _imul(self: Any, number: Any) -> Any:
    self._now()[:] = self._now() * number
    return self


_Shown.__radd__ = _radd  # type: ignore[attr-defined]
_Shown.__iadd__ = _iadd  # type: ignore[method-assign]
_Shown.__imul__ = _imul  # type: ignore[method-assign]


class _Path(list):  # type: ignore[type-arg]
    """`sys.path` as a script in a job sees it: its folder first. What it adds, all code gets."""

    def __init__(self, folders: list[str], real: list[str]) -> None:
        super().__init__([*folders, *real])
        self._folders = folders
        self._real = real

    def _publish(self) -> None:
        """Copy it to the real path, but for the script's folders; forget those that it lacks."""
        rest = list(self)
        for folder in list(self._folders):
            (rest if folder in rest else self._folders).remove(folder)
        self._real[:] = rest


def _published(name: str) -> Any:
    change = getattr(list, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = change(self, *args, **kwargs)
        self._publish()
        return result

    return method


for _name in (
    *("__setitem__", "__delitem__", "append", "extend", "insert", "remove", "pop", "clear"),
    *("sort", "reverse"),
):
    setattr(_Path, _name, _published(_name))


def _argv_seen() -> list[str] | None:
    state = _state()
    return None if state is None else state.argv


def _path_seen() -> list[str] | None:
    state = _state()
    if state is None or not state.folders:
        return None
    return _Path(state.folders, _real(sys.path))


def _real(shown: list[str]) -> list[str]:
    return shown.real if isinstance(shown, _Shown) else shown


class _Main(ModuleType):
    """The class of `__main__` while a script runs in a job: the job sees the script's module."""

    def __getattribute__(self, name: str) -> Any:
        state = _state()
        # Not `__dict__`: through it IPython finds the user's variables.
        if state is None or state.main is None or name in ("__dict__", "__class__"):
            return super().__getattribute__(name)
        return getattr(state.main, name)

    def __setattr__(self, name: str, value: object) -> None:
        state = _state()
        if state is None or state.main is None or name == "__class__":
            super().__setattr__(name, value)
        else:
            setattr(state.main, name, value)


def _is_needed() -> bool:
    return any(not state.is_empty for state in list(_states.values()))


def _settle() -> None:
    """Install the stand-ins in `sys` if a script runs in a job, and remove them if none does."""
    with _lock:
        needed = _is_needed()
        main = sys.modules["__main__"]
        if needed:
            if not isinstance(sys.argv, _Shown):
                sys.argv = _Shown(sys.argv, _argv_seen)
            if not isinstance(sys.path, _Shown):
                sys.path = _Shown(sys.path, _path_seen)
            if type(main) is ModuleType:
                main.__class__ = _Main
        else:
            sys.argv, sys.path = _real(sys.argv), _real(sys.path)
            if isinstance(main, _Main):
                main.__class__ = ModuleType  # type: ignore[assignment]


class _Argv(list):  # type: ignore[type-arg]
    """A copy of the foreground's arguments for a job, which may change it for itself."""

    def __init__(self, job: Job) -> None:
        super().__init__(_real(sys.argv))
        self._job = weakref.ref(job)

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(index, value)
        job = self._job()
        if job is not None:
            unchanged = list(self) == _real(sys.argv)
            _own_state(job).argv = None if unchanged else self
            _settle()


class _Modules:
    """`sys.modules` for the code that runs scripts in a job: `__main__` is the job's own."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.modules, name)

    def __contains__(self, name: object) -> bool:
        return name in sys.modules

    def __iter__(self) -> Iterator[str]:
        return iter(sys.modules)

    def __getitem__(self, name: str) -> ModuleType:
        state = _states.get(self._job)
        if name == "__main__" and state is not None and state.main is not None:
            return state.main
        return sys.modules[name]

    def __setitem__(self, name: str, module: ModuleType) -> None:
        if name != "__main__":
            sys.modules[name] = module
            return
        _own_state(self._job).main = None if module is sys.modules[name] else module
        _settle()

    def __delitem__(self, name: str) -> None:
        del sys.modules[name]


class _Folders:
    """`sys.path` for the code that runs scripts in a job: folders it inserts are the job's own."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.path, name)

    def __contains__(self, folder: object) -> bool:
        return folder in sys.path

    def __iter__(self) -> Iterator[str]:
        return iter(sys.path)

    def __getitem__(self, index: Any) -> Any:
        return sys.path[index]

    def insert(self, index: int, folder: str) -> None:
        """Insert a folder that only the job sees."""
        _own_state(self._job).folders.insert(index, folder)
        _settle()

    def remove(self, folder: str) -> None:
        """Remove a folder, the job's own if it has that one."""
        folders = _own_state(self._job).folders
        if folder in folders:
            folders.remove(folder)
            _settle()
        else:
            sys.path.remove(folder)


class _Sys:
    """Stands in for `sys` in the modules of IPython and Python that run scripts."""

    def __getattr__(self, name: str) -> Any:
        job = current_job()
        if job is None or name not in ("argv", "modules", "path"):
            return _real(sys.argv) if name == "argv" else getattr(sys, name)
        if name == "argv":
            argv = _own_state(job).argv
            return _Argv(job) if argv is None else argv
        return _Modules(job) if name == "modules" else _Folders(job)

    def __setattr__(self, name: str, value: Any) -> None:
        job = current_job()
        if name != "argv":
            setattr(sys, name, value)
        elif job is not None:
            lent = isinstance(value, _Argv) and list(value) == _real(sys.argv)
            _own_state(job).argv = None if lent else value
            _settle()
        elif isinstance(sys.argv, _Shown):
            sys.argv.real = value
        else:
            sys.argv = value


def _with_own_module(new_main_mod: Callable[..., ModuleType]) -> Callable[..., ModuleType]:
    """Return IPython's function that makes the module of a script, and never empties an old one.

    IPython has one module for each file. When that is run again it is emptied, under the hands of a
    job that still runs the script, or a function of it.
    """

    def new_module(shell: Any, filename: str, modname: str) -> ModuleType:
        modules, path = shell._main_mod_cache, os.path.abspath(filename)
        modules.pop(path, None)
        module = new_main_mod(shell, filename, modname)
        if current_job() is not None:
            modules.pop(path, None)  # else it keeps the values alive when the job is cleared
        return module

    return new_module


def install() -> None:
    """Keep scripts in jobs and the foreground apart from now on."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.core.magics import execution
    from IPython.utils import syspathcontext

    for module in (execution, syspathcontext, runpy):
        if not isinstance(vars(module)["sys"], _Sys):
            replace(module, "sys", _Sys())
    wrap(InteractiveShell, "new_main_mod", _with_own_module)
