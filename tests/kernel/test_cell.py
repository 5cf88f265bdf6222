"""A %%bg cell runs as any cell does, only elsewhere."""

import pytest

from tests.frames import shows_us
from tests.kernel.background import below, load, printed, wait_job
from tests.kernel.harness import Kernel


@pytest.fixture(autouse=True)
def loaded(request: pytest.FixtureRequest) -> None:
    for name in ("kernel", "any_kernel", "any_ipython"):
        if name in request.fixturenames:
            load(request.getfixturevalue(name))


@pytest.mark.smoke
def test_it_shares_the_namespace_and_shows_its_last_value(any_kernel: Kernel) -> None:
    any_kernel.run("x = 20\ngo = threading.Event()")
    cell = any_kernel.run("%%bg -n double\ngo.wait()\ny = x + 1\ny * 2")
    assert "[1] double: launched" in cell.displays[0]["data"]["text/plain"]
    assert any_kernel.run("len(ipykill.jobs), ipykill.jobs[1].done()").result == "(1, False)"
    kind = any_kernel.run("isinstance(ipykill.jobs[1].thread, ipykill.ThreadWithExc)")
    assert kind.result == "True"
    any_kernel.run("go.set()")
    assert wait_job(any_kernel) == "done"
    assert any_kernel.run("y, ipykill.jobs[1].result()").result == "(21, 42)"
    cell.wait_output(lambda cell: printed(cell) == "42\n")
    cell.wait_output(lambda cell: "[1] double: done in" in cell.displays[0]["data"]["text/plain"])


@pytest.mark.parametrize("last", ["reached.append(1)", "await asyncio.sleep(0)"])
def test_a_kill_during_c_code_lands_before_the_last_line(kernel: Kernel, last: str) -> None:
    kernel.run("import asyncio, os, zlib\ngo = threading.Event()\nreached = []")
    kernel.run("data = os.urandom(20_000_000)")
    kernel.run(f"%%bg -n pack\ngo.set()\nsmall = zlib.compress(data, 9)\n{last}")
    kernel.run("go.wait(30)\nipykill.jobs['pack'].kill(30)")
    assert wait_job(kernel) == "killed"
    assert kernel.run("reached").result == "[]"


def test_the_job_is_the_cells_value(kernel: Kernel) -> None:
    kernel.run("%%bg -n double\n1")
    assert kernel.run("_ is ipykill.jobs[1], _.wait(), list(Out.values())").result == (
        "(True, True, [<Job 1 'double': done>])"
    )


LAST = {
    "1\n2": "2\n",
    "3;": "",
    "4  # said": "4\n",
    "5;  # unsaid": "",
    "None": "",
    "z = 6": "",
    "if True:\n    7": "",
    "'a;'": "'a;'\n",
}


def test_the_last_expression_is_shown_unless_a_semicolon_ends_it(kernel: Kernel) -> None:
    for code, shown in LAST.items():
        cell = kernel.run(f"%%bg -n last\n{code}")
        assert wait_job(kernel, "last") == "done"
        assert printed(cell) == shown, code


@pytest.mark.parametrize(
    ("mode", "shown"),
    [("all", "1\n2\n3\n"), ("none", ""), ("last_expr_or_assign", "3\n9\n")],
)
def test_it_follows_the_shells_interactivity(kernel: Kernel, mode: str, shown: str) -> None:
    kernel.run(f"get_ipython().ast_node_interactivity = {mode!r}")
    cell = kernel.run("%%bg -q\n1\n2\n3")
    wait_job(kernel)
    text = printed(cell)
    if mode == "last_expr_or_assign":
        text += printed(cell_of_assignment(kernel))
    assert text == shown


def cell_of_assignment(kernel: Kernel):
    cell = kernel.run("%%bg -q\n4\nz = 9")
    wait_job(kernel)
    return cell


@pytest.mark.smoke
def test_commands_magics_and_await(any_ipython: Kernel) -> None:
    cell = any_ipython.run(
        "%%bg\n"
        "import asyncio\n"
        "!echo from the shell\n"
        "%time 1\n"
        "await asyncio.sleep(0.01)\n"
        "value = await asyncio.to_thread(lambda: 5)\n"
        "print('value', value)\n"
        "value"
    )
    assert wait_job(any_ipython) == "done", cell
    for text in ("from the shell", "Wall time", "value 5"):
        assert text in printed(cell)
    assert any_ipython.run("ipykill.jobs[1].result()").result == "5"


