"""A PE that executes guest code: the base instruction set by an engine, SVE and SME by us.

`armkvm.cpu.pe.PE` is the way in. It needs the ``guest`` extra (unicorn, numpy), so nothing is
imported here: whoever runs guests imports `armkvm.cpu.pe` late. `armkvm.cpu.state`,
`armkvm.cpu.features`, `armkvm.cpu.port` and `armkvm.cpu.stop` need the standard library alone.
"""
