"""Text on pictures, Latin and Chinese, with no font installed.

Knows fonts and glyphs. Does not know boxes. Latin comes with Pillow; the 3,755 commonest Chinese characters come with this
package (`fonts/README.md`); fonts of the machine serve rarer letters, and an accent that none has is dropped. What is left is
left out, and `missing` says so.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from PIL import ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont | ImageFont.TransposedFont
Color = tuple[int, int, int, int]

_SHIPPED = "fonts/droid-sans-fallback-gb2312.ttf"
_FONT_DIRS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/System/Library/Fonts",
    "C:/Windows/Fonts",
)
_FAMILIES: tuple[tuple[str, ...], ...] = (
    ("NotoSansCJK", "NotoSansSC", "SourceHanSans", "DroidSansFallback", "wqy-", "msyh", "simhei", "PingFang", "STHeiti"),
    ("DejaVuSans.", "NotoSans-Regular", "LiberationSans-Regular", "Arial.", "arial.", "Helvetica"),
)
_NO_GLYPH = "\uffff"


@dataclass(frozen=True)
class Lettering:
    """Text at one size in pixels."""

    size: int

    def width(self, text: str) -> float:
        """Pixels across."""
        return sum(font.getlength(run) for font, run in self._runs(text))

    @property
    def ascent(self) -> int:
        """Pixels above the baseline."""
        return round(self.size * 0.95)

    @property
    def height(self) -> int:
        """Pixels of a line without leading."""
        return round(self.size * 1.2)

    def draw(self, canvas: ImageDraw.ImageDraw, at: tuple[float, float], text: str, color: Color) -> None:
        """Write `text` with its top left corner at `at`."""
        x, y = at
        for font, run in self._runs(text):
            canvas.text((x, y + self.ascent), run, font=font, fill=color, anchor="ls")
            x += font.getlength(run)

    def wrapped(self, text: str, width: float) -> list[str]:
        """Lines of at most `width` pixels, broken at spaces where there are any."""
        lines: list[str] = []
        line = ""
        for piece in _pieces(text):
            if line and self.width(line + piece.rstrip()) > width:
                lines.append(line.rstrip())
                line = ""
            # A piece longer than the line is broken anywhere.
            while self.width(piece.rstrip()) > width and len(piece) > 1:
                cut = next((i for i in range(1, len(piece)) if self.width(piece[: i + 1]) > width), len(piece) - 1)
                lines.append(piece[:cut])
                piece = piece[cut:]
            line += piece
        return [*lines, line.rstrip()] if line.strip() else lines

    def _runs(self, text: str) -> list[tuple[ImageFont.FreeTypeFont, str]]:
        """Stretches of text that one font has; characters that none has are left out."""
        runs: list[tuple[ImageFont.FreeTypeFont, str]] = []
        for char in text:
            char = _drawable(char)
            font = _font_of(char, self.size)
            if font is None:
                continue
            if runs and runs[-1][0] is font:
                runs[-1] = (font, runs[-1][1] + char)
            else:
                runs.append((font, char))
        return runs


def missing(text: str) -> str:
    """The characters of `text` that no font here has."""
    return "".join(char for char in dict.fromkeys(text) if _font_of(_drawable(char), 20) is None)


@lru_cache(maxsize=16_384)
def _drawable(char: str) -> str:
    """The character, or its letter without the accent where only that can be drawn."""
    plain = unicodedata.normalize("NFKD", char)[0]
    return plain if _font_of(char, 20) is None and _font_of(plain, 20) is not None else char


def _pieces(text: str) -> list[str]:
    """Words with the space after them; Chinese characters one by one."""
    pieces: list[str] = []
    for char in text:
        last = pieces[-1][-1] if pieces else ""
        if last and (char.isspace() or (char.isascii() and last.isascii() and not last.isspace())):
            pieces[-1] += char
        else:
            pieces.append(char)
    return pieces


@lru_cache(maxsize=16_384)
def _font_of(char: str, size: int) -> ImageFont.FreeTypeFont | None:
    for which in range(2 + len(_FAMILIES)):
        font = _font(which, size)
        if font is not None and _has(font, char):
            return font
    return None


@lru_cache(maxsize=64)
def _font(which: int, size: int) -> ImageFont.FreeTypeFont | None:
    """Pillow's own font, the one of this package, then the machine's; None where there is none."""
    if which == 0:
        own = ImageFont.load_default(size)
        return own if isinstance(own, ImageFont.FreeTypeFont) else None
    path = Path(str(files("deixis.spatial.showing"))) / _SHIPPED if which == 1 else _machine_font(_FAMILIES[which - 2])
    return None if path is None or not path.is_file() else ImageFont.truetype(path, size)


@lru_cache(maxsize=4)
def _machine_font(families: tuple[str, ...]) -> Path | None:
    """A font of this machine, by the beginning of its file's name."""
    for directory in _FONT_DIRS:
        found = [path for path in Path(directory).expanduser().rglob("*.[ot]t[fc]") if path.name.startswith(families)]
        if found:
            return sorted(found)[0]
    return None


def _has(font: ImageFont.FreeTypeFont, char: str) -> bool:
    """Whether a font draws this character, and not its box for missing ones."""
    if char.isspace():
        return True
    return bytes(font.getmask(char)) != bytes(font.getmask(_NO_GLYPH)) and char != _NO_GLYPH
