r"""Formulas on a page, in every encoding that we know of, each replaced by one word.

TeX that the page carries is kept to the letter: MathJax scripts, annotations of MathML (KaTeX, MediaWiki, MathJax),
LaTeXML's `alttext`, `data-*` attributes, images whose `alt` or address is TeX, elements marked as mathematics around
`\(…\)`, `$…$` or bare TeX, and delimiters in running text, the page's own settings of MathJax and KaTeX included.
Where a page carries none, MathML is converted (`mathml`), and what KaTeX or MathJax rendered is read back
(`rendered_formulas`). The rendered twin of a formula goes with it, so that no formula comes out twice.
"""

from __future__ import annotations

import json
import re
from urllib.parse import unquote, unquote_plus

from resiliparse.parse.html import ElementNode, HTMLTree, NodeType

from pipeline.extract.census import Census
from pipeline.extract.dom import classes, mentions, replace, select
from pipeline.extract.formulas.asciimath import asciimath_to_tex
from pipeline.extract.formulas.delimiters import (
    DEFINITIONS,
    DELIMITED,
    FEW_LETTERS,
    LOOKS_LIKE_TEX,
    PROSE,
    undelimited,
)
from pipeline.extract.formulas.mathml import mathml_to_tex
from pipeline.extract.formulas.rendered import rendered_to_tex
from pipeline.extract.protect import Protected

RENDERED = (  # what MathJax 2 puts beside its script
    ".MathJax_Preview, .MathJax_Display, .MathJax_SVG_Display, .MathJax_SVG, .MathJax_CHTML, .MathJax_MathML, "
    ".MathJax_PHTML, .MathJax_PlainSource_Display, .MathJax_PlainSource, .MJXc-display, .mjx-chtml, "
    "span.MathJax, div.MathJax, span.MathJax_Error"
)
TEX_ATTRIBUTES = (
    "data-tex", "data-latex", "data-formula", "data-expr", "data-equation", "data-math", "data-katex", "data-equation-content",
    "data-original-tex", "data-tex-source", "data-latex-source", "data-math-content",
)  # fmt: skip
OFTEN_NO_TEX = ("data-formula", "data-expr", "data-equation", "data-math")  # =SUM(A1:A2)
NEVER_FORMULAS = frozenset(
    "td th tr table tbody li ul ol input select option button textarea body main article section form".split()  # noqa: SIM905
)
SWITCHES = ("true", "false", "on", "off", "yes", "no", "inline", "display", "block", "enabled", "auto", "none", "1", "0", "latex", "tex")  # fmt: skip
# (words with "math" that the page has one of, what to look for then): a page pays for what it has.
CARRIERS = (
    (
        ("math",),
        "math, mjx-container, math-renderer, d-math, tex-math, formula.mathJaxEqu, .ql-formula, .latex-rendered, .MJXc-display, .mjx-chtml",
    ),
    (("math",), "[class*='math']:not(.mord), span.tex, span.latex, .arithmatex, .kdmath, .mq-selectable"),
    (("math",), "code[data-math-style], pre[data-math-style], pre[lang='math']"),
    (("mathml",), "[data-mathml]"),
    (("katex",), ".katex-display, .katex, .katex-error"),
    (("math/",), "script[type^='math/' i]"),
    (("mathjax",), RENDERED),
)
MARKED = frozenset(  # classes of elements whose text is TeX or a delimited formula
    "math math-container math-tex mathjax math-display math-inline mathjax-tex mathjax_process language-math ztext-math tex "  # noqa: SIM905
    "latex arithmatex kdmath mq-selectable filter_mathjaxloader_equation mathJaxEqu MathJax_Preview js-render-math".split()
)
TEX_ENCODING = re.compile(r"(?:^|[/.-])(?:la)?tex(?:$|\W)")
# Classes of what sets a formula in a line of its own, beside `math display`. It stands a few elements around the
# formula; of a page that is nested 10,000 deep `closest` asks all of them, for each formula.
DISPLAYS = frozenset(["katex-display", "katex--display", "katex-block", "MathJax_Display", "MJXc-display"])
DISPLAYS_LOWERED = frozenset(name.lower() for name in DISPLAYS)  # as a census has them
NEAR = 5
MAX_NESTED = 8  # a page of thousands of nested carriers is no page with formulas
# Addresses, classes and texts of images that are formulas.
IMAGE_TAG = re.compile(rb"<img[^>]*")
IMAGE_WORDS = ("latex", "mimetex", "tex=", "tex.", "math", "equation", "formula", "codecogs", "eeimg", "ee_img", "ql-img", "upmath",
               "s2cms", 'alt="$', 'alt="\\', 'class="tex', "cht=tx")  # fmt: skip
