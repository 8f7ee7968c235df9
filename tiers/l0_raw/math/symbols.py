"""Characters and names of mathematics, and their LaTeX commands: tables, and look-ups in them.

Characters and their classes follow Unicode Technical Report 25, "Unicode Support for Mathematics"; commands are those
that LaTeX with amsmath and amssymb, MathJax and KaTeX share. A table is words in turn: character, command, ….
"""

from __future__ import annotations

import re
import unicodedata


def _commands(table: str) -> dict[str, str]:
    words = table.split()
    return {char: "\\" + name for char, name in zip(words[::2], words[1::2], strict=True)}


GREEK = _commands("""
    α alpha β beta γ gamma δ delta ϵ epsilon ε varepsilon ζ zeta η eta θ theta ϑ vartheta ι iota κ kappa ϰ varkappa
    λ lambda μ mu µ mu ν nu ξ xi π pi ϖ varpi ρ rho ϱ varrho σ sigma ς varsigma τ tau υ upsilon ϕ phi φ varphi χ chi
    ψ psi ω omega ϝ digamma Γ Gamma Δ Delta Θ Theta Λ Lambda Ξ Xi Π Pi Σ Sigma Υ Upsilon ϒ Upsilon Φ Phi Ψ Psi
    Ω Omega Ω Omega
""")

ORDINARY = GREEK | _commands("""
    ∞ infty ∂ partial ∇ nabla ∆ Delta ∅ emptyset ⌀ varnothing ℏ hbar ħ hbar ℓ ell ℘ wp ℑ Im ℜ Re ℵ aleph ℶ beth ℷ
    gimel ℸ daleth ð eth ⅁ Game Ⅎ Finv ∀ forall ∃ exists ∄ nexists ¬ neg ⊤ top ⊥ bot ∠ angle ∡ measuredangle ∢
    sphericalangle □ square ■ blacksquare ◻ square ◼ blacksquare △ triangle ▽ triangledown ◊ lozenge ⧫ blacklozenge ★
    bigstar ♠ spadesuit ♡ heartsuit ♢ diamondsuit ♣ clubsuit ♭ flat ♮ natural ♯ sharp ℧ mho † dagger ‡ ddagger § S ¶ P
    © copyright ® circledR £ pounds ¥ yen … ldots ⋯ cdots ⋮ vdots ⋱ ddots ∴ therefore ∵ because ı imath ȷ jmath 𝚤
    imath 𝚥 jmath ∎ blacksquare √ surd ✓ checkmark ✠ maltese ‵ backprime ⨿ amalg
""") | {
    "%": r"\%", "#": r"\#", "&": r"\&", "_": r"\_", "$": r"\$", "°": r"{}^\circ", "Å": r"\mathring{A}",
    "′": "'", "″": "''", "‴": "'''", "⁗": "''''", "ʹ": "'", "€": r"\text{€}",
    "ℎ": "h", "ⅆ": "d", "ⅇ": "e", "ⅈ": "i", "ⅉ": "j", "ⅅ": "D",
}  # fmt: skip

BINARY = _commands("""
    ± pm ∓ mp × times ÷ div ∗ ast ⋆ star ∘ circ • bullet ∙ bullet · cdot ⋅ cdot ∩ cap ∪ cup ⊎ uplus ⊓ sqcap ⊔ sqcup ∨
    vee ∧ wedge ∖ setminus ⧵ setminus ≀ wr ⋄ diamond ⊕ oplus ⊖ ominus ⊗ otimes ⊘ oslash ⊙ odot ◯ bigcirc ⨯ times ⊚
    circledcirc ⊛ circledast ⊝ circleddash ⊞ boxplus ⊟ boxminus ⊠ boxtimes ⊡ boxdot ∔ dotplus ⋉ ltimes ⋊ rtimes ⋋
    leftthreetimes ⋌ rightthreetimes ⋓ Cup ⋒ Cap ⊻ veebar ⊼ barwedge ⋏ curlywedge ⋎ curlyvee ⊺ intercal ◃ triangleleft
    ▹ triangleright ⩽̸ nleqslant
""") | {"+": "+", "-": "-", "−": "-", "–": "-", "*": "*", "/": "/", "∕": "/"}

