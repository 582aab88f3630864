"""CXREDIT_KERNELS, and what happens where kernels cannot be used: one line, once, and torch from there on."""

import logging

import pytest
import torch

from cxredit_cli.errors import CxreditError, InputError
from cxredit_cli.ops import cuda
from cxredit_cli.ops.bias_act import bias_act, scale_out_reference
from cxredit_cli.ops.choice import only, path_for
from cxredit_cli.ops.kernels import state
from cxredit_cli.ops.kernels.compiler import KernelError
from cxredit_cli.ops.upfirdn2d import setup_filter, upfirdn2d, upfirdn2d_reference

GPU = torch.device("cuda", 0)
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has been tried yet."""
    monkeypatch.setattr(state, "_usable", {})
    monkeypatch.delenv(state.VARIABLE, raising=False)


@without_gpu
def test_auto_says_once_why_not(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert [state.usable(GPU) for _ in range(3)] == [False] * 3
    (record,) = caplog.records
    line = record.getMessage()
    assert "\n" not in line
    assert "kernels are not used on cuda:0" in line
    assert "torch finds no NVIDIA GPU cuda:0." in line
    assert line.endswith("See cxredit doctor.")


@without_gpu
def test_the_line_is_all_that_stderr_gets(capfd: pytest.CaptureFixture[str]) -> None:
    # As without pytest, which catches what is logged.
    handlers, logging.getLogger().handlers = logging.getLogger().handlers, []
    try:
        state.usable(GPU)
    finally:
        logging.getLogger().handlers = handlers
    output = capfd.readouterr()
    assert output.out == ""
    assert output.err.startswith("cxredit: the CUDA kernels are not used")
    assert output.err.count("\n") == 1


@without_gpu
def test_on_is_an_error_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(state.VARIABLE, "on")
    with pytest.raises(
        CxreditError, match=r"CXREDIT_KERNELS is on, but .* no NVIDIA GPU .* See cxredit doctor\."
    ) as error:
        state.usable(GPU)
    assert not isinstance(error.value, InputError)


def test_off_tries_nothing_and_says_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv(state.VARIABLE, "off")
    monkeypatch.setattr(state, "try_out", lambda index: pytest.fail("tried"))
    assert not state.usable(GPU)
    assert caplog.records == []


def test_any_other_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(state.VARIABLE, "ON")
    with pytest.raises(InputError, match=r"^CXREDIT_KERNELS is 'ON'; expected auto, on or off\.$"):
        state.usable(GPU)


def test_what_works_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    monkeypatch.setattr(state, "try_out", tried.append)
    assert [state.usable(torch.device("cuda", index)) for index in (0, 1, 0, 1)] == [True] * 4
    assert tried == [0, 1]


def test_on_a_cpu_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(state.VARIABLE, "on")
    assert path_for(torch.ones(1)) == "torch"
    with only("kernels"):
        assert path_for(torch.ones(1)) == "kernels"


def test_the_kernels_path_on_a_cpu_is_the_formulas() -> None:
    x, bias = torch.randn(2, 3, 4, 5), torch.randn(3)
    with only("kernels"):
        torch.testing.assert_close(bias_act(x, bias), scale_out_reference(x, bias))
        y = upfirdn2d(x, setup_filter(), up=2, padding=(2, 1, 2, 1))
        torch.testing.assert_close(y, upfirdn2d_reference(x, setup_filter(), up=2, padding=(2, 1, 2, 1)))


def test_a_kernel_that_fails_later_is_given_up_for_good(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    state._usable[0] = True
    calls: list[str] = []

    def broken() -> str:
        calls.append("kernel")
        raise KernelError("scale_out_planes_wide_f32 does not start (an error).")

    class OnGpu:
        """What the choice asks of a tensor."""

        device, dtype = GPU, torch.float32

    with caplog.at_level(logging.WARNING):
        results = [cuda._by_kernels(OnGpu(), broken, lambda: "formula") for _ in range(3)]  # type: ignore[arg-type]
    assert results == ["formula"] * 3
    assert calls == ["kernel"]
    assert len(caplog.records) == 1
    monkeypatch.setenv(state.VARIABLE, "on")
    state._usable[0] = True
    with pytest.raises(CxreditError, match="does not start"):
        cuda._by_kernels(OnGpu(), broken, lambda: "formula")  # type: ignore[arg-type]
