"""``lab:CPU?kernel=VERSION``: a real Linux KVM, booted under QEMU on this machine."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from armkvm.backends.lab.place import LabSystem


def open_place(uri_rest: str, options: dict[str, str]) -> LabSystem:
    """Boot (or resume) a lab whose CPU is spelled as QEMU's -cpu does. `place.OPTIONS` lists the options."""
    from armkvm.backends.lab.place import LabOptions, open_lab

    return open_lab(LabOptions.parse(uri_rest, options))
