"""Copy a model folder in half precision, without logs and checkpoints: what is shipped with the package.

    python examples/bundle_model.py model small-model

Half precision gives the generator another fingerprint. So copy it first, then train its encoder and find its directions
with the copy, and copy once more: a copy of a copy keeps the fingerprint.
"""

import sys
from pathlib import Path

import torch

from cxredit_cli.atomic import write_bytes
from cxredit_cli.inversion.curvature import search_basis
from cxredit_cli.storage.models import (
    DISCRIMINATOR,
    ENCODER,
    GENERATOR,
    load_model,
    save_discriminator,
    save_encoder,
    save_generator,
)

OWN_ENTRIES = {GENERATOR, DISCRIMINATOR, ENCODER, "fingerprint", "encoder_for", "encoder_info", "schema_version"}


def main(source: Path, target: Path) -> None:
    """Copy the networks and directions of `source` to `target`, weights as float16, with the basis of inversion."""
    model = load_model(source, parts=(GENERATOR, DISCRIMINATOR, ENCODER))
    info = {key: value for key, value in model.info.items() if key not in OWN_ENTRIES}
    save_generator(target, model.generator, info, torch.float16)
    if model.discriminator is not None:
        save_discriminator(target, model.discriminator, torch.float16)
    if model.encoder is not None:
        save_encoder(target, model.encoder, model.info["encoder_info"], torch.float16)
    for direction in sorted((source / "directions").glob("*.h5")):
        write_bytes(target / "directions" / direction.name, direction.read_bytes())
    copy = load_model(target, parts=(GENERATOR,))
    search_basis(copy)  # measured once here, not by every user
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{target}: {copy.name}, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
