"""What went wrong with a build, in the manifest's terms."""

from __future__ import annotations

import errno

import pytest
import torch._dynamo.exc
from torch._inductor.exc import CppCompileError, InductorError, InvalidCxxCompiler

from tezzeret_cli.worker.reasons import reason_for


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InductorError(CppCompileError(["g++"], "x.cpp:1: error: no"), None), "compile_failed"),
        (InductorError(InvalidCxxCompiler(), None), "no_compiler"),
        (torch._dynamo.exc.InternalTorchDynamoError("no"), "capture_failed"),
        (torch._dynamo.exc.Unsupported("no"), "graph_break"),
        (ValueError("no"), "compile_failed"),
        (OSError(errno.ENOSPC, "No space left on device", "/cache"), "no_room"),
        (OSError(errno.EACCES, "Permission denied", "/cache"), "compile_failed"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_what_went_wrong_has_the_kind_that_the_ladder_knows(error, kind):
    assert reason_for(error).kind == kind


def test_an_error_without_a_message_is_named_with_its_place():
    try:
        raise NotImplementedError
    except NotImplementedError as error:
        wrapped = InductorError(error, None)
    line = wrapped.inner_exception.__traceback__.tb_lineno
    text = f"InductorError: NotImplementedError in test_reasons.py, line {line}"
    assert reason_for(wrapped).message == text


def test_an_error_without_a_message_is_named_by_what_caused_it():
    try:
        try:
            raise LookupError("no such device")
        except LookupError as cause:
            raise NotImplementedError from cause
    except NotImplementedError as error:
        wrapped = InductorError(error, None)
    said = reason_for(wrapped).message
    assert said.startswith("InductorError: LookupError: no such device in test_reasons.py, line ")
