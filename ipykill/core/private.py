"""``%%bg --private``: the names that a cell assigns are its own until it has ended well.

The cell, and the functions and classes that it defines, run with globals of their own. What is
not found there is asked of the shared namespace, at each use, so that a flag that the foreground
sets is seen. When the job is done, all its names are put into the shared namespace at once; a job
that ends otherwise leaves nothing there. Its functions see the shared names from then on; only
what such a function assigns with ``global`` later stays its own.

How CPython (3.11 to 3.15) looks up a name, which is why two dictionaries are needed:

1. Code of a module (``LOAD_NAME``) asks its locals, which are the globals here, and functions
   (``LOAD_GLOBAL``) ask their globals. Both ask a subclass of `dict` as a mapping, so its
   ``__missing__`` is called, then the builtins.
2. Code of a class asks its own names, then the globals as a bare dictionary, without
   ``__missing__``, then the builtins; those, being a subclass too, as a mapping again.
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
# These run the cell's text in the shared namespace, whoever calls them.
_IN_SHARED = re.compile(r"\s*%%(time|prun)\b")
# Asked of the builtins as of a bare dictionary, by some version.
_NEEDED = {"__build_class__", "__import__"}


class _Names(dict):  # type: ignore[type-arg]
    """The globals of a private cell. To Python it is one namespace with the shared one.

    There is a class of it for each namespace, whose ``__missing__`` is a method of the shared
    dictionary, in C: as fast as can be, and no place where a Kill could land. The builtins are
    in it for the same reason, which each use of ``len`` would else reach at last, after a search
    elsewhere; those that the shared namespace hides are not.
    """

    shared: dict[str, Any]
    common: dict[str, Any]

    def own(self) -> dict[str, Any]:
        """Return the names of the cell."""
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
    """The builtins of a private cell, before which the shared namespace is asked."""

    def __init__(self, shared: dict[str, Any]) -> None:
        super().__init__((name, vars(builtins)[name]) for name in _NEEDED)
        self._shared = shared

    def __missing__(self, name: str) -> Any:
        found = self._shared.get(name, _NOTHING)
        return vars(builtins)[name] if found is _NOTHING else found


def _names(shared: dict[str, Any]) -> _Names:
    kinds = (type, BuiltinFunctionType)
    # What others put in place of builtins while it runs would not be seen, as the kernel does
    # with ``input``.
    common = {
        name: value
        for name, value in list(vars(builtins).items())
        if isinstance(value, kinds) and name not in shared and name != "input"
    }
    members = {"__missing__": shared.__getitem__, "shared": shared, "common": common}
    names: _Names = type("Names", (_Names,), members)(common)
    names.update((name, shared[name]) for name in list(shared) if _is_special(name))
    names["__builtins__"] = _Builtins(shared)
    return names


class Private:
    """The names of one private job.

    Parameters
    ----------
    shared
        The namespace that gets them.
    codes
        The job's code.

    Threading
    ---------
    Made where the job is launched; `publish` is for the job's own thread, when its code has
    ended and nothing can be raised in it any more.
    """

    def __init__(self, shared: dict[str, Any], codes: Iterable[CodeType]) -> None:
        self._shared = shared
        self._names = _names(shared)
        # The variable of a loop is nothing that anybody waits for.
        self._scratch = {name: shared.get(name, _NOTHING) for name in scratch(codes)}

    def within(self, cell: _Cell) -> _Cell:
        """Return a compiled cell that has these names."""
        return replace(cell, namespace=self._names, local_namespace=self._names)

    def publish(self) -> object:
        """Put the names into the shared namespace, all at once; return what to keep for a moment.

        Not the variable of a loop, if somebody else has assigned it meanwhile, who may be in a
        loop now.

        1. What the names stood for before is kept by who calls: no finalizer of the user's runs
           between two of them, nor before the job is over.
        2. `dict.update` of one plain dictionary with another is one step to other threads.
        3. Only then the cell's functions, of which threads may run, find them there and not here.
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
    """Whether a name belongs to the module or to the shell: ``__name__``, ``_``."""
    return not name.strip("_") or (name.startswith("__") and name.endswith("__"))


def refusal(source: str, codes: Sequence[CodeType]) -> str:
    """Return why a cell cannot have names of its own, and what to do; empty if it can."""
    if found := _IN_SHARED.match(source):
        magic = found[1]
        return (
            f"what is below %%{magic} is run in the shared namespace; write %{magic} before "
            "a statement"
        )
    if names := ", ".join(sorted(deleted(codes))):
        return f"it deletes {names}, which it does not assign; do that in another cell"
    return ""
