r"""AsciiMath → LaTeX: a recursive-descent reader of the grammar that asciimath.org gives.

v ::= letter | number | symbol     u ::= sqrt | hat | bb | …      b ::= frac | root | stackrel | …
S ::= v | ( E ) | u S | b S S      I ::= S | S_S | S^S | S_S^S    E ::= I E | I/I
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.extract.formulas.mathml import joined
from pipeline.extract.formulas.tex_symbols import SYMBOLS

_SAME_NAME = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi pi rho sigma tau upsilon "
    "phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega aleph ast circ bowtie ltimes rtimes oplus "
    "otimes odot wedge vee cap cup prod sum int oint bigwedge bigvee bigcap bigcup ne le ge prec succ preceq succeq in notin "
    "subset supset subseteq supseteq equiv cong sim approx propto neg implies iff forall exists bot top vdash models "
    "partial nabla pm mp emptyset infty therefore because angle triangle quad qquad cdots vdots ddots diamond square "
    "uparrow downarrow rightarrow leftarrow leftrightarrow to mapsto Rightarrow Leftarrow Leftrightarrow setminus times div "
    "star ldots cdot lfloor rfloor lceil rceil langle rangle hookrightarrow leq geq perp parallel ell hbar dagger prime"
)
CONSTANTS = {name: "\\" + name for name in _SAME_NAME.split()} | {
    "*": r"\cdot", "**": r"\ast", "***": r"\star", "//": "/", "\\\\": r"\backslash", "xx": r"\times", "-:": r"\div", "|><": r"\ltimes",
    "><|": r"\rtimes", "|><|": r"\bowtie", "@": r"\circ", "o+": r"\oplus", "ox": r"\otimes", "o.": r"\odot", "^^": r"\wedge",
    "^^^": r"\bigwedge", "vv": r"\vee", "vvv": r"\bigvee", "nn": r"\cap", "nnn": r"\bigcap", "uu": r"\cup", "uuu": r"\bigcup",
    "!=": r"\ne", "<=": r"\le", "lt=": r"\le", ">=": r"\ge", "gt=": r"\ge", "lt": "<", "gt": ">", "-<": r"\prec", "-lt": r"\prec",
    ">-": r"\succ", "-<=": r"\preceq", ">-=": r"\succeq", "!in": r"\notin", "sub": r"\subset", "sup": r"\supset",
    "sube": r"\subseteq", "supe": r"\supseteq", "-=": r"\equiv", "~=": r"\cong", "~~": r"\approx", "~": r"\sim", "prop": r"\propto",
    "and": r"\text{ and }", "or": r"\text{ or }", "if": r"\text{if }", "not": r"\neg", "=>": r"\Rightarrow", "<=>": r"\Leftrightarrow",
    "AA": r"\forall", "EE": r"\exists", "_|_": r"\bot", "TT": r"\top", "|--": r"\vdash", "|==": r"\models", "del": r"\partial",
    "grad": r"\nabla", "+-": r"\pm", "-+": r"\mp", "O/": r"\emptyset", "oo": r"\infty", "...": r"\ldots", ":.": r"\therefore",
    ":'": r"\because", "/_": r"\angle", "/_\\": r"\triangle", "'": "'", "\\ ": r"\ ", "frown": r"\frown", "|...|": r"|\ldots|",
    "CC": r"\mathbb{C}", "NN": r"\mathbb{N}", "QQ": r"\mathbb{Q}", "RR": r"\mathbb{R}", "ZZ": r"\mathbb{Z}", "->": r"\to",
    ">->": r"\rightarrowtail", "->>": r"\twoheadrightarrow", "|->": r"\mapsto", "larr": r"\leftarrow", "rarr": r"\to",
    "uarr": r"\uparrow", "darr": r"\downarrow", "harr": r"\leftrightarrow", "rArr": r"\Rightarrow", "lArr": r"\Leftarrow",
    "hArr": r"\Leftrightarrow", "dx": "dx", "dy": "dy", "dz": "dz", "dt": "dt", ":=": ":=", "||": r"\|", "&": r"\&", "%": r"\%",
    "$": r"\$", "#": r"\#",
}  # fmt: skip
FUNCTIONS = frozenset(
    "sin cos tan csc sec cot sinh cosh tanh coth arcsin arccos arctan exp log ln det dim gcd lim max min sup inf lcm "  # noqa: SIM905
    "csch sech mod Lim glb lub arccot Sin Cos Tan Log Ln".split()
)
TEX_FUNCTIONS = FUNCTIONS - frozenset("lcm csch sech mod Lim glb lub arccot Sin Cos Tan Log Ln".split())  # noqa: SIM905
ALONE = frozenset("lim max min sup inf dim mod Lim lub glb det gcd lcm".split())  # noqa: SIM905 - take no argument of their own
UNARY = {
    "sqrt": "sqrt", "hat": "hat", "bar": "overline", "overline": "overline", "ul": "underline", "underline": "underline",
    "vec": "vec", "dot": "dot", "ddot": "ddot", "tilde": "tilde", "ubrace": "underbrace", "underbrace": "underbrace",
    "obrace": "overbrace", "overbrace": "overbrace", "overarc": "overset{\\frown}", "overparen": "overset{\\frown}", "cancel": "cancel", "bb": "mathbf",
    "mathbf": "mathbf", "bbb": "mathbb", "mathbb": "mathbb", "cc": "mathcal", "mathcal": "mathcal", "tt": "mathtt",
    "mathtt": "mathtt", "fr": "mathfrak", "mathfrak": "mathfrak", "sf": "mathsf", "mathsf": "mathsf", "rm": "mathrm",
    "mathrm": "mathrm", "boldsymbol": "boldsymbol",
}  # fmt: skip
AROUND = {
    "abs": ("|", "|"),
    "norm": (r"\|", r"\|"),
    "floor": (r"\lfloor", r"\rfloor"),
    "ceil": (r"\lceil", r"\rceil"),
}
BINARY = {"frac": "frac", "root": "sqrt", "stackrel": "overset", "overset": "overset", "underset": "underset"} | {"color": "color", "class": "class", "id": "id"}  # fmt: skip
OPENING = {
    "(": "(", "[": "[", "{": r"\{", "(:": r"\langle", "<<": r"\langle", "{:": ".", "langle": r"\langle", "|__": r"\lfloor", "|~": r"\lceil",
}  # fmt: skip
CLOSING = {
    ")": ")", "]": "]", "}": r"\}", ":)": r"\rangle", ">>": r"\rangle", ":}": ".", "rangle": r"\rangle", "__|": r"\rfloor",
    "~|": r"\rceil",
}  # fmt: skip
WORDS = {*CONSTANTS, *FUNCTIONS, *UNARY, *AROUND, *BINARY, *OPENING, *CLOSING, "_", "^", "/", "|"}
TOKEN = re.compile(
    r"\s*(?:\"([^\"]*)\"|(?:text|mbox)(?:\(([^()]*)\)|\[([^\[\]]*)\]|\{([^{}]*)\})|(\d+(?:\.\d+)?|\.\d+)|("
    + "|".join(re.escape(word) for word in sorted(WORDS, key=len, reverse=True))
    + r")|(\S))",
    re.DOTALL,
)
MATRIX = {"[]": "bmatrix", "()": "pmatrix", "||": "vmatrix", r"\{\}": "Bmatrix", r"\{.": "cases"}
MAX_DEPTH = 60
LONGEST = 20_000  # characters
MOST_REREAD = 10_000  # tokens behind bars that turned out to be alone


@dataclass
class _Part:
    """TeX of one expression. `inner` is it without its own brackets, `cells` what their commas part."""

    tex: str
    inner: str | None = None
    brackets: str = ""
    cells: list[str] | None = None

    @property
    def bare(self) -> str:
        return self.tex if self.inner is None else self.inner


def asciimath_to_tex(source: str) -> str:
    r"""LaTeX of an AsciiMath expression, without delimiters. Anything can be read: what is no symbol stays as it is.

    "" for what is longer than 20,000 characters: a script that was never closed, say, and no formula.

    >>> asciimath_to_tex("sum_(i=1)^n i^3=((n(n+1))/2)^2")
    '\\sum_{i=1}^{n}i^{3}=\\left(\\frac{n(n+1)}{2}\\right)^{2}'
    """
    if len(source) > LONGEST:
        return ""
    reader = _Reader(source)
    pieces: list[str] = []
    while reader.place < len(reader.tokens):
        pieces.append(reader.expression(0)[0])
        if reader.place < len(reader.tokens):  # a closing bracket that nothing opened
            pieces.append(CLOSING.get(reader.take()[1], "").replace(".", ""))
    return joined(pieces)


class _Reader:
    def __init__(self, source: str) -> None:
        self.tokens: list[tuple[str, str]] = []  # (kind, text): text, number, word, other
        self.place = 0
        self.lone_bars: set[int] = set()  # by the place behind them
        self.reread = 0
        for quoted, *bracketed, number, word, other in TOKEN.findall(source):
            if quoted or any(bracketed):
                self.tokens.append(("text", quoted or "".join(bracketed)))
            elif number or word or other:
                kind = "number" if number else "word" if word else "other"
                self.tokens.append((kind, number or word or other))

    def peek(self) -> str:
        kind, text = self.tokens[self.place] if self.place < len(self.tokens) else ("", "")
        return text if kind in ("word", "other") else ""

    def take(self) -> tuple[str, str]:
        token = self.tokens[self.place] if self.place < len(self.tokens) else ("", "")
        self.place += 1
        return token

    def expression(self, depth: int, until_bar: bool = False) -> tuple[str, list[tuple[str, _Part | None]]]:
        """Up to a closing bracket (not taken) or the end: its TeX and its parts, `("," , None)` for each comma."""
        pieces: list[str] = []
        parts: list[tuple[str, _Part | None]] = []
        while self.place < len(self.tokens):
            token = self.peek()
            if token in CLOSING or (until_bar and token == "|"):
                break
            if token == "/":
                self.place += 1
                pieces.append("/")
                continue
            part = self.scripted(depth)
            if self.peek() == "/":
                self.place += 1
                part = _Part(rf"\frac{{{part.bare}}}{{{self.scripted(depth).bare}}}")
            pieces.append(part.tex)
            parts.append((part.tex, part))
        return joined(pieces), parts

    def scripted(self, depth: int) -> _Part:
        base = self.simple(depth)
        tex = base.tex
        for mark in ("_", "^"):
            if self.peek() == mark:
                self.place += 1
                tex += f"{mark}{{{self.script(depth)}}}"
        return base if tex == base.tex else _Part(tex)

    def script(self, depth: int) -> str:
        sign = self.take()[1] if self.peek() == "-" else ""
        return sign + self.simple(depth).bare

    def simple(self, depth: int) -> _Part:
        kind, token = self.take()
        if kind == "text":
            return _Part(rf"\text{{{token}}}")
        if kind in ("number", "") or depth > MAX_DEPTH:
            return _Part(token)
        if token in FUNCTIONS:
            name = rf"\{token}" if token in TEX_FUNCTIONS else rf"\operatorname{{{token}}}"
            if token in ALONE or (not self.peek() and self.place >= len(self.tokens)):
                return _Part(name)
            for mark in ("_", "^"):
                if self.peek() == mark:
                    self.place += 1
                    name += f"{mark}{{{self.script(depth + 1)}}}"
            if self.peek() in ("/", "|", ",", "=", "+", "-") or self.peek() in CLOSING:
                return _Part(name)
            return _Part(joined([name, self.simple(depth + 1).tex]))
        if token in UNARY:
            return _Part(rf"\{UNARY[token]}{{{self.simple(depth + 1).bare}}}")
        if token in AROUND:
            left, right = AROUND[token]
            return _Part(joined([rf"\left{left}", self.simple(depth + 1).bare, rf"\right{right}"]))
        if token in BINARY:
            first, second = self.simple(depth + 1).bare, self.simple(depth + 1).bare
            if token in ("color", "class", "id"):
                return _Part(second)
            return _Part(
                rf"\sqrt[{first}]{{{second}}}"
                if token == "root"
                else rf"\{BINARY[token]}{{{first}}}{{{second}}}"
            )
        if token in OPENING or token == "|":
            return self.bracketed(token, depth)
        if token in CONSTANTS:
            return _Part(CONSTANTS[token])
        return _Part(SYMBOLS.get(token, token))

    def bracketed(self, token: str, depth: int) -> _Part:
        start = self.place
        if start in self.lone_bars:
            return _Part("|")
        inner, parts = self.expression(depth + 1, until_bar=token == "|")
        if token == "|" and self.peek() != "|":  # a bar on its own
            self.reread += self.place - start
            if self.reread > MOST_REREAD:  # bars and brackets in turn: what was read stays as it is
                return _Part(joined(["|", inner]))
            self.place = start
            self.lone_bars.add(start)  # or each is looked into again from every bar before it
            return _Part("|")
        left = OPENING.get(token, "|")
        right = CLOSING.get(self.take()[1], "|" if token == "|" else ".")
        if matrix := _matrix(parts, left, right):
            return _Part(matrix)
        cells = [cell.strip() for cell in _split(parts)]
        tall = any(
            command in inner
            for command in (r"\frac", r"\sum", r"\int", r"\prod", r"\begin", r"\left", r"\sqrt")
        )
        if tall or "." in (left, right):
            tex = joined([rf"\left{left}", inner, rf"\right{right}"])
        else:
            tex = joined(["" if left == "." else left, inner, "" if right == "." else right])
        return _Part(tex, inner, token + right, cells)


def _split(parts: list[tuple[str, _Part | None]]) -> list[str]:
    """The TeX between the commas."""
    cells: list[list[str]] = [[]]
    for tex, _ in parts:
        if tex == ",":
            cells.append([])
        else:
            cells[-1].append(tex)
    return [joined(cell) for cell in cells]


def _matrix(parts: list[tuple[str, _Part | None]], left: str, right: str) -> str:
    """Brackets around bracketed rows of one length with commas between them; "" if this is none."""
    rows = [part for place, (_, part) in enumerate(parts) if place % 2 == 0]
    if any(tex != "," for tex, _ in parts[1::2]) or len(parts) % 2 == 0:
        return ""
    cells = [part.cells if part is not None else None for part in rows]
    if any(row is None for row in cells) or len({len(row or ()) for row in cells}) != 1:
        return ""
    brackets = {part.brackets for part in rows if part is not None}
    if len(brackets) != 1 or brackets.pop() not in ("[]", "()"):
        return ""
    if len(rows) < 2 and not (left == "[" and len(cells[0] or ()) > 1):
        return ""
    body = r" \\ ".join(" & ".join(cell for cell in row or () if cell != "|") for row in cells)
    if environment := MATRIX.get(left + right):
        return rf"\begin{{{environment}}} {body} \end{{{environment}}}"
    return rf"\left{left}\begin{{matrix}} {body} \end{{matrix}}\right{right}"
