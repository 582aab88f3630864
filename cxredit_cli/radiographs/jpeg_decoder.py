"""A plug-in of pydicom's that decodes JPEG, of 8 and 12 bits and lossless, by imagecodecs (libjpeg-turbo).

pydicom calls what is here by these names. Its own plug-ins for JPEG Lossless are GDCM, which ends the process on some
damaged files, and pylibjpeg-libjpeg, which is under the GPL.
"""

from importlib.util import find_spec

import numpy as np
from pydicom.pixels import get_decoder
from pydicom.pixels.common import PhotometricInterpretation
from pydicom.pixels.decoders.base import DecodeRunner
from pydicom.uid import JPEGTransferSyntaxes

PLUGIN = "imagecodecs"
DECODER_DEPENDENCIES = dict.fromkeys(JPEGTransferSyntaxes, ("numpy", "imagecodecs>=2024.9"))


def is_available(_: str) -> bool:
    """Whether imagecodecs is installed."""
    return find_spec(PLUGIN) is not None


def _decode_frame(src: bytes, runner: DecodeRunner) -> bytearray:
    """The values of one frame as pydicom wants them: little endian, colour by pixel."""
    import imagecodecs

    colour = runner.samples_per_pixel > 1
    space = "RGB" if colour and runner.photometric_interpretation == PhotometricInterpretation.RGB else None
    decoded = np.asarray(imagecodecs.jpeg8_decode(src, colorspace=space, outcolorspace="RGB" if colour else None))
    if colour:
        runner.set_option("photometric_interpretation", PhotometricInterpretation.RGB)
        runner.set_option("planar_configuration", 0)
    runner.set_option("bits_allocated", 8 * decoded.dtype.itemsize)
    return bytearray(decoded.astype(decoded.dtype.newbyteorder("<")).tobytes())


def register() -> None:
    """Let pydicom know of this plug-in, once."""
    for syntax in JPEGTransferSyntaxes:
        decoder = get_decoder(syntax)
        if PLUGIN not in (*decoder.available_plugins, *decoder.missing_dependencies):
            decoder.add_plugin(PLUGIN, (__name__, "_decode_frame"))
