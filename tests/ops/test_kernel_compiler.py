"""NVRTC compiles every kernel for every architecture, without a GPU; cubins are kept and are never half there."""

import multiprocessing
import sys
import time
from pathlib import Path

import pytest

from cxredit_cli.ops.kernels import compiler
from cxredit_cli.ops.kernels.catalogue import CASTS, ELEMENTS, SOURCES, Unit, source_of, unit_of, units
from cxredit_cli.ops.kernels.compiler import ARCHITECTURES, KernelError, cache_key, compile_source, cubin

# Every source for each architecture: in all element types for one of them, in one for each of the others, where that
# of the oldest is one that it has no instructions for. .ci/compile_kernels.py compiles all for all.
ONE_TYPE = {"sm_75": "bf16", "sm_80": "f16", "sm_86": "f32", "sm_89": "f16", "sm_100": "f32", "sm_120": "bf16"}
UNIT = unit_of("scale_in_transposed_f32_f32")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache; on Linux the compiler must be there."""
    try:
        compiler.nvrtc_version()
    except KernelError:
        if sys.platform == "linux":
            raise
        pytest.skip("no NVRTC, which only Linux installs by itself")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    return compiler.cache_folder()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_kernel_compiles(architecture: str) -> None:
    types = ONE_TYPE.get(architecture, tuple(ELEMENTS))
    for path in SOURCES.glob("*.cu"):
        source = path.stem
        # "sums": what has no element type.
        chosen = [unit for unit in units() if unit.source == source and unit.kernels[0].endswith((*types, "sums"))]
        code = compile_source(source_of(*chosen), architecture, source)
        assert code.startswith(b"\x7fELF")
        for unit in chosen:
            for kernel in unit.kernels:
                assert kernel.encode() in code


def test_every_operation_has_its_kernels() -> None:
    names = [kernel for unit in units() for kernel in unit.kernels]
    assert len(set(names)) == len(names)
    for suffix in ELEMENTS:
        for width in ("wide", "narrow"):
            assert {f"upfirdn2d_{case}_{width}_{suffix}" for case in ("general", "plain", "up2", "down2")} <= set(names)
            for layout in ("channels_last", "planes"):
                assert {f"scale_out_{layout}_{width}_{suffix}", f"scale_out_backward_{layout}_{width}_{suffix}"} <= {
                    *names
                }
    assert len([name for name in names if name.startswith("scale_in_transposed")]) == len(CASTS)


def test_the_first_use_takes_less_than_a_second_and_the_next_hardly_any_time(cache: Path) -> None:
    compile_source(source_of(UNIT), "sm_80", "warm-up of imports")
    for kernel in ("upfirdn2d_plain_wide_bf16", "scale_out_backward_channels_last_wide_f32"):
        # Time of this process: others may be at work on this machine.
        start = time.process_time()
        first = cubin(unit_of(kernel), "sm_90")
        compiled = time.process_time()
        again = cubin(unit_of(kernel), "sm_90")
        loaded = time.process_time()
        assert first == again
        assert compiled - start < 1
        assert loaded - compiled < 0.05
    assert len(list(cache.iterdir())) == 2


def test_the_key_changes_with_all_that_a_cubin_depends_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keys = {
        cache_key("source", "sm_90", "13.2"),
        cache_key("source ", "sm_90", "13.2"),
        cache_key("source", "sm_89", "13.2"),
        cache_key("source", "sm_90", "13.3"),
    }
    (tmp_path / "common.cuh").write_text("// another")
    monkeypatch.setattr(compiler, "SOURCES", tmp_path)
    assert len(keys | {cache_key("source", "sm_90", "13.2")}) == 5


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The architectures that are compiled for from now on, instead of compiling."""
    calls: list[str] = []

    def stand_in(source: str, architecture: str, name: str) -> bytes:
        calls.append(architecture)
        return b"cubin of " + architecture.encode()

    monkeypatch.setattr(compiler, "compile_source", stand_in)
    return calls


def test_another_architecture_and_another_compiler_are_compiled_for_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch)
    for architecture in ("sm_90", "sm_80", "sm_90"):
        assert cubin(UNIT, architecture) == b"cubin of " + architecture.encode()
    assert calls == ["sm_90", "sm_80"]
    monkeypatch.setattr(compiler, "nvrtc_version", lambda: "99.0")
    cubin(UNIT, "sm_90")
    assert calls == ["sm_90", "sm_80", "sm_90"]


def test_a_damaged_file_is_compiled_again(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    calls = counted(monkeypatch)
    whole = cubin(UNIT, "sm_90")
    (path,) = cache.iterdir()
    kept = path.read_bytes()
    damages = (b"", kept[:10], kept[:-1], kept + b"x", bytes([kept[0] ^ 1]) + kept[1:], kept[:-1] + b"?", bytes(32))
    for damaged in damages:
        path.write_bytes(damaged)
        assert cubin(UNIT, "sm_90") == whole
        assert path.read_bytes() == kept
    assert len(calls) == 1 + len(damages)


def test_a_folder_that_cannot_be_written_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = counted(monkeypatch)
    file = tmp_path / "file"
    file.write_text("not a folder")
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(file))
    assert cubin(UNIT, "sm_90") == cubin(UNIT, "sm_90")
    assert len(calls) == 2


def compile_and_check(
    unit: Unit, start: "multiprocessing.synchronize.Barrier", results: "multiprocessing.Queue"
) -> None:
    start.wait()
    results.put([cubin(unit, "sm_90") for _ in range(2)])


def test_two_processes_at_once_both_get_it(cache: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(2), context.Queue()
    processes = [context.Process(target=compile_and_check, args=(UNIT, start, results)) for _ in range(2)]
    for process in processes:
        process.start()
    codes = [code for _ in processes for code in results.get(timeout=60)]
    for process in processes:
        process.join()
    assert set(codes) == {cubin(UNIT, "sm_90")}
    assert [path.suffix for path in cache.iterdir()] == [".cubin"]


def test_what_nvrtc_refuses_is_one_sentence() -> None:
    with pytest.raises(KernelError, match=r"^NVRTC does not compile wrong.cu for sm_90 \(.*\)\.$") as caught:
        compile_source('extern "C" __global__ void k() { undeclared = 1; }', "sm_90", "wrong")
    assert "undeclared" in str(caught.value)
    assert "\n" not in str(caught.value)
