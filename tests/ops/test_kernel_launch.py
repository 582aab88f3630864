"""Launches, through cuda-core and a driver that stands in for NVIDIA's: what a GPU would be told to run is run here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or torch.cuda.is_available(), reason="a stand-in for libcuda.so.1, where there is none"
)
PROGRAM = """
from concurrent.futures import ThreadPoolExecutor

import torch
from cxredit_cli.ops import formulas
from cxredit_cli.ops.kernels import launch as launching, resample, scaling
from cxredit_cli.ops.kernels.compiler import KernelError
from cxredit_cli.ops.upfirdn2d import setup_filter, upfirdn2d_reference

streams = iter([0, 0, 0xabc0, 0xabc0, 0xabc0])
torch.cuda.current_device = lambda: 0
torch.cuda.get_device_capability = lambda index: (9, 0)
torch._C._cuda_getCurrentRawStream = lambda index: next(streams)
real = launching.launch
launching.launch = lambda device, *arguments: real(torch.device("cuda", 0), *arguments)

x, scale, bias = torch.randn(2, 8, 6, 5), torch.randn(2, 8), torch.randn(8)
x = x.contiguous(memory_format=torch.channels_last)
kernel = setup_filter()
y = resample.upfirdn2d(x, kernel, 1, 1, (-1, 2, 1, -1), False, 4.0)
torch.testing.assert_close(y, upfirdn2d_reference(x, kernel, 1, 1, (-1, 2, 1, -1), False, 4.0))
parts = (scale, torch.randn(1, 1, 6, 5), torch.tensor(-0.25), bias, None)
for _ in range(2):
    y = scaling.scale_out(x, parts, 1.5, 0.2, 2.0)
    torch.testing.assert_close(y, formulas.scale_out(x, parts, 1.5, 0.2, 2.0))
wanted = [True, True, True, True, True, False]
# In a thread of its own, as autograd does: it has no context.
with ThreadPoolExecutor(1) as threads:
    found = threads.submit(scaling.scale_out_backward, x, x, parts, 1.5, 0.2, 2.0, wanted).result()
for value, reference in zip(found, formulas.scale_out_backward(x, x, parts, 1.5, 0.2, 2.0)):
    if reference is not None:
        torch.testing.assert_close(value, reference)
print("done")
"""


def test_a_launch_reaches_the_driver_as_it_was_meant(host_kernels, tmp_path: Path) -> None:
    driver = tmp_path / "libcuda.so.1"
    source = Path(__file__).parent / "host_cuda" / "fake_driver.cpp"
    subprocess.run(["g++", "-shared", "-fPIC", "-w", "-o", driver, source, "-ldl"], check=True)
    # One library of all kernels, which the fake driver opens by itself.
    everything = tmp_path / "host_kernels.so"
    needed = [Path(library._name) for library in host_kernels]
    links = [f"-Wl,-rpath,{needed[0].parent}", "-Wl,--no-as-needed", *map(str, needed)]
    empty = tmp_path / "empty.cpp"
    empty.write_text("")
    subprocess.run(["g++", "-shared", "-fPIC", "-o", everything, empty, *links], check=True)
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(tmp_path),
        "HOST_KERNELS": str(everything),
        "XDG_CACHE_HOME": str(tmp_path),
        "PYTHONUNBUFFERED": "1",
    }
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert "done" in lines
    loads = [line for line in lines if line.startswith("load")]
    launches = [line.split() for line in lines if line.startswith("launch")]
    # The second scale_out is neither loaded nor compiled again, and its stream is the one that is current by then.
    assert loads == ["load cubin"] * 4
    assert [words[1] for words in launches] == [
        "upfirdn2d_plain_wide_f32",
        "scale_out_channels_last_wide_f32",
        "scale_out_channels_last_wide_f32",
        "scale_out_backward_channels_last_wide_f32",
        "finish_sums",
    ]
    # 0x1 is CUDA's name for the default stream, which is torch's stream 0.
    assert [words[3] for words in launches] == ["0x1", "0x1", "0xabc0", "0xabc0", "0xabc0"]
    assert all(words[-4:] == ["shared", "0", "attributes", "0"] for words in launches)
