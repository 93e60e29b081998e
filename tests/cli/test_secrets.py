"""TLS through the command line, and where a password is never seen."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import trustme
from shell import Done, run

from nodes import VERSIONS, Nodes, system_version
from stocklog.bench.chaos.worker import Task
from stocklog.bench.job import Job
from stocklog.broker import NodeInfo
from stocklog.broker.model import Settings
from stocklog.cli.options import BrokerChoice
from stocklog.stream import StreamURI
from tls_nodes import Secure, secure_node

Call = Callable[..., Done]
Launch = Callable[..., subprocess.Popen[str]]
SECRET = "s3cr3t-zk8w"
NOWHERE = f"rabbitmq-stream://ana:{SECRET}@127.0.0.1:1"


# -- TLS -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secure(nodes: Nodes) -> Iterator[Secure]:
    own = system_version()
    with secure_node(nodes, own if own in VERSIONS else VERSIONS[-1]) as found:
        yield found


@pytest.fixture
def authority(secure: Secure, tmp_path: Path) -> str:
    """The file that names the authority, as `--tls-ca` takes it."""
    path = tmp_path / "authority.pem"
    secure.authority.cert_pem.write_to_path(path)
    return str(path)


def ask(alone: dict[str, str], uri: StreamURI, *words: str, **more: str) -> Done:
    """A command over TLS; the password shows nowhere."""
    env = {**alone, "STOCKLOG_URI": uri.with_password(), **more}
    done = run(*words, env=env)
    assert uri.password not in done.out + done.err
    return done


def test_the_authority_is_given_by_option_or_by_variable(
    secure: Secure, alone: dict[str, str], authority: str
) -> None:
    done = ask(alone, secure.uri, "produce", "-n", "500", "--tls-ca", authority)
    assert done.status == 0, done.err
    assert f"broker rabbitmq-stream+tls://{secure.uri.user}:***@localhost" in done.err
    assert "500 updates confirmed" in done.err
    read = ["consume", "first", "-e", "--format", "none"]
    done = ask(alone, secure.uri, *read, STOCKLOG_TLS_CA=authority)
    assert done.status == 0, done.err
    assert "500 updates in" in done.err


def test_without_the_authority_the_certificate_is_refused(
    secure: Secure, alone: dict[str, str], tmp_path: Path
) -> None:
    done = ask(alone, secure.uri, "consume")
    assert (done.status, done.out) == (1, "")
    assert re.search(r"certificate of localhost:\d+ does not hold", done.err)
    assert "--tls-ca" in done.err
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    assert ask(alone, secure.uri, "consume", "--tls-ca", str(other)).status == 1


def test_a_certificate_for_another_host_is_refused(
    secure: Secure, alone: dict[str, str], authority: str
) -> None:
    port = secure.uri.hosts[0][1]
    uri = StreamURI((("127.0.0.1", port),), secure.uri.user, secure.uri.password, tls=True)
    done = ask(alone, uri, "consume", "--tls-ca", authority)
    assert (done.status, done.out) == (1, "")
    assert "does not hold" in done.err
    assert "127.0.0.1" in done.err
    assert "host name" in done.err


def test_no_option_leaves_the_check_out(stocklog: Call) -> None:
    assert "insecure" not in stocklog("consume", "--help").out
    assert stocklog("stream", "list", "--insecure").status == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--uri", NOWHERE], "URI is one without TLS"),
        ([], "but no broker"),
    ],
)
def test_an_authority_without_tls_is_a_mistake(
    stocklog: Call, tmp_path: Path, words: list[str], says: str
) -> None:
    path = tmp_path / "authority.pem"
    trustme.CA().cert_pem.write_to_path(path)
    done = stocklog("stream", "list", "--tls-ca", str(path), *words)
    assert done.status == 2
    assert says in done.err


def test_a_file_without_certificates_is_named(stocklog: Call, tmp_path: Path) -> None:
    path = tmp_path / "empty.pem"
    path.write_text("nothing")
    uri = NOWHERE.replace("stream:", "stream+tls:")
    done = stocklog("stream", "list", "--tls-ca", str(path), STOCKLOG_URI=uri)
    assert done.status == 1
    assert f"{path} holds no certificates" in done.err


# -- a URI in a file --------------------------------------------------------------------------


def test_a_uri_in_a_file_is_used_before_the_variable_and_seen_nowhere(
    one_broker: NodeInfo, alone: dict[str, str], tmp_path: Path, launch: Launch, stream_name: str
) -> None:
    kept = tmp_path / "uri"
    kept.write_text(one_broker.uri + "\n")
    password = StreamURI.parse(one_broker.uri).password
    env = {**alone, "STOCKLOG_URI": NOWHERE}
    words = ["produce", "--rate", "100", "-n", "300", "-s", stream_name, "--uri-file", str(kept)]
    process = launch(words, env)
    seen: list[str] = []

    def look() -> None:
        with contextlib.suppress(psutil.Error):  # until the command has ended
            command = psutil.Process(process.pid)
            while command.is_running():
                for one in [command, *command.children(recursive=True)]:
                    seen.extend(one.cmdline())
                time.sleep(0.05)

    thread = threading.Thread(target=look)
    thread.start()
    out, err = process.communicate(timeout=60)
    thread.join(10)
    assert process.returncode == 0, err
    assert str(kept) in seen
    assert not any(password in word for word in seen)
    assert password not in out + err
    assert f"--uri-file {kept}" in err


@pytest.mark.parametrize("text", ["", "\n \n", f"{NOWHERE}\n{NOWHERE}", "\xff\xfe"])
def test_a_file_that_is_no_uri_is_refused_without_showing_it(
    stocklog: Call, tmp_path: Path, text: str
) -> None:
    kept = tmp_path / "uri"
    kept.write_bytes(text.encode("latin-1"))
    done = stocklog("stream", "list", "--uri-file", str(kept))
    assert done.status == 2
    assert f"{kept} is not a file of one line" in done.err
    assert SECRET not in done.err


def test_two_ways_to_name_the_broker_exclude_each_other(stocklog: Call, tmp_path: Path) -> None:
    kept = tmp_path / "uri"
    kept.write_text(NOWHERE)
    done = stocklog("stream", "list", "--uri-file", str(kept), "--uri", NOWHERE)
    assert (done.status, SECRET in done.err) == (2, False)
    assert "exclude each other" in done.err
    assert stocklog("stream", "list", "--uri-file", str(tmp_path / "none")).status == 2


# -- errors, reprs, tracebacks ------------------------------------------------------------------


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "uri",
    [
        NOWHERE,
        NOWHERE.replace("stream:", "stream+tls:"),
        f"rabbitmq-stream://ana:{SECRET}@127.0.0.1:99999",
        f"rabbitmq-stream://ana:{SECRET}/x@127.0.0.1:1",
        f"amqp://ana:{SECRET}@127.0.0.1:1",
    ],
)
def test_an_error_and_its_traceback_show_no_password(stocklog: Call, uri: str, form: str) -> None:
    done = stocklog("--debug", "--log-format", form, "consume", STOCKLOG_URI=uri)
    assert done.status in {1, 2}
    assert "Traceback" in done.err
    assert SECRET not in done.err


@pytest.mark.parametrize(
    "value",
    [
        BrokerChoice(NOWHERE, "--uri", None),
        Task("producer", "plain", "p", 0, NOWHERE, "s", "f", 1),
        Job("stocklog", "read", NOWHERE, "s", 1, 1),
        Settings(user="ana", password=SECRET, cookie=SECRET),
        NodeInfo(NOWHERE, "4.0.5", Path(os.sep), ()),
        StreamURI.parse(NOWHERE),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_knows_a_password_does_not_show_it(value: object) -> None:
    assert SECRET not in repr(value) + str(value) + f"{[value]}"
