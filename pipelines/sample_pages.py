"""The pages of the sample crawl: what there is to document on this machine, and how it becomes HTML."""

from __future__ import annotations

import contextlib
import enum
import html
import importlib
import importlib.metadata
import importlib.util
import inspect
import io
import pkgutil
import re
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tiers.errors import SourceError

PACKAGES = (
    "click",
    "fsspec",
    "fsspec.spec",
    "fsspec.utils",
    "jinja2",
    "markdown_it",
    "numpy",
    "numpy.fft",
    "numpy.linalg",
    "numpy.ma",
    "numpy.polynomial",
    "numpy.random",
    "polars",
    "polars.selectors",
    "pyarrow",
    "pyarrow.compute",
    "pyarrow.csv",
    "pyarrow.dataset",
    "pyarrow.fs",
    "pyarrow.parquet",
    "pydantic",
    "rich.console",
    "rich.progress",
    "rich.table",
    "rich.text",
    "typer",
    "yaml",
)
"""Packages whose classes and functions are documented where they are installed, beside the standard library."""

# They open windows or browsers, print, change the process, are tests, or are deprecated to the point of warnings.
_UNSAFE = frozenset(
    "antigravity this idlelib test turtledemo turtle tkinter lib2to3 distutils ensurepip encodings __main__ "
    "msilib nt winreg winsound rlcompleter readline site sitecustomize usercustomize pydoc_data".split()
)
_LEAST_DOC = 200
"""Characters of documentation below which something gets no page of its own."""


@dataclass(frozen=True)
class Candidate:
    """A page that could be written; its body is made only when it is.

    Attributes:
        kind: topic, module, readme or object.
        name: Unique within its kind; the address follows from it.
        title: The heading.
        body: Makes the HTML of the main part.
    """

    kind: str
    name: str
    title: str
    body: Callable[[], str] = field(compare=False, repr=False)

    def url(self, site: str) -> str:
        """The address on `site`."""
        folder = {"topic": "reference", "module": "library", "readme": "packages", "object": "api"}[self.kind]
        return f"{site}/{folder}/{self.name}.html"


@dataclass(frozen=True)
class Found:
    """All candidates, in order of kind and name, and how many modules could not be imported."""

    pages: tuple[Candidate, ...]
    skipped: int


def candidates() -> Found:
    """Everything on this machine that can be documented.

    Raises:
        SourceError: docutils or markdown-it-py is missing.
    """
    for needed in ("docutils", "markdown_it"):
        if importlib.util.find_spec(needed) is None:
            raise SourceError("the sample needs a package that is missing", got=needed, hint="Install tierline[html]")
    skipped = 0
    pages: list[Candidate] = [*_topics(), *_readmes()]
    for name in [*_stdlib_names(), *PACKAGES]:
        module = _import(name)
        if module is None:
            skipped += 1
            continue
        documented = len(_doc(module)) + sum(len(_doc(value)) for _, value in _members(module, name))
        if name not in PACKAGES and documented >= _LEAST_DOC:
            pages.append(Candidate("module", name, f"{name} module", _module_page(module, name)))
        pages.extend(_objects(module, name))
    unique = {(page.kind, page.name): page for page in pages}
    return Found(tuple(unique[key] for key in sorted(unique)), skipped)


def _import(name: str) -> types.ModuleType | None:
    """Imports a module in silence; `None` where that fails, as Windows modules do elsewhere."""
    quiet = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except (Exception, SystemExit):
            return None


def _stdlib_names() -> Iterator[str]:
    """Public modules of the standard library, and those of its packages."""
    for name in sorted(sys.stdlib_module_names):
        if name.startswith("_") or name in _UNSAFE:
            continue
        yield name
        if name == "os":
            yield "os.path"
        spec = importlib.util.find_spec(name)
        for entry in pkgutil.iter_modules((spec and spec.submodule_search_locations) or []):
            if not entry.name.startswith("_") and not entry.name.startswith("test"):
                yield f"{name}.{entry.name}"


def _topics() -> Iterator[Candidate]:
    from pydoc_data.topics import topics

    for name, text in sorted(topics.items()):
        yield Candidate("topic", name, text.strip().partition("\n")[0].strip(" *") or name, _rst(text))


