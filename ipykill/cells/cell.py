"""Compiles a cell's text to a callable that runs it in the user's namespace, in any thread.

A job cannot use IPython's ``run_cell``, which writes ``_``, ``Out``, ``In`` and the execution
counter and fires events, all of which belong to the foreground. `compile_cell` does what
``run_cell`` does before that, in the same steps (transforming the text and the tree, filling the
cache that gives tracebacks their lines), on the main thread, so that a syntax error appears at
once. The job then runs only compiled code.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType
from typing import Any

from ..base import stack
from ..base.holding import holds
from ..base.wrapping import wrap
from ..core import loop
from ..core.current import acting, current_job
from ..core.services import Code
from ..exceptions import JobError
from ..kill import current_target

__all__ = ["Cell", "CellSyntaxError", "compile_cell", "install"]


class CellSyntaxError(JobError):
    """The cell cannot be compiled. IPython shows it as it shows any syntax error."""

    def __init__(self, error: Exception, lines: list[str]) -> None:
        super().__init__(str(error))
        self._lines = lines

    def _render_traceback_(self) -> list[str]:
        return self._lines


@dataclass(frozen=True)
class Cell(Code):
    """A compiled cell; calling it runs it and returns the value of its last expression."""

    namespace: dict[str, Any]
    local_namespace: dict[str, Any]
    parts: tuple[tuple[CodeType, bool], ...]  # code objects, and whether to display their values
    display: Callable[[object], object]
    variable: str | None = None  # the name of a variable that gets the value

    @property
    def codes(self) -> list[CodeType]:
        """Its code."""
        return [code for code, _ in self.parts]

    @stack.machinery
    def __call__(self) -> object:
        """Run the cell."""
        if any(code.co_flags & inspect.CO_COROUTINE for code, _ in self.parts):
            return loop.run(self._run_async())
        value = None
        for code, shown in self.parts:
            _die_if_killed()
            value = eval(code, self.namespace, self.local_namespace)
            self._take(value, shown)
        return self._keep(value)

    @stack.machinery
    async def _run_async(self) -> object:
        value = None
        for code, shown in self.parts:
            _die_if_killed()
            value = eval(code, self.namespace, self.local_namespace)
            if code.co_flags & inspect.CO_COROUTINE:
                value = await value
            self._take(value, shown)
        return self._keep(value)

    def _take(self, value: object, shown: bool) -> None:
        if shown and value is not None:
            self.display(value)

    def _keep(self, value: object) -> object:
        if self.variable is not None:
            self.local_namespace[self.variable] = value
        return value


def _die_if_killed() -> None:
    """Raise a pending Kill, which could not be raised while the part before was in C code.

    The next part is a code object that is on no stack yet; if it is short, it would be over
    before the Kill takes effect in it.
    """
    target = current_target()
    if target is not None and target.wanted:
        raise target.strike()


def compile_cell(
    shell: Any,
    source: str,
    *,
    whole: bool = True,
    variable: str | None = None,
    number: int | None = None,
) -> Cell:
    """Compile `source`, a part of the cell that the shell is running.

    For the main thread, since the shell's transformers are not thread-safe.

    Parameters
    ----------
    whole
        Whether `source` is the whole cell except the line of its cell magic.
    variable
        The name of a variable that is to get the cell's value.
    number
        The number of the cell, by default of the one that is running.

    Raises
    ------
    CellSyntaxError
        The text is not valid.
    """
    from IPython.display import display

    # The text gets as many empty lines at its top as stand above `source` in the cell, so that
    # line numbers are those that the user sees. The kernel's debugger knows a cell by its whole
    # text, `raw`.
    raw, above = source, int(whole)
    entered = shell.history_manager.input_hist_raw[-1].rstrip("\n")
    if whole and _is_line_added(shell):
        above = 0
    elif whole and entered.endswith(source.rstrip("\n")):
        raw = entered
        above = entered.removesuffix(source.rstrip("\n")).count("\n")
    lines = source.split("\n")
    while lines and not lines[0].strip():  # the shell would remove these
        above += 1
        del lines[0]
    try:
        text = "\n" * above + shell.transform_cell("\n".join(lines))
        number = cell_number(shell) if number is None else number
        name = shell.compile.cache(text, number, raw_code=raw)
        tree = shell.compile.ast_parse(text, filename=name)
        tree.of_job = True  # tells `ipykill.ipython.clashes` that it does not run in the foreground
        tree = shell.transform_ast(tree)
        parts = tuple(_parts(shell, tree, text, name))
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        formatted = shell.SyntaxTB.structured_traceback(type(error), error, [])
        raise CellSyntaxError(error, formatted) from None
    return Cell(shell.user_global_ns, shell.user_ns, parts, display, variable)


def _is_line_added(shell: Any) -> bool:
    """Whether the JupyterLab extension has put ``%%bg`` above the text of the cell that runs."""
    try:
        added = shell.get_parent().get("metadata", {}).get("ipykill")
    except AttributeError:  # not in a kernel
        return False
    return bool(added == "%%bg")


def cell_number(shell: Any) -> int:
    """Return the number of the cell that is running, the one in its prompt.

    Every version of IPython has its text in the history by now. The execution count is no
    help: IPython 9 increments it before the run, and 8.18 after it.
    """
    return len(shell.history_manager.input_hist_parsed) - 1


def _parts(shell: Any, tree: ast.Module, text: str, name: str) -> list[tuple[CodeType, bool]]:
    """Compile the statements; an expression whose value may be shown is a part of its own."""
    mode = shell.ast_node_interactivity
    body = tree.body
    if not body:
        return []
    if mode == "last_expr_or_assign" and (target := _assigned(body[-1])):
        value = ast.Expr(ast.Name(target, ast.Load()))
        body = [*body, ast.fix_missing_locations(ast.copy_location(value, body[-1]))]
    silent = mode == "none" or shell.displayhook.semicolon_at_end_of_expression(text)
    flags = shell.compile.flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

    def code(node: ast.Module | ast.Expression, kind: str) -> CodeType:
        compiled: CodeType = compile(node, name, kind, flags, dont_inherit=True)
        return compiled

    parts: list[tuple[CodeType, bool]] = []
    statements: list[ast.stmt] = []
    for number, node in enumerate(body):
        last = number == len(body) - 1
        if isinstance(node, ast.Expr) and (last or mode == "all"):
            if statements:
                parts.append((code(ast.Module(statements, []), "exec"), False))
                statements = []
            shown = not (silent and (last or mode == "none"))
            parts.append((code(ast.Expression(node.value), "eval"), shown))
        else:
            statements.append(node)
    if statements:
        parts.append((code(ast.Module(statements, []), "exec"), False))
    return parts


def _assigned(node: ast.stmt) -> str | None:
    """Return the name that a statement assigns, if it assigns a single one."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name
        case ast.AugAssign(target=ast.Name(id=name)) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
    return None