RELATIONS = _commands("""
    ≤ leq ≥ geq ≠ neq ≪ ll ≫ gg ≡ equiv ∼ sim ≃ simeq ≅ cong ≈ approx ≊ approxeq ∝ propto ≺ prec ≻ succ ⪯ preceq ⪰
    succeq ≼ preccurlyeq ≽ succcurlyeq ⊂ subset ⊃ supset ⊆ subseteq ⊇ supseteq ⊊ subsetneq ⊋ supsetneq ⊄ not\\subset ⊈
    nsubseteq ⊉ nsupseteq ⊏ sqsubset ⊐ sqsupset ⊑ sqsubseteq ⊒ sqsupseteq ∈ in ∉ notin ∋ ni ⊢ vdash ⊣ dashv ⊨ models ⊩
    Vdash ⊪ Vvdash ⊬ nvdash ⊭ nvDash ∣ mid ∤ nmid ∥ parallel ∦ nparallel ⟂ perp ⊲ vartriangleleft ⊳ vartriangleright ⊴
    trianglelefteq ⊵ trianglerighteq ⋈ bowtie ⌣ smile ⌢ frown ≍ asymp ≐ doteq ≑ doteqdot ≒ fallingdotseq ≓
    risingdotseq ≗ circeq ≜ triangleq ≏ bumpeq ≎ Bumpeq ⩽ leqslant ⩾ geqslant ≦ leqq ≧ geqq ≲ lesssim ≳ gtrsim ≶
    lessgtr ≷ gtrless ⋚ lesseqgtr ⋛ gtreqless ≨ lneqq ≩ gneqq ⪇ lneq ⪈ gneq ≮ nless ≯ ngtr ≰ nleq ≱ ngeq ⊀ nprec ⊁
    nsucc ≁ nsim ≇ ncong ≢ not\\equiv ≉ not\\approx ≄ not\\simeq ∌ not\\ni ⋘ lll ⋙ ggg ≾ precsim ≿ succsim ⋞
    curlyeqprec ⋟ curlyeqsucc ∽ backsim ⋍ backsimeq ≖ eqcirc ⋔ pitchfork ∷ Colon ≔ coloneqq ≕ eqqcolon ⪅ lessapprox ⪆
    gtrapprox → to ← leftarrow ↔ leftrightarrow ⇒ Rightarrow ⇐ Leftarrow ⇔ Leftrightarrow ⟶ longrightarrow ⟵
    longleftarrow ⟷ longleftrightarrow ⟹ implies ⟸ impliedby ⟺ iff ↦ mapsto ⟼ longmapsto ↑ uparrow ↓ downarrow ↕
    updownarrow ⇑ Uparrow ⇓ Downarrow ⇕ Updownarrow ↗ nearrow ↘ searrow ↙ swarrow ↖ nwarrow ↪ hookrightarrow ↩
    hookleftarrow ⇀ rightharpoonup ⇁ rightharpoondown ↼ leftharpoonup ↽ leftharpoondown ⇌ rightleftharpoons ⇋
    leftrightharpoons ⇄ rightleftarrows ⇆ leftrightarrows ⇉ rightrightarrows ⇇ leftleftarrows ⇈ upuparrows ⇊
    downdownarrows ↠ twoheadrightarrow ↞ twoheadleftarrow ↣ rightarrowtail ↢ leftarrowtail ↬ looparrowright ↫
    looparrowleft ↝ rightsquigarrow ⇝ rightsquigarrow ⇝ leadsto ↭ leftrightsquigarrow ↛ nrightarrow ↚ nleftarrow ↮
    nleftrightarrow ⇏ nRightarrow ⇍ nLeftarrow ⇎ nLeftrightarrow ⊸ multimap ↾ upharpoonright ↿ upharpoonleft ⇂
    downharpoonright ⇃ downharpoonleft ↶ curvearrowleft ↷ curvearrowright ↺ circlearrowleft ↻ circlearrowright ↰ Lsh ↱
    Rsh ⇢ dashrightarrow ⇠ dashleftarrow ⇚ Lleftarrow ⇛ Rrightarrow ≬ between ∍ ni ∊ in ⊧ models ⫅ subseteqq ⫆
    supseteqq
""") | {"=": "=", "<": "<", ">": ">", ":": ":", "~": r"\sim", "∶": ":", "≝": r"\overset{\mathrm{def}}{=}",
        "≟": r"\overset{?}{=}", "⟾": r"\Longmapsto", ":=": ":=", "==": "==", "!=": r"\neq", "<=": r"\leq",
        ">=": r"\geq", "->": r"\to", "&&": r"\mathbin{\&\&}", "||": r"\|"}  # fmt: skip

