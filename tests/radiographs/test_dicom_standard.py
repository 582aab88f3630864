"""What the standard says of how values are shown: presentation shapes, shutters, real numbers, functional groups."""

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from cxredit_cli.errors import UneditableFilmError, UnreadableImageError
from cxredit_cli.radiographs.film import read_film
from cxredit_cli.radiographs.read import read_radiograph

RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
WINDOW = {"WindowCenter": 128, "WindowWidth": 256}


@pytest.mark.parametrize(
    ("interpretation", "shape", "inverted"),
    [
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "INVERSE", True),  # the same thing said twice: once
        ("MONOCHROME1", "IDENTITY", True),
    ],
)
def test_presentation_shape(make_dicom, interpretation, shape, inverted):
    path = make_dicom(RAMP, PhotometricInterpretation=interpretation, PresentationLUTShape=shape, **WINDOW)
    shown = RAMP / 255
    np.testing.assert_allclose(read_radiograph(path).pixels, 1 - shown if inverted else shown, atol=1e-6)


def test_outside_of_a_rectangular_shutter_is_black(make_dicom):
    edges = dict(zip(("Left", "Right"), (2, 6), strict=True))
    tags = {f"Shutter{side}VerticalEdge": at for side, at in edges.items()}
    tags |= {"ShutterUpperHorizontalEdge": 3, "ShutterLowerHorizontalEdge": 8, "ShutterShape": "RECTANGULAR"}
    expected = np.zeros((8, 8))
    expected[2:8, 1:6] = (RAMP / 255)[2:8, 1:6]
    read = read_radiograph(make_dicom(RAMP, **tags, **WINDOW))
    np.testing.assert_allclose(read.pixels, expected, atol=1e-6)
    assert "shutter" in read.reading


def test_outside_of_a_circular_shutter_is_black(make_dicom):
    tags = {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [4, 5], "RadiusOfCircularShutter": 2}
    pixels = read_radiograph(make_dicom(np.full((8, 8), 255, np.uint8), **tags, **WINDOW)).pixels
    expected = ["00000000", "00001000", "00011100", "00111110", "00011100", "00001000", "00000000", "00000000"]
    assert ["".join(str(int(value)) for value in row) for row in pixels] == expected


def test_outside_of_a_polygonal_shutter_is_black(make_dicom):
    corners = [1, 1, 1, 8, 8, 1]  # row and column in turn: the triangle at the top left
    tags = {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": corners}
    pixels = read_radiograph(make_dicom(np.full((8, 8), 255, np.uint8), **tags, **WINDOW)).pixels
    row, column = np.indices((8, 8))
    assert (pixels[row + column < 7] == 1).all()
    assert (pixels[row + column > 7] == 0).all()


def test_inverted_films_are_black_behind_the_shutter_too(make_dicom):
    tags = {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [4, 4], "RadiusOfCircularShutter": 2}
    pixels = read_radiograph(make_dicom(RAMP, PhotometricInterpretation="MONOCHROME1", **tags, **WINDOW)).pixels
    assert pixels[0, 0] == 0
    assert pixels[3, 3] == pytest.approx(1 - RAMP[3, 3] / 255)


def test_what_a_shutter_hides_is_never_edited(make_dicom):
    tags = {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [4, 4], "RadiusOfCircularShutter": 2}
    changed = read_film(make_dicom(RAMP, **tags, **WINDOW)).changed(np.full((8, 8), 0.2, np.float32))
    assert changed[0, 0] == RAMP[0, 0]
    assert changed[3, 3] == RAMP[3, 3] + 51  # .2 of 255


@pytest.mark.parametrize(("keyword", "kind"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")])
def test_real_numbers_are_read(make_dicom, keyword, kind):
    path = make_dicom(RAMP)
    dataset = dcmread(path)
    del dataset.PixelData
    setattr(dataset, keyword, (RAMP.astype(kind) * 0.5 - 7).tobytes())
    dataset.BitsAllocated = 8 * np.dtype(kind).itemsize
    dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = 50, 100, "LINEAR_EXACT"
    dataset.save_as(path)
    expected = np.clip((RAMP * 0.5 - 7 - 50) / 100 + 0.5, 0, 1)
    np.testing.assert_allclose(read_radiograph(path).pixels, expected, atol=1e-6)
    assert "real numbers" in read_radiograph(path).reading
    with pytest.raises(UneditableFilmError, match="real numbers"):
        read_film(path).changed(np.full((8, 8), 0.1, np.float32))
    del dataset.WindowCenter, dataset.WindowWidth
    dataset.save_as(path)
    pixels = read_radiograph(path).pixels
    assert pixels.min() == 0
    assert pixels.max() == 1
    setattr(dataset, keyword, np.full((8, 8), np.nan, kind).tobytes())
    dataset.save_as(path)
    with pytest.raises(UnreadableImageError, match="no finite numbers"):
        read_radiograph(path)


def test_an_unknown_kind_of_window_is_named(make_dicom):
    path = make_dicom(RAMP, VOILUTFunction="SAMPLED_SIGMOID", **WINDOW)
    with pytest.raises(UnreadableImageError, match=r"SAMPLED_SIGMOID.*SIGMOID"):
        read_radiograph(path)


@pytest.mark.parametrize("where", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
def test_windows_and_spacing_of_enhanced_images(make_dicom, where):
    voi, values, measures, group = Dataset(), Dataset(), Dataset(), Dataset()
    voi.WindowCenter, voi.WindowWidth, voi.VOILUTFunction = 20, 20, "LINEAR_EXACT"
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = "0.5", "-10", "US"
    measures.PixelSpacing = [0.2, 0.1]
    group.FrameVOILUTSequence, group.PixelValueTransformationSequence = [voi], [values]
    group.PixelMeasuresSequence = [measures]
    pixels = read_radiograph(make_dicom(RAMP, **{where: [group]})).pixels
    assert pixels.shape == (16, 8)
    expected = np.clip((RAMP[0] * 0.5 - 10 - 20) / 20 + 0.5, 0, 1)
    np.testing.assert_allclose(pixels[0], expected, atol=1e-6)
