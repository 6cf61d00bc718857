"""A snapshot as a file's contents: ``armkvm-snapshot-1``, described in docs/snapshot-format.md.

`encode` and `decode` are inverse. `decode` reads what strangers wrote: everything that is wrong
with it is reported at once, each fault with its place in the document.

`snapshot.schema.json` says what the parts of a document look like. The rows of registers are read
here instead, in one pass with the rules a schema cannot state (a name's width, no register twice),
because jsonschema takes some 40 microseconds for a row.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from armkvm import catalog
from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.backends.base import Feature
from armkvm.documents import Limits, parse_json, short, step
from armkvm.errors import Fault, InputError, errno_name
from armkvm.migration.snapshot import EnabledCap, Origin, Snapshot, VcpuEvents, VcpuState, VmConfig
from armkvm.state import RegisterSet

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

FORMAT = "armkvm-snapshot-1"

LIMITS = Limits(size=64 << 20, depth=8, items=1_200_000)
"""Room for 512 vCPUs with SVE, or 300 that hold 64 KiB of ZA each."""

MAX_FAULTS = 200
LARGEST_REGISTER = 256

_SCHEMA = Path(__file__).with_name("snapshot.schema.json")
_HEX = re.compile("0x[0-9a-f]*", re.ASCII)
_T = TypeVar("_T")
_Registers = tuple[list[tuple[RegId, bytes]], dict[RegId, int]]
"""One vCPU's registers with their values, and those that were refused with the errno."""


