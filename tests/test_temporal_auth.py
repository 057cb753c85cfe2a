"""How a client says who it is: an API key and client certificates, over a real TLS connection.

The dev server speaks no TLS, so what ends the TLS connection stands before it, and keeps what came.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from runtime.errors import Kind, PerdureError
from supervision.node import Node
from tests.both_hosts import SOON
from tests.process_lab import COLLECTS, PATIENCE, eventually, function, write_app
from tests.temporal_lab import DevServer
from tests.tls_lab import Authority, Front

NAME: Final = "temporal.test"
#: Of letters that take five bits each in the Huffman code of HTTP/2 headers (RFC 7541, B).
KEY: Final = "cat0sea1to2atesiciatacitosoatiestoacastac"
_FIVE_BITS: Final = {letter: f"{code:05b}" for code, letter in enumerate("012aceiost")}


def bits(data: bytes) -> str:
    return "".join(f"{byte:08b}" for byte in data)


def bits_of_key(key: str) -> str:
    return "".join(_FIVE_BITS[letter] for letter in key)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def context_of(authority: Authority, *, mutual: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.file))
    context.load_cert_chain(*authority.certificate(NAME))
    context.set_alpn_protocols(["h2"])
    if mutual:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def app(folder: Path, authority: Authority, address: str, auth: dict[str, Any]) -> Path:
    client = {
        "kind": "temporal.client", "address": address, "auth": auth, "connection_timeout": "3s",
        "tls": {"ca_file": str(authority.file), "server_name": NAME}, "tq_prefix": f"{folder}/",
    }  # fmt: skip
    return write_app(
        folder / "app",
        {
            "client": client,
            "worker": {"kind": "temporal.worker", "client": "app:client", "workers": 1},
            "flow": {"kind": "workflow.lua", "source": "return ..."},
            "double": function("return ... * 2"),
            "collects": {
                "kind": "workflow.lua",
                "source": COLLECTS,
            },
        },
    )


@pytest.mark.parametrize("where", ["api_key", "api_key_env", "api_key_file"])
def test_a_key_goes_with_what_is_asked_over_tls(
    tmp_path: Path,
    temporal_server: DevServer,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    monkeypatch.setenv("TEMPORAL_TEST_KEY", KEY)
    (tmp_path / "key").write_text(f"{KEY}\n", encoding="utf-8")
    given = {
        "api_key": KEY,
        "api_key_env": "TEMPORAL_TEST_KEY",
        "api_key_file": str(tmp_path / "key"),
    }
    auth = {"type": "api_key", where: given[where]}
    with closing(Front(temporal_server.address, context_of(authority, mutual=False))) as tls:
        with Node.from_path(app(tmp_path, authority, tls.address, auth)) as node:
            assert node.result(node.spawn("app:flow", "app:worker", 7), PATIENCE) == 7
        assert bits_of_key(KEY) in bits(bytes(tls.came))


def test_a_file_with_another_key_is_read_when_the_client_is_restarted(
    tmp_path: Path, temporal_server: DevServer, authority: Authority
) -> None:
    (tmp_path / "key").write_text(KEY, encoding="utf-8")
    auth = {"type": "api_key", "api_key_file": str(tmp_path / "key")}
    with closing(Front(temporal_server.address, context_of(authority, mutual=False))) as tls:
        with Node.from_path(app(tmp_path, authority, tls.address, auth)) as node:
            (tmp_path / "key").write_text(KEY[::-1], encoding="utf-8")
            node.supervisor.restart_child("app:client")
            eventually(lambda: states(node) == dict.fromkeys(OF_SERVER, "running"))
            assert node.result(node.spawn("app:flow", "app:worker", 7), PATIENCE) == 7
        assert bits_of_key(KEY[::-1]) in bits(bytes(tls.came))


def test_a_client_certificate_says_who_it_is(
    tmp_path: Path, temporal_server: DevServer, authority: Authority
) -> None:
    certificate, key = authority.certificate("shop")
    auth = {"type": "mtls", "cert_file": certificate, "key_file": key}
    with closing(Front(temporal_server.address, context_of(authority, mutual=True))) as tls:
        with Node.from_path(app(tmp_path, authority, tls.address, auth)) as node:
            assert node.result(node.spawn("app:flow", "app:worker", 7), PATIENCE) == 7
        assert tls.names == {"shop"}


@pytest.mark.parametrize("strange", ["client", "server"])
def test_a_certificate_that_nobody_signed_is_refused(
    tmp_path: Path, temporal_server: DevServer, authority: Authority, strange: str
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    certificate, key = (other if strange == "client" else authority).certificate("shop")
    auth = {"type": "mtls", "cert_file": certificate, "key_file": key}
    trusted = other if strange == "server" else authority
    with (
        closing(Front(temporal_server.address, context_of(authority, mutual=True))) as tls,
        Node.from_path(app(tmp_path, trusted, tls.address, auth)) as node,
    ):
        client = {each.id: each for each in node.services()}["app:client"]
        assert (client.state, client.next_attempt is not None) == ("failed", True)
        assert client.error is not None
        assert tls.address in client.error.message


#: Codes of gRPC.
UNAUTHENTICATED: Final = 16
PERMISSION_DENIED: Final = 7


def states(node: Node) -> dict[str, str]:
    return {each.id: each.state for each in node.services() if each.id in OF_SERVER}


OF_SERVER: Final = ("app:client", "app:worker")


def is_told(node: Node, text: str) -> bool:
    """Whether the client has failed with an error that begins so."""
    (client,) = (each for each in node.services() if each.id == "app:client")
    return client.error is not None and client.error.message.startswith(text)


@pytest.mark.parametrize("to_the_end", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_credentials_that_are_refused_later_stop_nothing_but_what_needs_the_server(
    tmp_path: Path, temporal_server: DevServer, authority: Authority, to_the_end: bool
) -> None:
    """A key that was revoked, permissions that are gone, certificates that are not trusted now;
    each time the server takes them again later. The SDK asks for work 10 s after a refusal."""
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    certificate, key = authority.certificate("shop")
    auth = {"type": "mtls", "cert_file": certificate, "key_file": key}
    trusting, strict = (context_of(each, mutual=True) for each in (authority, other))
    strict.load_cert_chain(*authority.certificate(NAME))
    with closing(Front(temporal_server.address, trusting)) as tls:
        folder = app(tmp_path, authority, tls.address, auth)
        # What the server gave to a connection that was cut is soon given again.
        soon = [f"app:worker:{each}" for each in SOON]
        overrides = ["app:client:health_check.interval=300ms", *soon]
        with Node.from_path(folder, overrides) as node:
            run = node.spawn("app:collects", "app:worker")
            assert node.result(node.spawn("app:flow", "app:worker", 1), PATIENCE) == 1
            refusals: list[tuple[Callable[[], None], str, str]] = [
                (
                    partial(tls.refuse, UNAUTHENTICATED, "the key was revoked"),
                    "refuses: the key was revoked",
                    Kind.PERMISSION_DENIED,
                ),
                (
                    partial(tls.refuse, PERMISSION_DENIED, "no such permission"),
                    "refuses: no such permission",
                    Kind.PERMISSION_DENIED,
                ),
                (partial(tls.demand, strict), "cannot be reached", Kind.UNAVAILABLE),
            ]
            for number, (refuse, text, kind) in enumerate(refusals):
                refuse()
                eventually(lambda: states(node) == dict.fromkeys(OF_SERVER, "failed"))
                # A connection that has just broken is told first.
                told = f"app:client: the Temporal server at {tls.address} {text}"
                eventually(partial(is_told, node, told))
                assert node.call("app:double", 4, timeout=PATIENCE) == 8
                if kind == Kind.PERMISSION_DENIED:
                    for ask in (
                        lambda: node.send(run, "n", "refused"),
                        lambda: node.spawn("app:flow", "app:worker", 1),
                    ):
                        with pytest.raises(PerdureError, match=text.removeprefix("refuses: ")) as e:
                            ask()
                        assert (e.value.kind, e.value.retryable) == (kind, False)
                tls.demand(trusting)
                eventually(lambda: states(node) == dict.fromkeys(OF_SERVER, "running"))
                node.send(run, "n", number)
            node.send(run, "end")
            if to_the_end:
                assert node.result(run, PATIENCE) == [0, 1, 2]


def test_a_server_that_refuses_from_the_start_is_told_in_its_words(
    tmp_path: Path, temporal_server: DevServer, authority: Authority
) -> None:
    auth = {"type": "api_key", "api_key": KEY}
    with closing(Front(temporal_server.address, context_of(authority, mutual=False))) as tls:
        tls.refuse(UNAUTHENTICATED, "no such key")
        with Node.from_path(app(tmp_path, authority, tls.address, auth)) as node:
            client = {each.id: each for each in node.services()}["app:client"]
            assert (client.state, client.next_attempt is not None) == ("failed", True)
            assert client.error is not None
            assert client.error.message == (
                f"app:client: the Temporal server at {tls.address} refuses: no such key"
            )
