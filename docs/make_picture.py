"""Renders Markdown comments to PNGs as GitHub shows them.

    python docs/make_picture.py COMMENT.md PICTURE.png [--theme light|dark] [--width 900]
    python docs/make_picture.py --all FOLDER [--only PART-OF-A-NAME] [--open]

Markdown goes through cmarkgfm (GitHub's own renderer) and gets GitHub's stylesheet, which `npm
pack` fetches from the package github-markdown-css into a cache folder. Needs npm and Chromium.
A picture is as high as its comment. `--open` shows folded parts unfolded. `--all` renders every
golden comment in light and dark, as wide as a desktop and as a telephone, and exits with 1 when a
page is wider than its window.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import cmarkgfm
from cmarkgfm.cmark import Options

CSS_PACKAGE = "github-markdown-css@5.8.1"
CACHE = Path.home() / ".cache" / "ailab-picture"
GOLDEN = Path(__file__).parents[1] / "tests" / "unit" / "golden"
WIDTHS = (1280, 400)
#: As wide as GitHub's column of comments at most; narrower windows are filled.
COLUMN = 910
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

PAGE = """<!doctype html><meta charset="utf-8"><style>{css}
html, body {{ margin: 0; background: {background}; }}
body {{ width: {width}px; padding: 16px; box-sizing: border-box; }}
.box {{ max-width: {column}px; border: 1px solid {border}; border-radius: 6px; }}
.who {{ padding: 8px 16px; background: {bar}; border-bottom: 1px solid {border}; color: {grey};
  font: 14px -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; }}
.who b {{ color: {text}; }}
.who span {{ border: 1px solid {border}; border-radius: 2em; padding: 0 6px; font-size: 12px; }}
.markdown-body {{ padding: 16px; font-size: 14px; }}
</style><div class="box" id="box"><div class="who"><b>ailab</b> <span>bot</span> commented now</div>
<div class="markdown-body">{body}</div></div>"""
#: Height of the comment, and whether nothing in it reaches beyond its box.
MEASURE = """<script>
const box = document.getElementById('box'), edge = box.getBoundingClientRect().right + 1;
const text = [...box.querySelectorAll('p, li, h3, h4, table, pre, details')];
const fits = text.every(one => one.getBoundingClientRect().right <= edge);
document.title = `${box.offsetHeight} ${fits && box.scrollWidth <= box.clientWidth}`;
</script>"""

COLOURS = {
    "light": {"background": "#fff", "border": "#d1d9e0", "bar": "#f6f8fa", "grey": "#59636e",
              "text": "#1f2328"},
    "dark": {"background": "#0d1117", "border": "#3d444d", "bar": "#151b23", "grey": "#9198a1",
             "text": "#f0f6fc"},
}  # fmt: skip


def stylesheet(theme: str) -> str:
    """GitHub's CSS, fetched once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    file = CACHE / f"{CSS_PACKAGE}-{theme}.css"
    if not file.exists():
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                ["npm", "pack", "--silent", CSS_PACKAGE], cwd=folder, check=True, text=True
            )
            with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
                member = archive.extractfile(f"package/github-markdown-{theme}.css")
                assert member is not None
                file.write_bytes(member.read())
    return file.read_text(encoding="utf-8")


def to_html(markdown: str) -> str:
    """GitHub's dialect; raw HTML is kept, as GitHub keeps <details> and <sub>."""
    options = Options.CMARK_OPT_UNSAFE | Options.CMARK_OPT_GITHUB_PRE_LANG
    return str(cmarkgfm.github_flavored_markdown_to_html(markdown, options))


def render(markdown: str, png: Path, *, theme: str, width: int, unfold: bool) -> bool:
    """Write the picture; whether the page fits its width. RuntimeError when a browser fails."""
    body = to_html(markdown)
    if unfold:
        body = body.replace("<details>", "<details open>")
    page = PAGE.format(
        css=stylesheet(theme), body=body, width=width, column=COLUMN, **COLOURS[theme]
    )
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise RuntimeError(f"no browser: install one of {', '.join(BROWSERS)}")
    with tempfile.TemporaryDirectory() as folder:
        html = Path(folder) / "page.html"
        html.write_text(page + MEASURE, encoding="utf-8")
        common = [browser, *FLAGS, f"--user-data-dir={folder}/profile"]
        # The first visit asks for the size, the second takes the picture.
        dom = subprocess.run(
            [*common, f"--window-size={width},800", "--dump-dom", html.as_uri()],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        found = re.search(r"<title>(\d+) (true|false)", dom)
        if found is None:
            raise RuntimeError("the browser did not render the page")
        subprocess.run(
            [*common, f"--window-size={width},{int(found[1]) + 32}",
             "--force-device-scale-factor=2", f"--screenshot={png.absolute()}", html.as_uri()],
            capture_output=True, check=True,
        )  # fmt: skip
    return found[2] == "true"


def render_all(folder: Path, *, only: str, unfold: bool) -> list[str]:
    """Every golden comment, in each theme and width; the names of pages wider than their window."""
    folder.mkdir(parents=True, exist_ok=True)
    too_wide = []
    for golden in sorted(GOLDEN.glob("*.md")):
        if only not in golden.stem:
            continue
        for theme in COLOURS:
            for width in WIDTHS:
                png = folder / f"{golden.stem}-{theme}-{width}.png"
                markdown = golden.read_text(encoding="utf-8")
                if not render(markdown, png, theme=theme, width=width, unfold=unfold):
                    too_wide.append(png.name)
                print(png)
    return too_wide


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("comment", type=Path, nargs="?")
    parser.add_argument("picture", type=Path, nargs="?")
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="render every golden comment")
    parser.add_argument("--only", default="", help="with --all: those with this in their name")
    parser.add_argument("--theme", choices=COLOURS, default="light")
    parser.add_argument("--width", type=int, default=900)
    parser.add_argument("--open", action="store_true", help="unfold what is folded")
    arguments = parser.parse_args()
    if arguments.all is not None:
        too_wide = render_all(arguments.all, only=arguments.only, unfold=arguments.open)
        sys.exit(f"wider than their window: {', '.join(too_wide)}" if too_wide else 0)
    if arguments.comment is None or arguments.picture is None:
        parser.error("name a comment and a picture, or --all FOLDER")
    render(
        arguments.comment.read_text(encoding="utf-8"),
        arguments.picture,
        theme=arguments.theme,
        width=arguments.width,
        unfold=arguments.open,
    )


if __name__ == "__main__":
    main()