def encode(snapshot: Snapshot) -> bytes:
    """The document of a snapshot: JSON in UTF-8, a register to a line."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "origin": {
            "uri": snapshot.origin.uri,
            "kernel": snapshot.origin.kernel,
            "host": snapshot.origin.host,
        },
        "vm": {
            "machine_type": hex(snapshot.vm.machine_type),
            "caps": [[_cap_word(each.cap), *map(hex, each.args)] for each in snapshot.vm.caps],
        },
        "vcpus": [_vcpu_tree(vcpu) for vcpu in snapshot.vcpus],
    }
    head = {"format": FORMAT, "sha256": checksum(document)}
    return (_render(head | document) + "\n").encode()


def decode(data: bytes, source: str) -> Snapshot:
    """The snapshot that a document holds; InputError with every fault of it. `source` names it."""
    tree, faults = parse_json(data, source, LIMITS)
    found = _Faults(faults)
    found.extend(_frame_faults(tree))
    rows = _Rows(found)
    registers = list(rows.read(tree))
    if isinstance(tree, dict):
        _check_sum(tree, found)
        snapshot = None if found else _snapshot(tree, registers, found)
        if snapshot is not None:
            return snapshot
    raise InputError(source, found)


def checksum(document: dict[str, Any]) -> str:
    """SHA-256 in hex over the canonical form of a document, its own `sha256` left out.

    Canonical: members sorted by name, no white space, everything outside ASCII escaped.
    """
    rest = {key: value for key, value in document.items() if key != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


class _Faults(list[Fault]):
    """Faults up to a number that a person can read and memory can hold."""

    @property
    def full(self) -> bool:
        return len(self) > MAX_FAULTS

    def guard(self, path: str, make: Callable[..., _T], *args: object) -> _T | None:
        """What `make` makes, or None and a fault if the value refuses to be made."""
        try:
            return make(*args)
        except ValueError as bad:
            self.add(path, str(bad))
            return None

    def add(self, path: str, message: str) -> None:
        if len(self) < MAX_FAULTS:
            self.append(Fault(path, message))
        elif not self.full:
            self.append(Fault("$", f"and more faults; the first {MAX_FAULTS} are shown"))


# -- writing ---------------------------------------------------------------------------------------


def _vcpu_tree(vcpu: VcpuState) -> dict[str, Any]:
    events = vcpu.events
    return {
        "id": vcpu.id,
        "features": [
            feature.value if isinstance(feature, VcpuFeature) else feature for feature in vcpu.features
        ],
        "mp_state": vcpu.mp_state,
        "events": {
            "serror_pending": events.serror_pending,
            "serror_has_esr": events.serror_has_esr,
            "ext_dabt_pending": events.ext_dabt_pending,
            "serror_esr": hex(events.serror_esr),
        },
        "registers": [[_name(reg), "0x" + data[::-1].hex()] for reg, data in vcpu.registers.items()],
        "refused": [[_name(reg), errno_name(number)] for reg, number in vcpu.refused.items()],
    }


def _name(reg: RegId) -> str:
    return catalog.name_of(reg) or reg.hex


def _cap_word(cap: Cap | int) -> str | int:
    return cap.name if isinstance(cap, Cap) else cap


def _render(value: object, indent: str = "") -> str:
    """JSON with one member to a line, and rows (arrays of plain values) on one line each."""
    if isinstance(value, dict) and value:
        inner = indent + " "
        members = (f"{inner}{json.dumps(key)}: {_render(member, inner)}" for key, member in value.items())
        return "{\n" + ",\n".join(members) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(member, (dict, list)) for member in value):
        inner = indent + " "
        return "[\n" + ",\n".join(inner + _render(member, inner) for member in value) + f"\n{indent}]"
    return json.dumps(value)


# -- reading ---------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _frame() -> Draft202012Validator:
    """The schema, but for the rows of registers, which `_Rows` reads."""
    from jsonschema import Draft202012Validator

    schema = json.loads(_SCHEMA.read_bytes())
    for rows in ("registers", "refused"):
        del schema["$defs"][rows]["items"]
    return Draft202012Validator(schema)


def _frame_faults(tree: object) -> Iterator[Fault]:
    for error in islice(_frame().iter_errors(tree), MAX_FAULTS + 1):
        path = "$"
        for part in error.absolute_path:
            path = step(path, part)
        yield Fault(path, _frame_message(error))
        if error.validator == "maxItems":
            return  # what is too long to hold is too long to look through


def _frame_message(error: ValidationError) -> str:
    schema: Any = error.schema
    instance: Any = error.instance
    if error.validator == "required":
        return f"expected a member {error.message.split(' is a required')[0]}, got none"
    if error.validator == "additionalProperties":
        unknown = [short(key) for key in instance if key not in schema["properties"]]
        return f"expected no members but {', '.join(schema['properties'])}; got {', '.join(unknown[:4])}"
    return f"expected {schema['description']}, got {short(instance)}"


def _check_sum(tree: dict[str, Any], found: _Faults) -> None:
    stated = tree.get("sha256")
    if isinstance(stated, str):
        computed = checksum(tree)
        if stated != computed:
            found.add("$.sha256", f"expected the contents' checksum {computed}, got {short(stated)}")


class _Rows:
    """Reads the rows of all vCPUs, wherever the frame around them is sound enough to find them."""

    def __init__(self, found: _Faults) -> None:
        self.found = found

    def read(self, tree: object) -> Iterator[_Registers]:
        vcpus = tree.get("vcpus") if isinstance(tree, dict) else None
        for index, vcpu in enumerate(vcpus if isinstance(vcpus, list) else ()):
            path = f"$.vcpus[{index}]"
            seen: dict[RegId, str] = {}
            part = vcpu if isinstance(vcpu, dict) else {}
            values = self._section(part.get("registers"), f"{path}.registers", seen, _value)
            refused = self._section(part.get("refused"), f"{path}.refused", seen, _errno)
            yield values, dict(refused)

    def _section(
        self, rows: object, path: str, seen: dict[RegId, str], read: Callable[[RegId, object], _T | str]
    ) -> list[tuple[RegId, _T]]:
        """The rows of one array. `read` gives a row's second part, or what was expected of it."""
        result: list[tuple[RegId, _T]] = []
        for index, row in enumerate(rows if isinstance(rows, list) else ()):
            if self.found.full:
                break
            where = f"{path}[{index}]"
            if not isinstance(row, list) or len(row) != 2:
                self.found.add(where, f"expected a pair that begins with a register, got {short(row)}")
                continue
            reg = self._register(row[0], where)
            if reg is None:
                continue
            before = seen.setdefault(reg, where)
            if before != where:
                self.found.add(
                    where, f"expected each register once, got {_name(reg)} again (first at {before})"
                )
            value = read(reg, row[1])
            if isinstance(value, str):
                self.found.add(where, f"{_name(reg)}: expected {value}, got {short(row[1])}")
            else:
                result.append((reg, value))
        return result

    def _register(self, name: object, where: str) -> RegId | None:
        expected = "a register's name, or a 64-bit id 0x... if it has none"
        reg: RegId | None = None
        if isinstance(name, str) and len(name) <= 64:
            try:
                reg = catalog.parse(name)
            except ValueError:
                reg = None
        if reg is not None and _name(reg) != name:
            expected, reg = json.dumps(_name(reg)), None
        elif reg is not None and not (reg.is_arm64 and reg.size <= LARGEST_REGISTER):
            expected, reg = f"an arm64 register of at most {LARGEST_REGISTER} bytes", None
        if reg is None:
            self.found.add(where, f"expected {expected}, got {short(name)}")
        return reg


