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
