"""Places to run: the model, this machine's KVM, another machine, the lab."""
