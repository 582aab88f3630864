"""On a GPU: what the kernels compute, on any stream and device, and within a CUDA graph. Run with -m gpu."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest
import torch
from torch.autograd import grad

from cxredit_cli.ops.bias_act import scale_in, scale_out
from cxredit_cli.ops.choice import only, path_for
from cxredit_cli.ops.kernels import check, state
from cxredit_cli.ops.upfirdn2d import setup_filter, upfirdn2d

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
TOLERANCE = {torch.float32: 1e-4, torch.float16: 3e-2, torch.bfloat16: 3e-2}
SHAPES = [(2, 16, 8, 8), (1, 3, 9, 11), (4, 64, 32, 32), (3, 1, 33, 17), (2, 520, 4, 4)]


def everything(shape, dtype, device="cuda"):
    """x, bias, scale, noise, strength, next_scale."""
    n, c, h, w = shape
    shapes = [shape, (c,), (n, c), (n, 1, h, w), (), (n, c)]
    return [
        torch.randn(each, device=device).to(dtype if i == 0 else torch.float32).requires_grad_()
        for i, each in enumerate(shapes)
    ]


resampling = cache(lambda device: setup_filter(device=device))  # not made anew, which a graph cannot capture


def work(x, bias, scale, noise, strength, next_scale):
    y = scale_out(scale_in(x, next_scale), bias, "lrelu", 1.0, 3.0, scale, noise, strength, next_scale)
    kernel = resampling(x.device)
    y = upfirdn2d(y, kernel, up=2, padding=(2, 1, 2, 1), gain=4.0)
    y = upfirdn2d(y, kernel, padding=(1, 1, 1, 1))
    return upfirdn2d(y, kernel, down=2, padding=(2, 2, 2, 2))


def outcomes(inputs, path=None):
    """The result, its gradients, and gradients of those."""
    with only(path) if path else torch.enable_grad():
        y = work(*inputs)
        # Scaled, and the second of x's gradient alone, so that half precision holds them.
        first = grad(y.float().square().sum() / y.numel() ** 0.5, inputs, create_graph=True)
        chosen = first if y.dtype == torch.float32 else first[:1]
        second = grad(sum(g.float().square().sum() for g in chosen) * y.numel() ** 0.5, inputs, materialize_grads=True)
    return [y, *first, *second]


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_gradients_and_second_gradients(shape, channels_last, dtype) -> None:
    inputs = everything(shape, dtype)
    if channels_last:
        inputs[0] = inputs[0].detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    assert path_for(inputs[0]) == "kernels"
    got = outcomes(inputs)
    # In half precision the oracle must round where the kernels do, else features fall on the other side of the leaky
    # ReLU's kink: the same operators by their formulas on the CPU, which are checked against the references there.
    device, path = ("cuda", "reference") if dtype == torch.float32 else ("cpu", "kernels")
    same = [each.detach().to(device).requires_grad_() for each in inputs]
    for value, expected in zip(got, outcomes(same, path), strict=True):
        assert value.shape == expected.shape
        difference = (value.float().cpu() - expected.float().cpu()).norm() / expected.float().norm().cpu().clamp(
            min=1e-6
        )
        assert difference < TOLERANCE[dtype]


def test_every_kernel_against_the_formulas() -> None:
    for index in range(torch.cuda.device_count()):
        state.try_out(index)
        assert check.wrong_results(torch.device("cuda", index)) == []


def test_sums_are_the_same_each_time() -> None:
    inputs = everything((4, 64, 64, 64), torch.float16)
    first, second = outcomes(inputs), outcomes(inputs)
    assert all(torch.equal(a, b) for a, b in zip(first[:7], second[:7], strict=True))


def test_a_thread_that_has_no_context_yet() -> None:
    # Autograd's threads begin so, and a gradient may be the first that they are given.
    inputs = [each.detach() for each in everything((2, 16, 8, 8), torch.float32)]
    with ThreadPoolExecutor(1) as threads:
        got = threads.submit(work, *inputs).result()
    torch.testing.assert_close(got, work(*inputs))
    assert path_for(inputs[0]) == "kernels"


def test_a_stream_of_ones_own() -> None:
    inputs = everything((2, 32, 64, 64), torch.float32)
    expected = work(*inputs)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        # Only work that is queued behind this delay sees the new values.
        torch.cuda._sleep(50_000_000)
        doubled = [inputs[0] * 2, *inputs[1:]]
        got = work(*doubled)
        got = work(*[doubled[0] / 2, *inputs[1:]])
    stream.synchronize()
    torch.testing.assert_close(got, expected)


def test_a_cuda_graph() -> None:
    inputs = [each.detach() for each in everything((2, 32, 32, 32), torch.float16)]
    with torch.no_grad():
        work(*inputs)  # compiles and loads
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = work(*inputs)
        for _ in range(3):
            inputs[0].copy_(torch.randn_like(inputs[0]))
            graph.replay()
            torch.testing.assert_close(result, work(*inputs), atol=0, rtol=0)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_a_second_device_that_is_not_the_current_one() -> None:
    inputs = everything((2, 16, 16, 16), torch.float32, "cuda:1")
    assert torch.cuda.current_device() == 0
    for value, expected in zip(outcomes(inputs), outcomes(inputs, "reference"), strict=True):
        assert value.device.index == 1
        torch.testing.assert_close(value, expected, atol=1e-3, rtol=1e-3)
    assert torch.cuda.current_device() == 0


def test_more_than_two_to_the_31_elements() -> None:
    if torch.cuda.get_device_properties(0).total_memory < 24 << 30:
        pytest.skip("needs 24 GiB of memory")
    x = torch.ones(2**9, 2**7, 2**8, 2**7 + 1, dtype=torch.float16, device="cuda")
    assert x.numel() > 2**31
    with torch.no_grad():
        y = scale_out(x, torch.arange(2**7, device="cuda").half(), "linear")
        last = y[-1, :, -1, -1].float().cpu()
    torch.testing.assert_close(last, torch.arange(2**7).float() + 1)