def _readmes() -> Iterator[Candidate]:
    for distribution in importlib.metadata.distributions():
        metadata = distribution.metadata.json
        name, text = str(metadata["name"]), str(metadata.get("description", ""))
        if len(text) < _LEAST_DOC or name == "tierline":
            continue
        kind = str(metadata.get("description_content_type", "text/x-rst")).partition(";")[0].strip().lower()
        body = _markdown(text) if kind == "text/markdown" else _rst(text)
        yield Candidate("readme", name.lower().replace("_", "-"), f"{name} {distribution.version}", body)


def _rst(text: str) -> Callable[[], str]:
    def render() -> str:
        from docutils.core import publish_parts

        settings = {
            "file_insertion_enabled": False,
            "raw_enabled": False,
            "_disable_config": True,
            "report_level": 5,
            "halt_level": 5,
            "syntax_highlight": "none",
            "math_output": "LaTeX",
            "stylesheet_path": None,
            "embed_stylesheet": False,
            "initial_header_level": 2,
        }
        parts = publish_parts(text, writer="html5", settings_overrides=settings)
        return str(parts["body"])

    return render


def _markdown(text: str) -> Callable[[], str]:
    def render() -> str:
        from markdown_it import MarkdownIt

        return str(MarkdownIt("commonmark").enable("table").render(text))

    return render


def _members(module: types.ModuleType, name: str) -> list[tuple[str, Any]]:
    """Documented public functions and classes that the module defines or exports, by name."""
    exported = getattr(module, "__all__", None)
    found = []
    for attribute in sorted(exported if exported is not None else vars(module)):
        value = getattr(module, attribute, None)
        if attribute.startswith("_") or not (inspect.isclass(value) or inspect.isroutine(value)):
            continue
        home = getattr(value, "__module__", None) or ""
        if (exported is not None or home == name) and _doc(value):
            found.append((attribute, value))
    return found


def _doc(value: Any) -> str:
    try:
        return _ADDRESS.sub("", inspect.getdoc(value) or "")
    except Exception:
        return ""


def _objects(module: types.ModuleType, name: str) -> Iterator[Candidate]:
    for attribute, value in _members(module, name):
        path = f"{name}.{attribute}"
        if len(_doc(value)) >= _LEAST_DOC:
            yield Candidate("object", path, path, _object_page(value, path))
        if inspect.isclass(value) and name in PACKAGES:
            for method, member in _methods(value):
                if len(_doc(member)) >= _LEAST_DOC:
                    yield Candidate(
                        "object", f"{path}.{method}", f"{path}.{method}", _object_page(member, f"{path}.{method}")
                    )


def _methods(cls: type) -> list[tuple[str, Any]]:
    """Public documented methods, inherited ones too."""
    found = []
    for name in sorted(dir(cls)):
        try:
            value = getattr(cls, name)
        except Exception:
            continue
        if not name.startswith("_") and inspect.isroutine(value) and _doc(value):
            found.append((name, value))
    return found


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def _signature(value: Any, name: str) -> str:
    """How a callable is called, with only such defaults as are the same on every run."""
    try:
        signature = inspect.signature(value)
        parameters = [
            parameter.replace(default=_Shown(_default(parameter.default)))
            if parameter.default is not parameter.empty
            else parameter
            for parameter in signature.parameters.values()
        ]
        return _ADDRESS.sub("", f"{name}{signature.replace(parameters=parameters)}")
    except Exception:
        return f"{name}(...)"


class _Shown:
    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _default(value: Any) -> str:
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if value is None or isinstance(value, bool | int | float | complex | bytes):
        return repr(value)
    if isinstance(value, str) and not value.startswith("/"):
        return repr(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(_default, value))}{',' if len(value) == 1 else ''})"
    return getattr(value, "__name__", "...")


def _object_page(value: Any, path: str) -> Callable[[], str]:
    def render() -> str:
        parts = [_described(value, path, path.rpartition(".")[2], 2)]
        if inspect.isclass(value):
            rows = [(name, _doc(member).partition("\n")[0]) for name, member in _methods(value)]
            parts.append(_table("Methods", rows))
        return "\n".join(parts)

    return render


