"""Pictures: every depth and container of PNG, TIFF and JPEG, and what is refused."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxredit_cli.errors import UnreadableImageError
from cxredit_cli.radiographs.read import read_radiograph
from cxredit_cli.radiographs.sources import Source
from cxredit_cli.radiographs.write import write_png

GREY8 = np.array([[0, 1, 127], [128, 254, 255]], dtype=np.uint8)
GREY16 = np.array([[0, 1, 257], [32768, 65534, 65535]], dtype=np.uint16)


def save(path: Path, values: np.ndarray, **options: object) -> Path:
    Image.fromarray(values).save(path, **options)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        read_radiograph(path)
    assert str(caught.value).startswith(f"{path.name}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "tif", "tiff"])
@pytest.mark.parametrize("values", [GREY8, GREY16])
def test_both_depths_of_png_and_tiff_are_exact(tmp_path, suffix, values):
    radiograph = read_radiograph(save(tmp_path / f"scan.{suffix}", values))
    assert radiograph.pixels.dtype == np.float32
    np.testing.assert_array_equal(radiograph.pixels, values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max))
    assert radiograph.name == f"scan.{suffix}"
    assert f"{8 * values.itemsize} bit" in radiograph.reading


def test_a_real_png(data):
    path = data / "nih" / "00001336_000.png"
    np.testing.assert_array_equal(
        np.rint(read_radiograph(path).pixels * 255).astype(np.uint8), np.asarray(Image.open(path))
    )


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_tiff(tmp_path, compression):
    path = save(tmp_path / "scan.tif", GREY16, compression=compression)
    np.testing.assert_allclose(read_radiograph(path).pixels, GREY16 / 65535, rtol=1e-6)


def test_big_endian_tiff(tmp_path):
    path = tmp_path / "scan.tif"
    header = b"MM\0*" + struct.pack(">I", 8)
    tags = [(256, 3, 3), (257, 3, 2), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 110), (278, 3, 2), (279, 4, 12)]
    directory = struct.pack(">H", len(tags))
    for tag, kind, value in tags:
        directory += struct.pack(">HHI", tag, kind, 1) + struct.pack(
            ">HH" if kind == 3 else ">I", *((value, 0) if kind == 3 else (value,))
        )
    content = header + directory + b"\0\0\0\0"
    path.write_bytes(content.ljust(110, b"\0") + GREY16.astype(">u2").tobytes())
    np.testing.assert_allclose(read_radiograph(path).pixels, GREY16 / 65535, rtol=1e-6)


@pytest.mark.parametrize("values", [GREY8, GREY16])
def test_tiff_where_white_is_zero(tmp_path, values):
    # Such as film digitisers write; Pillow's own reader inverts 8 bits and not 16.
    path = save(tmp_path / "scan.tif", values, tiffinfo={262: 0})
    white = np.iinfo(values.dtype).max
    pixels = read_radiograph(path).pixels
    stored = np.asarray(Image.open(path))
    assert Image.open(path).tag_v2[262] == 0
    raw = path.read_bytes()
    start = Image.open(path).tag_v2[273][0]
    written = np.frombuffer(raw[start:], dtype=values.dtype, count=values.size).reshape(values.shape)
    np.testing.assert_allclose(pixels, 1 - written / white, atol=1e-6)
    assert stored.shape == pixels.shape


def test_twelve_bits_in_sixteen(tmp_path):
    values = np.array([[0, 2048, 4095]], dtype=np.uint16)
    radiograph = read_radiograph(save(tmp_path / "scan.png", values))
    np.testing.assert_allclose(radiograph.pixels, values / 4095, rtol=1e-6)
    assert radiograph.reading == "PNG 16 bit of which 12 are used"


def test_a_dark_image_of_our_own_comes_back_as_it_was(tmp_path):
    dark = np.linspace(0, 0.05, 64, dtype=np.float32).reshape(8, 8)
    write_png(tmp_path / "dark.png", dark, {}, bits=16)
    np.testing.assert_allclose(read_radiograph(tmp_path / "dark.png").pixels, dark, atol=0.5 / 65535)


def test_grey_jpeg_and_grey_stored_as_colour(tmp_path, data):
    grey = np.asarray(Image.open(data / "nih" / "00001336_000.png"))
    colour = np.repeat(grey[..., None], 3, axis=2)
    for path in (
        save(tmp_path / "grey.jpg", grey, quality=95),
        save(tmp_path / "colour.jpg", colour, quality=95),
        save(tmp_path / "colour.png", colour),
        save(tmp_path / "colour.tif", colour),
        save(tmp_path / "alpha.png", np.dstack([colour, np.full_like(grey, 255)])),
    ):
        pixels = read_radiograph(path).pixels
        assert pixels.shape == grey.shape
        assert np.abs(pixels * 255 - grey).max() < (12 if path.suffix == ".jpg" else 1e-3)


def test_palette_and_grey_with_alpha(tmp_path):
    Image.fromarray(GREY8).convert("P").save(tmp_path / "palette.png")
    np.testing.assert_allclose(read_radiograph(tmp_path / "palette.png").pixels, GREY8 / 255, rtol=1e-6)
    alpha = np.array([[255, 255, 255], [255, 0, 255]], dtype=np.uint8)
    Image.merge("LA", [Image.fromarray(GREY8), Image.fromarray(alpha)]).save(tmp_path / "la.png")
    expected = GREY8 / 255
    expected[1, 1] = 0
    np.testing.assert_allclose(read_radiograph(tmp_path / "la.png").pixels, expected, rtol=1e-6)


def test_colour_is_refused_and_a_small_mark_is_not(tmp_path):
    colour = np.zeros((50, 50, 3), dtype=np.uint8)
    colour[:5, :5, 0] = 255  # 1 %: a red mark
    assert read_radiograph(save(tmp_path / "mark.png", colour)).pixels.shape == (50, 50)
    colour[:10, :10, 0] = 255
    assert "a colour picture (4% of its pixels" in refusal(save(tmp_path / "photo.png", colour))
    Image.new("LAB", (8, 8)).save(tmp_path / "lab.tif")
    assert "colour (LAB)" in refusal(tmp_path / "lab.tif")


def test_other_pixel_types_are_refused(tmp_path):
    assert "real numbers from" in refusal(save(tmp_path / "f.tif", GREY8.astype(np.float32)))
    assert "nothing says which are black" in refusal(save(tmp_path / "i.tif", GREY8.astype(np.int32) * 1000))


def test_several_frames_are_refused(tmp_path):
    page = Image.fromarray(GREY8)
    page.save(tmp_path / "pages.tif", save_all=True, append_images=[page, page])
    assert "3 frames" in refusal(tmp_path / "pages.tif")


def test_orientation_of_a_jpeg(tmp_path):
    image = Image.fromarray(np.repeat(np.repeat(np.array([[0, 255]], dtype=np.uint8), 16, 0), 8, 1))
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned clockwise
    image.save(tmp_path / "turned.jpg", exif=exif, quality=100)
    pixels = read_radiograph(tmp_path / "turned.jpg").pixels
    assert pixels[0].mean() < 0.1
    assert pixels[-1].mean() > 0.9


@pytest.mark.parametrize(
    "content", [b"", b"hello, I am text", b"\0" * 500, b"%PDF-1.4 " + b"x" * 500, b"GIF89a" + b"\0" * 99]
)
@pytest.mark.parametrize("name", ["scan.png", "scan.dcm", "scan"])
def test_files_that_are_no_image(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert "empty" in refusal(tmp_path / name) or "it is no DICOM file" in refusal(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path):
    assert "does not exist" in refusal(tmp_path / "missing.png")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_truncated_files_are_refused(tmp_path, data, suffix, share):
    image = Image.open(data / "nih" / "00001336_000.png")
    whole = tmp_path / f"whole.{suffix}"
    image.save(whole)
    content = whole.read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(content[: int(len(content) * share)])
    assert "truncated" in refusal(path)


def test_png_without_its_end(tmp_path, data):
    content = (data / "nih" / "00001336_000.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[:-12])
    assert "truncated" in refusal(tmp_path / "cut.png")


def test_damaged_png(tmp_path, data):
    content = bytearray((data / "nih" / "00001336_000.png").read_bytes())
    content[3000:3050] = zlib.compress(b"junk" * 9)[:50].ljust(50, b"\1")
    (tmp_path / "bad.png").write_bytes(bytes(content))
    assert "damaged" in refusal(tmp_path / "bad.png")


def test_suffix_does_not_matter(tmp_path, data):
    content = (data / "nih" / "00001336_000.png").read_bytes()
    for name in ("scan.jpg", "scan.dcm", "scan"):
        (tmp_path / name).write_bytes(content)
        assert read_radiograph(Source(tmp_path / name)).reading == "PNG 8 bit"
