"""Something to do when a module is imported, if ever."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

__all__ = ["when_imported"]


def when_imported(name: str, fn: Callable[[ModuleType], None]) -> None:
    """Call ``fn(module)`` now, if the module `name` is imported, else right after it is.

    To ask for the same again changes nothing.
    """
    if name in sys.modules:
        fn(sys.modules[name])
    elif not any(isinstance(it, _Finder) and it.name == name for it in sys.meta_path):
        sys.meta_path.insert(0, _Finder(name, fn))


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, name: str, fn: Callable[[ModuleType], None]) -> None:
        self.name = name
        self._fn = fn

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                self._fn(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
