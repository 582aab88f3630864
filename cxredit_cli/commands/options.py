"""Options that several commands have, declared once, so that each means the same everywhere.

A command gives the default. Nothing heavy is imported here: `cxredit --help` reads this file.
"""

from pathlib import Path
from typing import Annotated

import typer

BATCH = 16
SEEDS = 2**32 - 1

INPUT, MODEL, METHOD, OUTPUT = "Input", "Model", "Method", "Output"  # panels

ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model",
        help="Folder of the model. Default: ./model where there is one, else the bundled one.",
        rich_help_panel=MODEL,
    ),
]
DirectionOption = Annotated[
    str | None,
    typer.Option(
        "--direction",
        "-d",
        help="The direction: a file, or a name that `direction list` shows. Default: ./direction.h5, else the "
        "model's cardiomegaly.",
        rich_help_panel=MODEL,
    ),
]


def _judge_by_name(path: Path | None) -> Path | None:
    """The bundled judge for the word `judge`; any other path as it is."""
    if path == Path("judge"):
        from cxredit_cli.storage.anatomy_network import BUNDLED_JUDGE

        return BUNDLED_JUDGE
    return path


AnatomyOption = Annotated[
    Path | None,
    typer.Option(
        "--anatomy",
        callback=_judge_by_name,
        help="Another network that outlines heart and lungs: judge, the bundled one that finds and steers nothing, or "
        "a file of weights (.safetensors, its .json beside it).",
        rich_help_panel=MODEL,
    ),
]
METRIC_HELP = (
    "How far two codes are apart: codes (every direction of W counts alike, as in the paper), picture (what changes in "
    "the generator's picture) or anatomy (what changes in heart, thorax, lungs and tone)."
)
MethodOption = Annotated[
    str | None,
    typer.Option(
        "--method",
        help="How an image becomes a code: encoder (one pass), optimize (from the mean code) or hybrid (from "
        "the encoder's answer). Default: hybrid, without an encoder optimize; for directions of pairs encoder.",
        rich_help_panel=METHOD,
    ),
]
SpaceOption = Annotated[
    str | None,
    typer.Option(
        "--space",
        help="Where codes are sought: w (one vector) or w+ (one vector per layer). Default: w+, for directions of "
        "pairs w.",
        rich_help_panel=METHOD,
    ),
]
StepsOption = Annotated[
    int,
    typer.Option("--steps", min=1, help="Steps of optimisation for each image, at most.", rich_help_panel=METHOD),
]
FitNoiseOption = Annotated[
    bool,
    typer.Option("--fit-noise", help="Fit the generator's noise maps to each image too.", rich_help_panel=METHOD),
]
FitOption = Annotated[
    str,
    typer.Option(
        "--fit",
        help="How an image that is not square becomes one: crop (the centre square) or pad (everything, with black).",
        rich_help_panel=INPUT,
    ),
]
LABELS_HELP = "Table of labels: NIH's, CheXpert's, MIMIC-CXR's, PadChest's, VinDr's, RSNA's, NVlabs' or a plain one"
UncertainOption = Annotated[
    str,
    typer.Option(
        "--uncertain",
        help="What a label counts as that the table calls uncertain (CheXpert's -1): skip (the image belongs to "
        "neither class), present or absent.",
        rich_help_panel=INPUT,
    ),
]
AnyViewOption = Annotated[
    bool,
    typer.Option(
        "--any-view",
        help="Take DICOM films too whose tags say that they are lateral, oblique or of another part of the body.",
        rich_help_panel=INPUT,
    ),
]
OnSuspectOption = Annotated[
    str,
    typer.Option(
        "--on-suspect",
        help="What to do with an image that does not look like an upright frontal chest radiograph: skip it, warn "
        "(take and mark it), or accept (do not look).",
        rich_help_panel=INPUT,
    ),
]
RightOption = Annotated[
    bool,
    typer.Option("--right", help="Put films right that look turned or negative.", rich_help_panel=INPUT),
]
LayersOption = Annotated[
    str | None,
    typer.Option("--layers", help="Move only these layers of the code, such as 4-9.", rich_help_panel=METHOD),
]
BatchOption = Annotated[
    int,
    typer.Option("--batch", min=1, help="How many images are worked on at a time.", rich_help_panel=METHOD),
]
DeviceOption = Annotated[
    str,
    typer.Option("--device", help="Where to compute: auto, cpu, cuda, cuda:N or mps.", rich_help_panel=METHOD),
]
PrecisionOption = Annotated[
    str,
    typer.Option(
        "--precision", help="Numbers that the networks compute with: auto, fp32, bf16 or fp16.", rich_help_panel=METHOD
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(
        "--seed", min=0, max=SEEDS, help="Everything random follows from this number.", rich_help_panel=METHOD
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON document.", rich_help_panel=OUTPUT)
]
SweepOption = Annotated[
    str | None,
    typer.Option(
        "--sweep", help="Strengths at equal distances, FROM:TO:COUNT, such as -3:3:7.", rich_help_panel=METHOD
    ),
]
ClassOption = Annotated[
    str | None,
    typer.Option(
        "--class",
        help="Class of the classifier, such as Effusion; needed where it knows several.",
        rich_help_panel=MODEL,
    ),
]
CLASSIFIER_HELP = (
    "torch.export (.pt2), TorchScript (.pt) or ONNX with its .json beside it, one of examples/train_classifier.py "
    "(.safetensors), or torchxrayvision:NAME"
)
