"""The cases: what they compute is comparable, and counted right."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from cxredit_cli.benchmarks import run_cases
from cxredit_cli.benchmarks.cases import Case, Settings
from cxredit_cli.benchmarks.catalogue import all_cases, choose_cases
from cxredit_cli.benchmarks.count_operations import CountedOperations
from cxredit_cli.errors import InputError

TINY = Settings(16, 2, 64, 8, torch.device("cpu"), torch.float32, pl_weight=2.0)


def named(name: str, settings: Settings = TINY) -> Case:
    return choose_cases(settings, [name])[0]


@pytest.mark.parametrize("name", [case.name for case in all_cases(TINY)])
def test_the_fast_path_computes_what_the_reference_does(name: str) -> None:
    found = run_cases.agreement(named(name))
    assert found.max_error < 1e-4
    assert (found.gradient_error or 0.0) < 1e-3


def test_a_wrong_result_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    from cxredit_cli.ops import bias_act

    right = bias_act.scale_out_torch

    def wrong(*arguments: object) -> Tensor:
        return right(*arguments) * 1.01  # type: ignore[arg-type]

    monkeypatch.setattr(bias_act, "scale_out_torch", wrong)
    found = run_cases.agreement(named("bias_act_forward_backward"))
    assert found.max_error == pytest.approx(0.01, rel=0.01)
    assert found.gradient_error == pytest.approx(0.01, rel=0.01)


def test_a_result_that_is_no_number_is_wrong() -> None:
    good = run_cases.Result("good", "float32", [1], 1.0, 1.0, 1.0, 1.0, 1e-5, 1e-3, None, None, None)
    nan = replace(good, name="nan", max_error=float("nan"))
    astray = replace(good, name="astray", gradient_error=0.1)
    assert run_cases.BenchReport("", 1, "", "", 1.0, {}, {}, [nan, good, astray]).wrong == ["nan", "astray"]


def test_operations_are_counted_as_they_are_defined() -> None:
    channels, side = 4, 16
    operations = run_cases.agreement(named("modulated_conv2d_plain")).operations
    convolution = 2 * TINY.batch * side**2 * channels**2 * 9
    demodulation = 2 * TINY.batch * channels**2
    assert convolution <= operations <= convolution + demodulation

    x = torch.randn(8, 4, requires_grad=True)
    with CountedOperations() as counted:
        torch.autograd.grad((x @ torch.randn(4, 2)).sum(), x)
    assert counted.total == 2 * (2 * 8 * 4 * 2)


def test_what_must_move_is_each_value_once() -> None:
    assert named("bias_act").elements == 2 * (2 * 4 * 16 * 16)
    assert named("upfirdn2d_up2").elements == 2 * 4 * (8 * 8 + 16 * 16)
    assert named("generator_forward").elements is None


def test_a_cycle_of_training_holds_each_regularisation_as_often_as_it_is_due() -> None:
    case = named("training_iteration")
    assert dict(zip(case.parts, case.shares, strict=True)) == {
        "plain": 12 / 16,
        "with path length": 3 / 16,
        "with path length and R1": 1 / 16,
    }
    case = named("training_iteration", replace(TINY, pl_weight=0.0))
    assert dict(zip(case.parts, case.shares, strict=True)) == {"plain": 15 / 16, "with R1": 1 / 16}


def test_repetitions_of_training_do_the_same_work() -> None:
    plain, *_ = named("training_iteration").prepare(torch.float32, torch.contiguous_format)
    first, second = ([tensor.clone() for group in plain().gradients for tensor in group] for _ in range(2))
    torch.testing.assert_close(first, second)


def test_patterns_choose_and_an_unknown_one_names_what_there_is() -> None:
    chosen = choose_cases(TINY, ["upfirdn2d_*2", "generator_forward"])
    assert [case.name for case in chosen] == ["upfirdn2d_up2", "upfirdn2d_down2", "generator_forward"]
    with pytest.raises(InputError, match=r"downsample.*upfirdn2d_down2"):
        choose_cases(TINY, ["downsample"])