def test_transformers_of_text_and_tree_apply(kernel: Kernel) -> None:
    kernel.run(
        "import ast\n"
        "class Tenfold(ast.NodeTransformer):\n"
        "    def visit_Constant(self, node):\n"
        "        value = node.value * 10 if node.value == 13 else node.value\n"
        "        return ast.copy_location(ast.Constant(value), node)\n"
        "get_ipython().ast_transformers.append(Tenfold())\n"
        "get_ipython().input_transformers_post.append(\n"
        "    lambda lines: [line.replace('thirteen', '13') for line in lines])\n"
    )
    kernel.run("%%bg -o z\nthirteen + 1")
    wait_job(kernel)
    kernel.run("get_ipython().ast_transformers.clear()")
    assert kernel.run("z").result == "131"


def test_a_syntax_error_appears_at_once_and_starts_nothing(any_ipython: Kernel) -> None:
    cell = any_ipython.run("%%bg\nx = 1\ndef f(:\n    pass")
    assert cell.status == "error"
    assert "SyntaxError: invalid syntax" in cell.traceback
    assert "line 3" in cell.traceback
    assert "ipykill" not in cell.traceback
    assert any_ipython.run("len(ipykill.jobs)").result == "0"


@pytest.mark.smoke
def test_an_error_shows_the_users_lines_in_the_launching_cell(any_ipython: Kernel) -> None:
    helper = any_ipython.run("def helper(n):\n    return 1 / n").number
    cell = any_ipython.run("%%bg\n\n# a comment\ndef inner():\n    helper(0)\ninner()")
    later = any_ipython.run("print('later')")
    assert wait_job(any_ipython) == "failed"
    cell.wait_output(lambda cell: cell.errors)
    assert [error["ename"] for error in cell.errors] == ["ZeroDivisionError"]
    assert f"In[{cell.number}], line 6" in cell.traceback
    assert f"In[{cell.number}], line 5" in cell.traceback
    assert f"In[{helper}], line 2" in cell.traceback
    assert any_ipython.run("ipykill.jobs[1].cell").result == str(cell.number)
    assert "----> 6 inner()" in cell.traceback
    for ours in ("ipykill", "threading.py", "asyncio"):
        assert ours not in cell.traceback
    assert later.text() == "later\n"
    assert later.errors == []


def test_the_foregrounds_history_is_not_touched(any_ipython: Kernel) -> None:
    any_ipython.run("'before'")
    any_ipython.run("try: del sys.last_value\nexcept AttributeError: pass")
    count = int(any_ipython.run("get_ipython().execution_count").result or 0)
    cell = any_ipython.run(
        "%%bg -q\nprint('x')\ndisplay('y')\nexec(compile('[2]', '', 'single'))\n[1]"
    )
    any_ipython.run("%%bg -q\n1 / 0")
    wait_job(any_ipython, 1)
    wait_job(any_ipython, 2)
    cell.wait_output(lambda cell: printed(cell) == "x\n'y'\n[2]\n[1]\n")
    assert any_ipython.run("hasattr(sys, 'last_value')").result == "False"
    cell = any_ipython.run(
        "[it for it in Out.values() if it in ([1], [2])], [it for it in In if it == '1 / 0'], "
        "get_ipython().execution_count"
    )
    assert cell.result == f"([], [], {count + 6})"


def test_history_outputs_of_later_cells_hold_nothing_of_a_job(kernel: Kernel) -> None:
    kernel.run("go = threading.Event(); said = threading.Event()")
    kernel.run("%%bg -q\ngo.wait()\nprint('from the job')\nsaid.set()")
    kernel.run("go.set(); said.wait(30)")
    outputs = kernel.run("str(getattr(get_ipython().history_manager, 'outputs', ''))").result
    assert "from the job" not in (outputs or "")


