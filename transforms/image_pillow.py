"""Every other kind of image file through Pillow: PNG, WebP, GIF, TIFF, BMP, and JPEG in CMYK.

What becomes of pixels that are not 8 bits of grey or colour: palettes are looked up, alpha is dropped (not blended), CMYK
is converted by Pillow's formula without a profile, of 16 bits the upper 8 are kept, 1 bit becomes 0 and 255.
"""

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forebay.formats.errors import SpecError
from forebay.transforms.image_jpeg import UndecodableError
from forebay.transforms.image_pixels import Pixels, interleaved

_FAILURES = (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, KeyError, TypeError)
"""What Pillow's readers raise on damaged files."""


def size_of(data: NDArray[np.uint8], *, orient: bool) -> tuple[int, int]:
    """Height and width from the file's header.

    Raises:
        UndecodableError: Pillow does not know the format, or the header is damaged.
    """
    with _open(data) as image:
        width, height = image.size
        turned = orient and _orientation(image) >= 5
        return (width, height) if turned else (height, width)


def decode_pillow(data: NDArray[np.uint8], *, channels: int, orient: bool) -> Pixels:
    """Decode one file to 8-bit grey or colour.

    Raises:
        UndecodableError: Pillow does not know the format, or the file is damaged.
    """
    with _open(data) as image:
        try:
            image.load()
            pixels = _eight_bits(image, channels)
        except _FAILURES as error:
            raise UndecodableError(f"{image.format}: damaged ({_short(error)})") from error
        found = interleaved(np.ascontiguousarray(pixels))
        return found.oriented(_orientation(image)) if orient else found


def _open(data: NDArray[np.uint8]) -> Any:
    image = library()
    try:
        return image.open(io.BytesIO(data.tobytes()))
    except image.UnidentifiedImageError as error:
        raise UndecodableError("not an image that Pillow can identify") from error
    except image.DecompressionBombError as error:
        raise UndecodableError("more pixels than Pillow's limit (PIL.Image.MAX_IMAGE_PIXELS) allows") from error
    except _FAILURES as error:
        raise UndecodableError(f"an image header is damaged ({_short(error)})") from error


def _eight_bits(image: Any, channels: int) -> NDArray[np.uint8]:
    if image.mode.startswith("I") or image.mode == "F":
        wide = np.asarray(image)
        if image.mode == "F":
            narrow = np.clip(np.rint(wide), 0, 255).astype(np.uint8)
        else:
            narrow = (np.clip(wide.astype(np.int64), 0, 65535) >> 8).astype(np.uint8)
        return np.repeat(narrow[:, :, None], channels, axis=2)
    shown = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return shown.reshape(*shown.shape[:2], channels)


def _orientation(image: Any) -> int:
    try:
        value = image.getexif().get(0x0112, 1)
    except _FAILURES:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _short(error: Exception) -> str:
    return type(error).__name__ if isinstance(error, OSError) and error.errno else str(error).split("\n")[0][:80]


def library() -> Any:
    """PIL.Image.

    Raises:
        SpecError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise SpecError("decoding images other than JPEG needs Pillow; pip install 'forebay[image]'") from error
    return Image
