"""Kernels that begin as forks of a process that has imported ipykernel already.

Hundreds of kernels are started, one for each test, and most of the time of a start goes into
imports that are the same each time. What is forked is a process with one thread that has run
nothing yet; from there the kernel starts as ``python -m ipykernel_launcher`` does.
"""

import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import LocalProvisioner

_LARGEST = 1 << 20  # bytes of a request, which is mostly the environment


class Forked:
    """A process that is nobody's child here; as `subprocess.Popen`, as far as Jupyter asks."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._handle = os.pidfd_open(pid)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._handle], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self) -> int:
        if self.returncode is None:
            select.select([self._handle], [], [])
            os.close(self._handle)
            self.returncode = 0  # what it was is known to its parent alone
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class Nursery:
    """A process from which kernels with this `PYTHONPATH` are forked."""

    def __init__(self, pythonpath: str) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # It ends when this process has, for its socket is closed then.
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            env=os.environ | {"PYTHONPATH": pythonpath},
            pass_fds=[theirs.fileno()],
        )
        theirs.close()

    @classmethod
    def of(cls, pythonpath: str) -> "Nursery":
        if pythonpath not in _nurseries:
            _nurseries[pythonpath] = cls(pythonpath)
        return _nurseries[pythonpath]

    def start(self, argv: list[str], env: dict[str, str], cwd: str, output: int) -> Forked:
        env = env | {"JPY_PARENT_PID": str(self._process.pid)}  # when that is gone, it ends
        request = json.dumps({"argv": argv, "env": env, "cwd": cwd})
        socket.send_fds(self._socket, [request.encode()], [output])
        return Forked(int(self._socket.recv(64)))


_nurseries: dict[str, Nursery] = {}


class ForkProvisioner(LocalProvisioner):
    """Starts a kernel from the nursery of its `PYTHONPATH`."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        nursery = Nursery.of(kwargs["env"]["PYTHONPATH"])
        output = kwargs["stdout"].fileno()
        self.process = nursery.start(cmd[2:], kwargs["env"], kwargs["cwd"], output)
        self.pid = self.pgid = self.process.pid
        return self.connection_info


def _serve(requests: socket.socket) -> None:
    """Fork a kernel for each request, in the process of the nursery."""
    del sys.path[0]  # the folder of this file
    import ipykernel.kernelapp
    import ipykernel.zmqshell  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody here asks how they have ended
    while True:
        data, files, _, _ = socket.recv_fds(requests, _LARGEST, 1)
        if not data:
            return
        child = os.fork()
        if not child:
            requests.close()
            _become(**json.loads(data), output=files[0])
            return
        os.close(files[0])
        requests.send(str(child).encode())


def _become(argv: list[str], env: dict[str, str], cwd: str, output: int) -> None:
    """Be a kernel in this process, as it is after ``python -m ipykernel_launcher``."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    null = os.open(os.devnull, os.O_RDONLY)
    for file, number in ((null, 0), (output, 1), (output, 2)):
        os.dup2(file, number)
    os.close(null)
    os.close(output)
    sys.argv[:] = argv
    sys.path.insert(0, cwd)
    runpy.run_module("ipykernel_launcher", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