DEFINITE = frozenset(
    ["inline", "display", "arithmatex", "language-math", "js-render-math", "math-inline", "math-display"]
)
SPOKEN = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{4,}")  # "x squared" is no TeX
IMAGE_QUERY = re.compile(
    r"(?:latex\.php|mimetex\w*(?:\.cgi|\.php|\.exe)?|mathtex\w*(?:\.cgi)?|codecogs\.com/[\w.]+|latex\.csdn\.net/\w+|latex\.\w+)"
    r"\?(?!(?:latex|tex|math|formula)=)(.+)",
    re.IGNORECASE | re.DOTALL,
)
IMAGE_PARAMETER = re.compile(
    r"[?&](latex|tex|expr|formula|math|eq|equation|chl|inline|display|from|f|source)=([^&#]+(?:&(?:space|plus);[^&#]*)*)",
    re.I,
)
OFTEN_OTHER = ("inline", "display", "from", "f", "source", "eq")  # parameters that many addresses have
OF_MATHS = re.compile(
    r"latex|mathtex|mimetex|(?<![a-z])tex(?![a-z])|math|equation|formula|codecogs|/eq\b|ql-img|cht=tx|s2cms|ee_img",
    re.I,
)
WRITES_ALT = re.compile(
    r"latex|ee_img|ql-img|mwe-math|Wirisformula"
)  # classes of images whose alt is always TeX
SPHINX_IMAGE = re.compile(r"/math/[0-9a-f]{16,}\.(?:png|svg)")
IMAGE_CLASS = re.compile(
    r"(?:^|\s)(?:latex|latexcenter|tex|math|equation|ee_img|ql-img\S*|mwe-math\S*|Wirisformula)(?:\s|$)"
)
IMAGE_PATH = re.compile(r"(?:upmath\.me|tex\.s2cms\.ru)/(?:svg|png)b?/(.+)")
IMAGE_OPTIONS = re.compile(
    r"\\(?:inline|dpi\{\d+\}|bg_?\w*|fg_?\w*|fn_\w+|color\{\w+\}|small|large|Large|huge|LARGE|tiny)(?![a-zA-Z])\s*"
)
WIRIS = str.maketrans({"«": "<", "»": ">", "¨": '"', "§": "&", "`": "'"})


def protect_formulas(tree: HTMLTree, census: Census, protected: Protected) -> None:
    """Replace every formula of the page by a word, its rendered twin included. Code must be protected before."""
    if tree.document is None:
        return
    if said := census.math_words:
        if "ltx_eqn_row" in census.classes:
            _join_rows(tree, protected)
        selectors = [selector for words, selector in CARRIERS if mentions(said, words)]
        selectors += [f"[{name}]:not(code):not(pre)" for name in TEX_ATTRIBUTES if name in census.attributes]
        displays = "display" in census.classes or not DISPLAYS_LOWERED.isdisjoint(census.classes)
        _protect_elements(tree, ", ".join(selectors), protected, displays)
    if "img" in census.tags and mentions(b" ".join(IMAGE_TAG.findall(census.lowered)), IMAGE_WORDS):
        images = select(tree, "img")
        for before, image, after in zip([None, *images], images, [*images[1:], None], strict=False):
            if tex := tex_of_image(image):
                display = _stands_alone(image, before, after) or "display" in (image.getattr("class") or "")
                _put(tree, image, tex, display, protected)


