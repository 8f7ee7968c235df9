"""Formulas of web pages, in whatever form a page holds them, as LaTeX of one form.

`marks` tells pages that may hold formulas; `writing` replaces formulas in a parsed page; `elements` says which elements
are formulas, `tex_in_text` finds TeX in running text; `mathml` with `content_mathml` and `row`, and `asciimath` convert
to LaTeX; `latex` is the one form.
"""

from tiers.l0_raw.math.writing import write_formulas

__all__ = ["write_formulas"]
