"""KVM/arm64's vCPU state ABI in Python: a model that runs anywhere, and the real thing.

>>> import armkvm
>>> system = armkvm.connect("model:neoverse-v1?kernel=7.3")
>>> vm = system.create_vm()
>>> vcpu = vm.create_vcpu(0)
>>> vcpu.init({armkvm.VcpuFeature.SVE, armkvm.VcpuFeature.PSCI_0_2})
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from armkvm.abi.caps import Cap as Cap
    from armkvm.abi.regid import RegId as RegId
    from armkvm.abi.vcpu_features import VcpuFeature as VcpuFeature
    from armkvm.arch.vectors import VectorLengths as VectorLengths, Vq as Vq
    from armkvm.backends.locate import connect as connect
    from armkvm.errors import (
        ArmKvmError as ArmKvmError,
        Fault as Fault,
        InputError as InputError,
        KvmError as KvmError,
        MissingFacts as MissingFacts,
        PlaceError as PlaceError,
        Rule as Rule,
        UnknownPlace as UnknownPlace,
    )
    from armkvm.state import Exit as Exit, HostFacts as HostFacts, Phase as Phase

__version__ = "0.1.0"

# Public name -> the module that defines it. Imported on first use, so that start-up stays fast.
_PUBLIC = {
    "ArmKvmError": "errors",
    "Cap": "abi.caps",
    "Exit": "state",
    "Fault": "errors",
    "HostFacts": "state",
    "InputError": "errors",
    "KvmError": "errors",
    "MissingFacts": "errors",
    "Phase": "state",
    "PlaceError": "errors",
    "RegId": "abi.regid",
    "Rule": "errors",
    "UnknownPlace": "errors",
    "VcpuFeature": "abi.vcpu_features",
    "VectorLengths": "arch.vectors",
    "Vq": "arch.vectors",
    "connect": "backends.locate",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> object:
    home = _PUBLIC.get(name)
    if home is None:
        raise AttributeError(f"module 'armkvm' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"armkvm.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
