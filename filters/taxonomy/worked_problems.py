r"""Problems of mathematics, science and programming with the steps to their answers, numbers taken by chance.

Each family is a function that returns question, steps and answer as templates of `written_kinds.expand`; every number in
them is computed, so that the text is right. `<so>`, `<because>`, … are figures of speech, for which each author has habits.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from filters.taxonomy.written_kinds import made_up_name


class Problem(NamedTuple):
    """Templates of `expand`: what is asked, the steps in their order, and what comes out."""

    question: str
    steps: tuple[str, ...]
    answer: str


Family = Callable[[random.Random], Problem]


def linear_equation(chance: random.Random) -> Problem:
    a, x, b, c = chance.randint(4, 12), chance.randint(-15, 20), chance.randint(1, 40), chance.randint(2, 3)
    d = (a - c) * x + b
    v = chance.choice("xyztn")
    return Problem(
        f"[Solve|Find ${v}$ in|What is ${v}$ if] ${a}{v} + {b} = {c}{v} + {d}$[.|?]",
        (
            f"[<first> the terms with|Bring all multiples of] ${v}$ [may go|go] to the left: ${a}{v} - {c}{v} = {d} - {b}$.",
            f"<so> ${a - c}{v} = {d - b}$[, <because> ${a} - {c} = {a - c}$|].",
            f"[Dividing by ${a - c}$ gives|We divide both sides by ${a - c}$ and get] ${v} = {x}$.",
            f"<check> ${a} \\cdot ({x}) + {b} = {a * x + b}$ and ${c} \\cdot ({x}) + {d} = {c * x + d}$.",
        ),
        f"${v} = {x}$",
    )


def quadratic(chance: random.Random) -> Problem:
    r, s = sorted(chance.sample(range(-9, 12), 2))
    b, c = -(r + s), r * s
    half = Fraction(b, 2)
    disc = half * half - c
    return Problem(
        f"[Find the roots of|Solve] $x^2 {b:+d}x {c:+d} = 0$.",
        (
            f"[Complete the square|We complete the square]: $(x {signed(half)})^2 = {half * half} - ({c}) = {disc}$.",
            f"<so> $x {signed(half)} = \\pm {Fraction(s - r, 2)}$[, <because> the root of ${disc}$ is ${Fraction(s - r, 2)}$|].",
            f"[The plus sign|Taking plus] gives $x = {s}$, [the minus sign|minus] gives $x = {r}$.",
            f"<check> the sum is ${r + s} = -({b})$ and the product ${r * s}$, as [Vieta's formulas|the coefficients] demand.",
        ),
        f"$x = {r}$ or $x = {s}$",
    )


def signed(value: Fraction | int) -> str:
    """With its sign, as it is added to something.

    >>> signed(Fraction(-3, 2))
    '- 3/2'
    """
    return f"{'-' if value < 0 else '+'} {abs(value)}"


def derivative(chance: random.Random) -> Problem:
    n, k, a = chance.randint(2, 6), chance.randint(2, 7), chance.randint(2, 9)
    return Problem(
        f"[Differentiate|What is the derivative of] $f(x) = {a}x^{n} e^{{{k}x}}$[.|?]",
        (
            f"[The function is a product|Here two factors depend on $x$]: <let> $u = {a}x^{n}$ and $v = e^{{{k}x}}$.",
            f"<so> $u' = {a * n}x^{{{n - 1}}}$, and $v' = {k}e^{{{k}x}}$ <because> the inner derivative is ${k}$.",
            "[By the product rule|The product rule says] $f' = u'v + uv'$.",
            f"<so> $f'(x) = {a * n}x^{{{n - 1}}}e^{{{k}x}} + {a * k}x^{n}e^{{{k}x}} = {a}x^{{{n - 1}}}e^{{{k}x}}({n} + {k}x)$.",
        ),
        f"$f'(x) = {a}x^{{{n - 1}}}e^{{{k}x}}({n} + {k}x)$",
    )


def integral_by_parts(chance: random.Random) -> Problem:
    k, a = chance.randint(2, 9), chance.randint(2, 9)
    return Problem(
        f"[Compute|Evaluate] $\\int {a}x \\cos({k}x)\\,dx$.",
        (
            "[We integrate by parts|Integration by parts helps] <because> $x$ becomes simpler when it is differentiated.",
            f"<let> $u = {a}x$, $dv = \\cos({k}x)\\,dx$; [then|so] $du = {a}\\,dx$ and $v = \\sin({k}x)/{k}$.",
            f"<so> the integral [equals|is] ${Fraction(a, k)} x\\sin({k}x) - \\int {Fraction(a, k)}\\sin({k}x)\\,dx$.",
            f"[The last one|The remaining integral] is $-{Fraction(a, k * k)}\\cos({k}x)$, [which|and this] changes sign.",
        ),
        f"${Fraction(a, k)}x\\sin({k}x) + {Fraction(a, k * k)}\\cos({k}x) + C$",
    )


def induction(chance: random.Random) -> Problem:
    a, d = chance.randint(1, 7), chance.randint(2, 8)
    claim = f"S(n) = n({2 * a} + {d}(n-1))/2"
    return Problem(
        f"[Prove|Show] by induction that the sum of the first $n$ terms of ${a}, {a + d}, {a + 2 * d}, \\dots$ is ${claim}$.",
        (
            f"[Base case|The start]: for $n = 1$ the sum is ${a}$, and the formula [says|yields] $1 \\cdot {2 * a}/2 = {a}$.",
            "[Now suppose|Next assume] that the formula holds for [some|a fixed] $n$.",
            f"The [next|following] term is ${a} + {d}n$, <so> $S(n+1) = n({2 * a} + {d}(n-1))/2 + {a} + {d}n$.",
            f"[Over a common denominator|With denominator 2] this is $(n+1)({2 * a} + {d}n)/2$, the formula for $n + 1$, <end>.",
        ),
        f"${claim}$",
    )


def divisibility(chance: random.Random) -> Problem:
    m = chance.choice([3, 5, 7, 11, 13])
    k = chance.randint(2, 5)
    b = m * k + 1
    return Problem(
        f"[Show|Prove] that ${b}^n - 1$ is [divisible by|a multiple of] ${m}$ for all $n \\ge 1$.",
        (
            f"<first> ${b} = {m} \\cdot {k} + 1$, [hence|so] ${b} \\equiv 1 \\pmod{{{m}}}$.",
            f"[Congruences may be multiplied|Powers respect congruences], <so> ${b}^n \\equiv 1^n = 1 \\pmod{{{m}}}$.",
            f"[Subtract 1|Taking one away]: ${b}^n - 1 \\equiv 0$, [that is|in other words] ${m}$ divides it, <end>.",
        ),
        f"${m} \\mid {b}^n - 1$",
    )


def irrationality(chance: random.Random) -> Problem:
    p = chance.choice([2, 3, 5, 7, 11, 13, 17, 19, 23])
    return Problem(
        f"[Prove|Show] that $\\sqrt{{{p}}}$ is [irrational|not a fraction].",
        (
            f"[Suppose|Assume] [on the contrary|for contradiction] that $\\sqrt{{{p}}} = a/b$ in lowest terms.",
            f"[Squaring|If we square], $a^2 = {p}b^2$; <so> ${p}$ divides $a^2$, and, <because> ${p}$ is prime, also $a$.",
            f"[With|If] $a = {p}c$ we [have|find] ${p * p}c^2 = {p}b^2$, [i.e.|that is] $b^2 = {p}c^2$.",
            f"<so> ${p}$ divides $b$ [too|as well], [which contradicts|against] lowest terms, <end>.",
        ),
        f"$\\sqrt{{{p}}} \\notin \\mathbb{{Q}}$",
    )


def committees(chance: random.Random) -> Problem:
    women, men = chance.randint(4, 9), chance.randint(4, 9)
    size = chance.randint(3, 4)
    total, none = math.comb(women + men, size), math.comb(men, size)
    return Problem(
        f"[In how many ways can we choose|How many ways are there to choose] a committee of {size} from {women} women and {men} men, if at least one woman [must be|is] on it?",
        (
            f"[Count all|Without the condition there are] $\\binom{{{women + men}}}{{{size}}} = {total}$ choices.",
            f"[Those without a woman|The forbidden ones] use men only: $\\binom{{{men}}}{{{size}}} = {none}$.",
            f"[Every|Each] choice is either allowed or [one of these|forbidden], <so> ${total} - {none} = {total - none}$ [remain|are left].",
        ),
        f"{total - none}",
    )


def bayes(chance: random.Random) -> Problem:
    sick, hit, alarm = chance.randint(1, 9), chance.randint(85, 99), chance.randint(2, 12)
    n = 10_000
    ill = n * sick // 100
    true, false = ill * hit // 100, (n - ill) * alarm // 100
    return Problem(
        f"[A test|Some screening] finds {hit} % of the [sick|ill] and wrongly flags {alarm} % of the [healthy|others]. {sick} % are [sick|ill]. How [likely|probable] is illness after a positive [result|test]?",
        (
            f"[Let us look at|Imagine|Take] {n:,} people: {ill} are [sick|ill], {n - ill:,} are not.",
            f"[Of the sick|Among the first] about {true} test positive, <because> {hit} % of {ill} is {true}.",
            f"[Of the healthy|Among the others] {alarm} % do so [by mistake|wrongly], about {false}.",
            f"<so> of {true + false} positives only {true} are [really ill|true], a share of {true}/{true + false} ≈ {true / (true + false):.2f}.",
        ),
        f"about {true / (true + false):.0%}",
    )


def right_triangle(chance: random.Random) -> Problem:
    m, n = sorted(chance.sample(range(1, 9), 2))
    k = chance.randint(1, 4)
    a, b, c = k * (n * n - m * m), 2 * k * m * n, k * (n * n + m * m)
    unit = chance.choice(["cm", "m", "feet", "units"])
    return Problem(
        f"A right triangle has [legs|short sides] {a} {unit} and {b} {unit}. [Find|Compute] the hypotenuse and the height on it.",
        (
            f"By [Pythagoras|the theorem of Pythagoras] $c^2 = {a}^2 + {b}^2 = {a * a} + {b * b} = {c * c}$, <so> $c = {c}$.",
            f"The area is $\\frac12 \\cdot {a} \\cdot {b} = {Fraction(a * b, 2)}$, [but|and] also $\\frac12 c h$.",
            f"[Equating both|Setting them equal], $h = {a} \\cdot {b} / {c} = {Fraction(a * b, c)}$ {unit}.",
        ),
        f"{c} {unit} and {Fraction(a * b, c)} {unit}",
    )


def euclid(chance: random.Random) -> Problem:
    g = chance.randint(2, 14)
    a, b = sorted((g * chance.randint(11, 60), g * chance.randint(3, 40)), reverse=True)
    steps, x, y = [], a, b
    while y:
        steps.append(
            f"[Divide|Next]: ${x} = {x // y} \\cdot {y} + {x % y}$[, so the pair becomes $({y}, {x % y})$|]."
        )
        x, y = y, x % y
    return Problem(
        f"[Find|Compute] the greatest common divisor of {a} and {b}.",
        (
            "[A common divisor of two numbers|Whatever divides both numbers] also divides the remainder, <so> we may [go on with|take] remainders.",
            *steps,
            f"The last remainder that is not zero is ${x}$, <so> it is the [answer|divisor we want].",
        ),
        f"{x}",
    )


def throw(chance: random.Random) -> Problem:
    t = chance.randint(2, 6)
    v = 10 * t
    return Problem(
        f"A [ball|stone] is thrown [straight up|upwards] at {v} m/s. How high does it [rise|get], and when [is it back|does it land]? ($g = 10$ m/s²)",
        (
            f"[Gravity takes|It loses] 10 m/s of speed each second, <so> it stops after ${v}/10 = {t}$ s.",
            f"[Its mean speed|On average its speed] on the way up is ${v}/2 = {v // 2}$ m/s, <because> the speed falls evenly.",
            f"<so> the height is ${v // 2} \\cdot {t} = {v * t // 2}$ m.",
            f"[By symmetry the way down takes as long|The way down takes as long as the way up], <so> it lands after {2 * t} s.",
            f"<check> energy: $v^2/(2g) = {v * v}/20 = {v * v // 20}$ m.",
        ),
        f"{v * t // 2} m, {2 * t} s",
    )


def ohm(chance: random.Random) -> Problem:
    r1, r2 = chance.choice([(3, 6), (4, 12), (6, 12), (10, 15), (20, 30), (12, 24), (5, 20)])
    parallel = r1 * r2 // (r1 + r2)
    r3, i = chance.randint(1, 9), chance.randint(2, 5)
    u = (parallel + r3) * i
    return Problem(
        f"Resistors of {r1} Ω and {r2} Ω in parallel [are in series with|follow] one of {r3} Ω at {u} V. [Which|What] current flows [in|through] each?",
        (
            f"[The parallel pair|The pair] has $1/R = 1/{r1} + 1/{r2}$, <so> $R = {parallel}$ Ω.",
            f"In series resistances add: ${parallel} + {r3} = {parallel + r3}$ Ω, <so> the total current is ${u}/{parallel + r3} = {i}$ A.",
            f"[Across the pair there are|The pair has] ${parallel} \\cdot {i} = {parallel * i}$ V, <because> the rest drops at {r3} Ω.",
            f"<so> the branches carry ${parallel * i}/{r1} = {Fraction(parallel * i, r1)}$ A and ${parallel * i}/{r2} = {Fraction(parallel * i, r2)}$ A; [together|their sum is] {i} A.",
        ),
        f"{i} A; {Fraction(parallel * i, r1)} A and {Fraction(parallel * i, r2)} A",
    )


def burning(chance: random.Random) -> Problem:
    moles = chance.randint(2, 9)
    return Problem(
        f"[How much|What mass of] carbon dioxide [comes from|is formed by] burning {16 * moles} g of methane [completely|in air]?",
        (
            "[The equation|Balanced, the reaction] is $CH_4 + 2O_2 \\to CO_2 + 2H_2O$, <so> one mole of methane [gives|makes] one mole of carbon dioxide.",
            f"[A mole of methane|Methane] weighs $12 + 4 = 16$ g, <so> {16 * moles} g are ${moles}$ mol.",
            f"A mole of carbon dioxide [weighs|has] $12 + 32 = 44$ g; <so> ${moles} \\cdot 44 = {44 * moles}$ g [arise|form].",
            "[More than we burnt|The mass grew], <because> oxygen [from the air|was taken up].",
        ),
        f"{44 * moles} g",
    )


def knights(chance: random.Random) -> Problem:
    a, b, c = (made_up_name(chance) for _ in range(3))
    return Problem(
        f"[Knights always tell the truth, knaves always lie|Each islander always lies or never does]. {a} says: {b} is a knave. {b} says: {a} and {c} are of the same kind. What is {c}?",
        (
            f"[Let {a} be truthful|Say {a} tells the truth|First case: {a} is a knight]. Then {b} lies, <so> {a} and {c} are of different kinds, and {c} is a [liar|knave].",
            f"[Otherwise|In the other case] {a} lies, <so> {b} is truthful, and {a} and {c} are alike: {c} lies [too|as well].",
            f"[Both cases|Either way we] end with the same: {c} lies[, although we cannot tell what {a} is|].",
        ),
        f"{c} is a knave",
    )


def workers(chance: random.Random) -> Problem:
    a, b = chance.choice([(3, 6), (4, 12), (6, 12), (10, 15), (20, 30), (8, 24), (12, 4)])
    x, y = made_up_name(chance), made_up_name(chance)
    together = Fraction(a * b, a + b)
    return Problem(
        f"{x} paints [a fence|a hall] in {a} hours, {y} needs {b}. How long do they [take|need] together?",
        (
            f"In one hour {x} does 1/{a} of the [job|work] and {y} 1/{b}.",
            f"[They do not disturb each other|Their shares add], <so> [jointly|per hour] it is 1/{a} + 1/{b} = {Fraction(1, a) + Fraction(1, b)}.",
            f"<so> the whole takes 1 : {Fraction(1, a) + Fraction(1, b)} = {together} hours[, less than {min(a, b)}, <because> nobody works alone|].",
        ),
        f"{together} hours",
    )


def interest(chance: random.Random) -> Problem:
    start, rate = chance.randint(2, 90) * 100, chance.randint(2, 9)
    one, two = start * (100 + rate) / 100, start * (100 + rate) ** 2 / 10_000
    return Problem(
        f"{start} at {rate} % [compound interest|a year, interest on interest]: [how much|what] is [there|it] after two years, and how much of it is [interest on interest|due to compounding]?",
        (
            f"After [one|the first] year [there are|we hold] {start} · {1 + rate / 100:.2f} = {one:.2f}.",
            f"[This sum|All of it] earns interest again, <so> after two years {one:.2f} · {1 + rate / 100:.2f} = {two:.2f}.",
            f"[Simple|Plain] interest would [give|be] {start} + 2 · {start * rate / 100:.2f} = {start + 2 * start * rate / 100:.2f}.",
            f"<so> the difference {two - start - 2 * start * rate / 100:.2f} [is|must be] interest on interest; it is {rate} % of the first year's {start * rate / 100:.2f}.",
        ),
        f"{two:.2f}",
    )


def binary_search(chance: random.Random) -> Problem:
    n = 2 ** chance.randint(6, 20)
    return Problem(
        f"How many [comparisons|steps] does binary search need in a sorted list of {n:,} entries, and why is `while low < high: mid = (low + high) // 2` [safe|sure to end]?",
        (
            "<let> `k = high - low`. [Each pass|One pass] keeps only the part left or right of `mid`, <so> k is at least halved.",
            f"[It starts at|In the beginning k is] {n:,} = 2**{n.bit_length() - 1}, <so> after {n.bit_length() - 1} halvings a single [place|entry] is left.",
            "`mid` is less than `high` <because> division rounds down; <so> `high = mid` makes the range [shorter|smaller], and so does `low = mid + 1`.",
            "A range of whole numbers that shrinks [each time|with every pass] [cannot do so for ever|must become empty], [hence|so] the loop ends.",
        ),
        f"{n.bit_length() - 1}",
    )


def loop_trace(chance: random.Random) -> Problem:
    n, k = chance.randint(3, 5), chance.randint(2, 7)
    total, steps = 0, []
    for i in range(1, n + 1):
        total = total + k * i if i % 2 else total - i
        steps.append(
            f"[With|For] `i = {i}`, which is {'odd' if i % 2 else 'even'}, [we go to|the code takes] the {'first' if i % 2 else 'second'} branch, <so> `total` [becomes|is now] {total}."
        )
    return Problem(
        f"What does this [print|output]?\n\n```python\ntotal = 0\nfor i in range(1, {n + 1}):\n    if i % 2:\n        total += {k} * i\n    else:\n        total -= i\nprint(total)\n```",
        (
            f"`range(1, {n + 1})` [stops before|leaves out] {n + 1}, <so> the [loop|body] runs {n} times.",
            *steps,
            "[Nothing else changes it|The loop ends here], <so> that is what is printed.",
        ),
        f"`{total}`",
    )


def off_by_one(chance: random.Random) -> Problem:
    n = chance.randint(4, 12)
    name = chance.choice(["items", "rows", "values", "names", "queue"])
    return Problem(
        f"Why does `for i in range(len({name})): if {name}[i] == {name}[i + 1]: ...` [crash|raise IndexError] for a list of {n}, and how is it [mended|fixed]?",
        (
            f"`range({n})` [yields|runs over] 0 to {n - 1}, <so> in the last [pass|round] `i + 1` is {n}.",
            f"[The last valid index|But the highest index] is {n - 1}, <because> counting [starts|begins] at 0; [hence|so] the access fails.",
            f"[There are|A list of {n} has] only {n - 1} neighbouring pairs, <so> the loop [must|should] stop one earlier: `range(len({name}) - 1)`.",
            "<check> with [one|a single] element the range is empty, which is right, <because> there is no pair.",
        ),
        f"`range(len({name}) - 1)`",
    )


def handshakes(chance: random.Random) -> Problem:
    n = chance.choice([7, 9, 11, 13, 15, 21])
    k = chance.choice([3, 5])
    return Problem(
        f"[Can each of {n} guests shake hands with|Is it possible that each of {n} computers is linked to] exactly {k} others?",
        (
            f"[Suppose it is possible|Assume it can be done] and count [ends of links|link ends]: there would be ${n} \\cdot {k} = {n * k}$.",
            "[Every link|Each link] has two ends, <so> the number of ends is even.",
            f"[But|However,] ${n * k}$ is odd, [a contradiction|which is impossible]; <so> the answer is no.",
        ),
        "no",
    )


def matrix(chance: random.Random) -> Problem:
    a, b, c, d = (chance.randint(1, 9) for _ in range(4))
    while a * d - b * c == 0:
        d += 1
    det = a * d - b * c
    e, f = a + 2 * b, c + 2 * d
    return Problem(
        f"[Solve|Find the solution of] ${a}x + {b}y = {e}$, ${c}x + {d}y = {f}$ [with determinants|by Cramer's rule].",
        (
            f"The determinant[ of the system|] is ${a} \\cdot {d} - {b} \\cdot {c} = {det}$; it is not zero, <so> there is exactly one solution.",
            f"[Replacing|If we replace] the first column [by|with] the right-hand side: ${e} \\cdot {d} - {b} \\cdot {f} = {e * d - b * f}$, <so> $x = {Fraction(e * d - b * f, det)}$.",
            f"[Likewise|In the same way] $y = ({a} \\cdot {f} - {e} \\cdot {c})/{det} = {Fraction(a * f - e * c, det)}$.",
            f"<check> ${a} \\cdot 1 + {b} \\cdot 2 = {e}$.",
        ),
        "$x = 1, y = 2$",
    )


def limit(chance: random.Random) -> Problem:
    a, b = chance.randint(2, 9), chance.randint(1, 9)
    return Problem(
        f"[Prove|Show] from the definition that $\\lim_{{x \\to {b}}} ({a}x + {b}) = {a * b + b}$.",
        (
            "[Let $\\varepsilon > 0$ be given|Take any $\\varepsilon > 0$][|, however small].",
            f"[The distance|The difference] is $|{a}x + {b} - {a * b + b}| = {a}|x - {b}|$.",
            f"[This is below $\\varepsilon$ as soon as|To get below $\\varepsilon$ we need] $|x - {b}| < \\varepsilon/{a}$, <so> we choose $\\delta = \\varepsilon/{a}$.",
            f"[Then|Now] $0 < |x - {b}| < \\delta$ implies $|f(x) - {a * b + b}| < {a} \\cdot \\varepsilon/{a} = \\varepsilon$, <end>.",
        ),
        f"${a * b + b}$",
    )


def planning(chance: random.Random) -> Problem:
    fixed, unit, price = chance.randint(5, 60) * 100, chance.randint(2, 12), chance.randint(14, 30)
    pieces = -(-fixed // (price - unit))
    thing = chance.choice(["chairs", "candles", "mugs", "prints", "loaves"])
    return Problem(
        f"A [workshop|stall] pays {fixed} [a month|in rent] and {unit} for the material of each of its {thing}, which sell at {price}. From how many on does it [earn|make a profit]?",
        (
            f"[Each one sold|Every piece] leaves {price} − {unit} = {price - unit} [for the rent|towards fixed costs].",
            f"<so> it takes {fixed}/{price - unit} ≈ {fixed / (price - unit):.1f} pieces to [cover|pay] {fixed}.",
            f"[Pieces are whole|Half a piece cannot be sold], <so> {pieces} are needed: they bring in {pieces * (price - unit)}, which is at least {fixed}, [while|whereas] {pieces - 1} bring only {(pieces - 1) * (price - unit)}.",
        ),
        f"{pieces}",
    )


def pulley(chance: random.Random) -> Problem:
    m, n = sorted(chance.sample(range(2, 12), 2))
    return Problem(
        f"[Masses|Weights] of {n} kg and {m} kg hang [over|on both sides of] a light pulley. [Find|What is] the acceleration and the tension ($g = 10$).",
        (
            f"The heavier side is pulled down by ${10 * n}$ N and held by ${10 * m}$ N, <so> the net force is ${10 * (n - m)}$ N.",
            f"[Both|Together both] masses move, ${n + m}$ kg, <so> $a = {10 * (n - m)}/{n + m} = {Fraction(10 * (n - m), n + m)}$ m/s².",
            f"[For the lighter one|On the lighter side] $T - {10 * m} = {m}a$, <so> $T = {Fraction(20 * m * n, n + m)}$ N.",
            f"<check> $T$ lies between {10 * m} and {10 * n}, as it must <because> one mass rises and the other falls.",
        ),
        f"$a = {Fraction(10 * (n - m), n + m)}$, $T = {Fraction(20 * m * n, n + m)}$",
    )


def crossing(chance: random.Random) -> Problem:
    brown = chance.choice(["Bb", "Rr", "Tt"])
    big, small = brown[0], brown[1]
    return Problem(
        f"Two parents of genotype {brown} [are crossed|have offspring]; {big} [is dominant|hides {small}]. What share of the [young|offspring] [shows|has] the [hidden|recessive] trait, and what share of the others carries it?",
        (
            f"[Each parent|Either parent] passes on {big} or {small} with probability 1/2, [independently|without regard to the other].",
            f"<so> {big}{big}, {brown}, {small}{big} and {small}{small} are equally likely, 1/4 each.",
            f"[The recessive trait|It] shows only in {small}{small}, <because> one {big} is enough to hide it: 1/4.",
            f"[Among|Of] the remaining three cases two [carry|have] {small}, <so> the share of carriers is 2/3[, not 1/2|].",
        ),
        "1/4 and 2/3",
    )


def nested_loops(chance: random.Random) -> Problem:
    n = chance.randint(3, 40) * 10
    pairs = n * (n - 1) // 2
    return Problem(
        f"How often does `seen(a[i], a[j])` run in\n\n```\nfor i in 0 .. {n - 1}:\n    for j in i+1 .. {n - 1}:\n        seen(a[i], a[j])\n```\n\nand what [happens|changes] when the list doubles?",
        (
            f"For `i = 0` the inner loop [makes|has] {n - 1} passes, for `i = 1` one less, [down to|until] none.",
            f"<so> the calls are {n - 1} + {n - 2} + ... + 1 = {n} * {n - 1} / 2 = {pairs}.",
            f"[Doubled|With twice the list], n is {2 * n} and the same sum is {2 * n} * {2 * n - 1} / 2 = {n * (2 * n - 1)}.",
            f"<so> the work grows {n * (2 * n - 1) / pairs:.2f} times, <because> the cost is quadratic: each element meets every later one.",
        ),
        f"{pairs} calls",
    )


def recursion(chance: random.Random) -> Problem:
    a, b = chance.randint(2, 5), chance.randint(1, 9)
    n = chance.randint(3, 4)
    values = [b]
    for _ in range(n):
        values.append(a * values[-1] + 1)
    calls = tuple(
        f"`f({k})` needs `f({k - 1})`, which is {values[k - 1]}, <so> it [returns|is] {a} * {values[k - 1]} + 1 = {values[k]}."
        for k in range(1, n + 1)
    )
    return Problem(
        f"[What does|Which value does] `f({n})` return?\n\n```js\nfunction f(n) {{\n  if (n === 0) return {b};\n  return {a} * f(n - 1) + 1;\n}}\n```",
        (
            f"[The recursion|Every call] lowers `n` by one, <so> it [ends|must end] at `f(0)`, which [is|gives] {b}.",
            *calls,
            f"The call stack is {n + 1} frames deep, <because> no frame can finish before the one it called.",
        ),
        f"`{values[-1]}`",
    )


def shared_list(chance: random.Random) -> Problem:
    values = [chance.randint(1, 60) for _ in range(3)]
    extra = chance.randint(61, 99)
    first, second = chance.sample(["left", "rows", "mine", "cart", "buffer", "todo"], 2)
    return Problem(
        f"After `{first} = {values}`, `{second} = {first}`, `{second}.append({extra})`: why has `{first}` changed, and how [can this be|is it] avoided?",
        (
            f"`{second} = {first}` copies no list; it [binds|gives] a second name to the same object, <so> `{second} is {first}` is true.",
            f"`append` changes the object [in place|itself], <so> both names now show `{[*values, extra]}`.",
            f"[If instead|Had] we wrote `{second} = list({first})`, a new object would be made, <so> `append` would leave `{first}` with {len(values)} items.",
            "[Tuples|Strings] do not show this, <because> they have no method that alters them.",
        ),
        f"`{second} = list({first})`",
    )


def lost_update(chance: random.Random) -> Problem:
    n, stock = chance.randint(2, 6), chance.randint(10, 90)
    word = chance.choice(["stock", "balance", "counter", "seats"])
    return Problem(
        f"{n} threads each run `x = read('{word}'); write('{word}', x - 1)` once, starting from {stock}. Which [values|results] are possible, and what [mends|cures] it?",
        (
            f"[Run one after the other|In sequence] each thread sees the result of the last, <so> the end is {stock} - {n} = {stock - n}.",
            f"But reading and writing are two steps: if all read before any writes, each [holds|has] {stock}, <so> each writes {stock - 1} and {n - 1} updates are lost.",
            f"[Anything between|Mixed orders] can occur too, <because> any number from 1 to {n} of the writes may [survive|count]; <so> the end lies between {stock - n} and {stock - 1}.",
            "A lock around both steps [forbids|excludes] the mixed orders, <so> only the first outcome remains.",
        ),
        f"{stock - n} to {stock - 1}",
    )


def join_size(chance: random.Random) -> Problem:
    customers, orders, none = chance.randint(20, 90), chance.randint(100, 900), chance.randint(2, 15)
    return Problem(
        f"Table `customers` has {customers} rows, `orders` {orders}; every order has [one|a] customer, {none} customers have no order. How many rows do `customers JOIN orders` and `customers LEFT JOIN orders` return?",
        (
            f"[An inner join|JOIN] yields one row for each matching pair; each order matches exactly one customer, <so> there are {orders}.",
            "The left join [keeps|adds] customers without a match once, with NULL in the columns of `orders`.",
            f"<so> it has {orders} + {none} = {orders + none} rows, and `COUNT(orders.id)` is still {orders}, <because> COUNT skips NULL.",
            f"[Joining without a condition|A cross join] would give {customers} * {orders} = {customers * orders}, [a sign of|which often means] a forgotten ON.",
        ),
        f"{orders} and {orders + none}",
    )


def overflow(chance: random.Random) -> Problem:
    bits = chance.choice([8, 16])
    limit = 2 ** (bits - 1)
    a = chance.randint(limit // 2, limit - 1)
    b = chance.randint(limit - a, limit - 1)
    return Problem(
        f"In C, `int{bits}_t a = {a}, b = {b}; int{bits}_t c = a + b;` [prints|gives] {a + b - 2 * limit}. [Why|How does that come about]?",
        (
            f"{bits} bits with a sign hold {-limit} to {limit - 1}; the true sum {a + b} is [larger|too large], <so> it does not fit.",
            f"The conversion keeps the low {bits} bits, [that is|i.e.] the value modulo 2^{bits} = {2 * limit}.",
            f"<so> {a + b} becomes {a + b} - {2 * limit} = {a + b - 2 * limit}, <because> the top bit now counts as {-limit}.",
            f"[A wider type|`int32_t`] for `c` [cures|avoids] it, <because> {a + b} is far below 2^31.",
        ),
        f"{a + b - 2 * limit}",
    )


def half_life(chance: random.Random) -> Problem:
    half, k = chance.randint(2, 30), chance.randint(2, 6)
    start = 2**k * chance.randint(1, 9)
    return Problem(
        f"A sample [holds|contains] {start} mg of an isotope with a half-life of {half} days. [When|After how long] are {start // 2**k} mg left?",
        (
            f"Each {half} days [halve|leave half of] what is there: {', '.join(str(start // 2**i) for i in range(k + 1))} mg.",
            f"<so> {k} half-lives [pass|are needed], <because> {start} / 2^{k} = {start // 2**k}.",
            f"[This takes|They last] {k} · {half} = {k * half} days; [a linear|an even] loss would have [used it up|ended] after {2 * half} days, <so> decay is [no such process|not linear].",
        ),
        f"{k * half} days",
    )


def mixing(chance: random.Random) -> Problem:
    m1, m2 = chance.randint(1, 9), chance.randint(1, 9)
    cold, hot = chance.randint(5, 25), chance.randint(50, 95)
    mixed = Fraction(m1 * cold + m2 * hot, m1 + m2)
    return Problem(
        f"{m1} kg of water at {cold} °C are [mixed with|poured into] {m2} kg at {hot} °C. What temperature [results|do they reach]?",
        (
            f"[No heat is lost|The vessel is insulated], <so> what the warm water gives the cold water takes: ${m2}({hot} - T) = {m1}(T - {cold})$; the specific heat [cancels|drops out].",
            f"<so> ${m1 + m2}T = {m1 * cold} + {m2 * hot} = {m1 * cold + m2 * hot}$ and $T = {mixed}$.",
            f"<check> {float(mixed):.1f} °C lies between {cold} and {hot}, nearer to the larger mass[, as it must|].",
        ),
        f"{float(mixed):.1f} °C",
    )


def lens(chance: random.Random) -> Problem:
    f, k = chance.randint(4, 20), chance.randint(2, 6)
    return Problem(
        f"An object stands {f * k} cm before a [converging|convex] lens of focal length {f} cm. Where is its image, and how large?",
        (
            f"[From|By] the lens equation $1/b = 1/{f} - 1/{f * k} = {Fraction(k - 1, f * k)}$, <so> $b = {Fraction(f * k, k - 1)}$ cm.",
            "The object is outside the focal length, <so> $b$ is positive and the image is real and upside down.",
            f"Its size is $b/g = {Fraction(1, k - 1)}$ of the object's, [smaller|not larger], <because> {f * k} is at least {2 * f}.",
        ),
        f"{Fraction(f * k, k - 1)} cm",
    )


def floating(chance: random.Random) -> Problem:
    volume, density = chance.randint(2, 60) * 10, chance.choice([300, 400, 500, 600, 700, 800, 900])
    return Problem(
        f"A block of {volume} litres and {density} kg/m³ [floats|swims] in water. How much of it is [under water|submerged], and which load does it carry before it sinks?",
        (
            f"[It weighs|Its mass is] {volume} · {density / 1000:.1f} = {volume * density // 1000} kg.",
            f"By Archimedes it [displaces|pushes aside] its own weight of water, <so> {volume * density // 1000} litres, {density // 10} %, are below the surface.",
            f"Fully under it displaces {volume} kg, <so> {volume} - {volume * density // 1000} = {volume - volume * density // 1000} kg more [can be carried|are possible], <because> then weight and lift are equal.",
        ),
        f"{density // 10} %, {volume - volume * density // 1000} kg",
    )


def dilution(chance: random.Random) -> Problem:
    k, ph = chance.randint(1, 3), chance.randint(1, 3)
    return Problem(
        f"A strong acid of pH {ph} is diluted with water to {10**k} times its volume. What is the pH [now|then]?",
        (
            f"A strong acid is fully dissociated, <so> pH {ph} means a concentration of $10^{{-{ph}}}$ mol/L of $H^+$.",
            f"[The same amount|As many ions] in {10**k} times the volume [are|make] $10^{{-{ph}}}/10^{k} = 10^{{-{ph + k}}}$ mol/L.",
            f"<so> the pH is {ph + k}; it [rises|goes up] by one for every factor of ten, <because> it is minus the logarithm.",
            f"[Pure water|The water's own ions] may be neglected, <because> $10^{{-7}}$ is small beside $10^{{-{ph + k}}}$.",
        ),
        f"{ph + k}",
    )


PROOFS = (induction, divisibility, irrationality, handshakes, limit)

OF_DOMAIN: dict[str | None, tuple[Family, ...]] = {  # None: as much commerce, or a puzzle, as mathematics
    "mathematics": (
        *(linear_equation, quadratic, derivative, integral_by_parts, matrix, limit),
        *(induction, divisibility, irrationality, handshakes, euclid),
        *(committees, bayes, right_triangle, workers),
    ),
    "science": (
        *(throw, ohm, burning, pulley, crossing),
        *(half_life, mixing, lens, floating, dilution),
    ),
    "code": (
        *(binary_search, loop_trace, off_by_one, nested_loops, recursion),
        *(shared_list, lost_update, join_size, overflow),
    ),
    None: (interest, planning, knights),
}
FAMILIES = {  # host → domain and family
    f"solutions/{family.__name__}": (domain, family)
    for domain, group in OF_DOMAIN.items()
    for family in group
}
