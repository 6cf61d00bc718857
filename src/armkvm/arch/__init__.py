"""Facts of the Arm architecture. Knows nothing of Linux."""
