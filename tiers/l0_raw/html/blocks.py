"""The extractor `blocks`: from a parsed page to Markdown and images."""

from __future__ import annotations

from resiliparse.parse.html import HTMLTree

from tiers.l0_raw.html.flat import flat_page
from tiers.l0_raw.html.images import Image, base_url
from tiers.l0_raw.html.main_content import main_content, whole_page
from tiers.l0_raw.html.markdown import write_markdown
from tiers.l0_raw.math import write_formulas
from tiers.l0_raw.math.marks import formula_selector


def extract_blocks(
    tree: HTMLTree, source: bytes, url: str | None, *, main: bool, formulas: bool, max_images: int
) -> tuple[str, list[Image], float]:
    """Extracts a page's text, its images and a confidence from 0 to 1; formulas are replaced in `tree` too.

    Args:
        tree: The page.
        source: The bytes that it was parsed from.
        url: Its address.
        main: Whether to leave out what is around its main content.
        formulas: Whether formulas become LaTeX.
        max_images: How many images to look for.
    """
    page = flat_page(tree)
    selector = formula_selector(page.marks, source) if formulas else None
    if selector is not None and write_formulas(tree, selector):
        page = flat_page(tree)
    content = main_content(page) if main else whole_page(page)
    if content is None:
        return "", [], 0.0
    base = base_url(tree, url) if max_images and page.has_images() else ""
    text, images = write_markdown(page, content, base, max_images)
    return text, images, content.confidence()
