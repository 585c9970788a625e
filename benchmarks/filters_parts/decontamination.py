"""Decontamination, measured: planted problems found, false alarms, speed, memory.

    python -m benchmarks.filters_parts.decontamination [--quick] [--documents DIR]

Problems: GSM8K (test), MATH-500, IFEval and CodeContests from ../shared/data/problems, or problems of reasoning-gym where
these are not. Each is planted as a paragraph into a document of Debian's documentation (runs/dedup/corpus50k, made by
benchmarks/dedup.py), as it is and in other forms, and counts as found if the document is said to have that problem, or
one with the same text. CPU seconds of one process, compiled kernels.

False alarms: pages of textbook formulas written here, the corpus as it is, and the training halves of GSM8K and MATH,
which are other problems of the same hands (of MATH some are the test's with other numbers, or nearly).

Measured: of 2,525 problems all verbatim copies, ≥ 99.5 % in each other form; none of 2,000 textbook pages and none of 50,600
documents; 8,000 documents a CPU second; 20 and 25 bytes an n-gram. datatrove as shipped: 126 documents a CPU second, 97 %
of verbatim copies (shorter problems have no 12-gram), 82 % with other LaTeX, 74 % in Unicode, and 11 of 100 textbook pages.
In queries and problems (`mixtures.known_problems`) ≥ 99.4 % in each other form, by words alone 72 to 97 %; of 14,947
training problems words find 70 and 83 (of 20 looked at none a copy), the other ways 5 and 4 more; 50,000 a CPU second.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.dedup_parts import corpus
from benchmarks.dedup_parts.report import LeftOut, Report
from benchmarks.filters_parts import decontamination_peer
from benchmarks.filters_parts.textbook import pages
from filters.decontaminate import Decontaminate, DecontaminateConfig, Problem, read_problems
from filters.decontamination.ngrams import build_index
from filters.decontamination.rearranged import build_rearranged
from mixtures.known_problems import Held, Matcher
from mixtures.problem_rules import COMMON
from synth import prompts

ROOT = Path(__file__).parents[2]
PROBLEMS = ROOT / "../shared/data/problems"
SETS = ("gsm8k_test.jsonl.gz", "math500.jsonl.gz", "ifeval.jsonl.gz", "code_contests_test.json.gz")
TRAIN = {"gsm8k": "gsm8k_train.jsonl.gz", "math": "math_train.json.gz"}
GENERATORS = (
    "chain_sum",
    "basic_arithmetic",
    "gsm_symbolic",
    "leg_counting",
    "simple_geometry",
    "age_problems",
)
AT_A_TIME = 1024
NGRAMS = 1_000_000
SAMPLE = 100  # texts of each kind for the peer, which is slow
PIECE = 60  # words of a problem where only their number matters

# --- other forms of a problem -------------------------------------------------------------------------------

Form = Callable[[str, random.Random], str]
WORDS = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
FORMULA = re.compile(r"(?<!\\)\$\$.+?\$\$|(?<!\\)\$[^$\s](?:[^$]*[^$\s])?\$(?!\d)|\\\[.+?\\\]", re.DOTALL)
COMMANDS = (
    (r"\\[dt]?frac", ("\\frac", "\\dfrac", "\\tfrac")),
    (r"\\(?:cdot|times)", ("\\cdot", "\\times", "*")),
    (r"\\leq?", ("\\le", "\\leq", "\\leqslant")),
    (r"\\geq?", ("\\ge", "\\geq")),
    (r"\\neq?", ("\\ne", "\\neq")),
    (r"\\(?:text|mathrm)", ("\\text", "\\mathrm", "\\textrm")),
)
SYMBOLS = (
    "pi:π alpha:α beta:β theta:θ omega:ω lambda:λ leq:≤ le:≤ geq:≥ ge:≥ neq:≠ ne:≠ cdot:· times:× infty:∞ circ:° "
    "triangle:△ angle:∠ pm:± in:∈ cup:∪ cap:∩ to:→ ldots:… cdots:⋯ dots:… left: right: equiv:≡ div:÷ log:log"
)
SYMBOL_OF = dict(pair.split(":") for pair in SYMBOLS.split())


def as_it_is(text: str, rng: random.Random) -> str:
    return text


def spaced(text: str, rng: random.Random) -> str:
    """Lines broken elsewhere, blanks around signs or none."""
    text = re.sub(r"[ \n]+", lambda _: rng.choice([" ", " ", "  ", "\n"]), text)
    sign = rng.choice([r" \1 ", r"\1"])
    return re.sub(r" ?([=+]) ?", sign, text)


def numbers(text: str, rng: random.Random) -> str:
    """Thousands grouped in another way, decimals with needless zeros or without, small numbers as words."""
    group = rng.choice([",", "{,}", "\\,", "\u202f", " ", ""])

    def thousands(found: re.Match[str]) -> str:
        digits = re.sub(r"\D", "", found[0])
        return re.sub(r"(?<=\d)(?=(\d{3})+$)", lambda _: group, digits)

    text = re.sub(
        r"(?<![\d.,\\])[1-9]\d{0,2}(?:,\d{3})+(?![\d,])|(?<![\d.,])[1-9]\d{3,}(?![\d.,])", thousands, text
    )
    text = re.sub(r"(?<![\d.,])(\d+)\.00(?!\d)", r"\1", text)
    text = re.sub(r"(?<=\$)(\d{1,3})(?= (?!\$))", r"\1.00", text) if rng.random() < 0.5 else text
    text = re.sub(r"(?<![\d.,])0(\.\d)", r"\1", text)
    if rng.random() < 0.5 and "\\" not in text and "$" not in text:
        text = re.sub(r"(?<![\w.,/^-])(\d|1[0-2])(?![\w/%^])(?![.,]\d)", lambda m: WORDS[int(m[1])], text)
    return text


def latex(text: str, rng: random.Random) -> str:
    """The same formulas by other commands, with and without \\left and \\right, and with other delimiters."""
    sized, delimited = rng.random() < 0.5, rng.random() < 0.5

    def respelled(found: re.Match[str]) -> str:
        formula = found[0]
        for pattern, others in COMMANDS:
            other = rng.choice(others)
            formula = re.sub(pattern + "(?![a-z])", other.replace("\\", "\\\\"), formula)
        formula = re.sub(r"\\frac\{(\d)\}\{(\d)\}", r"\\frac\1\2", formula)
        formula = re.sub(r"\^(\d)(?!\d)", r"^{\1}", formula)
        if sized:
            formula = re.sub(r"(?<![\\a-z])\(([^()]*)\)", r"\\left(\1\\right)", formula)
        else:
            formula = re.sub(r"\\(?:left|right)(?![a-z])", "", formula)
        if formula.startswith("\\["):
            return f"$${formula[2:-2]}$$"
        return f"\\({formula[1:-1]}\\)" if delimited and not formula.startswith("$$") else formula

    return FORMULA.sub(respelled, text)


def unicode(text: str, rng: random.Random) -> str:
    """Formulas as plain text with the characters that Unicode has for them."""
    for _ in range(3):
        text = re.sub(r"\\[dtc]?frac\{([^{}]*)\}\{([^{}]*)\}", r"(\1)/(\2)", text)
        text = re.sub(r"\\sqrt\{([^{}]*)\}", r"√(\1)", text)
        text = re.sub(r"\\(?:text|mathrm|mathbf)\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\^\{?(\d+)\}?", lambda m: m[1].translate(RAISED), text)
    text = re.sub(r"\^\{?\\circ\}?", "°", text)
    text = re.sub(r"\\([a-z]+)", lambda m: SYMBOL_OF.get(m[1], m[0]), text)
    return re.sub(r"\\[\[\]()]|(?<!\\)\$(?!\d)", "", text)


def swapped(text: str, rng: random.Random) -> str:
    """Two sentences in each other's place."""
    parts = re.split(r"(?<=[.?!])(\s+)", text)
    if len(parts) < 3:
        return text
    a, b = sorted(rng.sample(range(0, len(parts), 2), 2))
    parts[a], parts[b] = parts[b], parts[a]
    return "".join(parts)


