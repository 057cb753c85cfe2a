"""TLS before a Temporal dev server, which speaks none: certificates, and what ends connections."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from select import select
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


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
        self._refusal: bytes | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def refuse(self, status: int, text: str) -> None:
        """From now on each request is answered with a status of gRPC."""
        fields = {"content-type": "application/grpc", "grpc-status": status, "grpc-message": text}
        # HPACK (RFC 7541): ":status 200" of the static table, then literals.
        self._refusal = b"\x88" + b"".join(
            b"\0" + b"".join(bytes([len(part)]) + part.encode() for part in (name, str(value)))
            for name, value in fields.items()
        )
        self._disconnect()

    def demand(self, context: ssl.SSLContext) -> None:
        """From now on clients have to fulfil this."""
        self._context, self._refusal = context, None
        self._disconnect()

    def close(self) -> None:
        self._closed = True
        self._disconnect()
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _disconnect(self) -> None:
        with self._lock:
            for each in self._open:
                with suppress(OSError):  # it is gone already
                    each.shutdown(socket.SHUT_RDWR)

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
                if self._refusal is not None:
                    _answer_all(client, self._refusal)
                    return
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


def _answer_all(client: ssl.SSLSocket, headers: bytes) -> None:
    """Answer each request with these headers only, as HTTP/2 (RFC 9113) has it."""
    stream = client.makefile("rwb")

    def frame(kind: int, flags: int, number: int, payload: bytes = b"") -> None:
        stream.write(struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, number))
        stream.write(payload)
        stream.flush()

    stream.read(len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
    frame(_SETTINGS, 0, 0)
    while head := stream.read(9):
        kind, flags, number = struct.unpack("!BBI", head[3:])
        payload = stream.read(int.from_bytes(head[:3]))
        if kind == _HEADERS:
            frame(_HEADERS, _END, number, headers)
        elif kind in (_SETTINGS, _PING) and not flags & _ACK:
            frame(kind, _ACK, 0, payload if kind == _PING else b"")


#: Frames of HTTP/2 and their flags.
_HEADERS, _SETTINGS, _PING = 1, 4, 6
_ACK, _END = 1, 4 | 1
