"""The one exception by which the pipeline says: this module cannot be served compiled, and why."""

from __future__ import annotations


class Unsupported(Exception):
    """The module is fine, but this pipeline cannot reproduce it; it ships as an eager fallback.

    ``kind`` is the stable word of the manifest's ``Reason``.
    """

    def __init__(self, message: str, *, kind: str = "unsupported") -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
