"""A Ctrl-C at the moment when the kernel gets a lock, for which it had to wait.

CPython 3.14 leaves the lock locked then, see `ipykill.base.locks`.
"""

from tests.kernel.background import load
from tests.kernel.harness import Kernel

# A thread that holds a lock until the main thread waits for it, releases it, and presses Ctrl-C.
HOLD = """
import signal
main = threading.main_thread().ident
held = threading.Event()

def frames():
    frame = sys._current_frames()[main]
    place = frame, frame.f_lasti
    names = set()
    while frame is not None:
        names.add(frame.f_code.co_name)
        frame = frame.f_back
    return place, names

def hold(lock, function):
    lock.acquire()
    held.set()
    before = None
    while True:
        place, names = frames()
        if place == before and function in names:
            break
        before = place
        time.sleep(0.01)
    lock.release()
    signal.pthread_kill(main, signal.SIGINT)

def begin(*args):
    threading.Thread(target=hold, args=args).start()
    held.wait()
"""


def test_it_does_not_keep_the_kernel_from_running_the_next_cell(kernel: Kernel) -> None:
    load(kernel)
    kernel.run(HOLD)
    kernel.run("begin(get_ipython().history_manager.db_input_cache_lock, 'store_inputs')")
    # ipykernel sends no reply to a cell that is interrupted before its code begins.
    kernel.cell("1").wait_output(lambda cell: cell.ended)
    assert kernel.run("6 * 7").result == "42"


def test_it_does_not_keep_the_kernel_from_sending_what_cells_print(kernel: Kernel) -> None:
    load(kernel)
    kernel.run(HOLD)
    cell = kernel.run("begin(sys.stdout._buffer_lock, 'write')\nsys.stdout.write('hello')")
    assert [error["ename"] for error in cell.errors] == ["KeyboardInterrupt"]
    assert kernel.run("print('after')").text() == "after\n"


def test_it_does_not_keep_others_from_looking_at_a_cell_that_ends(any_new_kernel: Kernel) -> None:
    load(any_new_kernel)
    any_new_kernel.run(HOLD)
    cell = any_new_kernel.run(
        "running = ipykill.jobs.foreground.cell\nbegin(running._gate, '_end')"
    )
    assert [error["ename"] for error in cell.errors] == ["KeyboardInterrupt"]
    # The thread that detaches or interrupts a cell takes this lock.
    free = "got = []; other = threading.Thread(target=lambda: got.append(running._gate.acquire(0)))"
    assert any_new_kernel.run(f"{free}\nother.start(); other.join(); got").result == "[True]"
