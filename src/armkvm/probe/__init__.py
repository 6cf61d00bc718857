"""Learning what a host is through the protocol alone: `facts` what it has, `kernel` how it behaves."""

from armkvm.probe.facts import VOLATILE, probe

__all__ = ["VOLATILE", "probe"]
