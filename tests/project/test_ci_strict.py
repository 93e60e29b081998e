"""The rule of the root conftest.py: what CI may not skip."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CONFTEST = Path(__file__).parents[2] / "conftest.py"
INI = "[pytest]\nmarkers =\n  broker: x\n  interop: x\n  commands: x\n  postgresql: x\n"


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makeini(INI)
    return pytester


@pytest.mark.parametrize("marker", ["broker", "interop", "commands", "postgresql"])
def test_a_skipped_test_of_a_marked_kind_fails_in_ci(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, marker: str
) -> None:
    project.makepyfile(f"""
        import pytest

        @pytest.mark.{marker}
        def test_it():
            pytest.skip("no second version here")
    """)
    monkeypatch.setenv("CI", "true")
    result = project.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*may not be skipped in CI*no second version here*"])


def test_a_skip_in_a_fixture_or_by_a_mark_fails_in_ci_too(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile("""
        import pytest

        pytestmark = pytest.mark.broker

        @pytest.fixture
        def node():
            pytest.skip("no node")

        def test_with_fixture(node):
            pass

        @pytest.mark.skipif(True, reason="not here")
        def test_with_mark():
            pass
    """)
    monkeypatch.setenv("CI", "1")
    project.runpytest().assert_outcomes(errors=2)


def test_a_module_that_skips_itself_fails_in_ci(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile('import pytest\npytest.importorskip("no_such_client")')
    monkeypatch.setenv("CI", "true")
    project.runpytest().assert_outcomes(errors=1)


def test_other_skips_and_expected_failures_stay_what_they_are(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile("""
        import pytest

        def test_plain():
            pytest.skip("only on another system")

        @pytest.mark.broker
        @pytest.mark.xfail(reason="known")
        def test_known():
            raise AssertionError
    """)
    monkeypatch.setenv("CI", "true")
    project.runpytest().assert_outcomes(skipped=1, xfailed=1)


def test_outside_ci_a_skip_is_a_skip(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile("""
        import pytest

        @pytest.mark.broker
        def test_it():
            pytest.skip("no chroot")
    """)
    monkeypatch.delenv("CI", raising=False)
    project.runpytest().assert_outcomes(skipped=1)
