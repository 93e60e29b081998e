"""A broker's address: what may be written, what is refused, and a password nobody sees."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stocklog.errors import UsageError
from stocklog.stream import StreamURI


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rabbitmq-stream://h", StreamURI((("h", 5552),))),
        ("  rabbitmq-stream://h:1\n", StreamURI((("h", 1),))),
        ("rabbitmq-stream+tls://h", StreamURI((("h", 5551),), tls=True)),
        ("RabbitMQ-Stream://u:p@h", StreamURI((("h", 5552),), "u", "p")),
        ("rabbitmq-stream://u:p@h:65535/", StreamURI((("h", 65535),), "u", "p")),
        ("rabbitmq-stream://u:p@h/%2f", StreamURI((("h", 5552),), "u", "p")),
        ("rabbitmq-stream://u:p@h/shop", StreamURI((("h", 5552),), "u", "p", "shop")),
        ("rabbitmq-stream://u:p@h/a%2Fb", StreamURI((("h", 5552),), "u", "p", "a/b")),
        ("rabbitmq-stream://u:p%40%2F%3A%25@h", StreamURI((("h", 5552),), "u", "p@/:%")),
        ("rabbitmq-stream://u:a:b@h", StreamURI((("h", 5552),), "u", "a:b")),
        ("rabbitmq-stream://a,b:2,c", StreamURI((("a", 5552), ("b", 2), ("c", 5552)))),
        ("rabbitmq-stream://[::1]", StreamURI((("::1", 5552),))),
        ("rabbitmq-stream://[::1]:7,h", StreamURI((("::1", 7), ("h", 5552)))),
        ("rabbitmq-stream://u:@h", StreamURI((("h", 5552),), "u", "")),
    ],
)
def test_what_may_be_written(text: str, expected: StreamURI) -> None:
    assert StreamURI.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no scheme"),
        ("localhost:5552", "begins with 'localhost'"),
        ("amqp://u:p@h", "begins with 'amqp'"),
        ("rabbitmq-stream://", "names no host"),
        ("rabbitmq-stream://u:p@", "names no host"),
        ("rabbitmq-stream://a,,b", "names no host"),
        ("rabbitmq-stream://:5552", "names no host"),
        ("rabbitmq-stream://u@h", "without a password"),
        ("rabbitmq-stream://:p@h", "without a password"),
        ("rabbitmq-stream://h:0", "no number from 1 to 65535"),
        ("rabbitmq-stream://h:65536", "no number from 1 to 65535"),
        ("rabbitmq-stream://h:" + "9" * 5000, "no number from 1 to 65535"),
        ("rabbitmq-stream://h:x", "no number from 1 to 65535"),
        ("rabbitmq-stream://h:١", "no number from 1 to 65535"),
        ("rabbitmq-stream://[::1", "cannot be read"),
        ("rabbitmq-stream://h?heartbeat=5", "query"),
        ("rabbitmq-stream://h#x", "fragment"),
    ],
)
def test_what_is_refused_says_why_and_how_to_write_it(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)) as raised:
        StreamURI.parse(text)
    assert "user:password@host:5552/vhost" in str(raised.value)


@pytest.mark.parametrize(
    "password",
    ["xy7q/zk8w", "1289/34", "x@y7q/zk8w", "zk8w/x@y7q", "xy7q#zk8w", "xy7q?zk8w", "[xy7q"],
)
def test_a_password_that_was_not_encoded_is_refused_and_not_repeated(password: str) -> None:
    # Seen before the fix: "'12' is no port", and a password read as host and virtual host.
    with pytest.raises(UsageError) as raised:
        StreamURI.parse(f"rabbitmq-stream://user:{password}@host:5552/")
    shown = f"{raised.value} {raised.value!r}"
    for piece in re.split(r"[/@#?\[]", password):
        assert len(piece) < 3 or piece not in shown


def test_the_password_shows_only_when_asked_for() -> None:
    uri = StreamURI.parse("rabbitmq-stream://ana:s3cret@h:1/shop")
    assert str(uri) == "rabbitmq-stream://ana:***@h:1/shop"
    for text in (str(uri), repr(uri), f"{uri}", f"{[uri]}"):
        assert "s3cret" not in text
    assert uri.with_password() == "rabbitmq-stream://ana:s3cret@h:1/shop"


HOSTS = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True) | st.just("fe80::1")
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(
    st.lists(st.tuples(HOSTS, st.integers(1, 65535)), min_size=1, max_size=4),
    WORDS,
    WORDS,
    WORDS,
    st.booleans(),
)
def test_the_text_with_the_password_reads_back_as_the_same(
    hosts: list[tuple[str, int]], user: str, password: str, vhost: str, tls: bool
) -> None:
    uri = StreamURI(tuple(hosts), user, password, vhost, tls)
    assert StreamURI.parse(uri.with_password()) == uri


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_usage_error(text: str) -> None:
    for candidate in (text, f"rabbitmq-stream://{text}", f"rabbitmq-stream://u:p@{text}"):
        try:
            uri = StreamURI.parse(candidate)
        except UsageError:
            continue
        assert all(host and 0 < port < 65536 for host, port in uri.hosts)