def _value(reg: RegId, text: object) -> bytes | str:
    if isinstance(text, str) and len(text) == 2 + 2 * reg.size and _HEX.fullmatch(text):
        return bytes.fromhex(text[2:])[::-1]
    return f'"0x" and {2 * reg.size} lower-case hex digits ({reg.size} bytes)'


def _errno(_: RegId, text: object) -> int | str:
    if isinstance(text, str) and len(text) <= 32:
        number = getattr(errno, text, None)
        if number is None and text.isascii() and text.isdecimal():
            number = int(text)
        if isinstance(number, int) and errno_name(number) == text:
            return number
    return "an errno by name, or its number in digits if it has none"


def _snapshot(tree: dict[str, Any], registers: list[_Registers], found: _Faults) -> Snapshot | None:
    """The value, from a document whose frame and rows are sound; the values' own rules come last."""
    origin = found.guard("$.origin", _origin, tree["origin"])
    caps = [found.guard(f"$.vm.caps[{n}]", _cap, row) for n, row in enumerate(tree["vm"]["caps"])]
    parts = zip(tree["vcpus"], registers, strict=True)
    vcpus = [found.guard(f"$.vcpus[{n}]", _vcpu, part, *rows) for n, (part, rows) in enumerate(parts)]
    if found or origin is None:
        return None
    config = VmConfig(int(tree["vm"]["machine_type"], 16), tuple(cap for cap in caps if cap))
    return found.guard("$.vcpus", Snapshot, origin, config, tuple(vcpu for vcpu in vcpus if vcpu))


def _origin(part: dict[str, str]) -> Origin:
    return Origin(**part)


def _cap(row: list[Any]) -> EnabledCap:
    word, *args = row
    if isinstance(word, str) and word not in Cap.__members__:
        raise ValueError(f"expected a KVM_CAP_ name of mainline, or a number; got {short(word)}")
    cap = Cap[word] if isinstance(word, str) else word
    return EnabledCap(cap, tuple(int(arg, 16) for arg in args))


def _vcpu(part: dict[str, Any], values: list[tuple[RegId, bytes]], refused: dict[RegId, int]) -> VcpuState:
    features = [_feature(word) for word in part["features"]]
    if len(set(features)) != len(features):
        raise ValueError("expected each feature once")
    events = part["events"]
    return VcpuState(
        id=part["id"],
        features=tuple(features),
        registers=RegisterSet(values),
        refused=refused,
        mp_state=part["mp_state"],
        events=VcpuEvents(**{**events, "serror_esr": int(events["serror_esr"], 16)}),
    )


def _feature(word: str | int) -> Feature:
    if isinstance(word, str) and word not in VcpuFeature.__members__:
        raise ValueError(f"expected KVM_ARM_VCPU_ names without prefix, or bit numbers; got {short(word)}")
    return VcpuFeature(word) if isinstance(word, str) else word
