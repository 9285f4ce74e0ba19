"""Benchmarks: ``make bench`` or ``python -m tests.bench [piper|scale|core ...]``."""
