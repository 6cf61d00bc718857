"""The numbers of Linux's KVM/arm64 userspace ABI. No behaviour."""