def install(shell: Any) -> None:
    """Name places in cells as the user does, and let magics run code in a job."""
    _name_places(shell)
    _keep_get_ipython(shell)
    # While a cell runs, the shell replaces `sys.displayhook` by its own.
    for hook in (shell.displayhook, shell.display_trap.old_hook, sys.displayhook):
        _spare_history(type(hook))
    wrap(shell, "run_cell", _in_jobs_too(shell))
    if hasattr(shell, "ask_exit"):  # it is a front end
        wrap(shell, "ask_exit", _of_jobs_too)


def _of_jobs_too(ask_exit: Callable[[], object]) -> Callable[[], object]:
    """Let ``quit()`` in a job end the job, as ``sys.exit()`` does, and not the shell."""

    def ask() -> object:
        if current_job() is not None:
            raise SystemExit
        return ask_exit()

    return ask


def _in_jobs_too(shell: Any) -> Callable[[Any], Any]:
    """Return a function that wraps ``run_cell``: in a job it runs the text as a job runs its cell.

    Magics such as ``%%capture`` call it. The original would show an error or a Kill and go on;
    this one raises it, so that it ends the job.
    """
    from IPython.core.interactiveshell import ExecutionResult

    def in_jobs_too(run_cell: Any) -> Any:
        @holds("it runs another cell")
        def run(raw_cell: str, *args: Any, **kwargs: Any) -> Any:
            if acting.get(None) is None or (job := current_job()) is None:
                return run_cell(raw_cell, *args, **kwargs)
            result = ExecutionResult(None)
            call = compile_cell(shell, raw_cell, whole=False, number=job.cell)
            result.result = (call if job.private is None else job.private.within(call))()
            return result

        return run

    return in_jobs_too


def _spare_history(kind: Any) -> None:
    """Make `sys.displayhook` of this class only display in a job, not write ``_`` and ``Out``.

    ``exec`` of code that was compiled as interactive calls it.
    """
    from IPython.display import display

    def in_jobs_apart(hook: Any) -> Any:
        @holds("it is displaying a value")
        def __call__(self: Any, result: Any = None) -> None:
            if current_job() is None:
                hook(self, result)
            elif result is not None:
                display(result)

        return __call__

    if inspect.isfunction(kind.__call__):
        wrap(kind, "__call__", in_jobs_apart)


def _keep_get_ipython(shell: Any) -> None:
    """Let libraries such as rich and pandas find the shell in a job too, by ``get_ipython()``.

    IPython (8.18 to 9.18) adds it to the builtins only while a cell runs, and then puts back
    what was there before (``BuiltinTrap``).
    """
    vars(builtins)["get_ipython"] = shell.get_ipython
    before = shell.builtin_trap._orig_builtins
    if "get_ipython" in before:
        before["get_ipython"] = shell.get_ipython


def _name_places(shell: Any) -> None:
    """Let places in cells be named as the user knows them: ``cell [7]``."""

    def label(filename: str) -> str | None:
        named = shell.compile.format_code_name(filename)
        return None if named is None else f"cell {named[1].removeprefix('In')}"

    stack.cell_label = label
