"""Pictures of all formats: what is black and white in each, how they lie, and edits that lie as they lay."""

import io

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageOps

from cxredit_cli.errors import UnreadableImageError
from cxredit_cli.radiographs.derived_dicom import Derivation
from cxredit_cli.radiographs.film import read_film
from cxredit_cli.radiographs.picture import LIES_BY_EXIF
from cxredit_cli.radiographs.read import read_radiograph
from cxredit_cli.radiographs.sources import list_sources
from cxredit_cli.radiographs.write_film import suffix_of, write_film

HOW = Derivation("test", "recipe", 1, None)


@pytest.fixture
def grey(data) -> np.ndarray:
    """A real film, not square: [100, 80] uint8."""
    return np.asarray(Image.open(data / "nih" / "00001336_000.png").convert("L"))[10:110, 20:100].copy()


def refused(path) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        read_radiograph(path)
    return str(caught.value)


def seen_upright(path) -> np.ndarray:
    """What a viewer shows, [H, W] uint8."""
    if path.suffix == ".tif":
        with tifffile.TiffFile(path) as tiff:
            image, orientation = Image.fromarray(tiff.asarray()), tiff.pages.first.tags["Orientation"].value
        image.getexif()[ExifTags.Base.Orientation] = orientation
        return np.asarray(ImageOps.exif_transpose(image))
    return np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("L"))


def edited(path, folder, change):
    """The file that an edit makes, and the film."""
    film = read_film(path)
    target = folder / f"edited{suffix_of(film)}"
    write_film(target, film, change, {"Description": "SYNTHETIC"}, HOW)
    return target, film


@pytest.mark.parametrize(
    ("suffix", "options", "error"),
    [
        (".bmp", {}, 0),
        (".webp", {"lossless": True}, 0),
        (".jp2", {"irreversible": False}, 0),
        (".png", {}, 0),
        (".tif", {"compression": "tiff_lzw"}, 0),
        (".jpg", {"quality": 95}, 8),
    ],
)
def test_eight_bits(tmp_path, grey, suffix, options, error):
    path = tmp_path / f"scan{suffix}"
    Image.fromarray(grey).save(path, **options)
    assert np.abs(read_radiograph(path).pixels * 255 - grey).max() <= error + 1e-4
    assert [source.path for source in list_sources([tmp_path])] == [path]


def test_jpeg_2000_of_twelve_bits(tmp_path, grey):
    path = tmp_path / "scan.jp2"
    values = grey.astype(np.uint16) * 16 + 3
    Image.fromarray(values).save(path, irreversible=False)
    read = read_radiograph(path)
    np.testing.assert_allclose(read.pixels * 4095, values, atol=1e-2)
    assert "16 bit of which 12 are used" in read.reading


@pytest.mark.parametrize("orientation", LIES_BY_EXIF)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
def test_films_are_turned_as_their_exif_says_and_edits_lie_as_they_lay(tmp_path, grey, orientation, suffix):
    path = tmp_path / f"scan{suffix}"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options = {"lossless": True} if suffix == ".webp" else {"quality": 100} if suffix == ".jpg" else {}
    Image.fromarray(grey).save(path, exif=exif, **options)
    upright = seen_upright(path)
    film = read_film(path)
    np.testing.assert_allclose(film.pixels * 255, upright, atol=1e-4)
    change = np.zeros(upright.shape, np.float32)
    change[3:6, 5:7] = 0.1
    target, _ = edited(path, tmp_path, change)
    raw = tifffile.imread(target) if suffix == ".tif" else np.asarray(Image.open(target))
    assert raw.shape[:2] == grey.shape  # as it was stored
    seen = seen_upright(target).astype(int)
    assert (seen - upright)[3:6, 5:7].min() >= 25
    seen[3:6, 5:7] = upright[3:6, 5:7]
    assert (seen == upright).all()


def test_print_colours_of_a_grey_film(tmp_path, grey):
    path = tmp_path / "scan.jpg"
    black, ink = Image.new("L", grey.shape[::-1], 0), Image.fromarray(255 - grey)
    Image.merge("CMYK", [ink, ink, ink, black]).save(path, quality=100)
    read = read_radiograph(path)
    assert np.abs(read.pixels * 255 - grey).mean() < 2
    assert "print colours" in read.reading
    Image.merge("CMYK", [ink, Image.fromarray(grey), black, black]).save(path, quality=100)
    assert "colour picture" in refused(path)


