"""Characters of mathematics and the TeX commands that set them (LaTeX with amsmath and amssymb, as KaTeX reads it)."""

from __future__ import annotations

import unicodedata

_NAMED = """
× times ÷ div ± pm ∓ mp ⋅ cdot · cdot ∗ ast ⋆ star ∘ circ ∙ bullet • bullet ⊕ oplus ⊖ ominus ⊗ otimes ⊘ oslash ⊙ odot
⊛ circledast ⊚ circledcirc ⊞ boxplus ⊟ boxminus ⊠ boxtimes ⊡ boxdot † dagger ‡ ddagger ⨿ amalg ∪ cup ∩ cap ⊔ sqcup ⊓ sqcap
⊎ uplus ∨ vee ∧ wedge ⊻ veebar ⊼ barwedge ∖ setminus ≀ wr ⋄ diamond △ triangle ▽ triangledown ⋉ ltimes ⋊ rtimes
⋋ leftthreetimes ⋌ rightthreetimes ⋏ curlywedge ⋎ curlyvee ⋒ Cap ⋓ Cup ⊺ intercal ∔ dotplus ⨯ times ⋇ divideontimes
≤ le ≥ ge ≦ leqq ≧ geqq ⩽ leqslant ⩾ geqslant ≪ ll ≫ gg ⋘ lll ⋙ ggg ≠ ne ≡ equiv ≈ approx ≊ approxeq ∼ sim ≃ simeq ≅ cong
∝ propto ≍ asymp ≐ doteq ≑ doteqdot ≒ fallingdotseq ≓ risingdotseq ≜ triangleq ≏ bumpeq ≎ Bumpeq ≖ eqcirc ≗ circeq ∽ backsim
⋍ backsimeq ≲ lesssim ≳ gtrsim ⪅ lessapprox ⪆ gtrapprox ≶ lessgtr ≷ gtrless ⋚ lesseqgtr ⋛ gtreqless ⋖ lessdot ⋗ gtrdot
≺ prec ≻ succ ⪯ preceq ⪰ succeq ≼ preccurlyeq ≽ succcurlyeq ≾ precsim ≿ succsim ∈ in ∉ notin ∋ ni ⊂ subset ⊃ supset
⊆ subseteq ⊇ supseteq ⊊ subsetneq ⊋ supsetneq ⊈ nsubseteq ⊉ nsupseteq ⫅ subseteqq ⫆ supseteqq ⋐ Subset ⋑ Supset ⊏ sqsubset
⊐ sqsupset ⊑ sqsubseteq ⊒ sqsupseteq ∣ mid ∤ nmid ∥ parallel ∦ nparallel ⊥ perp ⟂ perp ⊢ vdash ⊣ dashv ⊨ models ⊩ Vdash
⊪ Vvdash ⊬ nvdash ⊭ nvDash ⋈ bowtie ⌣ smile ⌢ frown ⊲ vartriangleleft ⊳ vartriangleright ⊴ trianglelefteq
⊵ trianglerighteq ≬ between ⋔ pitchfork ∴ therefore ∵ because ≮ nless ≯ ngtr ≰ nleq ≱ ngeq ≨ lneqq ≩ gneqq ⪇ lneq ⪈ gneq
⊀ nprec ⊁ nsucc ≁ nsim ≇ ncong ≔ coloneqq ≕ eqqcolon ∷ dblcolon
→ to ← leftarrow ↔ leftrightarrow ⇒ Rightarrow ⇐ Leftarrow ⇔ Leftrightarrow ↑ uparrow ↓ downarrow ↕ updownarrow ⇑ Uparrow
⇓ Downarrow ⇕ Updownarrow ⟶ longrightarrow ⟵ longleftarrow ⟷ longleftrightarrow ⟹ Longrightarrow ⟸ Longleftarrow
⟺ Longleftrightarrow ↦ mapsto ⟼ longmapsto ↪ hookrightarrow ↩ hookleftarrow ⇀ rightharpoonup ⇁ rightharpoondown
↼ leftharpoonup ↽ leftharpoondown ⇌ rightleftharpoons ⇋ leftrightharpoons ↗ nearrow ↘ searrow ↙ swarrow ↖ nwarrow
↠ twoheadrightarrow ↞ twoheadleftarrow ↣ rightarrowtail ↢ leftarrowtail ⇝ rightsquigarrow ⇉ rightrightarrows
⇇ leftleftarrows ⇄ rightleftarrows ⇆ leftrightarrows ↛ nrightarrow ↚ nleftarrow ⇏ nRightarrow ⇍ nLeftarrow
↮ nleftrightarrow ⇎ nLeftrightarrow ↶ curvearrowleft ↷ curvearrowright ↺ circlearrowleft ↻ circlearrowright ⇛ Rrightarrow
⇚ Lleftarrow ↾ upharpoonright ↿ upharpoonleft ⇂ downharpoonright ⇃ downharpoonleft ⊸ multimap ↭ leftrightsquigarrow
∑ sum ∏ prod ∐ coprod ∫ int ∬ iint ∭ iiint ⨌ iiiint ∮ oint ∯ oiint ∰ oiiint ⋃ bigcup ⋂ bigcap ⨆ bigsqcup ⋁ bigvee
⋀ bigwedge ⨁ bigoplus ⨂ bigotimes ⨀ bigodot ⨄ biguplus
∞ infty ∂ partial ∇ nabla ∀ forall ∃ exists ∄ nexists ¬ neg ∅ emptyset ⌀ varnothing ∁ complement ℓ ell ℏ hbar ℘ wp ℜ Re
ℑ Im ℵ aleph ℶ beth ℷ gimel ℸ daleth ∠ angle ∡ measuredangle ∢ sphericalangle ⊤ top √ surd ♠ spadesuit ♡ heartsuit
♢ diamondsuit ♣ clubsuit ♭ flat ♮ natural ♯ sharp □ square ■ blacksquare ◊ lozenge ⧫ blacklozenge ◯ bigcirc ★ bigstar
▲ blacktriangle ▼ blacktriangledown ◀ blacktriangleleft ▶ blacktriangleright △ triangle ◃ triangleleft ▹ triangleright
ı imath ȷ jmath 𝚤 imath 𝚥 jmath ð eth Ⅎ Finv ⅁ Game ℧ mho ✓ checkmark ✠ maltese ® circledR Ⓢ circledS ϝ digamma
… ldots ⋯ cdots ⋮ vdots ⋱ ddots ′ prime ‵ backprime § S ¶ P £ pounds ¥ yen
⟨ langle ⟩ rangle 〈 langle 〉 rangle ⌈ lceil ⌉ rceil ⌊ lfloor ⌋ rfloor ⟮ lgroup ⟯ rgroup ⎰ lmoustache ⎱ rmoustache
⌜ ulcorner ⌝ urcorner ⌞ llcorner ⌟ lrcorner ⟦ llbracket ⟧ rrbracket
α alpha β beta γ gamma δ delta ε varepsilon ϵ epsilon ζ zeta η eta θ theta ϑ vartheta ι iota κ kappa ϰ varkappa λ lambda
μ mu µ mu ν nu ξ xi π pi ϖ varpi ρ rho ϱ varrho σ sigma ς varsigma τ tau υ upsilon φ varphi ϕ phi χ chi ψ psi ω omega
Γ Gamma Δ Delta ∆ Delta Θ Theta Λ Lambda Ξ Xi Π Pi Σ Sigma Υ Upsilon Φ Phi Ψ Psi Ω Omega
"""

