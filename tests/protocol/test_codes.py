"""Response codes: every one has a meaning, a kind of error, and an answer to "again?"."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stocklog.errors import AuthenticationError, CommandError, StreamError, StreamNotFoundError
from stocklog.protocol import codes

KNOWN = range(1, 22)
DOING = "Publishing to stream 'x' at host:5552"


@pytest.mark.parametrize("code", KNOWN)
def test_every_code_of_the_broker_is_described(code: int) -> None:
    meaning = codes.describe(code)
    assert meaning.text
    assert "unknown code" not in meaning.text


@pytest.mark.parametrize("code", [7, 8, 9, 11, 12])
def test_a_refused_login_is_an_authentication_error_with_a_remedy(code: int) -> None:
    error = codes.error_for(code, DOING)
    assert isinstance(error, AuthenticationError)
    assert error.remedy


def test_a_missing_stream_has_an_error_of_its_own() -> None:
    error = codes.error_for(2, DOING)
    assert isinstance(error, StreamNotFoundError)
    assert "stream create" in error.remedy
    assert not error.retryable


@pytest.mark.parametrize("code", KNOWN)
def test_only_what_may_pass_is_retryable(code: int) -> None:
    error = codes.error_for(code, DOING)
    if isinstance(error, CommandError):
        assert error.retryable == (code in {6, 15, 18})
    assert codes.describe(code).retryable == (code in {6, 15, 18})


def test_the_error_says_what_was_tried_what_came_and_what_to_do() -> None:
    text = str(codes.error_for(16, DOING))
    assert text.startswith(DOING)
    assert "access refused" in text
    assert "response code 16" in text
    assert "set_permissions" in text
    assert str(codes.error_for(16, DOING, remedy="Ask Ana")).endswith("Ask Ana")


@given(st.integers(0, 0xFFFF))
def test_any_code_gives_a_stream_error_that_names_it(code: int) -> None:
    error = codes.error_for(code, DOING)
    assert isinstance(error, StreamError)
    assert f"response code {code}" in str(error)
    if isinstance(error, CommandError):
        assert error.code == code
