"""Opens report.html in a real browser without a network, wide and narrow, light and dark; says what
does not fit and takes pictures.

    make look ARGS="runs/planted_world/evaluate/report.html --out shots"

PySide6's WebEngine holds Chromium: docs/decisions/0015-browser.md.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
if hasattr(os, "geteuid") and os.geteuid() == 0:
    os.environ.setdefault("QTWEBENGINE_DISABLE_SANDBOX", "1")  # Chromium's own sandbox refuses root

from PySide6.QtCore import QEventLoop, QTimer, QUrl
from PySide6.QtWebEngineCore import (
    QWebEnginePage,
    QWebEngineProfile,
    QWebEngineSettings,
    QWebEngineUrlRequestInterceptor,
)
from PySide6.QtWebEngineWidgets import QWebEngineView
from PySide6.QtWidgets import QApplication

WIDTHS = (1280, 390)
# numbers of Chromium, which takes them when it starts and never again: a process a scheme
SCHEMES = {"light": 1, "dark": 0}
SCREEN = 1500  # pixels of height of one picture
SMALLEST_TEXT = 8.5  # pixels, in a drawing
SECONDS = 60  # after which a page that does not load is a fault

MEASURE = """
(() => {
  document.querySelectorAll('details').forEach(d => d.open = true);
  const inner = document.documentElement.clientWidth;
  const named = e => e.tagName + (e.className.baseVal ?? e.className ? '.' + (e.className.baseVal ?? e.className) : '') + ' ' +
    (e.textContent || '').slice(0, 40);
  const wide = [...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') || e.matches('.scroll'))
    .filter(e => { const r = e.getBoundingClientRect(); return r.width && (r.right > inner + 1 || r.left < -1); }).map(named);
  const covered = [], small = [];
  for (const drawing of document.querySelectorAll('svg:not(.badge)')) {
    const scale = drawing.getBoundingClientRect().width / drawing.viewBox.baseVal.width;
    const texts = [...drawing.querySelectorAll('text')].map(e => [e.textContent, e.getBoundingClientRect()]);
    if (texts.length) small.push(scale * parseFloat(getComputedStyle(drawing.querySelector('text')).fontSize));
    texts.forEach(([a, r], i) => texts.slice(i + 1).forEach(([b, s]) => {
      const x = Math.min(r.right, s.right) - Math.max(r.left, s.left), y = Math.min(r.bottom, s.bottom) - Math.max(r.top, s.top);
      if (x > 2 && y > 4 * scale) covered.push(drawing.getAttribute('aria-label') + ': ' + a + ' | ' + b);
    }));
  }
  return JSON.stringify({inner, scroll: document.documentElement.scrollWidth, height: document.documentElement.scrollHeight, wide, covered,
    smallest_text: small.length ? Math.min(...small) : null, ran: window.ran ?? null,
    dark: matchMedia('(prefers-color-scheme: dark)').matches});
})()
"""


class Gate(QWebEngineUrlRequestInterceptor):
    """Lets the page itself through and nothing else; keeps what was asked for besides."""

    def __init__(self, page: QUrl) -> None:
        super().__init__()
        self.page, self.refused = page, []

    def interceptRequest(self, info: Any) -> None:
        if info.requestUrl() != self.page:
            self.refused.append(info.requestUrl().toString())
            info.block(True)


def waited(start: Callable[[Callable[..., None]], Any]) -> Any:
    """Gives what `start` hands to its callback, while Qt goes on; raises TimeoutError where it
    never does.
    """
    loop, got = QEventLoop(), []
    start(lambda *values: (got.append(values[0] if values else None), loop.quit()))
    if not got:
        QTimer.singleShot(1000 * SECONDS, loop.quit)
        loop.exec()
    if not got:
        raise TimeoutError(f"the browser did not answer within {SECONDS} s")
    return got[0]


def look(path: Path, width: int, pictures: Path | None = None) -> dict[str, Any]:
    """Gives what a reader would meet at this width in the scheme of this process.

    Args:
        path: of the page.
        width: of the window, in pixels.
        pictures: where they go, one a screen from the top: the start of their names; None: none are
            taken.

    Returns:
        scroll and inner width, `wide`: elements that stick out, `covered`: texts of a drawing over
        each other, `smallest_text` of all drawings in pixels, `dark`: what the page was told,
        `ran`: window.ran, which only a script can set, `refused`: what it asked for.
    """
    app = QApplication.instance() or QApplication(["page"])  # must live as long as the view
    url = QUrl.fromLocalFile(str(path.resolve()))
    profile, gate = QWebEngineProfile(), Gate(url)
    profile.setUrlRequestInterceptor(gate)
    page, view = QWebEnginePage(profile), QWebEngineView()
    view.setPage(page)
    view.settings().setAttribute(QWebEngineSettings.WebAttribute.ShowScrollBars, False)
    # the gate is to see all it wants
    view.settings().setAttribute(
        QWebEngineSettings.WebAttribute.LocalContentCanAccessRemoteUrls, True
    )
    view.resize(width, SCREEN)
    view.show()
    try:
        if not waited(lambda done: (page.loadFinished.connect(done), page.load(url))):
            raise FileNotFoundError(path)
        _pause(0.4)  # an error handler of a picture would run after the page is there
        found = json.loads(waited(lambda done: page.runJavaScript(MEASURE, done)))
        if pictures:
            _pictures(view, found["height"], pictures)
        return {**found, "refused": gate.refused}
    finally:
        view.setPage(None)
        page.deleteLater()
        view.deleteLater()
        app.processEvents()


def _pictures(view: QWebEngineView, height: int, stem: Path) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    for number, top in enumerate(range(0, height, SCREEN), 1):
        waited(
            lambda done, top=top: view.page().runJavaScript(f"window.scrollTo(0, {top}); 1", done)
        )
        _pause(0.4)
        view.grab().save(f"{stem}-{number}.png")


def _pause(seconds: float) -> None:
    waited(lambda done: QTimer.singleShot(round(1000 * seconds), done))


def faults(found: dict[str, Any]) -> list[str]:
    """Gives, in words, what is wrong with what `look` found."""
    told = [f"sticks out: {name}" for name in found["wide"][:5]]
    told += [f"wider than the window: {found['scroll']} > {found['inner']} pixels"] * (
        found["scroll"] > found["inner"]
    )
    told += [f"covers: {pair}" for pair in found["covered"][:5]]
    smallest = found["smallest_text"] or SMALLEST_TEXT  # None: a page without drawings
    told += [f"text of {smallest:.1f} pixels in a drawing"] * (smallest < SMALLEST_TEXT)
    told += [f"asked for {url}" for url in found["refused"]]
    return told + ["a script ran"] * (found["ran"] is not None)


def look_all(path: Path, out: Path | None = None) -> dict[str, dict[str, Any]]:
    """Gives what `look` finds for each width and scheme, as "390 dark" -> found; pictures go to the
    folder `out`.
    """
    results = {}
    for scheme, number in SCHEMES.items():
        flags = f"{os.environ.get('QTWEBENGINE_CHROMIUM_FLAGS', '')} --blink-settings=preferredColorScheme={number}"
        command = [
            sys.executable,
            "-m",
            "benchmarks.page",
            str(path),
            "--scheme",
            scheme,
            *(["--out", str(out)] if out else []),
        ]
        done = subprocess.run(
            command,
            env={**os.environ, "QTWEBENGINE_CHROMIUM_FLAGS": flags},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the browser ended with {done.returncode}: {done.stderr[-2000:]}")
        results |= json.loads(done.stdout.splitlines()[-1])
    return results


def main() -> None:
    """Looks at one page in all widths and schemes; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description="Looks at a page in a browser without a network.")
    parser.add_argument("page", type=Path)
    parser.add_argument("--out", type=Path, help="folder of the pictures")
    parser.add_argument("--scheme", choices=SCHEMES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.scheme:
        stem = args.out / args.page.stem if args.out else None
        names = {
            width: stem and stem.with_name(f"{stem.name}-{width}-{args.scheme}") for width in WIDTHS
        }
        print(
            json.dumps(
                {
                    f"{width} {args.scheme}": look(args.page, width, name)
                    for width, name in names.items()
                }
            )
        )
        return
    results = look_all(args.page, args.out)
    for name, found in results.items():
        print(
            f"{name:<11}{found['height']:>6} px high, smallest text {found['smallest_text'] or 0:.1f} px: {faults(found) or 'well'}"
        )
    print(
        json.dumps(
            {
                "page": str(args.page),
                "faults": {name: faults(found) for name, found in results.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
