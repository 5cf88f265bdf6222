"""`%run` and `runpy` in jobs: the foreground's `__main__`, arguments and path stay its own."""

from tests.kernel.background import load, wait_job
from tests.kernel.harness import Kernel

SCRIPT = """
import argparse, builtins, os, pickle, sys
import neighbour
class Thing: name = 'of the script'
state = builtins.box
parser = argparse.ArgumentParser(); parser.add_argument('word')
word = parser.parse_args().word
state['seen', word] = (
    __name__, os.path.basename(sys.argv[0]), sys.argv[1:], os.path.basename(sys.path[0]),
    pickle.loads(pickle.dumps(Thing)).name, neighbour.__name__,
)
state['begun', word].set()
state['go', word].wait(30)
"""
SETUP = f"""
import builtins, collections, os, pathlib, pickle, sys
folder = pathlib.Path('folder'); folder.mkdir()
(folder / 'script.py').write_text({SCRIPT!r})
(folder / 'neighbour.py').write_text('')
(folder / 'fails.py').write_text('1 / 0')
box = builtins.box = collections.defaultdict(threading.Event)
class Thing: name = 'of the foreground'
def own():
    return (
        sys.argv == argv, sys.path == path, sys.modules['__main__'] is main,
        pickle.loads(pickle.dumps(Thing)).name, os.path.basename(getattr(main, '__file__', '')),
    )
argv, path, main = list(sys.argv), list(sys.path), sys.modules['__main__']
types = type(sys.argv), type(sys.path), type(main)
"""
OWN = "(True, True, True, 'of the foreground', '')"
SEEN = "('__main__', 'script.py', ['{0}'], 'folder', 'of the script', 'neighbour')"


def test_the_foreground_is_left_alone_by_scripts_that_overlap(any_ipython: Kernel) -> None:
    load(any_ipython)
    assert any_ipython.run(SETUP).status == "ok"
    any_ipython.run("own_thing = Thing")
    cells = [any_ipython.run(f"%%bg -q -n {it}\n%run folder/script.py {it}") for it in "ab"]
    for name in "ab":
        any_ipython.run(f"box['begun', '{name}'].wait(30)")
        assert any_ipython.run(f"box['seen', '{name}']").result == SEEN.format(name), cells
    assert any_ipython.run("own()").result == OWN
    any_ipython.run("box['go', 'a'].set()")
    assert wait_job(any_ipython, "a") == "done"
    any_ipython.run("Thing = own_thing")  # as in the foreground, a script's names come here
    assert any_ipython.run("own()").result == OWN
    any_ipython.run("ipykill.jobs['b'].kill(30)")
    assert any_ipython.run("own()").result == OWN
    assert any_ipython.run("(type(sys.argv), type(sys.path), type(main)) == types").result == "True"


def test_its_siblings(kernel: Kernel) -> None:
    load(kernel)
    kernel.run(SETUP)
    kernel.run("own_thing = Thing; sys.path.insert(0, 'folder'); path = list(sys.path)")
    for number, how in enumerate(
        [
            "%run -i folder/script.py {0}",
            "%run -t folder/script.py {0}",
            "%run -p folder/script.py {0}",
            "%run -n folder/script.py {0}",
        ]
    ):
        word = f"w{number}"
        kernel.run(f"%%bg -q -n {word}\n{how.format(word)}")
        kernel.run(f"box['begun', '{word}'].wait(30)")
        assert kernel.run("own()[:3]").result == "(True, True, True)", how
        kernel.run(f"box['go', '{word}'].set()")
        assert wait_job(kernel, word) == "done", how
        kernel.run("Thing = own_thing; __name__ = '__main__'")
        assert kernel.run("own()[:4]").result == OWN[:-5] + ")", how
    kernel.run(
        "%%bg -q -n path\nimport runpy\nrunpy.run_path('folder/fails.py', run_name='__main__')"
    )
    assert wait_job(kernel, "path") == "failed"
    assert kernel.run("own()[:4]").result == OWN[:-5] + ")"
    kernel.run("%run folder/fails.py")
    assert kernel.run("own()[:4]").result == OWN[:-5] + ")"
    assert kernel.run("(type(sys.argv), type(sys.path), type(main)) == types").result == "True"


def test_one_script_runs_in_two_jobs_and_in_the_foreground_at_once(any_ipython: Kernel) -> None:
    load(any_ipython)
    assert any_ipython.run(SETUP).status == "ok"
    script = (
        "import builtins, sys\nword = sys.argv[1]\nbox = builtins.box\n"
        "box['begun', word].set()\nbox['go', word].wait(30)\nbox['seen', word] = __name__, word\n"
    )
    any_ipython.run(f"(folder / 'twice.py').write_text({script!r})")
    for word in "ab":
        any_ipython.run(f"%%bg -q -n {word}\n%run folder/twice.py {word}")
        any_ipython.run(f"box['begun', '{word}'].wait(30)")
    any_ipython.run("box['go', 'c'].set()\n%run folder/twice.py c")
    for word in "cba":
        any_ipython.run(f"box['go', '{word}'].set()")
        if word != "c":
            assert wait_job(any_ipython, word) == "done"
        assert any_ipython.run(f"box['seen', '{word}']").result == f"('__main__', '{word}')"


def test_what_a_job_has_left_in_a_script_is_let_go(kernel: Kernel) -> None:
    load(kernel)
    kernel.run(SETUP)
    script = "import builtins\nclass Big: pass\nbig = builtins.big = Big()\n1 / 0\n"
    kernel.run(f"(folder / 'big.py').write_text({script!r})")
    kernel.run("%%bg -q -n big\n%run folder/big.py")
    assert wait_job(kernel, "big") == "failed"
    kernel.run("import gc, weakref; it = weakref.ref(builtins.big)")
    kernel.run("del builtins.big, job")
    kernel.run("%bgclear")
    assert kernel.run("gc.collect(); it()").result is None


def test_the_path_is_a_list_of_which_all_of_a_list_works(kernel: Kernel) -> None:
    load(kernel)
    kernel.run(SETUP)
    script = (
        "import builtins, os, sys\nbox = builtins.box\n"
        "own = sys.path[0]\nsys.path[:0] = ['first']\nsys.path += ['last']\n"
        "assert (['x'] + sys.path)[:3] == ['x', own, 'first'], sys.path\n"
        "assert sys.path.pop() == 'last' and (2 * sys.path)[0] == own\n"
        "sys.path.remove(own)\nassert own not in sys.path\n"
        "box['begun', 'path'].set()\nbox['go', 'path'].wait(30)\n"
    )
    kernel.run(f"(folder / 'path.py').write_text({script!r})")
    kernel.run("%%bg -q -n path\n%run folder/path.py")
    assert kernel.run("box['begun', 'path'].wait(30)").result == "True"
    assert kernel.run("sys.path == ['first', *path] <= sys.path").result == "True"
    assert kernel.run("sys.path.insert(0, 'ours'); (['x'] + sys.path)[:3]").result == (
        "['x', 'ours', 'first']"
    )
    kernel.run("box['go', 'path'].set()")
    assert wait_job(kernel, "path") == "done"
    assert kernel.run("sys.path == ['ours', 'first', *path], type(sys.path)").result == (
        "(True, list)"
    )
