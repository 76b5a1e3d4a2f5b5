"""The page as a browser shows it: full, nothing wider than the screen, light and dark. Skipped without Chromium."""

from __future__ import annotations

import json
import math
import re
import shutil
import struct
import subprocess
import zlib
from collections import Counter
from html import escape, unescape
from pathlib import Path

import pytest

from bgci.reporting import junit, page
from bgci.reporting.artifacts import Artifacts
from e2e import page_samples

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
HEIGHT = 3200
SCALE = 0.5  # of the screenshots: the least that Chromium does, and fewer pixels to read
DARK = "--blink-settings=preferredColorScheme=0"
# Measured in a copy of the page: the page itself allows no script.
MEASURE = """<script>
const wide = document.documentElement;
const boxes = [...document.querySelectorAll("body *")].filter(e => e.getClientRects().length);
const texts = [...document.querySelectorAll("svg text")].filter(e => e.getClientRects().length);
const crossing = [];
for (const a of texts) for (const b of texts) if (a !== b && a.parentNode === b.parentNode) {
  const [p, q] = [a.getBoundingClientRect(), b.getBoundingClientRect()];
  if (p.left < q.right && q.left < p.right && p.top + 2 < q.bottom && q.top + 2 < p.bottom)
    crossing.push(a.textContent + " over " + b.textContent);
}
parent.document.body.dataset.measured = JSON.stringify({
  inner: innerWidth, scroll: wide.scrollWidth, height: wide.scrollHeight,
  beyond: boxes.filter(e => e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.outerHTML.slice(0, 80)),
  crossing, pictures: [...document.querySelectorAll("figure svg")].filter(e => e.getClientRects().length).length,
  smallest: Math.min(...texts.map(e => e.getBoundingClientRect().height)),
});
</script>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing: make ci-tools")
on_each_screen = pytest.mark.parametrize("width", [375, 1280])
in_each_scheme = pytest.mark.parametrize("scheme", ["light", "dark"])


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The page of a whole release, with everything on it."""
    artifacts = Artifacts(tmp_path / "artifacts")
    artifacts.write_bytes("journal.jsonl", "\n".join(page_samples.journal()).encode())
    artifacts.write_json("result.json", page_samples.ended())
    artifacts.write_json("manifest.json", {"revision": "v2", "image": "registry.example.com/shop/" + "web" * 30})
    artifacts.write_bytes("junit/bgci.xml", junit.report(page_samples.cases(), {}))
    return page.write(artifacts)


def browse(tmp_path: Path, *arguments: str) -> str:
    profile = tmp_path / "profile"
    done = subprocess.run(
        [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


@on_each_screen
def test_every_element_is_visible_and_no_label_overlaps_another(written: Path, tmp_path: Path, width: int) -> None:
    html = re.sub(r"<meta http-equiv[^>]*>", "", written.read_text())
    copy = tmp_path / "measured.html"
    inside = html.replace("</body>", f"{MEASURE}</body>").replace("<details>", "<details open>")
    # A window has a least width, a frame has none.
    copy.write_text(f'<body><iframe width="{width}" height="{HEIGHT}" style="border:0" srcdoc="{escape(inside)}">')
    dom = browse(tmp_path, "--window-size=1400,3300", "--dump-dom", copy.as_uri())
    (said,) = re.findall(r'data-measured="([^"]*)"', dom)
    seen = json.loads(unescape(said))
    assert seen["inner"] == width
    assert seen["scroll"] <= width
    assert seen["beyond"] == []
    assert seen["crossing"] == []
    assert seen["pictures"] == 4  # one size of each
    assert seen["smallest"] >= 11  # pixels: letters that can be read
    assert seen["height"] > 1500


@on_each_screen
@in_each_scheme
def test_the_picture_of_the_page_shows_both_colours(written: Path, tmp_path: Path, width: int, scheme: str) -> None:
    shot = tmp_path / "page.png"
    scheme_flags = (DARK,) if scheme == "dark" else ("--blink-settings=preferredColorScheme=1",)
    size = (f"--window-size={width},{HEIGHT}", f"--force-device-scale-factor={SCALE}")
    browse(tmp_path, *scheme_flags, *size, f"--screenshot={shot}", written.as_uri())
    seen_width, pixels = png(shot)
    assert seen_width == math.ceil(width * SCALE)
    colours = Counter(pixels)
    paper, blue, green = {
        "light": ((255, 255, 255), (0x2B, 0x66, 0xC4), (0x26, 0x80, 0x4F)),
        "dark": ((0x12, 0x15, 0x1A), (0x6E, 0xA0, 0xF0), (0x56, 0xB9, 0x85)),
    }[scheme]
    assert colours.most_common(1)[0][0] == paper
    assert colours[blue] > 50 * width * SCALE**2  # areas of the two colours, not only a line
    assert colours[green] > 10 * width * SCALE**2
    assert len(pixels) - colours[paper] > 0.1 * len(pixels)


def png(path: Path) -> tuple[int, list[tuple[int, ...]]]:
    """The width, and every pixel as (red, green, blue), of an 8-bit PNG without interlacing (PNG, 3rd edition)."""
    data = path.read_bytes()
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    assert (depth, interlaced) == (8, 0)
    size = {2: 3, 6: 4}[kind]
    packed, at = b"", 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        if data[at + 4 : at + 8] == b"IDAT":
            packed += data[at + 8 : at + 8 + length]
        at += 12 + length
    raw, stride = zlib.decompress(packed), width * size
    pixels: list[tuple[int, ...]] = []
    above = bytearray(stride)
    for row in range(height):
        start = row * (stride + 1)
        above = _unfiltered(raw[start], bytearray(raw[start + 1 : start + 1 + stride]), above, size)
        pixels += zip(above[0::size], above[1::size], above[2::size], strict=True)
    return width, pixels


def _unfiltered(method: int, line: bytearray, above: bytearray, size: int) -> bytearray:
    if method == 0:
        return line
    for i, value in enumerate(line):
        left = line[i - size] if i >= size else 0
        up, corner = above[i], above[i - size] if i >= size else 0
        line[i] = (value + (left, up, (left + up) // 2, _paeth(left, up, corner))[method - 1]) & 0xFF
    return line


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    return min((left, up, corner), key=lambda near: abs(guess - near))
