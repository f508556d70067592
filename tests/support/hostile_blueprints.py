"""Factories that mean harm, and two that do not: the table of ``tests/cli/test_hostile.py``."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from typing import NoReturn

import torch
from torch import Tensor, nn

Params = dict[str, float]
Made = tuple[nn.Module, tuple[Tensor, ...]]


def healthy(params: Params) -> Made:
    return nn.Sequential(nn.Linear(8, 8), nn.Tanh()), (torch.randn(4, 8),)


def healthy_too(params: Params) -> Made:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU()), (torch.randn(4, 8),)


def forks_200(params: Params) -> Made:
    for _ in range(200):
        if os.fork() == 0:
            os.setsid()
            time.sleep(1000)
            os._exit(0)
    time.sleep(1000)
    return healthy(params)


def leaves_daemons(params: Params) -> Made:
    """In sessions of their own, with nobody above them."""
    for _ in range(5):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(1000)
            os._exit(0)
        os.wait()
    return healthy(params)


def exits(params: Params) -> Made:
    os._exit(0)


def segfaults(params: Params) -> Made:
    ctypes.string_at(0)
    return healthy(params)


def ignores_sigterm(params: Params) -> NoReturn:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(1)


def fills_the_disk(params: Params) -> Made:
    with open("filler", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 64 << 30)
    return healthy(params)


def shouts_a_gigabyte(params: Params) -> Made:
    for _ in range(1024):
        sys.stdout.write("x" * (1 << 20))
    return healthy(params)


def eats_50_gigabytes(params: Params) -> Made:
    kept = [b"x" * (64 << 20) for _ in range(800)]
    return healthy({"kept": float(len(kept))})


def spins_in_c(params: Params) -> Made:
    ctypes.PyDLL(None).sleep(1000)
    return healthy(params)


class Unspeakable(Exception):
    def __init__(self) -> None:
        super().__init__(lambda: None)
        self.lock = signal.signal

    def __str__(self) -> str:
        raise RuntimeError("not even this")

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot be pickled")


def raises_unspeakably(params: Params) -> Made:
    raise Unspeakable


def prints_control_sequences(params: Params) -> Made:
    print("\x1b[2J\x1b]0;owned\x07")
    raise ValueError("\x1b[31mred\x1b[0m\x07")