# One character → TeX. Characters that TeX takes as they are (letters, digits, `+`, `=`, …) are not in it.
SYMBOLS: dict[str, str] = dict(
    zip(_NAMED.split()[::2], ("\\" + name for name in _NAMED.split()[1::2]), strict=True)
)
SYMBOLS |= {
    "−": "-", "–": "-", "‐": "-", "‑": "-", "∗": "*", "⁎": "*", "∕": "/", "∶": ":", "′": "'", "″": "''", "‴": "'''", "⁗": "''''",
    "°": r"^{\circ}", "‖": r"\|", "∣": r"\mid", "{": r"\{", "}": r"\}", "%": r"\%", "#": r"\#", "&": r"\&", "$": r"\$",
    "_": r"\_", "\\": r"\backslash", "~": r"\sim", "^": r"\hat{}", "ℝ": r"\mathbb{R}", "ℂ": r"\mathbb{C}",
    "ℕ": r"\mathbb{N}", "ℤ": r"\mathbb{Z}", "ℚ": r"\mathbb{Q}", "ℙ": r"\mathbb{P}", "ℍ": r"\mathbb{H}", "𝕜": r"\Bbbk",
    "⊄": r"\not\subset", "⊅": r"\not\supset", "≢": r"\not\equiv", "≉": r"\not\approx", "≄": r"\not\simeq",
    "⁄": "/", "\ue020": r"\not", "\ue131": r"\imath", "\ue237": r"\jmath", "⊧": r"\models", "◻": r"\square", "◼": r"\blacksquare",
    "⟂": r"\perp", "∔": r"\dotplus", "≔": ":=", "\u0338": r"\not", "ˆ": r"\hat{}", "⩵": "==", "≝": r"\overset{\mathrm{def}}{=}", "≟": r"\overset{?}{=}",
    "\u2061": "", "\u2062": "", "\u2063": "", "\u2064": "", "\u200b": "", "\ufeff": "", "\u200d": "",
    "\xa0": "~", "\u2009": r"\,", "\u200a": "", "\u2005": r"\:", "\u2004": r"\;", "\u2003": r"\quad ", "\u2002": r"\enspace ",
    "\u205f": r"\:", "\u202f": r"\,", "\u2006": r"\,", "\u00ad": "", "〖": "", "〗": "", "▒": "",
}  # fmt: skip

