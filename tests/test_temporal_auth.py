"""How a client says who it is: an API key and client certificates, over a real TLS connection.

The dev server speaks no TLS, so what ends the TLS connection stands before it, and keeps what came.
"""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from select import select
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from supervision.node import Node
from tests.process_lab import PATIENCE, write_app
from tests.temporal_lab import DevServer

NAME: Final = "temporal.test"
#: Of letters that take five bits each in the Huffman code of HTTP/2 headers (RFC 7541, B).
KEY: Final = "cat0sea1to2atesiciatacitosoatiestoacastac"
_FIVE_BITS: Final = {letter: f"{code:05b}" for code, letter in enumerate("012aceiost")}


def bits(data: bytes) -> str:
    return "".join(f"{byte:08b}" for byte in data)


class Authority:
    """Signs certificates, which are files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.file = folder / "authority.pem"
        self.file.write_bytes(_pem(self._sign("authority", self._key, ca=True)))

    def certificate(self, name: str) -> tuple[str, str]:
        """Files of a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        files = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        files[0].write_bytes(_pem(self._sign(name, key, ca=False)))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return str(files[0]), str(files[1])

    def _sign(self, name: str, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]),
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
            key.public_key(),
            x509.random_serial_number(),
            now - timedelta(days=1),
            now + timedelta(days=1),
        )
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
        if not ca:
            names = x509.SubjectAlternativeName([x509.DNSName(name)])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


class Front:
    """Ends TLS before a server; `came` is what clients sent, `names` who they were."""

    def __init__(self, address: str, context: ssl.SSLContext) -> None:
        self.came = bytearray()
        self.names: set[str] = set()
        host, port = address.rsplit(":", 1)
        self._behind = host, int(port)
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[ssl.SSLSocket] = set()
        self._closed = False
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for each in self._open:
                with suppress(OSError):  # it is gone already
                    each.shutdown(socket.SHUT_RDWR)
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the end
            while True:
                plain, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=[plain])
                self._threads.append(thread)
                thread.start()

    def _serve(self, plain: socket.socket) -> None:
        with (
            self._context.wrap_socket(
                plain, server_side=True, do_handshake_on_connect=False
            ) as client,
            suppress(OSError),  # one side is gone, or the client was refused
        ):
            with self._lock:
                if self._closed:
                    return
                self._open.add(client)
            try:
                client.do_handshake()
                peer: Any = client.getpeercert() or {}
                self.names.update(value for ((_, value),) in peer.get("subject", ()))
                with socket.create_connection(self._behind) as server:
                    self._pass_on(client, server)
            finally:
                with self._lock:
                    self._open.remove(client)

    def _pass_on(self, client: ssl.SSLSocket, server: socket.socket) -> None:
        while True:
            ready = [client] if client.pending() else select([client, server], [], [])[0]
            for source in ready:
                data = source.recv(65536)
                if not data:
                    return
                if source is client:
                    self.came += data
                    server.sendall(data)
                else:
                    client.sendall(data)


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
        assert "".join(_FIVE_BITS[letter] for letter in KEY) in bits(bytes(tls.came))


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
