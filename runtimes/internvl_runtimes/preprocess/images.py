"""Reads encoded pictures: size from the header alone, then pixels.

The gateway calls `read_header` at admission: nothing is decoded, so a decompression bomb costs nothing and is
refused by its own header. The vision encoder calls `decode`.

The published preprocessing calls `Image.open(file).convert("RGB")`. So does `decode`, with its consequences:
an EXIF orientation is not applied (a photograph held sideways stays sideways, and its header's width and
height are those that are tiled), alpha is dropped and not blended, the first frame of an animation counts.
"""

import io
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""Formats that are tried, by Pillow's names. Others, some of which call external programs, never are."""

MAX_PIXELS = 64 * 1024 * 1024
"""Width times height beyond which a picture is refused, unless the caller says otherwise."""


class ImageInvalid(ValueError):
    """The bytes are not a picture that can be served: the message says why and what would do."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture's header says."""

    width: int
    height: int
    format: str
    """One of `FORMATS`."""


def read_header(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Header:
    """Width, height and format of an encoded picture, without decoding a pixel.

    Raises:
        ImageInvalid: not one of `FORMATS`, damaged, or more than `max_pixels`.
    """
    with _opened(data, max_pixels) as image:
        return _header(image)


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The picture in RGB.

    Raises:
        ImageInvalid: as `read_header`, or the pixels are damaged or end too early.
    """
    with _opened(data, max_pixels) as image:
        try:
            if image.mode == "RGB":  # `convert` would copy it
                image.load()
                return image
            return image.convert("RGB")
        except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, zlib.error, ...
            raise ImageInvalid(
                f"the {_header(image).format} picture is damaged or ends too early: {error}"
            ) from error


def _opened(data: bytes, max_pixels: int) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise ImageInvalid(f"the {len(data)} bytes are no picture: send {', '.join(FORMATS)}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Pillow's own limit (twice 89 million pixels), met before ours can be asked.
        raise ImageInvalid(f"the picture is too large, at most {max_pixels} pixels: {error}") from error
    except Exception as error:  # header parsers raise OSError, ValueError, struct.error, ...
        raise ImageInvalid(f"the picture's header is damaged: {error}") from error
    if image.width * image.height > max_pixels:
        raise ImageInvalid(
            f"the picture has {image.width}x{image.height} pixels, at most {max_pixels} are taken: scale it down"
        )
    return image


def _header(image: Image.Image) -> Header:
    # Telephones append a second picture to a JPEG; Pillow then calls it MPO and shows the first.
    name = "JPEG" if image.format == "MPO" else str(image.format)
    return Header(image.width, image.height, name)
