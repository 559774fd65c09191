"""The font of the formulas: STIX Two Math from the wheel of ziamath, cut down to what the book needs.

It is made when the site is built and lies beside the site's other files, so that no page asks another host.
The licence (SIL Open Font License 1.1) allows both; its notice stays in the font's name table.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any

FAMILY = "Derivable Math"

# Latin, Greek, marks, punctuation, letterlike symbols, arrows, operators, brackets, mathematical alphabets.
_RANGES = [
    (0x20, 0x7E),
    (0xA0, 0xFF),
    (0x131, 0x131),
    (0x237, 0x237),
    (0x2B0, 0x36F),
    (0x370, 0x3FF),
    (0x2000, 0x206F),
    (0x20D0, 0x20FF),
    (0x2100, 0x214F),
    (0x2190, 0x22FF),
    (0x2300, 0x230F),
    (0x23B0, 0x23E1),
    (0x25A0, 0x25FF),
    (0x2605, 0x2606),
    (0x27C0, 0x27FF),
    (0x2980, 0x29FF),
    (0x2A00, 0x2A3F),
    (0x2A7D, 0x2AB0),
    (0x1D400, 0x1D537),  # bold, italic, bold italic, script, bold script, fraktur
    (0x1D538, 0x1D56B),  # double-struck
    (0x1D5A0, 0x1D5D3),  # sans-serif
    (0x1D6A4, 0x1D755),  # Greek: bold, italic, bold italic
    (0x1D7CE, 0x1D7E1),  # digits: bold, double-struck
]


def source() -> Path:
    """Return the file that the font is made from."""
    found = importlib.util.find_spec("ziamath")  # its import would load a whole drawing library
    if found is None or found.origin is None:
        raise ModuleNotFoundError("the font of the formulas comes with ziamath: pip install 'derivable[docs]'")
    return Path(found.origin).parent / "fonts" / "STIXTwoMath-Regular.ttf"


def ensure(target: Path) -> Path:
    """Make the font unless it is there and newer than what it is made from.

    Args:
        target: the WOFF2 file to write.

    Returns:
        `target`.
    """
    newest = max(source().stat().st_mtime, Path(__file__).stat().st_mtime)
    if target.exists() and target.stat().st_mtime >= newest:
        return target
    font = make()
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, suffix=".tmp")
    with os.fdopen(handle, "wb") as file:
        font.save(file)
    os.chmod(name, 0o644)
    os.replace(name, target)  # two builds at once never see half a file
    return target


def make() -> Any:
    """Cut the font down.

    Returns:
        The font, ready to be saved as WOFF2.
    """
    from fontTools.subset import Options, Subsetter
    from fontTools.ttLib import TTFont

    font = TTFont(source())
    options = Options()
    options.flavor = "woff2"
    options.hinting = False
    options.layout_features = ["ccmp", "dtls", "flac", "mark", "mkmk", "ssty"]
    options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13, 14]
    options.notdef_outline = True
    options.recalc_timestamp = False
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=[code for first, last in _RANGES for code in range(first, last + 1)])
    subsetter.subset(font)
    _narrow_radicals(font)
    for record in font["name"].names:
        if record.nameID in (1, 3, 4):
            record.string = FAMILY
        elif record.nameID == 6:
            record.string = FAMILY.replace(" ", "")
    font.flavor = "woff2"
    return font


def _narrow_radicals(font: Any) -> None:
    """Make the tall root signs as narrow as the small one.

    Chromium leaves beside every root the room that the widest of its signs would need, so
    that in the font as it is a small root is followed by a gap.
    """
    variants = font["MATH"].table.MathVariants
    sign = font.getBestCmap()[0x221A]
    construction = variants.VertGlyphConstruction[variants.VertGlyphCoverage.glyphs.index(sign)]
    tall = [record.VariantGlyph for record in construction.MathGlyphVariantRecord]
    if construction.GlyphAssembly:
        tall += [part.glyph for part in construction.GlyphAssembly.PartRecords]
    widths, outlines = font["hmtx"].metrics, font["glyf"]
    room, _ = widths[sign]
    for name in dict.fromkeys(tall):
        width, _ = widths[name]
        if width <= room:
            continue
        glyph = outlines[name]
        if glyph.isComposite():
            raise ValueError(f"the root sign {name} is composed of others; it cannot be narrowed alone")
        # The right edge meets the bar above the root, so it is what keeps its place.
        for i, (x, y) in enumerate(glyph.coordinates):
            glyph.coordinates[i] = (round(room + (x - width) * room / width), y)
        glyph.recalcBounds(outlines)
        widths[name] = (room, glyph.xMin)
