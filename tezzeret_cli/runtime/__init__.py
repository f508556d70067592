"""What a consumer imports: find and load a bundle, check guards, run forward and backward.

Needs no compiler, and imports neither Dynamo nor inductor.
"""

from __future__ import annotations

from tezzeret_cli.runtime.find import find
from tezzeret_cli.runtime.load import load
from tezzeret_cli.runtime.module import BundleModule, GuardMissWarning

__all__ = ["BundleModule", "GuardMissWarning", "find", "load"]
