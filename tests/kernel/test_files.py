"""How many files a kernel needs for its jobs: a limit of open files is soon reached."""

import pytest

from tests.kernel.background import load
from tests.kernel.harness import Kernel

LIMIT = (
    "import resource, os\n"
    "def limit(count): resource.setrlimit(resource.RLIMIT_NOFILE, (count, 4096))\n"
    "def files(): return len(os.listdir('/proc/self/fd'))"
)


def test_jobs_that_end_at_once_need_no_files_of_their_own(any_kernel: Kernel) -> None:
    load(any_kernel)
    any_kernel.run(f"{LIMIT}\nlimit(256)\ngo = threading.Event()")
    cell = any_kernel.run(
        "from IPython.display import display\n"
        "def work(number):\n    go.wait(); print('end of', number); display(number)\n"
        "before = files()\n"
        "for number in range(300): ipykill.submit(work, number);"
    )
    after = any_kernel.run(
        "go.set(); left = ipykill.jobs.wait(ipykill.jobs, 60)\nprint(len(left), files() - before)"
    )
    left, files = map(int, after.text().split())
    assert left == 0
    assert files < 20
    cell.wait_output(lambda cell: len(cell.displays) == 300)
    cell.wait_output(lambda cell: cell.text().count("end of") == 300)
    assert any_kernel.run("open('/dev/null').close(); print('alive')").text() == "alive\n"


@pytest.mark.slow
def test_a_kill_of_a_thousand_jobs_needs_no_files(kernel: Kernel) -> None:
    load(kernel)
    kernel.run(f"{LIMIT}\nlimit(1024)\nimport ipywidgets; bar = ipywidgets.IntProgress()")
    cell = kernel.run(
        "def work():\n"
        "    try: time.sleep(1000)\n"
        "    finally: bar.value += 1\n"  # which sends a message
        "for number in range(1100): ipykill.submit(work)"
    )
    assert kernel.run("print(ipykill.jobs.kill_all(60), files() < 200)").text() == "True True\n"
    cell.wait_output(lambda cell: cell.text().count("killed after") == 1100)
