"""What an instruction's `execute` sees: registers as lanes, flags, memory.

Lane arrays are NumPy views of the bytes in `VectorState`; element sizes are given as the
architecture encodes them: 0 byte, 1 halfword, 2 word, 3 doubleword.
"""

# ruff: noqa: ANN401 - lanes are whatever NumPy can broadcast

from __future__ import annotations

import ctypes
from collections.abc import MutableSequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from armkvm.arch.pstate import C_FLAG, N_FLAG, Z_FLAG
from armkvm.cpu.features import PeFeatures
from armkvm.cpu.state import P_BYTES, Z_BYTES, ZA_ROW_BYTES, ZA_ROWS, VectorState

if TYPE_CHECKING:
    from armkvm.cpu.fp import FpUnit

Lanes = NDArray[Any]
Bools = NDArray[np.bool_]
Registers = MutableSequence[int] | ctypes.Array[ctypes.c_uint64]

UNSIGNED = (np.dtype("<u1"), np.dtype("<u2"), np.dtype("<u4"), np.dtype("<u8"))
SIGNED = (np.dtype("<i1"), np.dtype("<i2"), np.dtype("<i4"), np.dtype("<i8"))

MASK64 = (1 << 64) - 1


class Memory(Protocol):
    """Guest memory by virtual address, with the current translation and permissions.

    Both raise GuestException for a fault and OutsideMemory where no memory slot serves.
    """

    def load(self, va: int, size: int) -> bytes: ...

    def store(self, va: int, data: bytes) -> None: ...


