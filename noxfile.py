"""`nox`: the tests on every supported Python and kernel, the linters, the benchmarks.

A Python that is not installed is left out, and named. `nox -l` lists the sessions.
"""

import nox

PYTHONS = ["3.11", "3.12", "3.13", "3.14", "3.15"]
FREE_THREADED = ["3.13t", "3.14t", "3.15t"]
KERNELS = ["6.29.5", "6.30.1", "7.2.0", "latest"]

nox.options.default_venv_backend = "venv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["tests", "lint"]


@nox.session(python=PYTHONS)
def tests(session):
    """Everything, or what is said after `--`."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session(python=PYTHONS + FREE_THREADED)
def core(session):
    """What differs between Pythons: Kill, jobs and families; of the kernel a handful of tests."""
    session.install("-e", ".[core]")
    # These need more packages,
    more = ["browser", "benchmarks", "kernel/test_headless.py", "kernel/test_notebooks.py"]
    more += ["kernel/test_on_client.py"]
    more += [f"remote/test_{name}.py" for name in ("client", "dask", "lost_worker", "process")]
    alike = ["panel", "core/test_log.py"]  # and what these test is alike on all Pythons.
    left_out = [f"--ignore=tests/{path}" for path in more + alike]
    session.env["IPYKILL_TEST_KERNELS"] = "installed"
    chosen = ["-n", "2", "-m", "not once and (not kernel or smoke)"]
    session.run("pytest", *chosen, *left_out, *session.posargs)


@nox.session
@nox.parametrize("ipykernel", KERNELS)
def kernel(session, ipykernel):
    """The kernel tests with one version of ipykernel installed."""
    session.install("-e", ".[test]")
    if ipykernel != "latest":
        session.install(f"ipykernel=={ipykernel}")
    session.env["IPYKILL_TEST_KERNELS"] = "installed"
    session.run("pytest", "tests/kernel", *session.posargs)


@nox.session
def benchmarks(session):
    """The tables of docs/benchmarks.md."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "tests.benchmarks", *session.posargs)


@nox.session
def docs(session):
    """The site, in docs/_build; a link that leads nowhere is an error."""
    session.install("-e", ".[docs]")
    session.run("sphinx-build", "-W", "--keep-going", "-q", "docs", "docs/_build")


@nox.session
def lint(session):
    session.install("-e", ".[core,dask]", "mypy", "ruff")  # whose types it reads
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
