"""What raises in a magic fails the job, where the foreground shows it and goes on."""

from tests.kernel.background import load, wait_job
from tests.kernel.harness import Kernel

FAILING = {
    "%run script.py": "ZeroDivisionError",
    "%run -i script.py": "ZeroDivisionError",
    "%run -m script": "ZeroDivisionError",
    "%run -t script.py": "ZeroDivisionError",
    "%run book.ipynb": "ZeroDivisionError",
    "%run leaves.py": "SystemExit: 3",
    "%run broken.py": "SyntaxError",
    "%run missing.py": "Exception",
    "%time 1 / 0": "ZeroDivisionError",
    "%timeit -n 1 1 / 0": "ZeroDivisionError",
    "%prun 1 / 0": "ZeroDivisionError",
    "%%time\n1 / 0": "ZeroDivisionError",
    "%%timeit -n 1\n1 / 0": "ZeroDivisionError",
    "%%capture\n1 / 0": "ZeroDivisionError",
    "%%bash\nexit 3": "CalledProcessError",
    "get_ipython().run_cell('1 / 0')": "ZeroDivisionError",
}
SUCCEEDING = [
    "!false",
    "%run -e leaves.py",
    "%run ends.py",
    "try: 1 / 0\nexcept ZeroDivisionError: get_ipython().showtraceback()",
]
FILES = """
import json, pathlib
pathlib.Path('script.py').write_text('x = 1\\n1 / 0')
pathlib.Path('leaves.py').write_text('import sys; sys.exit(3)')
pathlib.Path('ends.py').write_text('import sys; sys.exit(0)')
pathlib.Path('broken.py').write_text('1 +')
cell = dict(cell_type='code', source='1 / 0', metadata={}, outputs=[], execution_count=None)
book = dict(cells=[cell], metadata={}, nbformat=4, nbformat_minor=4)
pathlib.Path('book.ipynb').write_text(json.dumps(book))
"""


def test_what_raises_in_a_magic_fails_the_job(any_ipython: Kernel) -> None:
    load(any_ipython)
    any_ipython.run(FILES)
    for code, error in FAILING.items():
        cell = any_ipython.run(f"%%bg -q -n fails\n{code}")
        assert wait_job(any_ipython, "fails") == "failed", code
        assert error in any_ipython.run("job.info().error").result or "", code
        cell.wait_output(lambda cell: len(cell.errors) == 1)
        any_ipython.run("ipykill.jobs.clear()")
    for code in SUCCEEDING:
        any_ipython.run(f"%%bg -q -n works\n{code}")
        assert wait_job(any_ipython, "works") == "done", code
        any_ipython.run("ipykill.jobs.clear()")
