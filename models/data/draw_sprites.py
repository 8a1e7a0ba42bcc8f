"""Draws `sprites.png`, the pictures of the model `show`, from the emoji font Noto Color Emoji. Only needed to change them.

apt-get install fonts-noto-color-emoji
python -m keras_gates.models.data.draw_sprites /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from keras_gates.models.data.sprites import CELL, SHEET, SPRITES

EMOJI = {
    "dog": "🐶",
    "wolf": "🐺",
    "bear": "🐻",
    "fox": "🦊",
    "deer": "🦌",
    "squirrel": "🐿️",
    "evergreen": "🌲",
    "tree": "🌳",
    "owl": "🦉",
    "mushroom": "🍄",
    "cat": "🐱",
    "house": "🏠",
    "goldfish": "🐠",
    "sofa": "🛋️",
    "bed": "🛏️",
    "door": "🚪",
    "chair": "🪑",
    "hamster": "🐹",
    "sun": "☀️",
    "cloud": "☁️",
    "moon": "🌙",
    "star": "⭐",
    "car": "🚗",
    "ball": "⚽",
    "clock": "⏰",
    "plane": "✈️",
    "balloon": "🎈",
    "telephone": "📞",
    "bicycle": "🚲",
    "music": "🎵",
    "boat": "⛵",
    "key": "🔑",
}
FONT_SIZE = 109  # the only size of the font's bitmaps


def draw(font: str | Path, sheet: Path = SHEET) -> None:
    """Write the sprites side by side, in the order of `SPRITES`, each CELL × CELL pixels with transparency.

    Args:
        font: path of the font.
        sheet: the picture to write.
    """
    emoji = ImageFont.truetype(str(font), FONT_SIZE)
    names = [name for group in SPRITES.values() for name in group]
    picture = Image.new("RGBA", (CELL * len(names), CELL))
    for place, name in enumerate(names):
        sprite = Image.new("RGBA", (136, 128))
        ImageDraw.Draw(sprite).text((0, 0), EMOJI[name], font=emoji, embedded_color=True)
        picture.paste(sprite.resize((CELL, CELL), Image.Resampling.LANCZOS), (place * CELL, 0))
    picture.save(sheet, optimize=True)


if __name__ == "__main__":
    draw(sys.argv[1])
