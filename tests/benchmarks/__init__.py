"""Measurements that take longer than tests may: each prints a table and, with --json FILE, the same numbers."""
