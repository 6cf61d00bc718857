"""The in-kernel interrupt controller, GICv3, as its device attributes show it."""