FUNCTIONS = frozenset(
    "sin cos tan cot sec csc sinh cosh tanh coth arcsin arccos arctan log ln lg exp lim max min sup inf det dim ker gcd arg "  # noqa: SIM905
    "deg Pr hom liminf limsup".split()
)
LIMIT_FUNCTIONS = frozenset("lim max min sup inf det gcd Pr liminf limsup".split())  # noqa: SIM905
INTEGRALS = frozenset("∫∬∭⨌∮∯∰")
LARGE_OPERATORS = frozenset("∑∏∐⋃⋂⨆⋁⋀⨁⨂⨀⨄") | INTEGRALS
FENCES = {  # what may stand after \left and \right, by kind: 1 opens, -1 closes, 0 either
    "(": 1, ")": -1, "[": 1, "]": -1, "{": 1, "}": -1, "⟨": 1, "⟩": -1, "〈": 1, "〉": -1, "⌊": 1, "⌋": -1, "⌈": 1, "⌉": -1,
    "|": 0, "∣": 0, "‖": 0, "∥": 0, "⟦": 1, "⟧": -1, "⟮": 1, "⟯": -1, "⎰": 1, "⎱": -1, "/": 0, "↑": 0, "↓": 0,
}  # fmt: skip
ACCENTS = {  # the mark over a base → (command over one character, command over a wide base)
    "^": ("hat", "widehat"), "ˆ": ("hat", "widehat"), "\u0302": ("hat", "widehat"),
    "~": ("tilde", "widetilde"), "˜": ("tilde", "widetilde"), "∼": ("tilde", "widetilde"), "\u0303": ("tilde", "widetilde"),
    "¯": ("bar", "overline"), "ˉ": ("bar", "overline"), "‾": ("overline", "overline"), "―": ("overline", "overline"),
    "_": ("bar", "overline"), "\u0304": ("bar", "overline"), "\u0305": ("overline", "overline"), "-": ("bar", "overline"),
    "−": ("bar", "overline"), "─": ("overline", "overline"),
    "→": ("vec", "overrightarrow"), "⟶": ("overrightarrow", "overrightarrow"), "⟵": ("overleftarrow", "overleftarrow"),
    "–": ("bar", "overline"), "⃗": ("vec", "overrightarrow"), "⇀": ("overrightharpoon", "overrightharpoon"),
    "←": ("overleftarrow", "overleftarrow"), "↔": ("overleftrightarrow", "overleftrightarrow"),
    ".": ("dot", "dot"), "˙": ("dot", "dot"), "\u0307": ("dot", "dot"), "¨": ("ddot", "ddot"), "\u0308": ("ddot", "ddot"),
    "..": ("ddot", "ddot"), "\u20db": ("dddot", "dddot"), "…": ("dddot", "dddot"),
    "\u20dc": ("ddddot", "ddddot"), "˘": ("breve", "breve"), "\u0306": ("breve", "breve"), "ˇ": ("check", "check"),
    "\u030c": ("check", "check"), "´": ("acute", "acute"), "ˊ": ("acute", "acute"), "\u0301": ("acute", "acute"),
    "⟷": ("overleftrightarrow", "overleftrightarrow"), "‵": ("grave", "grave"), "`": ("grave", "grave"), "ˋ": ("grave", "grave"), "\u0300": ("grave", "grave"), "˚": ("mathring", "mathring"),
    "\u030a": ("mathring", "mathring"), "⏞": ("overbrace", "overbrace"), "︷": ("overbrace", "overbrace"),
    "⎴": ("overbracket", "overbracket"),
}  # fmt: skip
UNDER_ACCENTS = {
    "_": "underline", "̲": "underline", "‾": "underline", "―": "underline", "–": "underline", "−": "underline", "⟶": "underrightarrow", "¯": "underline", "ˉ": "underline", "─": "underline",
    "⏟": "underbrace", "︸": "underbrace", "→": "underrightarrow", "←": "underleftarrow",
    "↔": "underleftrightarrow", "⎵": "underbracket",
}  # fmt: skip
ARROWS = {
    "→": "xrightarrow", "⟶": "xrightarrow", "←": "xleftarrow", "⟵": "xleftarrow", "↔": "xleftrightarrow", "⟷": "xleftrightarrow",
    "⇒": "xRightarrow", "⟹": "xRightarrow", "⇐": "xLeftarrow", "⟸": "xLeftarrow", "⇔": "xLeftrightarrow",
    "⟺": "xLeftrightarrow", "↦": "xmapsto", "⟼": "xmapsto", "↪": "xhookrightarrow", "↩": "xhookleftarrow",
    "⇌": "xrightleftharpoons", "⇋": "xleftrightharpoons", "⇀": "xrightharpoonup", "↼": "xleftharpoonup",
}  # fmt: skip
# What a tall fence or a stretched brace is put together from → the character it stands for.
PIECES = (
    dict.fromkeys("⎛⎜⎝", "(")
    | dict.fromkeys("⎞⎟⎠", ")")
    | dict.fromkeys("⎡⎢⎣", "[")
    | dict.fromkeys("⎤⎥⎦", "]")
)
PIECES |= dict.fromkeys("⎧⎨⎩", "{") | dict.fromkeys("⎫⎬⎭", "}") | {"⎷": "√"}
_STYLES = {
    "BOLD ITALIC": "boldsymbol", "BOLD SCRIPT": "mathcal", "BOLD FRAKTUR": "mathfrak", "BOLD": "mathbf", "ITALIC": "",
    "DOUBLE-STRUCK": "mathbb", "SCRIPT": "mathcal", "FRAKTUR": "mathfrak", "SANS-SERIF": "mathsf",
    "SANS-SERIF BOLD": "mathsf", "SANS-SERIF ITALIC": "mathsf", "SANS-SERIF BOLD ITALIC": "mathsf", "MONOSPACE": "mathtt",
}  # fmt: skip
_LETTERLIKE = {
    "ℬℰℱℋℐℒℳℛ": "mathcal",
    "ℭℌℨ": "mathfrak",
    "ℯℊℴ": "mathscr",
    "ℎ": "",
    "ℾ": "mathbb",
    "ⅆⅇⅈⅉⅅ": "mathrm",
}


def styled(char: str) -> tuple[str, str]:
    """A letter of the mathematical alphabets → (plain letter, font command without backslash); others → (char, "").

    >>> styled("𝔤"), styled("𝑥"), styled("ℒ"), styled("x")
    (('g', 'mathfrak'), ('x', ''), ('L', 'mathcal'), ('x', ''))
    """
    if "\U0001d400" <= char <= "\U0001d7ff":
        name = unicodedata.name(char, "").removeprefix("MATHEMATICAL ")
        style = max((s for s in _STYLES if name.startswith(s + " ")), key=len, default="")
        return unicodedata.normalize("NFKC", char), _STYLES.get(style, "")
    for letters, command in _LETTERLIKE.items():
        if char in letters:
            return unicodedata.normalize("NFKC", char), command
    return char, ""
