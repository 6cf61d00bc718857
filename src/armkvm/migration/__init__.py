"""Moving a VM's vCPU state between hosts: capture, file form, restore order, restore, verdict.

Everything here speaks the place protocol (`armkvm.backends.base`) and returns values.
"""