def _module_page(module: types.ModuleType, name: str) -> Callable[[], str]:
    def render() -> str:
        parts = [docstring_html(_doc(module))]
        members = _members(module, name)
        for heading, wanted in (("Classes", inspect.isclass), ("Functions", inspect.isroutine)):
            chosen = [(attribute, value) for attribute, value in members if wanted(value)]
            if chosen:
                parts.append(f"<h2>{heading}</h2>")
                parts.extend(_described(value, f"{name}.{attribute}", attribute, 3) for attribute, value in chosen)
        return "\n".join(parts)

    return render


def _described(value: Any, path: str, name: str, level: int) -> str:
    prefix = "class " if inspect.isclass(value) else ""
    return (
        f'<section id="{html.escape(path)}"><h{level}>{html.escape(name)}</h{level}>\n'
        f'<pre class="signature">{html.escape(prefix + _signature(value, path))}</pre>\n'
        f"{docstring_html(_doc(value))}</section>"
    )


def _table(heading: str, rows: Sequence[tuple[str, str]]) -> str:
    if not rows:
        return ""
    lines = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(text)}</td></tr>\n" for name, text in rows)
    return f'<h2>{heading}</h2>\n<table class="summary">\n{lines}</table>'


def docstring_html(text: str) -> str:
    """A docstring as HTML: paragraphs, headings that are underlined, lists, and indented or `>>>` blocks as code."""
    blocks = [_block(block) for block in re.split(r"\n[ \t]*\n", text.expandtabs().strip("\n"))]
    return "\n".join(block for block in blocks if block)


def _block(block: str) -> str:
    lines = block.strip("\n").split("\n")
    if len(lines) > 1 and re.fullmatch(r"[-=~]{3,}", lines[1].strip()):
        rest = "\n".join(lines[2:])
        return f"<h4>{html.escape(lines[0].strip())}</h4>\n{_block(rest) if rest.strip() else ''}"
    if lines[0].lstrip().startswith(">>>") or all(line.startswith("    ") for line in lines):
        return f"<pre>{html.escape(block)}</pre>"
    if re.match(r"\s*[-*] ", lines[0]):
        items = re.split(r"(?m)^\s*[-*] ", block)[1:]
        return "<ul>" + "".join(f"<li>{html.escape(' '.join(item.split()))}</li>" for item in items) + "</ul>"
    if any(line.startswith("  ") for line in lines[1:]):
        return f"<pre>{html.escape(block)}</pre>"
    return f"<p>{html.escape(block)}</p>" if block.strip() else ""


class Site:
    """Dresses page bodies as pages of one web site.

    Args:
        address: Where the site lives.
        pages: All of its pages, in order; each links to its neighbours.
    """

    def __init__(self, address: str, pages: Sequence[Candidate]) -> None:
        self._address = address
        self._pages = pages
        self._index = {(page.kind, page.name): number for number, page in enumerate(pages)}

    def render(self, page: Candidate) -> str:
        """The whole HTML page."""
        number = self._index[page.kind, page.name]
        near = [other for other in self._pages[max(0, number - 8) : number + 9] if other is not page]
        links = "".join(f'<li><a href="{html.escape(p.url(""))}">{html.escape(p.title)}</a></li>\n' for p in near)
        title = html.escape(page.title)
        return _TEMPLATE.format(
            title=title, kind=page.kind, url=html.escape(page.url(self._address)), links=links, body=page.body()
        )


_TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title} | Example Documentation</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="canonical" href="{url}">
<link rel="stylesheet" href="/static/site.css">
<script>window.analytics = window.analytics || []; window.analytics.push("pageview");</script>
</head>
<body class="{kind}">
<header class="site-header">
<a class="logo" href="/">Example Documentation</a>
<nav class="menu" role="navigation"><ul>
<li><a href="/reference/">Reference</a></li><li><a href="/library/">Library</a></li>
<li><a href="/api/">API</a></li><li><a href="/packages/">Packages</a></li><li><a href="/login">Sign in</a></li>
</ul></nav>
</header>
<div class="cookie-banner">We use cookies to make this site better. <button>Accept all</button>
<a href="/privacy">Privacy policy</a></div>
<aside class="sidebar"><h3>More like this</h3><ul>
{links}</ul></aside>
<main id="content"><article>
<h1>{title}</h1>
{body}
</article></main>
<footer class="site-footer">
<p>Was this page helpful? <a href="/feedback">Tell us</a></p>
<p>Copyright Example Documentation. All rights reserved.
<a href="/terms">Terms of use</a> <a href="/contact">Contact</a></p>
</footer>
</body>
</html>
"""
