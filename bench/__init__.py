"""Benchmarks: each runs what it measures side by side with what a user would use instead."""
