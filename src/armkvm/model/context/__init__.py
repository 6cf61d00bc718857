"""Whose vector state a CPU holds: host tasks and guests taking turns, and what each must find.

A model of its own, beside the calls of userspace: `registers` is a CPU, `image` a context's copy in
memory, `rules` what a kernel must get right (each with its reason), `host` the kernel's side and
`switch` KVM's.
"""
