"""This machine's KVM: ``kvm:`` or ``kvm:/dev/kvm``. The only rooms that touch ctypes and fcntl."""

from __future__ import annotations

from armkvm.backends.devkvm.system import DEVICE, DevKvmSystem
from armkvm.backends.run_calls import run_limit
from armkvm.errors import UnknownPlace


def open_place(uri_rest: str, options: dict[str, str]) -> DevKvmSystem:
    """Open this machine's KVM. Option: ``run_limit``, seconds a KVM_RUN may take (10)."""
    unknown = sorted(options.keys() - {"run_limit"})
    if unknown:
        raise UnknownPlace(f"kvm: has no option {', '.join(unknown)}; it has run_limit")
    return DevKvmSystem(uri_rest or DEVICE, run_limit(options))
