"""System registers: one row each, with who sees it, what it resets to, how userspace reads and
writes it. `table` says what a row is; the other modules hold the rows by subject.
"""
