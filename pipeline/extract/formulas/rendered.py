"""Formulas read back from what KaTeX and MathJax rendered, where a page keeps neither TeX nor MathML of them."""

from __future__ import annotations

from resiliparse.parse.html import ElementNode

from pipeline.extract.formulas.katex import katex_tree
from pipeline.extract.formulas.math_tree import parsed
from pipeline.extract.formulas.mathjax import mathjax_tree
from pipeline.extract.formulas.mathml import tex_of


def rendered_to_tex(node: ElementNode) -> str:
    """LaTeX of a formula that KaTeX or MathJax (2 to 4) rendered, without delimiters; "" where it cannot be read."""
    root = parsed(node.html)
    tree = katex_tree(root) if "katex" in root.get("class") else mathjax_tree(root)
    return tex_of(tree) if tree is not None else ""
