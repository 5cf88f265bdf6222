"""`nox`: the tests on every supported Python, and the linters."""

import nox

nox.options.default_venv_backend = "venv"
nox.options.download_python = "never"


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session):
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def lint(session):
    session.install("-e", ".", "mypy", "ruff")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