def reworded(share: float) -> Form:
    """Some words in another's place; numbers and formulas stay."""

    def form(text: str, rng: random.Random) -> str:
        def other(found: re.Match[str]) -> str:
            return rng.choice(OTHER_WORDS) if rng.random() < share else found[0]

        return re.sub(r"(?<![\\\w{$])[A-Za-z]{2,}(?![\w}$])", other, text)

    return form


OTHER_WORDS = (
    "several",
    "quietly",
    "garden",
    "certain",
    "moreover",
    "window",
    "early",
    "silver",
    "whole",
    "given",
)


def all_at_once(text: str, rng: random.Random) -> str:
    return spaced(numbers(latex(swapped(text, rng), rng), rng), rng)


def renumbered(text: str, rng: random.Random) -> str:
    """Another problem: each number is another one."""
    return re.sub(r"\d+", lambda m: str(int(m[0][:15]) + rng.randint(1, 50)), text)


def one_renumbered(text: str, rng: random.Random) -> str:
    """Another problem: one of its numbers is another one."""
    found = list(re.finditer(r"\d+", text))
    if not found:
        return text
    number = rng.choice(found)
    return text[: number.start()] + str(int(number[0][:15]) + rng.randint(1, 50)) + text[number.end() :]


FORMS: dict[str, tuple[Form, float | None]] = {  # name: (form, share that must be found)
    "verbatim": (as_it_is, 1.0),
    "whitespace": (spaced, 0.95),
    "numbers' spelling": (numbers, 0.95),
    "LaTeX spelling": (latex, 0.95),
    "formulas in Unicode": (unicode, 0.95),
    "two sentences swapped": (swapped, 0.95),
    "all of these but Unicode": (all_at_once, 0.95),
    "1 word in 20 changed": (reworded(0.05), None),
    "1 word in 10 changed": (reworded(0.1), None),
    "one number changed": (one_renumbered, None),
    "every number changed": (renumbered, None),
}

