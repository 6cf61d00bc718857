"""Many registers at once: the answers of `one_reg`, with what is alike for a run made out once.

A run is a stretch of ids of one kind whose members are accessible together: if the first can be
read (or written), so can the rest, and each is plain storage. Whatever is of no such kind, or is
refused, goes through `one_reg`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter

from armkvm.abi.regid import P_BYTES, SVE_P, Z_BYTES, RegId
from armkvm.model import core_regs, matrix, vectors
from armkvm.model.one_reg import get_one_reg, set_one_reg
from armkvm.model.outcome import Refused
from armkvm.model.sysregs.catalogue import BY_ID
from armkvm.model.sysregs.idregs import read_id
from armkvm.model.sysregs.table import always, store, stored
from armkvm.model.vcpu import Vcpu

Pair = tuple[int, bytes]

_CORE, _SYSREG, _ID, _Z, _P, _ROW = range(1, 7)
_KINDS: dict[int, int] = {
    **{reg: _CORE for reg in core_regs.ALL if reg not in core_regs.V and RegId(reg).size == 8},
    **{reg: _SYSREG for reg, row in BY_ID.items() if row.visible is always and row.read is stored},
    **{reg: _ID for reg, row in BY_ID.items() if row.visible is always and row.read is read_id},
    **{int(RegId.z(n)): _Z for n in range(vectors.Z_COUNT)},
    **{int(RegId.p(n)): _P for n in range(vectors.P_COUNT)},
    **{int(RegId.za(n)): _ROW for n in range(matrix.ROWS_MAX)},
}
del _KINDS[core_regs.PSTATE]  # its mode decides what other writes keep
_INDEX = {
    reg: (reg & 0xFFFF) - (SVE_P if kind == _P else 0) >> 5
    for reg, kind in _KINDS.items()
    if kind in (_Z, _P, _ROW)
}
_STORED = {reg for reg, kind in _KINDS.items() if kind == _SYSREG and BY_ID[reg].write is store}
_SIZES = {_CORE: 8, _SYSREG: 8, _Z: Z_BYTES, _P: P_BYTES, _ROW: Z_BYTES}


def get(vcpu: Vcpu, regs: Iterable[int]) -> list[bytes] | tuple[int, Refused]:
    """Read registers in order: their values, or the first that is refused."""
    values: list[bytes] = []
    for kind, group in groupby(regs, _KINDS.get):
        run = list(group)
        if kind is not None and not isinstance(get_one_reg(vcpu, _hardest(kind, run)), Refused):
            values += _read(vcpu, kind, run)
            continue
        for reg in run:
            data = get_one_reg(vcpu, reg)
            if isinstance(data, Refused):
                return reg, data
            values.append(data)
    return values


def _hardest(kind: int, run: Sequence[int]) -> int:
    """A member of the run that is accessible only if all are: rows of ZA end somewhere."""
    return max(run) if kind == _ROW else run[0]


def _read(vcpu: Vcpu, kind: int, run: Sequence[int]) -> list[bytes]:
    if kind in (_CORE, _SYSREG, _ID):
        home = vcpu.core if kind == _CORE else vcpu.sysregs if kind == _SYSREG else vcpu.id_regs
        return [home[reg].to_bytes(8, "little") for reg in run]
    file = _file(vcpu, kind)
    return [file[_INDEX[reg]] for reg in run]


def _file(vcpu: Vcpu, kind: int) -> list[bytes]:
    return vcpu.z if kind == _Z else vcpu.p if kind == _P else vcpu.za


def put(vcpu: Vcpu, pairs: Iterable[Pair]) -> tuple[int, Refused] | None:
    """Write registers in order, up to the first that is refused; None if none is.

    ValueError for data of another length than its id says, which is found before the write.
    """
    for kind, group in groupby(pairs, _kind_of):
        run = list(group)
        done = 0
        if kind is not None and len(run) > 1:
            refused = _put_one(vcpu, *run[0])
            if refused is not None:
                return run[0][0], refused
            done = 1
            if _can_write_together(vcpu, kind, run):
                _write(vcpu, kind, run)
                continue
        for reg, data in run[done:]:
            refused = _put_one(vcpu, reg, data)
            if refused is not None:
                return reg, refused
    return None


def _kind_of(pair: Pair) -> int | None:
    kind = _KINDS.get(pair[0])
    return None if kind == _ID or (kind == _SYSREG and pair[0] not in _STORED) else kind


def _put_one(vcpu: Vcpu, reg: int, data: bytes) -> Refused | None:
    if len(data) != 1 << (reg >> 52 & 15):
        raise ValueError(f"{RegId(reg)!r} holds {RegId(reg).size} bytes, not {len(data)}")
    return set_one_reg(vcpu, reg, data)


def _can_write_together(vcpu: Vcpu, kind: int, run: Sequence[Pair]) -> bool:
    """Whether what held for the first holds for all: lengths, rows, and no mode that narrows writes."""
    if set(map(len, map(itemgetter(1), run))) != {_SIZES[kind]}:
        return False
    if kind == _ROW:
        return max(map(_INDEX.__getitem__, map(itemgetter(0), run))) < matrix.row_count(vcpu)
    return kind != _CORE or not vcpu.core[core_regs.PSTATE] & core_regs.AARCH32


def _write(vcpu: Vcpu, kind: int, run: Sequence[Pair]) -> None:
    if kind in (_CORE, _SYSREG):
        home = vcpu.core if kind == _CORE else vcpu.sysregs
        home.update([(reg, int.from_bytes(data, "little")) for reg, data in run])
        return
    file, whole = _file(vcpu, kind), _SIZES[kind]
    size = matrix.row_count(vcpu) if kind == _ROW else vectors.vector_length(vcpu) * (16 if kind == _Z else 2)
    if size == whole:
        for reg, data in run:
            file[_INDEX[reg]] = data
    else:
        tail = bytes(whole - size)
        for reg, data in run:
            file[_INDEX[reg]] = data[:size] + tail
