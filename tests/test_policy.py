"""A skipped kernel or browser test is harmless at home and a failure under CI."""

from pathlib import Path

import pytest

pytest_plugins = "pytester"
pytestmark = pytest.mark.once

SKIPS = "import pytest\ndef test_it():\n    pytest.skip('no Chromium')\n"
EXPECTED_FAILURE = "import pytest\n@pytest.mark.xfail\ndef test_it():\n    assert False\n"
MODULE_SKIPS = "import pytest\npytest.importorskip('no_such_module')\n"


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Run one test file under the real conftest, with or without CI."""
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text())
    pytester.makeini("[pytest]\nmarkers = kernel\n browser\n")

    def run(file: str, source: str, ci: str | None) -> pytest.RunResult:
        monkeypatch.delenv("CI", raising=False)
        if ci is not None:
            monkeypatch.setenv("CI", ci)
        path = pytester.path / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
        return pytester.runpytest_inprocess()

    return run


@pytest.mark.parametrize("folder", ["kernel", "browser"])
def test_a_skip_fails_under_ci(run, folder: str) -> None:
    result = run(f"{folder}/test_it.py", SKIPS, "true")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*skipped, which CI does not allow: Skipped: no Chromium*"])


@pytest.mark.parametrize("ci", [None, "false"])
def test_a_skip_is_a_skip_at_home(run, ci: str | None) -> None:
    run("kernel/test_it.py", SKIPS, ci).assert_outcomes(skipped=1)


def test_other_tests_may_skip_under_ci(run) -> None:
    run("unit/test_it.py", SKIPS, "true").assert_outcomes(skipped=1)


def test_a_skip_mark_fails_under_ci(run) -> None:
    source = "import pytest\n@pytest.mark.skip('later')\ndef test_it(): pass\n"
    run("browser/test_it.py", source, "true").assert_outcomes(errors=1)


def test_a_skip_in_a_fixture_fails_under_ci(run) -> None:
    source = (
        "import pytest\n@pytest.fixture\ndef gone(): pytest.skip('gone')\ndef test_it(gone): pass\n"
    )
    run("browser/test_it.py", source, "true").assert_outcomes(errors=1)


def test_an_expected_failure_is_no_skip(run) -> None:
    run("kernel/test_it.py", EXPECTED_FAILURE, "true").assert_outcomes(xfailed=1)


def test_a_skipped_module_fails_under_ci(run) -> None:
    run("unit/test_it.py", MODULE_SKIPS, "true").assert_outcomes(errors=1)


def test_a_skipped_module_is_a_skip_at_home(run) -> None:
    run("unit/test_it.py", MODULE_SKIPS, None).assert_outcomes(skipped=1)