# --- problems and documents ---------------------------------------------------------------------------------


def problem_files(folder: Path) -> list[str]:
    """Benchmark files of the public sets, or one written to `folder`."""
    if PROBLEMS.exists():
        return [str(PROBLEMS / name) for name in SETS]
    import reasoning_gym

    file = folder / "generated.jsonl"
    with file.open("w") as out:
        for name in GENERATORS:
            for n, entry in enumerate(reasoning_gym.create_dataset(name, size=300, seed=1)):
                out.write(json.dumps({"id": f"{name}/{n}", "problem": entry["question"]}) + "\n")
    return [str(file)]


def train_problems() -> dict[str, list[str]]:
    """Problems of the same hands that are not in the benchmarks."""
    found = {}
    for name, file in TRAIN.items():
        if (PROBLEMS / file).exists():
            data = gzip.decompress((PROBLEMS / file).read_bytes()).decode()
            rows = json.loads(data) if file.endswith(".json.gz") else map(json.loads, data.splitlines())
            found[name] = [row.get("problem") or row["question"] for row in rows]
    return found


def documents(folder: Path) -> list[str]:
    files = sorted(folder.glob("*.parquet"))
    return [text for file in files for text in pq.read_table(file, columns=["text"])["text"].to_pylist()]


def check(stage: Decontaminate, texts: list[str]) -> Iterator[dict[str, object]]:
    """The stage's rows."""
    for i in range(0, len(texts), AT_A_TIME):
        part = texts[i : i + AT_A_TIME]
        yield from stage.process(pa.table({"id": [""] * len(part), "text": part})).kept.to_pylist()


