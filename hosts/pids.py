"""The unique part of a PID: one number made of boot of the node, VM of the host, serial in the VM.

So no PID ever names another process, not after a restart of the node, nor after the loss of a VM.
"""

from __future__ import annotations

from typing import Final

#: Hexadecimal digits of a serial, and of the number of a VM.
_SERIAL: Final = 10
_VM: Final = 6

#: The VM gives serials from 1, its host from here.
HOST_SERIAL: Final = 1 << 39


def vm_prefix(host_id: str, boot: int, vm: int) -> str:
    """How all PIDs of the `vm`-th VM of a host begin."""
    return f"{{{host_id}|0x{boot:x}{vm:0{_VM}x}"


def pid_of(prefix: str, serial: int) -> str:
    """A PID in the VM of that prefix."""
    return f"{prefix}{serial:0{_SERIAL}x}}}"


def vm_of(pid: str) -> str:
    """The prefix of the VM of a PID."""
    return pid[: -_SERIAL - 1]