def test_a_variable_gets_the_value(kernel: Kernel) -> None:
    assert kernel.run("%%bg -q -o answer\n6 * 7").result is None
    wait_job(kernel)
    assert kernel.run("answer").result == "42"


def test_a_statement_is_left_as_it_is(kernel: Kernel) -> None:
    cell = kernel.run("""%bg -n "two words" -q print({"a": 'b  c'}, f"{1 + 1}", -1)""")
    wait_job(kernel)
    assert cell.text() == "{'a': 'b  c'} 2 -1\n"
    assert kernel.run("ipykill.jobs[1].name").result == "'two words'"
    cell = kernel.run("%bg -q -- -5")
    wait_job(kernel)
    assert printed(cell) == "-5\n"


def test_the_card_of_a_statement_stands_above_its_output(any_kernel: Kernel) -> None:
    for code in "%bg print('hello')", "  %bg  -n greet print('hello')\n", "bg print('hello')":
        cell = any_kernel.run(code)
        assert wait_job(any_kernel) == "done"
        cell.wait_output("hello")
        assert below(cell) == ["card", "card", "hello\n"], code
        assert any_kernel.run("Out[max(Out)] is job").result == "True"
    cell = any_kernel.run("%bg 1 / 0")
    assert wait_job(any_kernel) == "failed"
    cell.wait_output(lambda cell: cell.errors)
    assert below(cell) == ["card", "card", "ZeroDivisionError"]
    for code in "mine = %bg print('hello')", "%bg -q print('hello')":
        cell = any_kernel.run(code)
        assert wait_job(any_kernel) == "done"
        cell.wait_output("hello")
        assert below(cell) == ["hello\n"], code
    assert any_kernel.run("mine").displays[0]["data"]["text/plain"].startswith("[5] print('hello')")


def test_an_end_that_the_card_of_the_cell_shows_is_not_told_in_words(kernel: Kernel) -> None:
    kernel.run("def loop():\n    while True: pass")
    for number, code in enumerate(
        ["%bg loop()", "1\n%bg loop()", "ipykill.submit(loop)", "job = %bg loop()"], 1
    ):
        cell = kernel.run(code)
        kernel.run(f"ipykill.jobs[{number}].kill(30)")
        told = [text for text in below(cell) if text != "card"]
        assert len(told) == (1 if "=" in code else 0), code


def test_wait_keeps_output_and_error_in_the_cell(any_kernel: Kernel) -> None:
    cell = any_kernel.run("%%bg --wait -q\nprint('inside')\ndisplay('shown')\n1 / 0")
    assert cell.status == "error"
    assert [error["ename"] for error in cell.errors] == ["ZeroDivisionError"]
    assert "----> 4 1 / 0" in cell.traceback
    assert "ipykill" not in cell.traceback
    types = [message["msg_type"] for message in cell.messages]
    assert types[-1] == "status", "everything came before the cell was idle"
    assert printed(cell) == "inside\n'shown'\n"


def test_wait_can_be_configured_for_a_whole_run(kernel: Kernel) -> None:
    kernel.run("%config BackgroundMagics.wait = True")
    cell = kernel.run("%%bg -q\ntime.sleep(0.2)\nprint('said')")
    assert cell.text() == "said\n"
    assert kernel.run("%%bg -q\nraise SystemExit(3)").status == "error"


def test_quit_in_a_job_ends_the_job_and_not_the_kernel(any_kernel: Kernel) -> None:
    any_kernel.run("value = 42")
    cell = any_kernel.run("%%bg -n leaves\nprint('before')\nquit()\nprint('after')")
    assert wait_job(any_kernel, "leaves") == "done"
    assert printed(cell) == "before\n"
    # A kernel that was asked to end does so after the next cell.
    assert any_kernel.run("get_ipython().exit_now, value").result == "(False, 42)"
    assert any_kernel.run("value").result == "42"
    asked = any_kernel.run("quit(keep_kernel=True)\nget_ipython().payload_manager.read_payload()")
    assert "ask_exit" in asked.result, "in the foreground it is what it was"


def test_submit_from_a_cell_prints_there(any_kernel: Kernel) -> None:
    any_kernel.run("def work(n):\n    print('working', n)\n    return n + 1")
    cell = any_kernel.run("job = ipykill.submit(work, 4)")
    assert any_kernel.run("job.result(30)").result == "5"
    cell.wait_output("working 4")


