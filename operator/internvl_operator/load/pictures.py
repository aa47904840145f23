"""PNG pictures without a picture library: a gradient and a few boxes, so that one differs from another.

Their files are much smaller than photographs of that size; the work of a server is the same, that of the network
is not.
"""

import base64
import random
import struct
import zlib

from internvl_operator.load.shapes import Size

VARIANTS = 4
"""Different pictures of one size."""
_BOXES = 5


class Pictures:
    """Data URLs of pictures; a few of each size, drawn when first wanted and kept."""

    def __init__(self) -> None:
        self._drawn: dict[tuple[Size, int], str] = {}

    def data_url(self, size: Size, number: int) -> str:
        """The picture with that number; numbers go round."""
        key = (size, number % VARIANTS)
        if key not in self._drawn:
            picture = base64.b64encode(encode_png(size, seed=key[1])).decode()
            self._drawn[key] = f"data:image/png;base64,{picture}"
        return self._drawn[key]


def encode_png(size: Size, *, seed: int) -> bytes:
    """A picture of 8-bit RGB."""
    chance = random.Random(seed)  # noqa: S311 - pictures, no secrets
    rows = [_gradient(size, chance.randrange(256))] * size.height
    for _ in range(_BOXES):
        left, right = sorted(chance.randrange(size.width + 1) for _ in range(2))
        top, bottom = sorted(chance.randrange(size.height + 1) for _ in range(2))
        colour = chance.randbytes(3)
        for y in range(top, bottom):
            rows[y] = rows[y][: 3 * left] + colour * (right - left) + rows[y][3 * right :]
    pixels = b"".join(b"\0" + row for row in rows)  # each row begins with its filter: none
    head = struct.pack(">IIBBBBB", size.width, size.height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(pixels, 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _gradient(size: Size, blue: int) -> bytes:
    return b"".join(bytes((255 * x // size.width, 128, blue)) for x in range(size.width))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