def _join_rows(tree: HTMLTree, protected: Protected) -> None:
    """LaTeXML sets the parts of an aligned line in cells, with the formula of each displayed: one formula a line."""
    for row in select(tree, "tr.ltx_eqn_row"):
        parts = select(row, "math[alttext]")
        if len(parts) > 1:
            tex = " ".join(
                (part.getattr("alttext") or "").strip().removeprefix(r"\displaystyle") for part in parts
            )
            if _put(tree, parts[0], tex, True, protected):
                for part in parts[1:]:
                    part.decompose()


def _protect_elements(tree: HTMLTree, selector: str, protected: Protected, displays: bool) -> None:
    """`displays`: whether the page has elements that display the formulas in them."""
    nodes = select(tree, selector)
    scripts = {(node.id or "").removesuffix("-Frame") for node in nodes if node.tag == "script"}
    done: ElementNode | None = None  # nodes come in document order: what lies in this one is dealt with
    tried: ElementNode | None = None  # the last that was no formula
    depth = 0  # of elements without a formula within each other
    for node in nodes:
        if (done is not None and done.contains(node)) or node.parent is None:
            continue
        nested = depth + 1 if tried is not None and tried.contains(node) else 0
        if nested > MAX_NESTED:
            continue
        if _is_twin(node, scripts):
            done = node
            replace(tree, node, "")
        elif (found := _formula_of(node, protected, displays)) and _put(tree, node, *found, protected):
            done = node
        else:
            tried, depth = node, nested


def _put(tree: HTMLTree, node: ElementNode, tex: str, display: bool | None, protected: Protected) -> bool:
    """Put a word in the node's place. Without TeX the node stays as it is."""
    tex, said = undelimited(tex)
    if not tex or protected.prefix in tex or node.parent is None:
        return False
    if node.tag == "script" and DEFINITIONS.fullmatch(tex):  # which no reader sees
        replace(tree, node, "")
    elif display if said is None or display else said:
        replace(tree, node, f" {protected.add('display', tex)} ")
    else:
        replace(tree, node, protected.add("inline", tex))
    return True


def _is_twin(node: ElementNode, scripts: set[str]) -> bool:
    """Whether this is what MathJax 2 rendered of a script beside it."""
    if scripts and node.matches(".MathJax_Preview"):
        return True
    if (
        not scripts
        or node.tag in ("script", "mjx-container")
        or not (node.getattr("class") or "").startswith(("MathJax", "mjx", "MJX"))
    ):
        return False
    name = (node.id or "").removesuffix("-Frame")
    inner = node.query_selector("[id^='MathJax-Element-']")
    if (name and name in scripts) or (
        inner is not None and (inner.id or "").removesuffix("-Frame") in scripts
    ):
        return True
    following = node.next_sibling
    while following is not None and following.node_type != NodeType.ELEMENT:
        if (following.node_value or "").strip() and following.node_type == NodeType.TEXT:
            return False
        following = following.next_sibling
    if not isinstance(following, ElementNode) or following.tag != "script":
        return False
    return (following.getattr("type") or "").lower().startswith("math/")


def _formula_of(node: ElementNode, protected: Protected, displays: bool) -> tuple[str, bool | None] | None:
    """TeX and display mode (None: as its delimiters say) of an element, None if it is no formula."""
    tag, names = node.tag, classes(node)
    if tag == "script":
        return _of_script(node)
    if "katex-error" in names:
        return node.text or "", _is_display(node, names, displays)
    rendered = tag == "mjx-container" or (
        names[:1] and names[0].startswith(("katex", "MathJax", "mjx-", "MJXc", "mwe-math"))
    )
    if tag != "math" and (tex := _of_attribute(node)):
        return tex, _is_display(node, names, displays)
    if tag == "mjx-container":  # MathJax 4 keeps the TeX of every part
        source = node.query_selector("mjx-math[data-latex], g[data-mml-node='math'][data-latex]")
        if source is not None:
            return source.getattr("data-latex") or "", _is_display(node, names, displays)
    if tag == "math" or node.hasattr("data-mathml") or (rendered and node.query_selector("math") is not None):
        return _of_mathml(node, displays)
    if "ql-formula" in names:
        return node.getattr("data-value") or "", False
    if "latex-rendered" in names:
        return _of_json(node.getattr("data-attrs") or ""), True
    if "mwe-math-element" in names:
        image = node.query_selector("img[alt]")
        return (image.getattr("alt") or "" if image is not None else ""), _is_display(node, names, displays)
    if rendered:
        if tex := rendered_to_tex(node):
            return tex, _is_display(node, names, displays)
        if "katex-mathml" in names:  # CSDN: the tags are gone, the TeX is the last of its lines
            lines = [line.strip() for line in (node.text or "").splitlines() if line.strip()]
            return (lines[-1] if lines else ""), _is_display(node, names, displays)
    return _of_marked(node, names, protected, displays)


