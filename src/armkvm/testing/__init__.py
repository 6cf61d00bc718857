"""For other people's test runs: the conformance suite, which any place can be held against.

>>> from armkvm.testing import conformance
>>> results = conformance.run(system)  # doctest: +SKIP
"""
