"""Files of answers, what is left out of them and why, and the packed conversations that come out."""

import gzip
import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tokenizers
from small_runs import bytes_of, reasons_of, rows_of, run, run_rounds, trained, write_dataset

from mixtures import answers as answers_module
from mixtures.answers import AnswerFiles, Answers, VerifyAnswers
from mixtures.known_problems import KnownProblems
from mixtures.one_language import OneLanguage
from mixtures.sft import SFT, incomplete
from mixtures.tokens import AnswerTokens
from pipeline.errors import RequestError
from synth.prompts import SOLVE

SEVEN = "Multiply 7 by 8, please."
THREE_LANGUAGES = {
    "en": "We begin by writing the number as a product of two factors. Each of them is odd, so their sum is even, and "
    "half of that sum is again a whole number. Squaring it and taking away the given number leaves the square of half "
    "the difference, which is what we wanted to show.",
    "de": "Wir schreiben die Zahl zuerst als Produkt zweier Faktoren. Beide sind ungerade, also ist ihre Summe gerade, "
    "und die Hälfte dieser Summe ist wieder eine ganze Zahl. Wenn man sie quadriert und die gegebene Zahl abzieht, "
    "bleibt das Quadrat der halben Differenz übrig, und das war zu zeigen.",
    "fr": "On commence par écrire le nombre comme produit de deux facteurs. Chacun d'eux est impair, donc leur somme "
    "est paire et la moitié de cette somme est encore un entier. En l'élevant au carré et en retranchant le nombre "
    "donné, il reste le carré de la moitié de la différence, ce qu'il fallait démontrer.",
    "ru": "Сначала запишем число в виде произведения двух множителей. Оба они нечётны, поэтому их сумма чётна, и "
    "половина этой суммы снова целое число. Если возвести её в квадрат и вычесть данное число, останется квадрат "
    "половины разности, что и требовалось доказать.",
    "zh": "首先把这个数写成两个因数的乘积。因为两个因数都是奇数，所以它们的和是偶数，和的一半也是整数。把它平方以后减去原来的数，剩下的正好是差的一半的"
    "平方，这就是我们要证明的结论。这个方法对每一个不是素数的奇数都成立，无论它有多大，我们都可以用同样的办法来处理。最后再检查一遍计算，可以看出每一步都没有问题，答案也符合题目的要求。",
    "ja": "まずこの数を二つの因数の積として書きます。どちらも奇数なので、その和は偶数であり、和の半分はふたたび整数になります。それを二乗して与えられた"
    "数を引くと、差の半分の二乗が残り、これが示したかったことです。この議論は素数でないすべての奇数について成り立ちます。どんなに大きな数でも同じように考えることができます。最後にもう一度計算を確かめておきましょう。",
}
BENCHMARK = (
    "A farmer has seventeen sheep and nine goats in a barn by the river; each sheep eats three bales of hay a week. "
    "How many bales do the sheep eat in four weeks?"
)
ROWS = {  # id: (row, why it is left out)
    "right": (
        {"query": SEVEN, "answer": "7 · 8 is \\boxed{56}.", "check": {"kind": "math", "answer": "56"}},
        None,
    ),
    "wrong": (
        {"query": SEVEN, "answer": "It is \\boxed{54}.", "check": '{"kind": "math", "answer": "56"}'},
        "not_equal",
    ),
    "once": ({"query": "How many?", "answer": "Five of them.", "finish_reason": "stop"}, None),
    "cut": ({"query": SEVEN, "answer": "7 times 8 is fif", "finish_reason": "length"}, "incomplete"),
    "thinking": ({"query": SEVEN, "answer": "<think>\nSeven times eight"}, "incomplete"),
    "only thoughts": ({"query": SEVEN, "answer": "<think>\n56\n</think>\n \n"}, "incomplete"),
    "fence": ({"query": "Print 56.", "answer": "Here:\n```python\nprint(56)\n"}, "incomplete"),
    "no box": ({"query": "7 · 8? Answer in \\boxed{}.", "answer": "It is 56."}, "incomplete"),
    "benchmark": ({"query": f"Solve this. {BENCHMARK.upper()}", "answer": "204 bales."}, "contaminated"),
    "part of it": (
        {"query": " ".join(BENCHMARK.split()[3:19]) + " How long does it last?", "answer": "A year."},
        "contaminated",
    ),
    "15 words of it": (
        {"query": " ".join(BENCHMARK.split()[3:18]) + " How long does it last?", "answer": "A year."},
        None,
    ),
    "German": (
        {"query": THREE_LANGUAGES["en"], "answer": THREE_LANGUAGES["de"]},
        "mixed_language",
    ),
    "long": ({"query": "Count.", "answer": " ".join(map(str, range(400)))}, "too_long"),
    "again": ({"query": "how  MANY?\n", "answer": " Five of\nthem. "}, None),  # one of the two is left out
}
MANY = [{"id": f"many {n}", "query": "Name a number.", "answer": f"{n}, for example."} for n in range(12)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The rows in three containers, and a benchmark."""
    folder = tmp_path_factory.mktemp("files")
    rows = [{"id": name, **row} for name, (row, _) in ROWS.items()]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(MANY[:7]), folder / "b.parquet", row_group_size=3)
    (folder / "c.json.gz").write_bytes(gzip.compress(json.dumps(MANY[7:]).encode()))
    benchmark = folder.parent / f"{folder.name}-benchmark.jsonl"
    benchmark.write_text(json.dumps({"id": "farm", "problem": BENCHMARK}), encoding="utf-8")
    return folder, benchmark


def stage(benchmark, **changes):
    return SFT(SFT.Config(**{"context": 200, "shards": 2, "benchmarks": [str(benchmark)]} | changes))


@pytest.fixture(scope="module")
def finished(files, tmp_path_factory):
    source, benchmark = files
    folder = tmp_path_factory.mktemp("run")
    trained(folder)
    listed = AnswerFiles(AnswerFiles.Config(files=[str(source)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers_module, "PIECE", 300)  # JSON Lines in several pieces
        run(folder, listed, Answers(Answers.Config(shards=3)), VerifyAnswers(), stage(benchmark))
    return folder


@pytest.fixture(scope="module")
def ids(finished):
    """Of a row's id its name in ROWS or MANY."""
    return {row["id"]: row["source_id"] for row in rows_of(finished, "answers")}


def conversations(rows):
    """(id, tokens, trained) of each packed conversation."""
    for row in rows:
        start = 0
        for id_, length in zip(row["documents"], row["lengths"], strict=True):
            end = start + length
            yield id_, row["tokens"][start:end], row["trained"][start:end]
            start = end
        assert not any(row["trained"][start:]) and set(row["tokens"][start:]) <= {0}


def test_files_become_rows_with_the_columns_of_synthetic(finished, ids):
    rows = {ids[row["id"]]: row for row in rows_of(finished, "answers")}
    assert sorted(rows) == sorted([*ROWS, *(row["id"] for row in MANY)])
    assert len(rows_of(finished, "answer_files")) > 5
    for name, (said, _) in ROWS.items():
        assert (rows[name]["query"], rows[name]["answer"]) == (said["query"], said["answer"])
        assert rows[name]["strategy"] == ("solve" if "check" in said else "write")
    assert {row["source"] for row in rows.values()} == {"a.jsonl", "b.parquet", "c.json.gz"}
    assert json.loads(rows["wrong"]["check"]) == {"kind": "math", "answer": "56"}
    verdicts = {ids[row["id"]]: row["verdict"] for row in rows_of(finished, "answer_verdicts")}
    assert (verdicts["right"], verdicts["wrong"], verdicts["cut"]) == ("right", "wrong", "accepted")


def test_what_is_left_out_and_why(finished, ids):
    found = {ids[id_]: reason for id_, reason in reasons_of(finished, "sft_mixture").items()}
    over = [name for name in found if name.startswith("many")]
    assert {found.pop("once", None), found.pop("again", None)} == {None, "duplicate_answer"}  # by their ids
    expected = {name: reason for name, (_, reason) in ROWS.items() if name not in ("once", "again")}
    assert {name: found.get(name) for name in expected} == expected
    assert len(over) == 4 and {found[name] for name in over} == {"over_cap"}
    kept = [id_ for id_, _, _ in conversations(rows_of(finished, "sft_mixture"))]
    assert sorted([*kept, *reasons_of(finished, "sft_mixture")]) == sorted(
        ids
    )  # each row once, here or there


def test_a_token_is_trained_if_it_is_of_an_answer(finished, ids):
    plain = tokenizers.Tokenizer.from_str(rows_of(finished, "tokenizer")[0]["tokenizer_json"])
    said = {row["id"]: row for row in rows_of(finished, "answers")}
    rows = rows_of(finished, "sft_mixture")
    assert [row["id"] for row in rows] == [f"{shard}:{n}" for shard, n in numbered(finished)]
    for id_, tokens, mask in conversations(rows):
        query, answer = said[id_]["query"], said[id_]["answer"]
        given = plain.encode(f"<|im_start|>user\n{query}<|im_end|>\n<|im_start|>assistant\n").ids
        wanted = plain.encode(f"{answer}<|im_end|>").ids
        assert tokens == [*given, *wanted, 0]
        assert mask == [False] * len(given) + [True] * len(wanted) + [False]
    assert all(len(row["tokens"]) == len(row["trained"]) == 200 for row in rows)
    assert {tuple(row["starts"]) for row in rows} == {(0,) * len(row["lengths"]) for row in rows}
    assert any(len(row["lengths"]) > 1 for row in rows)  # something was packed together


def numbered(folder):
    counts = dict.fromkeys(bytes_of(folder, "sft_mixture"), 0)
    for row in rows_of(folder, "sft_mixture"):
        shard = row["id"].split(":")[0]
        yield shard, counts[shard]
        counts[shard] += 1


def test_shards_and_order_of_the_rows_play_no_part_but_the_seed_does(finished, files):
    verdicts = {row["id"]: row for row in rows_of(finished, "answer_verdicts")}
    rows = [row | verdicts[row["id"]] for row in rows_of(finished, "answers")]

    def packed(*tables, seed=0):
        one = stage(files[1], seed=seed)
        one.folder = str(finished)
        one.prepare()
        outcomes = run_rounds(one, [pa.Table.from_pylist(part) for part in tables])[-1]
        assert sorted(reason.id for outcome in outcomes for reason in outcome.dropped)
        return [row for outcome in outcomes for row in outcome.kept.to_pylist()]

    expected = rows_of(finished, "sft_mixture")
    assert packed(rows) == expected
    assert packed(rows[20:], rows[11:20], rows[:11][::-1]) == expected
    other = packed(rows, seed=1)
    assert other != expected
    assert {id_ for id_, _, _ in conversations(other)} != {id_ for id_, _, _ in conversations(expected)}


def test_answers_of_files_stand_beside_the_models_own(finished, files, tmp_path):
    """Both reach the pre-training mixture and fine-tuning."""
    for name in ("tokenizer", "answer_files", "answers", "answer_verdicts"):
        shutil.copytree(finished / name, tmp_path / name)
    columns = {
        "id": ["s0", "s1", "s2"],
        "strategy": ["solve", "analyse", "solve"],
        "finish_reason": ["stop"] * 3,
    }
    columns |= {"query": ["1 + 1?", "Explain.", "1 + 2?"], "answer": ["\\boxed{2}", "Well.", "\\boxed{2}"]}
    write_dataset(tmp_path, "synthetic", [pa.table(columns)])
    write_dataset(
        tmp_path,
        "verdicts",
        [
            pa.table(
                {
                    "id": ["s0", "s1", "s2"],
                    "verdict_passed": [True, True, False],
                    "verdict_reason": [None, None, "no"],
                }
            )
        ],
        describes="synthetic",
        aligned=True,
    )
    tokens, sft = run(tmp_path, AnswerTokens(), stage(files[1]))
    assert {row["group"] for row in rows_of(tmp_path, "answer_tokens")} == {"answers", "analysis"}
    given = len(ROWS) + len(MANY)
    assert (tokens.rows_in, tokens.kept, dict(tokens.dropped)) == (
        given + 3,
        given + 1,
        {"no": 1, "not_equal": 1},
    )
    assert (sft.rows_in, sft.dropped["another_strategy"], sft.dropped["no"]) == (given + 3, 1, 1)
    assert "s0" in {id_ for id_, _, _ in conversations(rows_of(tmp_path, "sft_mixture"))}


def test_answers_without_verdicts_are_refused(tmp_path):
    columns = ("id", "strategy", "query", "answer", "finish_reason")
    with pytest.raises(RequestError, match="put verify_answers before it"):
        SFT().check(pa.schema([(name, pa.string()) for name in columns]))


def test_answers_to_a_benchmark_do_not_reach_the_mixture_either(finished, files, ids):
    """The pre-training mixture, that is, from which Base learns."""
    verdicts = {row["id"]: row for row in rows_of(finished, "answer_verdicts")}
    rows = [row | verdicts[row["id"]] for row in rows_of(finished, "answers")]
    guarded = AnswerTokens(AnswerTokens.Config(benchmarks=[str(files[1])]))
    guarded.folder = str(finished)
    guarded.prepare()
    outcome = guarded.process(pa.Table.from_pylist(rows))
    found = {ids[reason.id] for reason in outcome.dropped if reason.reason == "contaminated"}
    assert found == {"benchmark", "part of it"}
    assert len(outcome.kept) + len(outcome.dropped) == len(rows)


def test_short_problems_of_a_benchmark_are_known_as_a_whole(tmp_path):
    path = tmp_path / "short.jsonl"
    short = ["Simplify $\\sqrt{242}$.", "Compute $3+x$", "12 + 7 ="]
    path.write_text("".join(json.dumps({"id": n, "problem": text}) + "\n" for n, text in enumerate(short)))
    known = KnownProblems([str(path)], 16)
    queries = ["simplify  $\\sqrt{242}$.\n", "Compute $3-x$", "12 + 7 =", "112 + 7 =", "12 + 7 = 19?"]
    queries += [SOLVE[name].format(problem="Compute $3+x$") for name in ("maths", "brief")]
    expected = [0, None, 2, None, None, 1, 1]
    assert known.find(queries) == [None if n is None else f"{path}: {n}, words 1.00" for n in expected]
    assert known.find([]) == [] and KnownProblems([], 16).find(queries) == [None] * 7


def test_the_same_file_under_two_names_is_read_once(tmp_path, caplog):
    for name, answer in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"query": "q", "answer": answer}) + "\n")
    listed = AnswerFiles(AnswerFiles.Config(files=[str(tmp_path)])).own_requests()
    assert [request["file"] for request in listed] == [str(tmp_path / f"{name}.jsonl") for name in "ac"]
    assert "b.jsonl is left out: it is the same as" in caplog.text


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.jsonl",
            '{"query": "q", "answer": "a"}\n{"query": "q"}\n',
            r"a\.jsonl, row 2, field 'answer': expected a text",
        ),
        ("a.jsonl", '{"query": "q", "answer": "a"}\n\n{"query": \n', r"a\.jsonl, row 3: not JSON"),
        ("a.jsonl", '"text"\n', r"a\.jsonl, row 1: expected an object"),
        (
            "a.json",
            '[{"query": "q", "answer": "a"}, {"query": " ", "answer": "a"}]',
            r"a\.json, row 2, field 'query'",
        ),
        (
            "a.jsonl",
            '{"query": "q", "answer": "a", "check": {"kind": "maths"}}\n',
            r"row 1, field 'check'.*math, choice",
        ),
        ("a.parquet", "text", r"a\.parquet: cannot be read as Parquet"),
        ("a.txt", "text", r"a\.txt"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text, encoding="utf-8")
    listed = AnswerFiles(AnswerFiles.Config(files=[str(tmp_path / name)]))
    with pytest.raises(RequestError, match=message):
        pieces = [{"row_group": None, "offset": None, "length": None, **one} for one in listed.own_requests()]
        table = pa.Table.from_pylist(pieces, schema=listed.schema)
        blank = pa.array([""] * len(table))
        table = table.add_column(0, "id", blank).add_column(1, "request", blank)
        run_rounds(Answers(), [table])


