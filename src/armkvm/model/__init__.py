"""The executable model of KVM and of a host: pure, no files, clock, environment or printing."""
