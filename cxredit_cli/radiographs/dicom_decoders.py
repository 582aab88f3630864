"""Which of pydicom's plug-ins decodes each compression: one each, so that every machine reads the same values."""

from dataclasses import dataclass
from importlib.util import find_spec

from pydicom.uid import UID, JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

from cxredit_cli.errors import UnreadableImageError
from cxredit_cli.radiographs import jpeg_decoder

jpeg_decoder.register()


@dataclass(frozen=True, slots=True)
class Decoding:
    """How a compression is decoded."""

    plugin: str  # as pydicom names it
    modules: tuple[str, ...]  # that it needs
    packages: str  # that have them, as pip names them


JPEG = Decoding(jpeg_decoder.PLUGIN, ("imagecodecs",), "imagecodecs")
JPEG_LS = Decoding("pyjpegls", ("jpeg_ls",), "pyjpegls")
JPEG_2000 = Decoding("pylibjpeg", ("pylibjpeg", "openjpeg"), "pylibjpeg pylibjpeg-openjpeg")
# Not pylibjpeg-rle: on damaged data it panics, past every `except Exception`, and prints that it did.
RUN_LENGTH = Decoding("pydicom", (), "pydicom")
PACKAGES = ("imagecodecs", "pyjpegls", "pylibjpeg", "pylibjpeg-openjpeg")


def decoding_of(syntax: UID) -> Decoding | None:
    """How a compressed transfer syntax is decoded; None for one that no radiograph has."""
    if syntax in JPEG2000TransferSyntaxes or "HTJ2K" in syntax.keyword:
        return JPEG_2000
    if syntax in JPEGLSTransferSyntaxes:
        return JPEG_LS
    if syntax in JPEGTransferSyntaxes:
        return JPEG
    return RUN_LENGTH if syntax.keyword == "RLELossless" else None


def plugin_of(syntax: UID) -> str:
    """The plug-in for `syntax`, "" where it is not compressed. Raises UnreadableImageError where there is none."""
    if not syntax.is_encapsulated:
        return ""
    decoding = decoding_of(syntax)
    if decoding is None:
        raise UnreadableImageError(
            f"its compression ({syntax.name}) is not one for radiographs; convert it to uncompressed DICOM."
        )
    if any(find_spec(module) is None for module in decoding.modules):
        raise UnreadableImageError(
            f"its compression ({syntax.name}) needs a package that is missing; pip install {decoding.packages}"
        )
    return decoding.plugin