LARGE = _commands("""
    ∑ sum ∏ prod ∐ coprod ∫ int ∬ iint ∭ iiint ⨌ iiiint ∮ oint ∯ oiint ∰ oiiint ⋂ bigcap ⋃ bigcup ⨅ bigsqcap ⨆
    bigsqcup ⋁ bigvee ⋀ bigwedge ⨁ bigoplus ⨂ bigotimes ⨀ bigodot ⨄ biguplus
""")
INTEGRALS = frozenset("∫∬∭⨌∮∯∰")

PUNCTUATION = {",": ",", ";": ";"}
OPENING = {"(": "(", "[": "[", "{": r"\{", "⟨": r"\langle", "〈": r"\langle", "⌊": r"\lfloor", "⌈": r"\lceil",
           "⟦": r"\llbracket", "⟮": r"\lgroup", "⌜": r"\ulcorner", "⎰": r"\lmoustache"}  # fmt: skip
CLOSING = {")": ")", "]": "]", "}": r"\}", "⟩": r"\rangle", "〉": r"\rangle", "⌋": r"\rfloor", "⌉": r"\rceil",
           "⟧": r"\rrbracket", "⟯": r"\rgroup", "⌝": r"\urcorner", "⎱": r"\rmoustache"}  # fmt: skip
BARS = {"|": "|", "‖": r"\|", "∥": r"\|", "∣": "|", "❘": "|"}
"""Fences that open and close alike."""

INVISIBLE = frozenset("\u2061\u2062\u2063\u2064\u200b\u200c\u200d\u2060\ufeff\u200e\u200f\xad")
"""Function application, invisible times, comma and plus, and characters without width."""

FUNCTIONS = frozenset(
    "arccos arcsin arctan arg cos cosh cot coth csc deg det dim exp gcd hom inf ker lg lim liminf limsup ln log max "
    "min Pr sec sin sinh sup tan tanh".split()
)
LIMITS = frozenset("lim liminf limsup max min sup inf det gcd Pr argmax argmin colim plim".split())
"""Functions below which a limit stands in displays."""

ACCENTS = {
    "^": "hat", "ˆ": "hat", "̂": "hat", "~": "tilde", "˜": "tilde", "̃": "tilde", "∼": "tilde", "¯": "bar", "‾": "bar",
    "―": "bar", "̄": "bar", "_": "bar", "-": "bar", "−": "bar", "ˉ": "bar", "̅": "bar", "→": "vec", "⃗": "vec",
    "⟶": "vec", "⇀": "vec", "˙": "dot", ".": "dot", "̇": "dot", "¨": "ddot", "̈": "ddot", "⃛": "dddot", "…": "dddot",
    "ˇ": "check", "̌": "check", "˘": "breve", "̆": "breve", "´": "acute", "́": "acute", "`": "grave", "̀": "grave",
    "˚": "mathring", "°": "mathring", "̊": "mathring", "⏞": "overbrace", "︷": "overbrace", "{": "overbrace",
    "←": "overleftarrow", "⃖": "overleftarrow", "↔": "overleftrightarrow", "⃡": "overleftrightarrow",
    "⏜": "overparen", "⎴": "overbracket",
}  # fmt: skip
"""Accents over a base, by character."""
WIDE_ACCENTS = {"hat": "widehat", "tilde": "widetilde", "bar": "overline", "vec": "overrightarrow",
                "check": "widecheck"}  # fmt: skip
