"""What doctor says of the kernels."""

import pytest
import torch

from cxredit_cli.errors import InputError
from cxredit_cli.ops.kernels import check, scaling


def test_right_kernels_are_right(emulator) -> None:
    assert check.wrong_results(torch.device("cpu")) == []


def test_a_wrong_kernel_is_named(emulator, monkeypatch) -> None:
    right = scaling.scale_out
    monkeypatch.setattr(scaling, "scale_out", lambda *arguments: right(*arguments) * 1.1)
    found = check.wrong_results(torch.device("cpu"))
    assert found == [
        f"scale_out {dtype} {layout}"
        for dtype in ("f32", "f16", "bf16")
        for layout in ("contiguous_format", "channels_last")
    ]


def test_what_is_found_without_a_gpu(monkeypatch, tmp_path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = check.find()
    assert found.setting == "auto"
    assert found.devices == ()
    assert found.cached == 0
    monkeypatch.setenv("CXREDIT_KERNELS", "yes")
    with pytest.raises(InputError, match="CXREDIT_KERNELS is 'yes'; expected auto, on or off"):
        check.find()
