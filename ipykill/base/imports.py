"""Call a function when a module is imported, if ever."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from types import ModuleType

__all__ = ["forget", "when_imported"]

_logger = logging.getLogger("ipykill")


def when_imported(name: str, fn: Callable[[ModuleType], None], *, for_good: bool = False) -> None:
    """Call ``fn(module)`` now if the module `name` is imported, else right after its import.

    To ask for the same again changes nothing.

    Parameters
    ----------
    for_good
        Whether `forget` does not cancel this call.
    """
    if name in sys.modules:
        fn(sys.modules[name])
    elif not any(
        isinstance(it, _Finder) and (it.name, it.fn) == (name, fn) for it in sys.meta_path
    ):
        sys.meta_path.insert(0, _Finder(name, fn, for_good))


def forget() -> None:
    """Cancel the calls that wait for an import, except those that are `for_good`."""
    finders = [it for it in sys.meta_path if isinstance(it, _Finder) and not it.for_good]
    sys.meta_path[:] = [it for it in sys.meta_path if it not in finders]


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the module as the other finders do, and stays until that has been imported.

    A search for the module, or an import that fails, does not count.
    """

    def __init__(self, name: str, fn: Callable[[ModuleType], None], for_good: bool) -> None:
        self.name = name
        self.fn = fn
        self.for_good = for_good
        self._asking: set[int] = set()  # idents of the threads that are asking the other finders

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        me = threading.get_ident()
        if name != self.name or me in self._asking:
            return None
        self._asking.add(me)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._asking.discard(me)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                self._imported(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec

    def _imported(self, module: ModuleType) -> None:
        if self not in sys.meta_path:
            return
        sys.meta_path.remove(self)
        try:
            self.fn(module)
        except Exception:  # the user's import must not fail for that
            _logger.exception("%s is used as if ipykill knew nothing of it", self.name)