def test_missing_files_are_told_before_anything_runs(tmp_path):
    (tmp_path / "empty").mkdir()
    for name, message in (("nowhere.jsonl", "no such file"), ("empty", "no file in it ends in")):
        with pytest.raises(RequestError, match=message):
            AnswerFiles(AnswerFiles.Config(files=[str(tmp_path / name)])).check(None)


@pytest.mark.parametrize(
    ("query", "answer", "missing"),
    [
        ("?", "```python\nx = 1\n```\nDone.", ""),
        ("?", "````\n```\n````", ""),
        ("?", "  1. so:\n     ```c\n     int x;\n     ```\n", ""),
        ("?", "In short: ```x``` it is.", ""),
        ("?", "```x``` and then\nmore", ""),
        ("?", "~~~\n```\n~~~", ""),
        ("?", "```\nx\n``` python", "a code fence is left open"),
        ("?", "````\nx\n```", "a code fence is left open"),
        ("?", "<think>```</think>It is 5.", ""),
        ("?", "What is asked? It is 5.</think>\nIt is 5.", ""),
        ("In \\boxed{}, please", "<think>\\boxed{5}</think>It is 5.", "no \\boxed{}"),
        ("In \\boxed{}, please", "<think>5</think>It is \\boxed{5}.", ""),
    ],
)
def test_whole_answers(query, answer, missing):
    assert incomplete(query, answer, "stop") == missing


