"""Every way to start a process, and what is asked about one."""

import multiprocessing
import os
import pty
import signal
import subprocess
import threading

import pytest

MARKS = [
    pytest.mark.skipif(os.name != "posix", reason="processes end in another way there"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]

SLEEP = ["sleep", "1000"]


def runs(pid):
    """Whether a process runs; one that has ended and is not waited for does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in b"ZX"
    except OSError:
        return False


def exists(pid):
    return os.path.exists(f"/proc/{pid}")


def children():
    """The children of this process, zombies too."""
    command = ["ps", "-o", "pid=", "--ppid", str(os.getpid())]
    return [*map(int, subprocess.run(command, capture_output=True, text=True).stdout.split())]


def blocked():
    threading.Event().wait()


# Every way to start one


def run():
    subprocess.run("echo $$ >> $PIDS; exec sleep 1000", shell=True)


def nobody_waits():
    subprocess.Popen("echo $$ >> $PIDS; exec sleep 1000", shell=True)
    blocked()


def with_popen():
    with subprocess.Popen("echo $$ >> $PIDS; exec sleep 1000", shell=True):
        blocked()


def child_of_a_shell():
    subprocess.run("(echo $(exec sh -c 'echo $PPID') >> $PIDS; sleep 1000); true", shell=True)


def left_behind_by_a_shell():
    subprocess.run("sleep 1000 & echo $! >> $PIDS", shell=True)
    blocked()


def own_session():
    code = "echo $$ >> $PIDS; exec sleep 1000"
    subprocess.Popen(code, shell=True, start_new_session=True)
    blocked()


def preexec_session():
    subprocess.Popen("echo $$ >> $PIDS; exec sleep 1000", shell=True, preexec_fn=os.setsid)
    blocked()


def os_system():
    os.system("echo $$ >> $PIDS; sleep 1000; true")


def os_popen():
    os.popen("echo $$ >> $PIDS; exec sleep 1000").read()


def os_fork():
    if os.fork() == 0:
        os.execvp("sh", ["sh", "-c", "echo $$ >> $PIDS; exec sleep 1000"])
    blocked()


def terminal():
    pid, _ = pty.fork()
    if pid == 0:
        os.execvp("sh", ["sh", "-c", "echo $$ >> $PIDS; exec sleep 1000"])
    blocked()


def posix_spawn():
    code = "echo $$ >> $PIDS; exec sleep 1000"
    os.posix_spawn("/bin/sh", ["sh", "-c", code], os.environ)
    blocked()


def in_a_thread():
    threading.Thread(target=nobody_waits, daemon=True).start()
    blocked()


def ignores_sigterm():
    subprocess.run("trap '' TERM; echo $$ >> $PIDS; while true; do sleep 1; done", shell=True)


def is_stopped():
    child = subprocess.Popen(SLEEP)
    child.send_signal(signal.SIGSTOP)
    with open(os.environ["PIDS"], "a") as file:
        print(child.pid, file=file)
    blocked()


def of_a_worker():
    """A program that a process of multiprocessing runs."""
    context = multiprocessing.get_context("fork")
    code = "echo $$ >> $PIDS; exec sleep 1000"
    process = context.Process(target=subprocess.run, args=(code,), kwargs={"shell": True})
    process.start()
    process.join()


WAYS = [
    *(run, nobody_waits, with_popen, child_of_a_shell, left_behind_by_a_shell, own_session),
    *(preexec_session, os_system, os_popen, os_fork, terminal, posix_spawn, in_a_thread),
    *(ignores_sigterm, is_stopped),
]
