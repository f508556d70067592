"""Frozen msgspec structs that every layer shares. Nothing here does I/O or imports torch."""
