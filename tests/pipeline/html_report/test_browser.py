"""The page in a browser that has no network: nothing sticks out on a telephone, and nothing is asked for."""

import html
import json
import re
import shutil
import subprocess

import pytest

from pipeline.html_report.page import page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

# The page stands in a frame as wide as a screen. The script outside looks at it; inside, the page's policy allows none.
# Opened, what is hidden sticks out if it does. What stands in a box that scrolls may be wider than the box.
HARNESS = """<!DOCTYPE html><meta charset="utf-8"><iframe width="{width}" height="900" style="border:0"></iframe>
<pre id="found"></pre>
<script>
const frame = document.querySelector("iframe");
frame.addEventListener("load", () => {{
  const page = frame.contentDocument;
  page.querySelectorAll("details").forEach(item => {{ item.open = true; }});
  const wide = [...page.querySelectorAll("body *")].filter(
    item => item.getBoundingClientRect().right > {width} + 1 && !item.parentElement.closest(".scroll"));
  document.getElementById("found").textContent = JSON.stringify({{
    width: page.documentElement.scrollWidth,
    wide: wide.map(item => item.tagName + "." + item.getAttribute("class")),
    asked: frame.contentWindow.performance.getEntriesByType("resource").map(entry => entry.name),
    paper: frame.contentWindow.getComputedStyle(page.body).backgroundColor,
    ink: frame.contentWindow.getComputedStyle(page.body).color,
    line: frame.contentWindow.getComputedStyle(page.querySelector("path.line.s1")).stroke,
    charts: [...page.querySelectorAll("svg.chart")].every(item => item.getBoundingClientRect().height > 40),
  }});
}});
frame.srcdoc = {page};
</script>"""


def look(text: str, folder, width: int, dark: bool) -> dict:
    """What the script found."""
    file = folder / "harness.html"
    content = json.dumps(text).replace("<", "\\u003c")  # else the page's own </script> would end the harness's
    file.write_text(HARNESS.format(width=width, page=content))
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",  # of a page of our own, as root in a container
            "--disable-gpu",
            "--hide-scrollbars",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={folder / 'profile'}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--window-size={max(width, 500)},900",
            "--virtual-time-budget=5000",
            "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    found = re.search(r'<pre id="found">(.+?)</pre>', done.stdout)
    assert found, done.stderr
    return json.loads(html.unescape(found[1]))


@pytest.mark.skipif(BROWSER is None, reason="needs chromium on PATH (apt-get install chromium)")
def test_it_fits_and_needs_no_network(run, tmp_path):
    text = page(run)
    found = {
        (width, dark): look(text, tmp_path, width, dark) for width, dark in ((360, False), (360, True), (1280, False))
    }
    for (width, _), seen in found.items():
        assert seen["width"] <= width and seen["wide"] == [] and seen["asked"] == [] and seen["charts"]
    light, dark = found[360, False], found[360, True]
    assert light["paper"] != dark["paper"] and light["ink"] != dark["ink"] and light["line"] != dark["line"]
