"""Makes the pictures of the docs from the demo's report: ``python docs/_pictures.py`` (needs chromium).

Run it when the report has changed its looks, and look at what it makes before committing.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

IMAGES = Path(__file__).parent / "images"
#: picture; what of the page it shows; what of that is left out; width and largest height of the window in pixels
PICTURES = (
    ("report-movies.png", "#movies", "p.choose, #movies > p.soft, article:nth-child(2n)", 860, 900),
    ("report-cells.png", "#cells", "nothing", 1000, 700),
    ("report-counts.png", "#counts", "nothing", 1000, 600),
)
MARGIN = 12


def screenshot(page: Path, target: Path, size: tuple[int, int]) -> None:
    """Let a headless browser draw a page."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("chromium is not installed; on Debian: apt-get install chromium")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000"]
    subprocess.run(
        [browser, *options, f"--window-size={size[0]},{size[1]}", f"--screenshot={target}", page.as_uri()],
        check=True,
        capture_output=True,
    )


def trim(picture: Path) -> None:
    """Cut away the empty rows at the bottom."""
    image = Image.open(picture).convert("RGB")
    pixels = np.asarray(image).astype(int)
    rows = np.flatnonzero(np.ptp(pixels, axis=1).max(axis=1) > 2)
    bottom = min(image.height, int(rows[-1]) + MARGIN)
    image.crop((0, 0, image.width, bottom)).save(picture, optimize=True)


def main() -> None:
    """Run the demo and draw each part of its report."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        kinocyte = Path(sys.executable).with_name("kinocyte")
        subprocess.run([kinocyte, "demo"], cwd=folder, check=True)
        report = (Path(folder) / "kinocyte-demo" / "demo_report.html").read_text(encoding="utf-8")
        for name, part, without, width, height in PICTURES:
            hidden = f"header, nav, footer, {without}, main > :not({part})"
            style = f"<style>{hidden} {{ display: none !important; }} main {{ max-width: none !important; }}</style>"
            page = Path(folder) / "part.html"
            page.write_text(report.replace("</head>", f"{style}</head>", 1), encoding="utf-8")
            screenshot(page, IMAGES / name, (width, height))
            trim(IMAGES / name)
            print(IMAGES / name, (IMAGES / name).stat().st_size // 1000, "kB")


if __name__ == "__main__":
    main()