def _of_attribute(node: ElementNode) -> str:
    """TeX in an attribute of a formula's element. A page says `data-math="true"` of whole articles as well."""
    if node.tag in NEVER_FORMULAS:
        return ""
    for name in TEX_ATTRIBUTES:
        value = (node.getattr(name) or "").strip()
        if name in OFTEN_NO_TEX and not (LOOKS_LIKE_TEX.search(value) or FEW_LETTERS.fullmatch(value)):
            continue
        if value and value not in SWITCHES and not value.startswith(('{"', "[", "http", "=")):
            return value if node.query_selector("p, div, table, ul, ol, h2") is None else ""
    return ""


def _of_script(node: ElementNode) -> tuple[str, bool | None] | None:
    kind, source = (node.getattr("type") or "").lower(), node.text or ""
    if not kind.startswith(("math/", "text/x-tex")):
        return None
    display = "mode=display" in kind.replace(" ", "")
    if kind.startswith("math/mml"):
        document = HTMLTree.parse(source).document
        math = document.query_selector("math") if document is not None else None
        return _of_mathml(math) if math is not None else None
    if kind.startswith("math/asciimath"):
        return asciimath_to_tex(source), display
    return source, display or None


def _is_display(node: ElementNode, names: list[str], displays: bool) -> bool:
    joined = " ".join(names).lower()
    if "display" in joined or "block" in joined or (node.getattr("display") or "") in ("true", "block"):
        return True
    if node.getattr("data-math-style") == "display" or node.hasattr("block") or _in_pre(node):
        return True
    if node.getattr("data-display") in ("true", "block", "1") or "inline" in joined:
        return "inline" not in joined
    around = node.parent_element
    for _ in range(NEAR if displays else 0):
        if around is None:
            break
        if said := around.getattr("class"):
            names = said.split()
            if not DISPLAYS.isdisjoint(names) or ("math" in names and "display" in names):
                return True
        around = around.parent_element
    return False


def _in_pre(node: ElementNode) -> bool:
    parent = node.parent_element
    return node.tag == "pre" or (node.tag == "code" and parent is not None and parent.tag == "pre")


def _of_mathml(node: ElementNode, displays: bool = False) -> tuple[str, bool | None] | None:
    """TeX and display mode of an element that is or holds `<math>`: annotation, alttext, or converted."""
    source = node.getattr("data-mathml")
    carrier = node
    if source:
        source = source.translate(WIRIS) if source.startswith("«") else source
        document = HTMLTree.parse(source).document
        carrier = (document.query_selector("math") if document is not None else None) or node
    math = carrier if carrier.tag == "math" else carrier.query_selector("math")
    display = _is_display(node, classes(node), displays) or (
        math is not None and math.getattr("display") == "block"
    )
    for annotation in select(carrier, "annotation"):
        encoding = (annotation.getattr("encoding") or "").lower()
        if TEX_ENCODING.search(encoding) and (annotation.text or "").strip():
            return annotation.text or "", display
    if math is None:
        return None
    if tex := math.getattr("data-latex"):
        return tex, display
    alttext = math.getattr("alttext") or ""
    if alttext.strip() and (LOOKS_LIKE_TEX.search(alttext) or not SPOKEN.search(alttext)):
        return alttext, display
    return mathml_to_tex(math) or (rendered_to_tex(node) if node.tag == "mjx-container" else ""), display


def _of_json(attributes: str) -> str:
    try:
        said = json.loads(attributes)
    except ValueError:
        return ""
    return str(said.get("persistentExpression", "")) if isinstance(said, dict) else ""


