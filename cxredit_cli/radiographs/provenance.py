"""What every picture says about itself, as PNG text."""

from cxredit_cli import __version__

SOFTWARE = f"cxredit {__version__}"
DISCLAIMER = "For research and education, not for diagnosis"


def edited(model: str, source: str, direction: str, strength: str, layers: str, native: bool = False) -> dict[str, str]:
    """PNG text of an edited radiograph; `model` is its name with the fingerprint; `native`: of a film itself."""
    how = "a real one, changed as a generative model" if native else "reconstructed and changed by a generative model"
    return {
        "Title": f"{source}, edited: {direction} {strength}",
        "Description": f"Edited chest X-ray: {how}{' changes its reconstruction' if native else ''}. {DISCLAIMER}.",
        "Software": SOFTWARE,
        "Disclaimer": DISCLAIMER,
        "Source": source,
        "Model": model,
        "Direction": direction,
        "Strength": strength,
        "Layers": layers,
    }


def warped(source: str, change: str) -> dict[str, str]:
    """PNG text of a radiograph whose pixels were moved."""
    return {
        "Title": f"{source}, edited: {change}",
        "Description": "Edited chest X-ray: a region of a real one was moved by a smooth warp. " + DISCLAIMER + ".",
        "Software": SOFTWARE,
        "Disclaimer": DISCLAIMER,
        "Source": source,
        "Edit": change,
    }


def synthetic(model: str, seed: str, truncation_psi: float) -> dict[str, str]:
    """PNG text of a generated radiograph, which shows nobody."""
    return {
        "Title": f"Synthetic chest X-ray, seed {seed}",
        "Description": "Synthetic chest X-ray made by a generative model; it shows no real patient. "
        + DISCLAIMER
        + ".",
        "Software": SOFTWARE,
        "Disclaimer": DISCLAIMER,
        "Model": model,
        "Seed": seed,
        "Truncation psi": f"{truncation_psi:g}",
    }
