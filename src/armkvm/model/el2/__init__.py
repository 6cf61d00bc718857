"""Guests with EL2: a hypervisor that runs at EL1 and must not notice, and its own guest.

`level` is the vCPU's record at EL2: where it is, how it gets there and back. `registers` are the system
registers as each of its levels names them, `instructions` what its hypervisor cannot execute itself, and
`forwarding` what it takes from its guest. Translation at stage 2 is not modelled.
"""
