"""Which rules of the maps the generated functions need: each is left out once.

``python -m tests.laws.ablate`` takes a file of `ipykill.kill` apart, leaves out one operand, one
condition or one name of an instruction at a time, and prints whether generated functions find it.
A rule that they do not find does nothing, or what they are blind to.
"""

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = ["codemap.py", "handlers.py"]


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what a piece of a rule may become."""
    if isinstance(node, ast.BoolOp):
        for left in node.values:
            rest = [it for it in node.values if it is not left]
            yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr | ast.Sub):
        yield node.left
    elif isinstance(node, ast.comprehension) and node.ifs:
        yield ast.comprehension(node.target, node.iter, [], node.is_async)
    elif isinstance(node, ast.AugAssign):
        yield ast.Pass()
    elif isinstance(node, ast.Compare):
        yield ast.UnaryOp(ast.Not(), node)
    elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "opcodes":
        names = [
            it for arg in node.args for it in getattr(getattr(arg, "value", arg), "elts", [arg])
        ]
        for name in names:
            yield ast.Call(node.func, [it for it in names if it is not name], [])


class Change(ast.NodeTransformer):
    """Makes the n-th change; says which it was."""

    def __init__(self, wanted: int) -> None:
        self.count, self.wanted, self.words = -1, wanted, ""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        # What is no rule: how little is said where they fail, and how maps are kept.
        return node if node.name == "cautious" else self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for new in changes(node):
            self.count += 1
            if self.count == self.wanted:
                texts = [" ".join(ast.unparse(it).split()) for it in (node, new)]
                self.words = f"line {getattr(node, 'lineno', '?')}: {texts[0]} -> {texts[1]}"
                return new
        return super().generic_visit(node)


_LONG = 600.0  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", default=FILES)
    parser.add_argument("--functions", type=int, default=200)
    options = parser.parse_args()
    found = tried = 0
    for file in options.files:
        source = (ROOT / "ipykill/kill" / file).read_text()
        for number in range(sys.maxsize):
            change = Change(number)
            tree = ast.fix_missing_locations(change.visit(ast.parse(source)))
            if not change.words:
                break
            fails = run(file, ast.unparse(tree), options.functions)
            found, tried = found + fails, tried + 1
            print("found    " if fails else "NOT FOUND", file, change.words[:150], flush=True)
    print(f"CPython {sys.version.split()[0]}: {found} of {tried} found")


def run(file: str, text: str, functions: int) -> bool:
    """Return whether generated functions fail with this text of a file."""
    with tempfile.TemporaryDirectory() as folder:
        for name in "ipykill", "tests/laws":
            shutil.copytree(ROOT / name, Path(folder, name))
        shutil.copy(ROOT / "tests/__init__.py", Path(folder, "tests"))
        Path(folder, "ipykill/kill", file).write_text(text)
        command = [sys.executable, "-m", "tests.laws.generated", f"--functions={functions}"]
        environment = {**os.environ, "PYTHONPATH": folder}
        try:
            subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, check=True, timeout=_LONG
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):  # it may run for ever
            return True
        return False


if __name__ == "__main__":
    main()
