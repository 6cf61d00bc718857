"""A PE that executes guest code: the base instruction set by an engine, SVE and SME by us.

`armkvm.cpu.pe.PE` is the way in. It needs the ``guest`` extra (unicorn, numpy), so nothing is
imported here: whoever runs guests imports `armkvm.cpu.pe` late. `armkvm.cpu.state`,
`armkvm.cpu.features`, `armkvm.cpu.port` and `armkvm.cpu.stop` need the standard library alone.

::

    pe                 when the engine runs, what the guest takes, why it stops
     |-- emulation     what the engine does not know: the rows of sve/ and sme/, on a Machine
     |-- system_access system registers and instructions, before a SysRegPort
     |-- engine_accesses, address_space, translation, mmio    memory
     |-- enables, fp_gate, legality                           what may be used now
     `-- engine        with engine_registers, code_pages (watched_words, poison)
"""
