"""Other people's formats: Firecracker, QEMU, libvirt, KubeVirt.

Conversions only: bytes or text in, values out, and back. No format here can say everything that a
`GuestCpu` holds, so each writer also returns what its text leaves out (`Written.lost`).
docs/exchange.md compares them.
"""
