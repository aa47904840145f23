import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from internvl_runtimes.preprocess.images import FORMATS, Header, ImageInvalid, decode, read_header


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_header_of(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return start + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", FORMATS)
def test_header_gives_the_size_in_every_format_that_is_taken(kind):
    data = encoded(Image.new("RGB", (31, 17), (200, 10, 10)), kind)
    assert read_header(data) == Header(31, 17, kind)
    image = decode(data)
    assert image.mode == "RGB" and image.size == (31, 17)
    assert np.abs(np.asarray(image, int) - (200, 10, 10)).max() <= 8


def test_a_format_that_is_not_taken_is_refused_with_the_list():
    with pytest.raises(ImageInvalid, match="no picture: send PNG, JPEG, WEBP, GIF, BMP"):
        read_header(encoded(Image.new("RGB", (4, 4)), "TIFF"))
    with pytest.raises(ImageInvalid, match="no picture"):
        decode(b"%PDF-1.4 ...")
    with pytest.raises(ImageInvalid, match="the 0 bytes are no picture"):
        read_header(b"")


@pytest.mark.parametrize(("width", "height"), [(9000, 9000), (12000, 9000), (60000, 60000)])
def test_a_decompression_bomb_is_refused_from_its_header(width, height):
    """Below Pillow's warning, between its warning and its error, above its error."""
    with pytest.raises(ImageInvalid, match="at most 67108864"):
        read_header(png_header_of(width, height))


def test_the_limit_is_the_callers():
    data = encoded(Image.new("RGB", (10, 10)))
    assert read_header(data, max_pixels=100).width == 10
    with pytest.raises(ImageInvalid, match="10x10 pixels, at most 99 are taken"):
        decode(data, max_pixels=99)


def test_a_picture_that_ends_too_early_is_refused_when_decoded():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for kind in ("PNG", "JPEG"):
        data = encoded(Image.fromarray(noise), kind)[:-500]
        assert read_header(data).width == 64
        with pytest.raises(ImageInvalid, match=f"the {kind} picture is damaged or ends too early"):
            decode(data)


def test_random_damage_gives_a_picture_or_a_clear_error_and_nothing_else():
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (16, 16, 3), np.uint8)
    for kind in FORMATS:
        original = encoded(Image.fromarray(noise), kind)
        for _ in range(100):
            damaged = bytearray(original)
            for place in rng.integers(0, len(damaged), 6):
                damaged[place] = rng.integers(256)
            try:
                decode(bytes(damaged), max_pixels=10_000)
            except ImageInvalid as error:
                assert str(error)


def test_orientation_is_not_applied_as_in_the_published_preprocessing():
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees to show"
    data = encoded(Image.new("RGB", (40, 20)), "JPEG", exif=exif)
    assert (read_header(data).width, read_header(data).height) == (40, 20)
    assert decode(data).size == (40, 20)


def test_alpha_is_dropped_and_palette_and_grey_become_rgb():
    assert decode(encoded(Image.new("RGBA", (2, 2), (9, 8, 7, 0)))).getpixel((0, 0)) == (9, 8, 7)
    assert decode(encoded(Image.new("L", (2, 2), 77))).getpixel((0, 0)) == (77, 77, 77)
    assert decode(encoded(Image.new("RGB", (2, 2), (255, 0, 0)).quantize(4))).getpixel((0, 0)) == (255, 0, 0)


def test_the_first_frame_of_an_animation_counts():
    frames = [Image.new("RGB", (5, 5), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data).getpixel((2, 2)) == (255, 0, 0)


def test_a_telephones_jpeg_with_a_second_picture_is_a_jpeg():
    frames = [Image.new("RGB", (16, 8), (0, 0, 255)), Image.new("RGB", (16, 8))]
    data = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert read_header(data) == Header(16, 8, "JPEG")
    assert decode(data).getpixel((8, 4))[2] > 240