@pytest.mark.smoke
def test_a_job_can_be_awaited_in_the_foreground(kernel: Kernel) -> None:
    assert kernel.run("await ipykill.submit(lambda: 'value')").result == "'value'"


def test_an_exception_group_is_shown_with_what_is_in_it(kernel: Kernel) -> None:
    cell = kernel.run("%%bg\nraise ExceptionGroup('two', [ValueError('one'), KeyError('other')])")
    assert wait_job(kernel) == "failed"
    cell.wait_output(lambda cell: cell.errors)
    assert "ValueError: one" in cell.traceback
    assert "KeyError: 'other'" in cell.traceback
    assert not shows_us(cell.traceback)


def test_an_error_with_what_cannot_be_sent_is_shown(kernel: Kernel) -> None:
    cell = kernel.run("%%bg\nraise ValueError('lone \\ud800')")
    assert wait_job(kernel) == "failed"
    cell.wait_output(lambda cell: cell.errors)
    assert "ValueError: lone \\ud800" in cell.traceback


def test_what_shows_an_error_in_a_job_shows_it_in_its_cell(any_kernel: Kernel, tmp_path) -> None:
    (tmp_path / "broken.py").write_text("print('in a script')\n1 / 0\n")
    any_kernel.run("go = threading.Event()\ntry: del sys.last_value\nexcept AttributeError: pass")
    cell = any_kernel.run(
        "%%bg -q\ngo.wait()\n"
        f"try: get_ipython().run_line_magic('run', '{tmp_path}/broken.py')\n"
        "except ZeroDivisionError: get_ipython().showtraceback()\n"
        "try: [][1]\nexcept IndexError: get_ipython().showtraceback()"
    )
    other = any_kernel.run("go.set(); ipykill.jobs[1].wait(30)")
    assert wait_job(any_kernel) == "done"
    cell.wait_output(lambda cell: len(cell.errors) == 2)
    assert [error["ename"] for error in cell.errors] == ["ZeroDivisionError", "IndexError"]
    assert "broken.py" in cell.traceback
    assert not shows_us(cell.traceback)
    assert other.errors == []
    assert any_kernel.run("hasattr(sys, 'last_value'), hasattr(sys, 'last_exc')").result == (
        "(False, False)"
    )


def test_a_script_that_is_run_in_a_job_is_killed(kernel: Kernel, tmp_path) -> None:
    (tmp_path / "endless.py").write_text("print('begun')\nwhile True: x = 1\n")
    cell = kernel.run(f"%%bg -q\n%run {tmp_path}/endless.py\nprint('passed')")
    cell.wait_output("begun")
    assert kernel.run("ipykill.jobs[1].kill(30)").result == "True"
    cell.wait_output("killed after")
    assert cell.errors == []
    assert "passed" not in cell.text()


def test_a_command_ends_with_its_job(kernel: Kernel) -> None:
    kernel.run("import gc, subprocess\ngc.disable()")
    kernel.run("%%bg\n!sleep 1234")
    find = "subprocess.run(['pgrep', '-P', str(__import__('os').getpid()), '-f', 'sleep 1234'])"
    seen = f"while {find}.returncode: time.sleep(0.05)"
    assert kernel.run(seen).status == "ok"
    assert kernel.run("ipykill.jobs[1].kill(60)").result == "True"
    assert kernel.run(f"{find}.returncode").result == "1"


def test_what_a_job_gives_to_a_pool_of_others_prints_in_its_cell(any_kernel: Kernel) -> None:
    any_kernel.run(
        "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(1)\n"
        "def work(text):\n    print(text); display(text + '!')"
    )
    cell = any_kernel.run("%%bg -q\npool.submit(work, 'job').result()")
    assert wait_job(any_kernel) == "done"
    cell.wait_output("job")
    assert [shown["data"]["text/plain"] for shown in cell.displays] == ["'job!'"]
    any_kernel.run("pool.submit(work, 'foreground').result()")
    assert any_kernel.run("%bglog").text() == "job\n"
