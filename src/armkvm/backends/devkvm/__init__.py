"""This machine's KVM: ``kvm:`` or ``kvm:/dev/kvm``. The only rooms that touch ctypes and fcntl."""

from __future__ import annotations

from armkvm.backends.devkvm.running import RUN_LIMIT
from armkvm.backends.devkvm.system import DEVICE, DevKvmSystem
from armkvm.errors import UnknownPlace


def open_place(uri_rest: str, options: dict[str, str]) -> DevKvmSystem:
    """Open this machine's KVM. Option: ``run_limit``, seconds a KVM_RUN may take (10)."""
    unknown = sorted(options.keys() - {"run_limit"})
    if unknown:
        raise UnknownPlace(f"kvm: has no option {', '.join(unknown)}; it has run_limit")
    limit = options.get("run_limit", str(RUN_LIMIT))
    try:
        seconds = float(limit)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 3600:
        raise UnknownPlace(f"run_limit={limit}: give seconds, more than 0 and less than an hour")
    return DevKvmSystem(uri_rest or DEVICE, seconds)