# --- measurements -------------------------------------------------------------------------------------------


Planted = dict[str, tuple[list[int], list[str]]]  # form: numbers of the problems, documents that hold them


def plant(problems: list[Problem], base: list[str]) -> Planted:
    """Every problem in every form that changes it, each in a document of its own."""
    planted = {}
    for name, (form, _) in FORMS.items():
        rng = random.Random(name)
        forms = [form(p.text, rng) for p in problems]
        changed = [i for i, p in enumerate(problems) if forms[i] != p.text or form is as_it_is]
        planted[name] = changed, [_with(forms[i], rng.choice(base), rng) for i in changed]
    return planted


def _with(problem: str, document: str, rng: random.Random) -> str:
    paragraphs = document.split("\n\n")
    paragraphs.insert(rng.randint(0, len(paragraphs)), problem)
    return "\n\n".join(paragraphs)


def recall(report: Report, stage: Decontaminate, planted: Planted) -> None:
    problems = stage.problems
    rows: list[list[object]] = []
    same: dict[str, set[str]] = {}
    for p in problems:
        same.setdefault(" ".join(p.text.split()), set()).add(p.id)
    for name, (changed, texts) in planted.items():
        found, ways = 0, {"words": 0, "formulas": 0, "rearranged": 0}
        for i, row in zip(changed, check(stage, texts), strict=True):
            if row["contam_problem"] in same[" ".join(problems[i].text.split())]:
                found += 1
                ways[str(row["contam_match"])] += 1
        share, wanted = found / len(changed), FORMS[name][1]
        rows.append([name, len(changed), share, *(count / len(changed) for count in ways.values())])
        if wanted is not None:
            report.mark(f"planted problems found, {name}", share, f"≥ {wanted}", share >= wanted)
    short = sum(stage.unindexed.values())
    report.show(
        "Planted problems that are found",
        ["form", "planted", "found", "by words", "by formulas", "rearranged"],
        rows,
        f"{len(problems):,} problems; {short} of them are too short to be looked for (and count as not found). A problem "
        "with other numbers is another problem: the last lines should be low.",
    )


def false_alarms(report: Report, stage: Decontaminate, base: list[str], examples: int) -> None:
    rows: list[list[object]] = []
    for name, texts in {
        "textbook formulas": pages(2000),
        "corpus as it is": base,
        **{f"training problems of {name}": texts for name, texts in train_problems().items()},
    }.items():
        hits = [
            (text, row) for text, row in zip(texts, check(stage, texts), strict=True) if row["contam_problem"]
        ]
        ways = [
            sum(row["contam_match"] == way for _, row in hits) for way in ("words", "formulas", "rearranged")
        ]
        share = len(hits) / len(texts)
        rows.append([name, len(texts), len(hits), *ways, f"{share:.3%}"])
        if not name.startswith("training"):
            report.mark(f"false alarms, {name}", share, "≤ 0.001", share <= 0.001)
        for _, row in hits[:examples]:
            print(
                name,
                row["contam_match"],
                row["contam_share"],
                row["contam_problem"],
                repr(row["contam_excerpt"]),
            )
    report.show(
        "False alarms", ["texts", "number", "found", "words", "formulas", "rearranged", "share"], rows
    )