def test_another_language_is_found_in_answers_and_in_thoughts():
    judge = OneLanguage("lid.176.ftz")
    texts = THREE_LANGUAGES
    pairs = [(asked, said) for asked in texts for said in texts]
    queries = [texts[asked] for asked, _ in pairs]
    for form in ("{said}", "{asked}\n\n{said}", "<think>\n{said}\n</think>\n\n{asked}"):
        answers = [form.format(asked=texts[asked], said=texts[said]) for asked, said in pairs]
        mixed = judge.mixed(queries, answers)
        assert [(a == s) for a, s in pairs] == [what is None for what in mixed]
    sprinkled = ["7 by 8 is 56, 所以 the answer is 56.", "7 by 8 is 56, поэтому the answer is 56."]
    assert judge.mixed([SEVEN] * 2, sprinkled) == ["CJK letters", "CYRILLIC letters"]


def test_code_maths_and_translations_are_no_mixture():
    code = "Hier ist das Programm:\n```python\nfor line in open(path):\n    print(line)  # the words of each line, reversed\n"
    code += "    total += len(line.split())\n    if total > limit:\n        raise ValueError('too many words in this file')\n```\n"
    maths = "设 $x$ 为正整数，则 $$\\sum_{k=1}^{n} \\alpha_k x^k = \\frac{\\text{the left side}}{\\text{the right side}}$$ 因此 x = 4, y = 5。"
    signs = "∀ε>0 ∃δ>0: |x−a|<δ ⇒ |f(x)−f(a)|<ε, so f: ℝ→ℝ is continuous; ℵ₀, 𝔭 and α, β, γ are names, µ is a prefix."
    pairs = [
        ("Schreib ein Programm, das die Wörter einer Datei zählt.", code),
        ("求 x 和 y 的值，其中 x 和 y 都是正整数。", maths),
        ("When is a function continuous at a point a?", signs),
        (f"Translate into German: {THREE_LANGUAGES['en']}", THREE_LANGUAGES["de"]),
        ("请把下面的话翻译成英文：" + THREE_LANGUAGES["zh"], THREE_LANGUAGES["en"]),
        ("What does 三角形 mean?", "三角形 means triangle: 三 is three, 角 is angle."),
        ("7 · 8 = ?", "\\boxed{56}"),
    ]
    assert OneLanguage("lid.176.ftz").mixed(*map(list, zip(*pairs, strict=True))) == [None] * len(pairs)
