"""CPUs by MIDR_EL1, with what newer kernels hide of them but still ask after.

`NV` is ID_AA64MMFR2_EL1.NV. Kernels that stopped showing it accept it back if it is the CPU's own
(and drop it), so whether a value saved under an older kernel is welcome depends on the hardware.

Source: recordings and public fingerprints of these CPUs under kernels that show the field (6.1,
6.12, 5.10); Arm's technical reference manuals for the names.
"""

from __future__ import annotations

# (Implementer, PartNum, name, NV)
ROWS: tuple[tuple[int, int, str, int], ...] = (
    (0x00, 0x051, "QEMU max", 2),
    (0x41, 0xD03, "Cortex-A53", 0),
    (0x41, 0xD05, "Cortex-A55", 0),
    (0x41, 0xD07, "Cortex-A57", 0),
    (0x41, 0xD08, "Cortex-A72", 0),
    (0x41, 0xD0B, "Cortex-A76", 0),
    (0x41, 0xD0C, "Neoverse N1", 0),
    (0x41, 0xD40, "Neoverse V1", 2),
    (0x41, 0xD47, "Cortex-A710", 2),
    (0x41, 0xD49, "Neoverse N2", 2),
    (0x41, 0xD4F, "Neoverse V2", 2),
    (0x46, 0x001, "A64FX", 0),
)
