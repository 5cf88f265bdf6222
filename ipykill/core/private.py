"""``%%bg --private``: the variables that a cell assigns are its own until it has ended well.

The cell, and the functions and classes that it defines, run with globals of their own. A name that
is not there is looked up in the shared namespace, at each use, so that the cell sees a flag that
the foreground sets. When the job is done, all its variables are put into the shared namespace at
once; a job that ends otherwise leaves nothing there. From then on its functions use the shared
variables; only what such a function assigns with ``global`` later stays private.

How CPython (3.11 to 3.15) looks up a name, which is why two dictionaries are needed:

1. Module code (``LOAD_NAME``) looks in its locals, which are the globals here; a function
   (``LOAD_GLOBAL``) looks in its globals. Both treat a subclass of `dict` as a mapping and call
   its ``__missing__``. Then they look in the builtins.
2. The body of a class looks in its own names, then in the globals as in a plain `dict`, without
   ``__missing__``, then in the builtins, which it treats as a mapping if they are a subclass.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from types import BuiltinFunctionType, CodeType
from typing import Any, TypeVar

from ..base.names import deleted, scratch

__all__ = ["Private", "refusal"]

_Cell = TypeVar("_Cell", bound=Any)

_NOTHING = object()
# These magics run the cell's text in the shared namespace, even in a private job.
_IN_SHARED = re.compile(r"\s*%%(time|prun)\b")
# Some CPython version looks these up in the builtins without calling ``__missing__``.
_NEEDED = {"__build_class__", "__import__"}


class _Names(dict):  # type: ignore[type-arg]
    """The globals of a private cell, which to Python include the shared namespace.

    Each namespace has a subclass of its own, whose ``__missing__`` is a method of the shared
    dictionary, in C: that is fast, and no Kill can land in it. It contains the builtins for
    the same reason, or else each use of ``len`` would search all dictionaries first; but not
    those builtins that the shared namespace hides.
    """

    shared: dict[str, Any]
    common: dict[str, Any]

    def own(self) -> dict[str, Any]:
        """Return the variables that the cell has assigned."""
        while True:
            try:
                found = dict(dict.items(self))
                break
            except RuntimeError:  # a thread of the job has just added a name
                continue
        for name, value in self.common.items():
            if found.get(name) is value:
                del found[name]
        return found

    def copy(self) -> dict[str, Any]:
        return {**self.shared, **self.own()}

    def get(self, name: Any, default: Any = None) -> Any:
        return dict.get(self, name, self.shared.get(name, default))

    def keys(self) -> Any:
        return self.copy().keys()

    def values(self) -> Any:
        return self.copy().values()

    def items(self) -> Any:
        return self.copy().items()

    def __iter__(self) -> Iterator[str]:
        return iter(self.copy())

    def __len__(self) -> int:
        return len(self.copy())

    def __contains__(self, name: object) -> bool:
        return name in self.shared or name in self.own()


class _Builtins(dict):  # type: ignore[type-arg]
    """The builtins of a private cell; the shared namespace is searched first."""

    def __init__(self, shared: dict[str, Any]) -> None:
        super().__init__((name, vars(builtins)[name]) for name in _NEEDED)
        self._shared = shared

    def __missing__(self, name: str) -> Any:
        found = self._shared.get(name, _NOTHING)
        return vars(builtins)[name] if found is _NOTHING else found


def _names(shared: dict[str, Any]) -> _Names:
    kinds = (type, BuiltinFunctionType)
    # Not ``input``: the kernel replaces it while a cell runs, and a copy would not show that.
    common = {
        name: value
        for name, value in vars(builtins).copy().items()
        if isinstance(value, kinds) and name not in shared and name != "input"
    }
    members = {"__missing__": shared.__getitem__, "shared": shared, "common": common}
    names: _Names = type("Names", (_Names,), members)(common)
    names.update((name, shared[name]) for name in list(shared) if _is_special(name))
    names["__builtins__"] = _Builtins(shared)
    return names


class Private:
    """The private namespace of one job.

    Parameters
    ----------
    shared
        The namespace that gets its variables.
    codes
        The job's code.

    Threading
    ---------
    The thread that launches the job makes it. The job's own thread calls `publish`, when its
    code has ended and nothing can be raised in it any more.
    """

    def __init__(self, shared: dict[str, Any], codes: Iterable[CodeType]) -> None:
        self._shared = shared
        self._names = _names(shared)
        # Loop variables, with what they are in the shared namespace now; see `publish`.
        self._scratch = {name: shared.get(name, _NOTHING) for name in scratch(codes)}

    def within(self, cell: _Cell) -> _Cell:
        """Return a copy of a compiled cell that runs in this namespace."""
        return replace(cell, namespace=self._names, local_namespace=self._names)

    def publish(self) -> object:
        """Put the variables into the shared namespace, all at once; return their old values.

        A loop variable that other code has assigned meanwhile is left out: that code may be in
        the middle of its loop.

        1. The caller keeps the old values until the job is over: so no finalizer of the user's
           runs between two assignments, nor before the job is over.
        2. `dict.update` of one plain dictionary with another is one step to other threads.
        3. Only then are the variables removed from the private namespace, so that the cell's
           functions, which other threads may be running, find them in the shared one.
        """
        own = {name: it for name, it in self._names.own().items() if not _is_special(name)}
        for name, before in self._scratch.items():
            if self._shared.get(name, _NOTHING) is not before:
                own.pop(name, None)
        kept = [self._shared.get(name) for name in own]
        self._shared.update(own)
        for name, value in own.items():
            if dict.get(self._names, name) is value:
                dict.pop(self._names, name)
        return kept


def _is_special(name: str) -> bool:
    """Whether a name belongs to the module or to IPython: ``__name__``, ``_``."""
    return not name.strip("_") or (name.startswith("__") and name.endswith("__"))


def refusal(source: str, codes: Sequence[CodeType]) -> str:
    """Return why a cell cannot be private, and what to do instead; empty if it can."""
    if found := _IN_SHARED.match(source):
        magic = found[1]
        return (
            f"what is below %%{magic} is run in the shared namespace; write %{magic} before "
            "a statement"
        )
    if names := ", ".join(sorted(deleted(codes))):
        return f"it deletes {names}, which it does not assign; do that in another cell"
    return ""