def in_problems(report: Report, problems: list[Problem], examples: int) -> None:
    """The same forms as queries of SFT and as problems of RL (mixtures/known_problems.py), and other problems."""
    texts = [problem.text for problem in problems]
    matchers = {
        "queries (a run of 16 words)": Matcher(texts, 16),
        "problems (a quarter of the runs of 10)": Matcher(texts, 10, 0.25, COMMON),
    }
    rows: list[list[object]] = []
    for kind, matcher in matchers.items():
        matcher.find(texts[:10])  # compiles
        for name, (form, wanted) in FORMS.items():
            rng = random.Random(name)
            forms = [form(text, rng) for text in texts]
            changed = [i for i, text in enumerate(texts) if forms[i] != text or form is as_it_is]
            asked = [prompts.SOLVE["maths"].format(problem=forms[i]) for i in changed]
            found = [
                held
                for i, held in zip(changed, matcher.find(asked), strict=True)
                if held is not None and texts[held.problem].split() == texts[i].split()
            ]
            share = len(found) / len(changed)
            rows.append([kind, name, len(changed), share, *_ways(found, len(changed)), ""])
            if wanted is not None:
                report.mark(f"found in {kind}, {name}", share, f"≥ {wanted}", share >= wanted)
        for name, training in train_problems().items():
            begin = time.process_time()
            hits = [(text, held) for text, held in zip(training, matcher.find(training), strict=True) if held]
            speed = len(training) / (time.process_time() - begin)
            ways = _ways([held for _, held in hits], len(training))
            rows.append(
                [kind, f"training {name}", len(training), len(hits) / len(training), *ways, f"{speed:,.0f}"]
            )
            new = [(text, held) for text, held in hits if held.way != "words"]
            alarms = len(new) / len(training)
            report.mark(f"false alarms in {kind}, {name}, but words", alarms, "≤ 0.001", alarms <= 0.001)
            for text, held in new[:examples]:
                print(kind, held, repr(text), repr(texts[held.problem]))
    report.show(
        "In problems",
        ["texts", "form", "number", "found", "by words", "by formulas", "rearranged", "problems/CPU s"],
        rows,
        "By words is what was found before the other two ways were looked for. Those with other numbers are other problems; "
        "where words find them, it is by the long sentences that they have in common.",
    )


def _ways(found: list[Held], number: int) -> list[float]:
    return [sum(held.way == way for held in found) / number for way in ("words", "formulas", "rearranged")]


def speed(report: Report, stage: Decontaminate, base: list[str]) -> None:
    batches = [
        pa.table({"id": [""] * len(part), "text": part})
        for part in (base[i : i + AT_A_TIME] for i in range(0, len(base), AT_A_TIME))
    ]
    rows: list[list[object]] = []
    for name, runner in {
        "words and other forms": stage,
        "words only": stage_of(stage.config.benchmarks, other_forms=False),
    }.items():
        begin = time.process_time()
        for batch in batches:
            runner.process(batch)
        seconds = time.process_time() - begin
        size = sum(batch["text"].nbytes for batch in batches)
        rows.append([name, runner.index_bytes, len(base) / seconds, size / seconds / 1e6])
    report.show("Speed on the corpus", ["looked for", "bytes of index", "documents/CPU s", "MB/CPU s"], rows)


def peer(report: Report, stage: Decontaminate, planted: Planted, base: list[str]) -> None:
    """datatrove on a sample of the same texts; found is there what is flagged for any problem."""
    rng = random.Random(1)
    texts = {name: rng.sample(texts, min(SAMPLE, len(texts))) for name, (_, texts) in planted.items()}
    texts |= {"textbook formulas": pages(SAMPLE), "corpus as it is": base[:SAMPLE]}
    try:
        theirs = decontamination_peer.measure([p.text for p in stage.problems], texts)
    except LeftOut as reason:
        print(f"not measured: {reason}")
        return
    rows: list[list[object]] = []
    for name, sample in texts.items():
        ours = sum(row["contam_problem"] is not None for row in check(stage, sample))
        rows.append([name, len(sample), ours / len(sample), theirs["flagged"][name] / len(sample)])
    begin = time.process_time()
    documents = [text for sample in texts.values() for text in sample]
    list(check(stage, documents))
    speed = len(documents) / (time.process_time() - begin)
    rows.append(["documents/CPU s", len(documents), speed, theirs["per_second"]])
    report.show(
        "Flagged, beside datatrove 0.10.1 as shipped (12-grams)",
        ["texts", "number", "ours", "datatrove"],
        rows,
    )


