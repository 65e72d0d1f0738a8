"""Hooks of mkdocs: pages of the site that do not live in docs/, and one API page a folder."""

import os
import posixpath
import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
ROOMS = ("recipes", "data_filters", "distill", "eval", "launch")
# page of the repository -> page of the site; what lies in docs/ keeps its name below docs/
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "data_filters/README.md": "data_filters/README.md",
    "recipes/README.md": "recipes/README.md",
}
LINK = re.compile(r"(\]\(|src=\")([^)#\s\"]+)")


class PlainDocstrings(griffe.Extension):
    """Docstrings are plain text: what Markdown would take for markup is escaped, outside `code`."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            parts = obj.docstring.value.split("`")
            parts[::2] = [re.sub(r"([\[\]<*])", r"\\\1", part) for part in parts[::2]]
            obj.docstring.value = "`".join(parts)


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages above, the API pages, and every file of the repository that a page links to."""
    sources = {site: (ROOT / source).read_text(encoding="utf-8") for source, site in PAGES.items()}
    sources |= api_pages()
    for site, text in sources.items():
        files.append(File.generated(config, site, content=text))
    pages = {_origin(file.src_uri): file for file in files.documentation_pages()}
    for origin, file in pages.items():
        for target in _targets(origin, file.content_string):
            if (ROOT / target).is_file() and _site(target) not in files.src_uris:
                content = (ROOT / target).read_bytes()
                files.append(File.generated(config, _site(target), content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Points links that were written for the repository at the pages of the site."""
    origin = _origin(page.file.src_uri)
    here = posixpath.dirname(page.file.src_uri)

    def on_site(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), match[2]))
        if "://" in match[2] or not (ROOT / target).is_file():
            return match[0]
        return match[1] + posixpath.relpath(_site(target), here or ".")

    return LINK.sub(on_site, markdown)


def api_pages() -> dict[str, str]:
    """Gives one page a folder of the five rooms: its modules in order, from their docstrings."""
    pages = {}
    for room in ROOMS:
        for folder in sorted({path.parent for path in (ROOT / room).rglob("*.py")}):
            name = ".".join(folder.relative_to(ROOT).parts)
            modules = sorted(
                path.stem for path in folder.glob("*.py") if not path.stem.startswith("__")
            )
            lines = [f"# {name}", ""]
            lines += [f"::: {name}.{module}\n" for module in modules]
            pages[f"api/{name}.md"] = "\n".join(lines)
    index = ["# API", "", "From the docstrings, one page a folder.", ""]
    index += [f"- [{page[4:-3]}]({page[4:]})" for page in sorted(pages)]
    return {**pages, "api/index.md": "\n".join(index) + "\n"}


def _targets(origin: str, text: str) -> list[str]:
    folder = posixpath.dirname(origin)
    found = [match[2] for match in LINK.finditer(text) if "://" not in match[2]]
    return [os.path.normpath(posixpath.join(folder, target)) for target in found]


def _origin(site: str) -> str:
    """The path in the repository of a page of the site."""
    return next((source for source, page in PAGES.items() if page == site), f"docs/{site}")


def _site(path: str) -> str:
    """The path in the site of a file of the repository."""
    return PAGES.get(path, path.removeprefix("docs/"))