def test_real_numbers_from_black_to_white(tmp_path, grey):
    path = tmp_path / "scan.tif"
    tifffile.imwrite(path, grey.astype(np.float32) / 255)
    read = read_radiograph(path)
    np.testing.assert_array_equal(read.pixels, grey.astype(np.float32) / 255)
    assert "32 bit" in read.reading
    target, film = edited(path, tmp_path, np.zeros(grey.shape, np.float32))
    np.testing.assert_array_equal(tifffile.imread(target), film.pixels)
    change = np.zeros(grey.shape, np.float32)
    change[0, 0] = 0.125
    target, _ = edited(path, tmp_path, change)
    assert tifffile.imread(target)[0, 0] == film.pixels[0, 0] + np.float32(0.125)


@pytest.mark.parametrize("values", [[[0.0, 200.0]], [[-0.5, 0.5]], [[np.nan, 0.5]]])
def test_real_numbers_of_another_range_are_refused_by_what_they_are(tmp_path, values):
    path = tmp_path / "scan.tif"
    tifffile.imwrite(path, np.array(values, np.float32))
    assert "expected 0 to 1" in refused(path) or "no finite numbers" in refused(path)


def test_signed_values_that_are_not_negative(tmp_path, grey):
    path = tmp_path / "scan.tif"
    tifffile.imwrite(path, grey.astype(np.int16) * 8)
    read = read_radiograph(path)
    np.testing.assert_allclose(read.pixels * 2047, grey.astype(float) * 8, atol=1e-3)
    assert "16 bit signed" in read.reading
    change = np.zeros(grey.shape, np.float32)
    change[0, 0] = 100 / 2047
    target, _ = edited(path, tmp_path, change)
    written = tifffile.imread(target)
    assert written.dtype == np.int16
    assert written[0, 0] == int(grey[0, 0]) * 8 + 100
    assert (written.ravel()[1:] == grey.astype(np.int16).ravel()[1:] * 8).all()


@pytest.mark.parametrize("kind", [np.int16, np.int32])
def test_negative_values_are_refused_by_their_range(tmp_path, grey, kind):
    path = tmp_path / "scan.tif"
    tifffile.imwrite(path, grey.astype(kind) - 100)
    assert f"run from {int(grey.min()) - 100} to {int(grey.max()) - 100}" in refused(path)


@pytest.mark.parametrize(
    ("kind", "white"), [(np.uint8, 255), (np.uint16, 4095), (np.float32, 1), (np.float64, 1), (">u2", 4095)]
)
def test_numpy_arrays(tmp_path, grey, kind, white):
    path = tmp_path / "scan.npy"
    values = np.rint(grey / 255 * white).astype(kind) if white > 1 else (grey / 255).astype(kind)
    np.save(path, values[None])  # one channel first
    np.testing.assert_allclose(read_radiograph(path).pixels, values.astype(float) / white, atol=1e-6)
    assert [source.path for source in list_sources([tmp_path])] == [path]
    target, _ = edited(path, tmp_path, np.zeros(grey.shape, np.float32))
    written = tifffile.imread(target) if white == 1 else np.asarray(Image.open(target))
    np.testing.assert_array_equal(written, values.astype(np.float32) if white == 1 else values)


@pytest.mark.parametrize(
    ("array", "named"),
    [
        (np.zeros((4, 5, 3)), r"\[4, 5, 3\]"),
        (np.zeros((4, 5), np.int64), "int64"),
        (np.full((4, 5), 7.0), "from 7 to 7"),
        (np.array([[object()]]), "holds no numbers"),
        (np.zeros((0, 5)), "shape"),
    ],
)
def test_arrays_that_are_no_films_are_refused_by_what_they_are(tmp_path, array, named):
    path = tmp_path / "scan.npy"
    np.save(path, array, allow_pickle=True)
    with pytest.raises(UnreadableImageError, match=named):
        read_radiograph(path)


def test_a_damaged_array_is_refused(tmp_path, grey):
    whole = io.BytesIO()
    np.save(whole, grey)
    for content in (whole.getvalue()[:200], b"\x93NUMPY\x01\x00", b"\x93NUMPYjunk"):
        path = tmp_path / "scan.npy"
        path.write_bytes(content)
        assert "damaged" in refused(path)