def memory(report: Report, base: list[str], folder: Path) -> None:
    """Indexes of a million n-grams and more, in a process of its own. Problems: pieces of half of the documents."""
    words = [word for text in base[: len(base) // 2] for word in text.split()][: NGRAMS * 3 // 2]
    file = folder / "pieces.jsonl"
    with file.open("w") as out:
        for i in range(0, len(words) - PIECE, PIECE):
            out.write(json.dumps({"problem": " ".join(words[i : i + PIECE])}) + "\n")
    del words
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        rows, speed = pool.apply(_memory, (str(file), base[len(base) // 2 :][:4000]))
    report.show(
        "Large indexes",
        ["index", "problems", "n-grams", "bytes", "bytes/n-gram", "CPU s to build", "growth/n-gram"],
        rows,
        f"Growth: of the process's largest memory while the index was built, problems' texts not counted. With both "
        f"{speed:,.0f} documents/CPU s.",
    )
    for row in rows:
        report.mark(f"bytes per n-gram, {row[0]}", float(str(row[4])), "≤ 32", float(str(row[4])) <= 32)


def _memory(file: str, texts: list[str]) -> tuple[list[list[object]], float]:
    small = stage_of([])
    list(check(small, ["compiles"]))
    build_index(["a b c d e f g"], 13, 4), build_rearranged(["a b c d e f g"])
    problems = [problem.text for problem in read_problems(file, "")]
    rows: list[list[object]] = []
    for name, build in (
        ("runs of 13 words", lambda: build_index(problems, 13, 4)),
        ("other forms", lambda: build_rearranged(problems)),
    ):
        Path("/proc/self/clear_refs").write_text("5")  # the largest memory is measured from now on
        before, begin = _largest_memory(), time.process_time()
        built = build()
        seconds = time.process_time() - begin
        count = int(built.ngrams.sum())
        size, grown = built.nbytes / count, (_largest_memory() - before) / count
        rows.append([name, len(problems), count, built.nbytes, size, seconds, grown])
        del built
    stage = stage_of([file])
    list(check(stage, texts[:10]))
    begin = time.process_time()
    list(check(stage, texts))
    return rows, len(texts) / (time.process_time() - begin)


def _largest_memory() -> int:
    """Of this process, bytes."""
    return next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )


def stage_of(benchmarks: list[str], **options: bool) -> Decontaminate:
    stage = Decontaminate(DecontaminateConfig(benchmarks=benchmarks, **options))
    stage.prepare()
    return stage


def measure(report: Report, folder: Path, quick: bool = False, examples: int = 0) -> None:
    """All tables; `folder` holds the shards of the corpus."""
    base = documents(folder)
    random.Random(0).shuffle(base)
    base = base[:4000] if quick else base
    with TemporaryDirectory() as temporary:
        stage = stage_of(problem_files(Path(temporary)))
        list(check(stage, base[:10]))  # compiles
        planted = plant(stage.problems, base[:2000])
        recall(report, stage, planted)
        false_alarms(report, stage, base, examples)
        in_problems(report, stage.problems, examples)
        speed(report, stage, base[:10_000])
        peer(report, stage, planted, base)
        memory(report, base, Path(temporary))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="4,000 documents of the corpus")
    parser.add_argument(
        "--documents", type=Path, help="folder of shards with a column `text`, in place of the corpus"
    )
    parser.add_argument("--examples", type=int, default=0, help="false alarms to show of each kind")
    options = parser.parse_args()
    folder = options.documents
    if folder is None:
        folder = Path(corpus.real(ROOT / "runs/dedup/corpus50k").path)
    report = Report()
    measure(report, folder, options.quick, options.examples)
    (ROOT / "runs/filters").mkdir(parents=True, exist_ok=True)
    sys.exit(0 if report.finish(ROOT / "runs/filters/decontamination.md") else 1)


if __name__ == "__main__":
    main()
