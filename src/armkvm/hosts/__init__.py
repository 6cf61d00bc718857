"""Hosts as facts: built in, from host files, and from recordings of real KVM."""