class Machine:
    """Registers of one PE as emulated instructions use them.

    `x` holds X0..X30, then SP. `changed_x` collects which of them were written, `z_written` whether
    any Z register was.
    """

    def __init__(self, features: PeFeatures, vectors: VectorState, memory: Memory, x: Registers) -> None:
        self.features = features
        self.vectors = vectors
        self.memory = memory
        self.x = x
        self.nzcv = 0
        self.changed_x = 0
        self.z_written = False
        self.zcr = 0
        self.smcr = 0
        z = np.frombuffer(vectors.z, np.uint8).reshape(32, Z_BYTES)
        self._u = tuple(z.view(t) for t in UNSIGNED)
        self._i = tuple(z.view(t) for t in SIGNED)
        self._p = np.frombuffer(vectors.p, np.uint8).reshape(16, P_BYTES)
        self._ffr = np.frombuffer(vectors.ffr, np.uint8)
        za = np.frombuffer(vectors.za, np.uint8).reshape(ZA_ROWS, ZA_ROW_BYTES)
        self._za = tuple(za.view(t) for t in UNSIGNED)
        self.zt0 = np.frombuffer(vectors.zt0, np.uint8)
        self.svl = self.vl = 16
        self._fp: FpUnit | None = None
        self.update_lengths()

    def update_lengths(self) -> None:
        """Recompute VL and SVL after ZCR_EL1, SMCR_EL1 or PSTATE.SM changed."""
        streaming = self.vectors.streaming
        self.svl = self.features.effective_vq(True, self.smcr & 15) * 16
        self.vl = self.svl if streaming else self.features.effective_vq(False, self.zcr & 15) * 16
        self.counts = tuple(self.vl >> size for size in range(4))
        self.vectors.truncate(self.vl)

    def set_svcr(self, value: int) -> None:
        """Change PSTATE.SM and PSTATE.ZA."""
        if (self.vectors.svcr ^ value) & 1:
            self.z_written = True
        self.vectors.set_svcr(value)
        self.update_lengths()

    @property
    def fp(self) -> FpUnit:
        if self._fp is None:
            from armkvm.cpu.fp import FpUnit

            self._fp = FpUnit()
        return self._fp

    # General registers

    def get_x(self, n: int) -> int:
        """Xn, or XZR for 31."""
        return 0 if n == 31 else self.x[n]

    def get_xsp(self, n: int) -> int:
        """Xn, or SP for 31."""
        return self.x[n]

    def set_x(self, n: int, value: int) -> None:
        if n != 31:
            self.x[n] = value & MASK64
            self.changed_x |= 1 << n

    def set_xsp(self, n: int, value: int) -> None:
        self.x[n] = value & MASK64
        self.changed_x |= 1 << n

    def take_changed_x(self) -> int:
        """Which X registers were written since this was last asked, as a bit mask."""
        changed, self.changed_x = self.changed_x, 0
        return changed

    # Vector registers

    @property
    def uppers(self) -> Lanes:
        """Z's bytes above V: 32 rows of 240."""
        return self._u[0][:, 16:]

    def u(self, n: int, size: int) -> Lanes:
        """Zn's lanes, unsigned; a view, not to be written through."""
        lanes: Lanes = self._u[size][n, : self.counts[size]]
        return lanes

    def i(self, n: int, size: int) -> Lanes:
        """Zn's lanes, signed; a view, not to be written through."""
        lanes: Lanes = self._i[size][n, : self.counts[size]]
        return lanes

    def set_z(self, n: int, size: int, lanes: Any) -> None:
        """Zn := lanes (each taken modulo its width)."""
        self._u[size][n, : self.counts[size]] = lanes
        self.z_written = True

    def merge_z(self, n: int, size: int, active: Bools, lanes: Lanes) -> None:
        """Zn's active lanes := lanes."""
        np.copyto(self._u[size][n, : self.counts[size]], lanes, where=active, casting="unsafe")
        self.z_written = True

    def set_v(self, n: int, size: int, value: int) -> None:
        """Vn := value in its lowest element, all else zero."""
        self._u[0][n, :] = 0
        self._u[size][n, 0] = value
        self.z_written = True

    # Predicates

    def active(self, pg: int, size: int) -> Bools:
        """Which lanes of a size predicate Pg makes active."""
        return self._bools(self._p[pg], size)

    def ffr(self) -> Bools:
        """FFR as one flag per byte lane."""
        return self._bools(self._ffr, 0)

    def _bools(self, register: Lanes, size: int) -> Bools:
        bits = np.unpackbits(register[: self.vl >> 3], bitorder="little")
        return bits[:: 1 << size].view(np.bool_)

    def set_p(self, pd: int, size: int, lanes: Any) -> None:
        """Pd := one flag per lane."""
        self._p[pd, : self.vl >> 3] = self._packed(size, lanes)

    def set_ffr(self, lanes: Any) -> None:
        """FFR := one flag per byte lane."""
        self._ffr[: self.vl >> 3] = self._packed(0, lanes)

    def _packed(self, size: int, lanes: Any) -> Lanes:
        bits = np.zeros(self.vl, np.uint8)
        bits[:: 1 << size] = lanes
        return np.packbits(bits, bitorder="little")

    def p_bytes(self, n: int) -> Lanes:
        """Pn's meaningful bytes; a view that may be written through."""
        return self._p[n, : self.vl >> 3]

    def test(self, mask: Bools, result: Bools) -> None:
        """Set NZCV as PTEST does: N first active, Z none, C not the last active."""
        chosen = result[mask]
        if chosen.size == 0 or not chosen.any():
            self.nzcv = Z_FLAG | C_FLAG
        else:
            self.nzcv = (N_FLAG if chosen[0] else 0) | (0 if chosen[-1] else C_FLAG)

    # ZA

    def tile(self, size: int, number: int) -> Lanes:
        """ZA tile `number` of elements `size` as a 2-D view that may be written; quadwords (4) as bytes."""
        step = 1 << size
        element = size if size < 4 else 0
        rows: Lanes = self._za[element][number : self.svl : step, : self.svl >> element]
        return rows

    def za_row(self, row: int) -> Lanes:
        """The bytes of ZA row `row`; a view that may be written."""
        return self._za[0][row, : self.svl]
