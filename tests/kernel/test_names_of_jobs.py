"""What a job is called, which one a name means, and what a magic expands."""

import pytest

from tests.kernel.background import load, wait_job
from tests.kernel.harness import Kernel

LOOP = "while True: time.sleep(0.01)"
NAMES = "[job.name for job in ipykill.jobs]"
STATES = "[job.state.value for job in ipykill.jobs]"


@pytest.fixture(autouse=True)
def loaded(kernel: Kernel) -> None:
    load(kernel)


def test_a_loop_names_its_jobs(kernel: Kernel) -> None:
    kernel.run("done = []\nfor n in range(1, 4):\n    %bg -n job$n done.append(($n, '$n', {n}))")
    assert kernel.run(NAMES).result == "['job1', 'job2', 'job3']"
    kernel.run("%bgwait")
    assert kernel.run("sorted(it[:2] for it in done)").result == "[(1, '$n'), (2, '$n'), (3, '$n')]"
    kernel.run(
        "def go():\n    for word in 'first one', 'two':\n"
        "        %bg -q -n {word.upper()} -o out_{len(word)} -- 1\n"
        "        %bg -q -n $word 1\ngo()"
    )
    assert "'FIRST ONE', 'first one', 'TWO', 'two'" in kernel.run(NAMES).result


def test_options_are_expanded_and_the_cell_is_not(kernel: Kernel) -> None:
    kernel.run("title, n, t, folder = 'my job', 7, '90s', '.'; job = None")
    cell = kernel.run(
        "%%bg -q -n $title -t {t} --log $folder/run$n.log -o result_{n + 1}\nprint('{n} $n'); n"
    )
    assert wait_job(kernel, 1) == "done"
    assert cell.text() == "{n} $n\n"
    assert (
        kernel.run(f"{NAMES}, ipykill.jobs[1].timeout, result_8").result == "(['my job'], 90.0, 7)"
    )
    assert kernel.run("open('run7.log').read()").result == "'{n} $n\\n'"


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("-n job$n", "job7"),
        ("-n job{n}", "job7"),
        ("-n {n:>3}".replace(":>3", "*2"), "14"),
        ("-n '{d[\"a b\"]}'", "c d"),
        ("-n $$n", "$n"),
        ("-n {{n}}", "{n}"),
        ("-n '$n'", "$n"),
        ('-n "$n $n"', "7 7"),
        ("-n $nosuch$n", "$nosuch7"),
        ("-n {nosuch}{n}", "{nosuch}7"),
        ("-n $HOME", "$HOME"),
        ("-n $n.5", "7.5"),
        ("-n $d.keys", None),
        ("-n cost$", "cost$"),
        ("-n {1/0}", "{1/0}"),
        ("-n lr={n/10:.2f}", "lr=0.70"),
        ("-n {n:03d}", "007"),
    ],
)
def test_fields_are_those_of_ipython(kernel: Kernel, line: str, name: str | None) -> None:
    kernel.run("n = 7; d = {'a b': 'c d'}")
    kernel.run(f"%%bg -q {line}\n1")
    found = kernel.run("ipykill.jobs[1].name").result
    assert found == repr(name) if name else "built-in method keys" in found


def test_a_statement_keeps_its_braces(kernel: Kernel) -> None:
    kernel.run("n = 7; found = []; key = 'k'")
    kernel.run("%bg -q found.append(({n}, {'a': n}, f'{n}', {key: {n}}, '{{}}'))")
    assert wait_job(kernel, 1) == "done"
    assert kernel.run("found").result == "[({7}, {'a': 7}, '7', {'k': {7}}, '{{}}')]"


def test_names_do_not_come_from_what_says_nothing(kernel: Kernel) -> None:
    kernel.run("%%bg -q\n%%time\n# why\nimport os\nsum(range(10))")
    assert kernel.run(NAMES).result == "['sum(range(10))']"


def test_below_the_first_line_it_says_what_to_do(any_ipython: Kernel) -> None:
    load(any_ipython)
    for code in (
        "ran = True\n%%bg -n x\n1",
        "# a comment\nran = True\n%%bg",
        "if True:\n    ran = True\n    %%bg\n",
        "%%time\nran = True\n%%bg\n1",
        "%%bg\nran = True\n%%bg\n1",
    ):
        cell = any_ipython.run(code)
        assert cell.status == "error"
        assert "%%bg works on the first line of a cell only" in cell.text("stderr"), code
        assert "move it there" in cell.text("stderr")
        assert any_ipython.run("'ran' in globals(), len(ipykill.jobs)").result == "(False, 0)"
    assert any_ipython.run('x = """\n%%bg\n"""; x').result == "'\\n%%bg\\n'"
    assert any_ipython.run("\n\n%%bg -q -n first\n1").status == "ok"
    assert any_ipython.run("%%time\n%%bg -q -n second\n1").status == "ok"
    assert any_ipython.run("%%writefile x.txt\n1\n%%bg\n").status == "ok"
    assert any_ipython.run(NAMES).result == "['first', 'second']"
    any_ipython.run("%unload_ext ipykill")
    assert "not found" in any_ipython.run("ran = True\n%%bg").text("stderr")


def test_replace_goes_by_the_name_that_is_given(kernel: Kernel) -> None:
    """The harness sends no cell ids, as a terminal does not."""
    kernel.run(f"%%bg -q -n a\n{LOOP}")
    assert kernel.run(f"%%bg -q -n b --replace\n{LOOP}").text() == ""
    assert kernel.run(f"%%bg -q --replace\n{LOOP}").text() == ""
    assert kernel.run(f"%%bg -q -n c\n{LOOP}").text() == ""
    assert kernel.run(STATES).result == "['running', 'running', 'running', 'running']"
    kernel.run(f"%%bg -q -n a --replace\nx = 1\n{LOOP}")
    kernel.run(f"%%bg -q --replace\n{LOOP}")
    expected = "['killed', 'running', 'killed', 'running', 'running', 'running']"
    assert kernel.run(STATES).result == expected
    kernel.run("%bgkill --all -w 30")


def test_a_loop_in_one_cell_does_not_replace_its_own_jobs(kernel: Kernel) -> None:
    loop = (
        "for n in range(3):\n"
        f"    get_ipython().run_cell_magic('bg', f'-q -n job{{n}} --replace', '{LOOP}')"
    )
    for metadata in {}, {"cellId": "one"}:
        kernel.run(f"get_ipython().get_parent = lambda: {{'metadata': {metadata}}}")
        before = kernel.run("len(ipykill.jobs)").result
        assert kernel.run(loop).text() == ""
        states = kernel.run(f"{STATES}[{before}:]").result
        assert states == "['running', 'running', 'running']"
    assert kernel.run("[job.origin for job in ipykill.jobs.running()]").result == (
        "['one', 'one', 'one']"
    )
    kernel.run("%bgkill --all -w 30")
