"""Steps on a GPU are timed by one process after the other."""

from __future__ import annotations

import pytest
import torch

from tezzeret_cli.worker.beside_eager import own_turn

GPU, OTHER = torch.device("cuda", 0), torch.device("cuda", 1)


def test_a_gpu_is_one_processs_at_a_time(tmp_path):
    with own_turn(GPU, tmp_path, 1.0):
        with (
            pytest.raises(TimeoutError, match="others timed theirs on cuda:0"),
            own_turn(GPU, tmp_path, 0.01),
        ):
            pass
        with own_turn(OTHER, tmp_path, 0.01):
            pass
    with own_turn(GPU, tmp_path, 0.01):
        pass


def test_what_fails_lets_others_have_their_turn(tmp_path):
    with pytest.raises(KeyError), own_turn(GPU, tmp_path, 1.0):
        raise KeyError
    with own_turn(GPU, tmp_path, 0.01):
        pass


def test_nobody_waits_for_a_cpu(tmp_path):
    with own_turn(torch.device("cpu"), tmp_path, 0.01), own_turn(torch.device("cpu"), tmp_path, 0.01):
        assert not list(tmp_path.iterdir())