UNDER_ACCENTS = {
    "_": "underline", "‾": "underline", "¯": "underline", "̲": "underline", "―": "underline", "-": "underline",
    "−": "underline", "̱": "underline", "⏟": "underbrace", "︸": "underbrace", "}": "underbrace", "⎵": "underbracket",
    "→": "underrightarrow", "←": "underleftarrow", "↔": "underleftrightarrow", "⏝": "underparen", "⏡": "underparen",
}  # fmt: skip
STRETCHED_ARROWS = {
    "→": "xrightarrow", "⟶": "xrightarrow", "←": "xleftarrow", "⟵": "xleftarrow", "↔": "xleftrightarrow",
    "⇒": "xRightarrow", "⟹": "xRightarrow", "⇐": "xLeftarrow", "↦": "xmapsto", "⇌": "xrightleftharpoons",
    "↪": "xhookrightarrow", "↩": "xhookleftarrow",
}  # fmt: skip

VARIANTS = {
    "bold": "mathbf", "italic": "mathit", "bold-italic": "boldsymbol", "double-struck": "mathbb", "script": "mathcal",
    "bold-script": "mathcal", "fraktur": "mathfrak", "bold-fraktur": "mathfrak", "sans-serif": "mathsf",
    "bold-sans-serif": "mathsf", "sans-serif-italic": "mathsf", "sans-serif-bold-italic": "mathsf",
    "monospace": "mathtt", "normal": "mathrm", "-tex-calligraphic": "mathcal", "-tex-bold-calligraphic": "mathcal",
    "-tex-oldstyle": "mathrm", "-tex-mathit": "mathit",
}  # fmt: skip
"""Commands by MathML's `mathvariant`."""

# Styles of mathematical alphanumeric symbols by their Unicode names; italic is what LaTeX sets anyway.
_STYLES = (
    ("BOLD ITALIC", "boldsymbol"), ("BOLD SCRIPT", "mathcal"), ("BOLD FRAKTUR", "mathfrak"), ("BOLD", "mathbf"),
    ("DOUBLE-STRUCK", "mathbb"), ("SCRIPT", "mathcal"), ("FRAKTUR", "mathfrak"), ("BLACK-LETTER", "mathfrak"),
    ("SANS-SERIF", "mathsf"), ("MONOSPACE", "mathtt"), ("ITALIC", ""),
)  # fmt: skip

_ESCAPES = {"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "%": r"\%", "#": r"\#", "&": r"\&",
            "_": r"\_", "^": r"\^{}", "~": r"\~{}"}  # fmt: skip
_ENDS_IN_COMMAND = re.compile(r"\\[a-zA-Z]+$")
_SPECIAL = re.compile(r"[\\{}$%#&_^~]")


def styled_letter(char: str) -> tuple[str, str] | None:
    """The command and the plain letter of a letter in a mathematical style, such as ("mathbb", "R"); else `None`."""
    if char < "ℂ":
        return None
    name = unicodedata.name(char, "")
    if name.startswith("MATHEMATICAL ") or (
        "ℂ" <= char <= "⅏" and ("CAPITAL" in name or "SMALL" in name) and char not in ORDINARY
    ):
        plain = unicodedata.normalize("NFKC", char)
        for words, command in _STYLES:
            if words in name and plain != char:
                return ("boldsymbol" if command == "mathbf" and plain in GREEK else command), plain
    return None


def symbol(char: str) -> str:
    """The LaTeX of one character that is no letter of a word; unknown ones stay as they are."""
    for table in (ORDINARY, RELATIONS, BINARY, LARGE, OPENING, CLOSING, BARS):
        if char in table:
            return table[char]
    styled = styled_letter(char)
    if styled is not None:
        command, plain = styled
        plain = GREEK.get(plain, plain)
        return f"\\{command}{{{plain}}}" if command else plain
    if char == "\\":
        return r"\backslash"
    return r"\wedge" if char == "^" else char


def spelled(text: str) -> str:
    """The LaTeX of characters in turn; a space keeps a command from running into the letter after it."""
    latex = ""
    for char in text:
        piece = r"\ " if char == " " else symbol(char)
        latex += f" {piece}" if piece[0].isalpha() and _ENDS_IN_COMMAND.search(latex[-40:]) else piece
    return latex


def escape_text(text: str) -> str:
    """`text` as the argument of `\\text`."""
    return _SPECIAL.sub(lambda match: _ESCAPES[match[0]], text)
