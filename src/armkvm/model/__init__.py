"""The executable model of KVM/arm64: pure functions over mutable VM and vCPU records.

No files, no clock, no environment, no printing. Expected refusals are values (`Refused`); the
backend raises them. A function that handles a call follows one ritual, in the kernel's order:
phase, identity, size, permission, value, effect. The first failing step decides the errno.
"""