def tex_of_image(image: ElementNode) -> str:
    """TeX that an image of a formula carries in its data attributes, `alt` or address; "" if it is some other image."""
    source = image.getattr("src") or ""
    alt = (image.getattr("alt") or "").removeprefix("LaTeX:").strip()
    name = image.getattr("class") or ""
    # A price begins with a dollar, too.
    in_tex = DELIMITED.fullmatch(alt) or (LOOKS_LIKE_TEX.search(alt) and re.match(r"\\[A-Za-z]", alt))
    says = OF_MATHS.search(source) or OF_MATHS.search(name) or in_tex
    if not (says or image.hasattr("eeimg") or image.hasattr("data-formula")):
        return ""
    if tex := next((value for key in TEX_ATTRIBUTES if (value := image.getattr(key))), ""):
        return unquote(tex) if "%5c" in tex.lower() else tex
    of_tex = in_tex or "imgmath" in source or image.hasattr("eeimg") or WRITES_ALT.search(name)
    if not of_tex and IMAGE_CLASS.search(name):
        # Sphinx names its images by the digest of their formula.
        of_tex = LOOKS_LIKE_TEX.search(alt) or FEW_LETTERS.fullmatch(alt) or SPHINX_IMAGE.search(source)
    if of_tex and alt and not alt.startswith(("http", "[公式]")):
        return alt
    if image.hasattr("data-mathml"):
        return (_of_mathml(image) or ("", None))[0]
    if found := IMAGE_PARAMETER.search(source):
        raw = found[2].replace("&space;", " ").replace("&plus;", "+")
        tex = unquote_plus(raw) if "%" in raw and "%20" not in raw else unquote(raw)
        sure = found[1].lower() not in OFTEN_OTHER or "//math." in source or FEW_LETTERS.fullmatch(tex)
        return IMAGE_OPTIONS.sub("", tex) if sure or re.search(r"[\\^{]", tex) else ""
    if found := IMAGE_QUERY.search(source):
        return IMAGE_OPTIONS.sub("", unquote(found[1]).replace("&space;", " ").replace("&plus;", "+"))
    if found := IMAGE_PATH.search(source):
        return unquote(found[1])
    return ""


def _stands_alone(image: ElementNode, before: ElementNode | None, after: ElementNode | None) -> bool:
    """Whether there is nothing else around an image. `before`, `after`: the page's images next to it, asked first, for
    of a thousand in one paragraph each would read all of it."""
    parent = image.parent_element
    if parent is None or parent.tag not in ("p", "div", "center", "dd", "figure"):
        return False
    if any(other is not None and parent.contains(other) for other in (before, after)):
        return False
    return not (parent.text or "").strip()


def _of_marked(
    node: ElementNode, names: list[str], protected: Protected, displays: bool
) -> tuple[str, bool | None] | None:
    """An element whose class says that its text is mathematics. Several formulas and words between them: None."""
    of_itself = (
        node.tag in ("math-renderer", "d-math", "tex-math")
        or node.hasattr("data-math-style")
        or node.getattr("lang") == "math"
    )
    if not (of_itself or MARKED & set(names)):
        return None
    text = node.text or ""
    if protected.prefix in text:
        return None
    number = node.query_selector(".eqno")
    if number is not None:  # Sphinx
        text = text.replace(number.text or "", "", 1)
    display = _is_display(node, names, displays) or (node.tag == "div" and "arithmatex" not in names)
    if found := DELIMITED.fullmatch(text):
        inner = found[found.lastindex or 0]
        if (
            r"\(" in inner
            or "$" in inner.replace(r"\$", "").replace(r"\text{$", "")
            or r"\[" in inner.replace(r"\\[", "")
        ):
            return None
        return text, (display and node.tag != "span") or None
    if of_itself or node.tag in ("code", "pre"):
        return text, display
    if node.first_element_child is not None:
        return None
    if not DEFINITE & set(names) and PROSE.search(re.sub(r"\\(?:text|mbox|textrm)\{[^{}]*\}", "", text)):
        return None
    if DEFINITE & set(names) or LOOKS_LIKE_TEX.search(text) or FEW_LETTERS.fullmatch(text.strip()):
        return None if "$" in text or r"\(" in text else (text, display)
    return None
