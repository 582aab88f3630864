"""What large cohorts cost: seconds and memory of each step at several sizes, on films that are repeated.

    python examples/measure_cohorts.py dataset.h5 --work /scratch/cohorts --sizes 1000 10000 100000

DATASET is one of `cxredit prepare` at the model's resolution, of which the first 1,000 films are repeated. Each
measurement is a process of its own, on one core; `--only` takes some of them, and `--keep` leaves their files. Steps
that work on pictures cost the same for each and are measured up to --pictures of them. Prints a line for each
measurement, then a Markdown table (docs/results/cohorts.md shows one).
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

REAL = 1000  # films that are repeated
LAYERS = 12  # of a code in W+
BATCH = 16
PARTS = 64
LARGE = (512, 20_000)  # pixels, films: 5.2 GB, more than is held in memory and than 32 bits count


def name(row: int) -> str:
    """The name of a film of the cohort, a thousand in a folder."""
    return f"{row // 1000:03d}/{row:06d}.png"


def write_labels(path: Path, n: int) -> None:
    """NIH's columns for n films: three of a patient, every tenth with cardiomegaly."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("Image Index", "Finding Labels", "Patient ID", "View Position"))
        for row in range(n):
            writer.writerow((f"{row:06d}.png", "No Finding" if row % 10 else "Cardiomegaly", row // 3, "PA"))


def films(work: Path, dataset: Path, n: int) -> Path:
    """A folder of n PNGs, hard links to the real ones."""
    from cxredit_cli.storage.dataset import Dataset

    real, folder, held = work / "real", work / f"films-{n}", Dataset(dataset)
    if not real.exists():
        real.mkdir(parents=True)
        for row, pixels in enumerate(held.images(slice(0, REAL))):
            Image.fromarray(pixels).save(real / f"{row}.png")
    for row in range(n):
        link = folder / name(row)
        if row % 1000 == 0:
            link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            os.link(real / f"{row % min(REAL, len(held))}.png", link)
    return folder


def repeats(real: Any, n: int, layers: int, begin: int = 0) -> Iterator[tuple[Any, ...]]:
    """Codes begin..n-1 of the cohort, BATCH at a time, as a writer takes them: real ones, and a little noise."""
    noise = np.random.default_rng(begin)
    originals = real.originals(slice(None))
    for start in range(begin, n, BATCH):
        rows = np.arange(start, min(start + BATCH, n))
        same = rows % len(real)
        w = real.w[same].repeat(layers, axis=1)
        w = w + 0.1 * noise.standard_normal(w.shape, dtype=np.float32)
        yield [name(int(row)) for row in rows], w, real.psnr[same], real.ssim[same], originals[same]


def write_codes(work: Path, path: Path, n: int, layers: int, begin: int = 0, shard: str = "") -> dict[str, float]:
    """A file of codes begin..n-1; seconds for the first and for the last thousand."""
    from dataclasses import replace

    from cxredit_cli.storage.codes import read_codes
    from cxredit_cli.storage.write_codes import CodesWriter

    real = read_codes(work / "real.h5")
    kind = {"space": "w+" if layers > 1 else "w", "num_ws": layers, "shard": shard}
    header = replace(real.header, **cast(dict[str, Any], kind))
    times = [time.process_time()]
    with CodesWriter(path, header, expected=n - begin) as writer:
        for batch in repeats(real, n, layers, begin):
            writer.append(*batch)
            times.append(time.process_time())
    count = max(1000 // BATCH, 1)
    return {
        "first": times[min(count, len(times) - 1)] - times[0],
        "last": times[-1] - times[max(-1 - count, -len(times))],
    }


def held(work: Path, n: int, known: bool) -> dict[str, float]:
    """Codes of the n films of a folder; `known`: with what their files are like, as `invert` notes it."""
    from cxredit_cli.storage.codes import read_codes
    from cxredit_cli.storage.file_state import FileState
    from cxredit_cli.storage.write_codes import CodesWriter

    real = read_codes(work / "real.h5")
    with CodesWriter(work / f"held-{n}.h5", real.header, expected=n) as writer:
        for names, w, psnr, ssim, originals in repeats(real, n, 1):
            states = [FileState.of(work / f"films-{n}" / one, righting=1) for one in names]
            writer.append(names, w, psnr, ssim, originals, files=states if known else None)
    return {}


def append(work: Path, n: int) -> dict[str, float]:
    """Codes of W+ to a new file, then one more to the finished file."""
    path = work / f"codes-{n}.h5"
    found = write_codes(work, path, n, LAYERS)
    begun = time.process_time()
    write_codes(work, path, n + 1, LAYERS, begin=n)
    return found | {"one_more": time.process_time() - begun}


def parts(work: Path, n: int) -> dict[str, float]:
    """PARTS files of codes."""
    for part in range(PARTS):
        path = work / f"codes.{part + 1}-of-{PARTS}.h5"
        write_codes(work, path, n * (part + 1) // PARTS, LAYERS, n * part // PARTS, f"{part + 1}/{PARTS}")
    return {}


def store(work: Path, dataset: Path, n: int, side: int, stop: bool) -> dict[str, float]:
    """What `prepare` does but for reading files: n rows; `stop` ends the process in the middle, as a kill would."""
    from cxredit_cli.radiographs.sources import Source
    from cxredit_cli.storage.dataset import Dataset
    from cxredit_cli.storage.labels import read_labels
    from cxredit_cli.storage.prepare_dataset import Options, prepare

    pictures = Dataset(dataset).images(slice(0, REAL))
    enlarge = side // pictures.shape[1]
    first: list[float] = []

    def read(pairs: Any, *_: object) -> Iterator[tuple[int, bytes | None, str]]:
        first.append(time.process_time())
        for index, _source in pairs:
            if stop and index == n // 2:
                os._exit(9)
            if index % 100 == 99:  # one in a hundred cannot be read
                yield index, None, "it is damaged."
            else:
                yield index, pictures[index % len(pictures)].repeat(enlarge, 0).repeat(enlarge, 1).tobytes(), "as it is"

    write_labels(work / "store.csv", n)
    sources = [Source(work / "absent" / name(row), name=name(row)) for row in range(n)]
    table = read_labels(work / "store.csv")
    report = prepare(sources, work / f"stored-{side}-{n}.h5", Options(resolution=side), table, read=read)
    return {"until_first": first[0] if first else 0.0, "resumed": report.resumed}


def read_large(work: Path) -> dict[str, float]:
    """Batches of a training from a file that is not held in memory: images a second, first cold, then cached."""
    import torch

    from cxredit_cli.storage.dataset import Dataset
    from cxredit_cli.training.images import TrainingImages

    path = work / f"stored-{LARGE[0]}-{LARGE[1]}.h5"
    found: dict[str, float] = {"gigabytes": path.stat().st_size / 1e9}
    images = TrainingImages(Dataset(path), "train", LARGE[0], torch.device("cpu"), seed=0)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    for state in ("cold", "cached"):
        begun, used = time.monotonic(), time.process_time()
        for first in range(0, 2048, 32):
            images.batch(first, 32)
        found[state] = 2048 / (time.monotonic() - begun)
        found[f"{state}_of_core"] = (time.process_time() - used) / (time.monotonic() - begun)
    return found


def edited(work: Path, n: int) -> dict[str, float]:
    """What `apply` does but for pictures: n images whose names are alike, then the same again."""
    from cxredit_cli.editing.edited_folder import EditedFolder

    times = []
    for _ in range(2):
        begun = time.process_time()
        with EditedFolder(work / f"edited-{n}", n, sheets=False) as folder:
            for row in range(n):
                stem = folder.stem_for("view1_frontal", f"{row:012x}", row)
                if folder.is_done(stem, ["+3"], "recipe"):
                    continue
                path = folder.edit_path(stem, "+3")
                if not path.parent.exists():
                    path.parent.mkdir()
                path.touch()
                file = path.relative_to(folder.folder).as_posix()
                common = {"source": name(row), "direction": "Cardiomegaly (lda) [0123456789ab]", "psnr": f"{row:.3f}"}
                folder.add_row(
                    common
                    | {"stem": stem, "strength": "+3", "file": file, "identity": f"{row:012x}"}
                    | {"recipe": "recipe"}
                )
            folder.finish()
        times.append(time.process_time() - begun)
    return {"again": times[1]}


def measured(command: list[str]) -> dict[str, float]:
    """Seconds of processor, of clock, and peak MB of a command and the processes that it starts."""
    begun = time.monotonic()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    assert process.stdout is not None
    last = process.stdout.read().decode().strip().splitlines()[-1:]
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    found = {"cpu": used.ru_utime + used.ru_stime, "clock": time.monotonic() - begun, "mb": used.ru_maxrss / 1024}
    found["code"] = process.returncode
    return found | (json.loads(last[0]) if last and last[0].startswith("{") else {})


def main() -> None:
    """Measure, print a line for each step and size, then the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="a folder on a disk with 15 GB")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--only", nargs="+", help="steps, by their names in the table")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    given = parser.parse_args()
    work, dataset = given.work.resolve(), given.dataset.resolve()
    if given.case:
        kind, *numbers = given.case.split(":")
        n, *rest = [int(number) for number in numbers]
        cases: dict[str, Callable[[], dict[str, float]]] = {
            "append": lambda: append(work, n),
            "parts": lambda: parts(work, n),
            "held": lambda: held(work, n, bool(rest[0])),
            "codes": lambda: write_codes(work, work / f"lda-{rest[0]}-{n}.h5", n, rest[0]),
            "store": lambda: store(work, dataset, n, rest[0], bool(rest[1])),
            "large": lambda: read_large(work),
            "edited": lambda: edited(work, n),
        }
        print(json.dumps(cases[kind]()))
        return
    work.mkdir(parents=True, exist_ok=True)
    cxredit = [sys.executable, "-m", "cxredit_cli"]
    itself = [sys.executable, __file__, str(dataset), "--work", str(work), "--case"]
    results: dict[str, dict[int, dict[str, float]]] = {}

    def step(what: str, n: int, command: list[str]) -> None:
        found = measured(command)
        results.setdefault(what, {})[n] = found
        print(what, n, json.dumps({key: round(value, 3) for key, value in found.items()}), flush=True)

    def wanted(what: str) -> bool:
        return given.only is None or what in given.only

    def remove(*paths: Path) -> None:
        for path in paths:
            if given.keep:
                return
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    without_codes = {"prepare", "store", "store again", "edited folder", "measure", "large dataset"}
    if not (work / "real.h5").exists() and not without_codes.issuperset(given.only or ["append"]):
        command = ["invert", str(dataset), "--limit", str(REAL), "--method", "encoder", "--space", "w"]
        measured([*cxredit, *command, "-o", str(work / "real.h5")])
    for n in given.sizes:
        labels = work / f"labels-{n}.csv"
        write_labels(labels, n)
        by = ["--labels", str(labels), "-o", str(work / "direction.h5")]
        if wanted("prepare") and n <= given.pictures:
            output = work / f"prepared-{n}.h5"
            folder = films(work, dataset, n)
            command = ["prepare", str(folder), "--labels", str(labels), "--workers", "1", "-o", str(output)]
            step("prepare", n, [*cxredit, *command])
            remove(output, folder)
        if wanted("store"):
            step("store", n, [*itself, f"store:{n}:128:0"])
            remove(work / f"stored-128-{n}.h5")
        if wanted("store again"):
            measured([*itself, f"store:{n}:128:1"])
            step("store again", n, [*itself, f"store:{n}:128:0"])
            remove(work / f"stored-128-{n}.h5")
        if wanted("append"):
            step("append", n, [*itself, f"append:{n}"])
            remove(work / f"codes-{n}.h5")
        if wanted("merge"):
            measured([*itself, f"parts:{n}"])
            files = [work / f"codes.{part + 1}-of-{PARTS}.h5" for part in range(PARTS)]
            merge = ["invert", "--merge", *map(str, files), "-o", str(work / "merged.h5")]
            step("merge", n, [*cxredit, *merge])
            remove(*files, work / "merged.h5")
        for what, known in (("invert again", 1), ("invert again, files unknown", 0)):
            if wanted(what) and (known or n <= given.pictures):
                folder, codes = films(work, dataset, n), work / f"held-{n}.h5"
                measured([*itself, f"held:{n}:{known}"])
                how = ["--method", "encoder", "--space", "w", "--device", "cpu", "--json"]
                step(what, n, [*cxredit, "invert", str(folder), *how, "-o", str(codes)])
                remove(folder, codes)
        for layers, space in ((1, "W"), (LAYERS, "W+")):
            codes = work / f"lda-{layers}-{n}.h5"
            find = ["direction", "--codes", str(codes), *by, "--device", "cpu", "--how"]
            statistics = {
                f"lda {space}": ["lda", str(codes), *by, "--plot", str(work / "lda.png")],
                **{f"direction {how} {space}": [*find, how] for how in ("means", "lda", "logistic", "svm")},
            }
            if any(map(wanted, statistics)):
                measured([*itself, f"codes:{n}:{layers}"])
                for what in filter(wanted, statistics):
                    step(what, n, [*cxredit, *statistics[what]])
                remove(codes)
        if wanted("apply") and n <= given.pictures:
            measured([*itself, f"codes:{n}:1"])
            codes = work / f"lda-1-{n}.h5"
            command = [*cxredit, "apply", str(codes), "-o", str(work / "edited"), "--device", "cpu"]
            step("apply --no-sheets", n, [*command, "--no-sheets"])
            step("apply again", n, [*command, "--no-sheets"])
            remove(work / "edited", codes)
        if wanted("edited folder"):
            step("edited folder", n, [*itself, f"edited:{n}"])
            remove(work / f"edited-{n}")
        if wanted("measure") and n <= given.pictures:
            folder = films(work, dataset, n)
            command = ["measure", str(folder), "-o", str(work / "anatomy.csv"), "--device", "cpu"]
            step("measure", n, [*cxredit, *command])
            remove(folder)
    if wanted("large dataset"):
        measured([*itself, f"store:{LARGE[1]}:{LARGE[0]}:0"])
        step("large dataset", LARGE[1], [*itself, "large:0"])
        remove(work / f"stored-{LARGE[0]}-{LARGE[1]}.h5")
    print("\n| | " + " | ".join(f"{n:,}" for n in given.sizes) + " |")
    print("|---" * (len(given.sizes) + 1) + "|")
    for what, sizes in results.items():
        cells = [f"{sizes[n]['cpu']:.3g} s, {sizes[n]['mb']:.0f} MB" if n in sizes else "" for n in given.sizes]
        print(f"| {what} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
