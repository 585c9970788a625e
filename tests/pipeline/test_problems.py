"""Importers of problem sets: samples in each published form, written here, and the real files where they are at hand."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import json
import pickle
import zlib
from fractions import Fraction
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import RequestError
from pipeline.problems import FORMATS, guess_format, load
from pipeline.problems.hendrycks_math import last_boxed

REAL = Path(__file__).parents[2] / "../shared/data/problems"
needs_real_files = pytest.mark.skipif(not REAL.is_dir(), reason="the public problem files are not at hand")

GSM8K = {
    "question": "Ann has 3 bags of 400 nuts. How many nuts?",
    "answer": "3*400=<<3*400=1200>>1200\n#### 1,200",
}
MATH = {
    "problem": "Half of $1$?",
    "solution": r"It is $\boxed{\frac{1}{2}}$.",
    "level": "Level 1",
    "type": "Algebra",
}
MATH500 = MATH | {
    "answer": r"\frac{1}{2}",
    "unique_id": "test/algebra/7.json",
    "subject": "Algebra",
    "level": 1,
}
AIME = {"ID": "2031-I-1", "Problem": "Find $n$.", "Solution": "Look.", "Answer": "025"}
HUMANEVAL = {
    "task_id": "HumanEval/900",
    "prompt": 'def twice(x):\n    """Double x."""\n',
    "canonical_solution": "    return 2 * x\n",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(-1) == -2\n",
    "entry_point": "twice",
}
MBPP = {
    "text": "Write a function to add a half.",
    "code": "def add_half(x):\r\n    return x + Fraction(1, 2)",
    "task_id": 602,
    "test_setup_code": "from fractions import Fraction",
    "test_list": ["assert add_half(1) == Fraction(3, 2)", "assert add_half(0) == Fraction(1, 2)"],
    "challenge_test_list": ["assert add_half(-1) == Fraction(-1, 2)"],
}
MBPP_SANITISED = {
    "source_file": "a.ipynb",
    "task_id": 2,
    "prompt": "Write a function to add a half.",
    "code": MBPP["code"],
    "test_imports": ["from fractions import Fraction"],
    "test_list": MBPP["test_list"],
}
CONTEST = {
    "problem": "\nPrint the sum.\n\nTime Limit: {'seconds': 1, 'nanos': 500000000}\nMemory Limit: 256000000 Bytes\n",
    "tests": {"inputs": ["1 2\n", "-1 1\n"], "outputs": ["3\n", "0\n"]},
}
CONTEST_PUBLISHED = {
    "name": "900_A. Sum",
    "description": "Print the sum.",
    "public_tests": {"input": ["1 2\n"], "output": ["3\n"]},
    "private_tests": {"input": ["4 4\n"], "output": ["8\n"]},
    "generated_tests": {"input": [], "output": []},
    "time_limit": {"seconds": 2, "nanos": 0},
    "cf_rating": 800,
}
LEETCODE = {
    "task_id": "add-up",
    "problem_description": "Return the sum of two numbers.",
    "starter_code": "class Solution:\n    def addUp(self, a: int, b: int) -> int:\n        ",
    "prompt": "import math\nfrom typing import *\n\nclass ListNode:\n    pass\n",
    "completion": "class Solution:\n    def addUp(self, a, b):\n        return a + b\n",
    "entry_point": "Solution().addUp",
    "test": "def check(candidate):\n    assert candidate(a = 2,b = 2) == 4\n    assert candidate(a = -1,b = 0) == -1\n",
    "query": "You are an expert Python programmer. Return the sum.",
    "response": "```python\n```",
    "difficulty": "Easy",
}
LEETCODE_SHORT = {
    "problem": "Return the sum.\n```python\nclass Solution:\n    def addUp(self, a: int, b: int) -> int:\n```",
    "completion": LEETCODE["completion"],
    "tests": {"functional": LEETCODE["test"] + "\n\ncheck(Solution().addUp)"},
}
APPS = {
    "problem_id": 12,
    "question": "Print the sum.",
    "solutions": json.dumps(
        ["print(sum(map(int, input().split())))", "a, b = map(int, input().split())\nprint(a+b)"]
    ),
    "input_output": json.dumps({"inputs": ["1 2\n", ["3 4", "5"]], "outputs": ["3\n", ["7"]]}),
    "starter_code": "",
    "difficulty": "introductory",
}
LIVECODEBENCH = {
    "question_title": "halves",
    "question_content": "Split a list.",
    "question_id": "3001",
    "starter_code": "class Solution:\n    def halves(self, items: List[int], at: int) -> List[List[int]]:\n        ",
    "public_test_cases": json.dumps(
        [{"input": "[1, 2, 3]\n1", "output": "[[1], [2, 3]]", "testtype": "functional"}]
    ),
    "private_test_cases": base64.b64encode(
        zlib.compress(
            pickle.dumps(json.dumps([{"input": "[]\n0", "output": "[[], []]", "testtype": "functional"}]))
        )
    ).decode(),
    "metadata": json.dumps({"func_name": "halves"}),
}
CHAMP_ANSWERS = {
    "a": "239",
    "b": "@@C(10, 5)@@, or equivalently @@252@@",
    "c": "@@-1/2@@",
    "d": "@@sqrt(3)@@",
}
CHAMP_ANSWERS |= {"e": "No", "f": "100 (i.e., all values)", "g": "376 and 625"}
CHAMP = {
    "problems": {
        name: {"_text": f"Problem {name}", "_raw_answer": answer, "category": "Sequence"}
        for name, answer in CHAMP_ANSWERS.items()
    },
    "concepts": {},
}
IFEVAL = {
    "key": 17,
    "prompt": "Write without commas, 30 words or more.",
    "instruction_id_list": ["en:punctuation:no_comma", "length_constraints:number_words"],
    "kwargs": [{"num_words": None}, {"relation": "at least", "num_words": 30}],
}
MMLU = {"question": "2 + 2?", "subject": "arithmetic", "choices": ["3", "4", "5", "22"], "answer": 1}
MMLU_PRO = {
    "question_id": 70,
    "question": "2 + 2?",
    "options": ["3", "4", "5"],
    "answer": "B",
    "answer_index": 1,
}
GPQA = {
    "Record ID": "rec1",
    "Question": "Which is the lightest?",
    "Correct Answer": "hydrogen\n",
    "Incorrect Answer 1": "helium",
    "Incorrect Answer 2": "neon",
    "Incorrect Answer 3": "argon",
    "Subdomain": "Chemistry",
}


def jsonl(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


SAMPLES = {
    "gsm8k": GSM8K,
    "math": MATH,
    "math500": MATH500,
    "aime": AIME,
    "problem_answer": {"problem": "1 + 1?", "answer": 2},
    "champ": {"problems": {"a": CHAMP["problems"]["a"]}, "concepts": {}},
    "humaneval": HUMANEVAL,
    "leetcode": LEETCODE,
    "apps": APPS,
    "mbpp": MBPP,
    "code_contests": CONTEST,
    "ifeval": IFEVAL,
    "multiple_choice": MMLU,
}


@pytest.mark.parametrize("format", FORMATS)
def test_each_format_is_recognised_by_its_fields(tmp_path, format):
    path = jsonl(tmp_path / f"{'aime_2031' if format == 'aime' else 'set'}.jsonl", SAMPLES[format])
    assert guess_format(path) == format
    [problem] = load(path)
    assert [problem] == list(load(path, format))
    assert problem.prompt
    assert problem.answer is not None or problem.tests


def test_gsm8k(tmp_path):
    [problem] = load(jsonl(tmp_path / "gsm8k_train.jsonl", GSM8K))
    assert (problem.answer, problem.split, problem.kind) == ("1200", "train", "math")
    assert problem.metadata["solution"] == "3*400=<<3*400=1200>>1200"


def test_math_in_its_published_folders(tmp_path):
    folder = tmp_path / "MATH" / "test" / "algebra"
    folder.mkdir(parents=True)
    (folder / "1.json").write_text(json.dumps(MATH, indent=1))  # one object over several lines
    (folder / "2.json").write_text(json.dumps(MATH | {"solution": "By inspection."}))
    first, second = load(tmp_path / "MATH")
    assert (first.id, first.answer, first.split) == ("math/test/algebra/1.json", r"\frac{1}{2}", "test")
    assert first.metadata["level"] == "Level 1"
    assert second.answer is None


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\text{a } \{1,2\}}", r"\text{a } \{1,2\}"),
        (r"\fbox{7}", "7"),
        (r"so $\boxed 9$.", "9"),
        (r"\boxed{3} and a broken \boxed{4", "3"),
        (r"\boxed{\left\{ x \mid x > 0 \right\}}", r"\left\{ x \mid x > 0 \right\}"),
        (r"\boxed{}", ""),
        ("nothing", None),
    ],
)
def test_last_boxed(solution, answer):
    assert last_boxed(solution) == answer


def test_aime_answers_are_numbers(tmp_path):
    [problem] = load(jsonl(tmp_path / "aime.jsonl", AIME))
    assert (problem.id, problem.answer, problem.metadata) == ("aime/2031-I-1", "25", {"solution": "Look."})
    with pytest.raises(RequestError, match=r"aime\.jsonl, row 2, field 'answer.*from 0 to 999, found '1000'"):
        list(load(jsonl(tmp_path / "aime.jsonl", AIME, AIME | {"Answer": 1000})))


def run_tests(program: str, tests: list[dict]) -> bool:
    """Whether a trusted program passes its tests, each in a namespace of its own."""
    try:
        for test in tests:
            namespace: dict = {}
            exec(program, namespace)
            exec(test["code"], namespace)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize(
    "row", [HUMANEVAL, MBPP, MBPP_SANITISED], ids=["humaneval", "mbpp", "mbpp_sanitised"]
)
def test_code_problems_carry_tests_that_run(tmp_path, row):
    [problem] = load(jsonl(tmp_path / "set.jsonl", row))
    solution = problem.metadata["solution"]
    # MBPP's set-up stands before each assertion; a solution may need it too
    program = "from fractions import Fraction\n" + solution
    assert run_tests(program, problem.tests)
    assert not run_tests(program.replace("2 * x", "x * x").replace("1, 2", "1, 3"), problem.tests)
    assert solution not in problem.prompt
    if problem.source == "mbpp":
        assert "assert add_half(1)" in problem.prompt
        assert problem.split == {602: "train", 2: "prompt"}[row["task_id"]]


def test_code_contests_in_both_shapes(tmp_path):
    [short] = load(jsonl(tmp_path / "set_test.jsonl", CONTEST))
    assert short.tests == [
        {"type": "stdio", "input": "1 2\n", "output": "3\n"},
        {"type": "stdio", "input": "-1 1\n", "output": "0\n"},
    ]
    assert short.metadata == {"time_limit_s": 1.5, "memory_limit_bytes": 256000000}

    path = tmp_path / "valid.parquet"
    pq.write_table(pa.Table.from_pylist([CONTEST_PUBLISHED]), path)
    [published] = load(path)
    assert [(t["input"], t["output"], t["group"]) for t in published.tests] == [
        ("1 2\n", "3\n", "public"),
        ("4 4\n", "8\n", "private"),
    ]
    assert published.id == "code_contests/900_A. Sum"
    assert published.metadata == {"time_limit_s": 2.0, "cf_rating": 800}


def test_code_contests_keeps_solutions_that_can_be_judged(tmp_path):
    codes = {"language": [1, 2, 3, 3, 4, 3, 3], "solution": ["py2", "c++", "a", "b", "java", "c", "d"]}
    [problem] = load(jsonl(tmp_path / "valid.jsonl", CONTEST_PUBLISHED | {"solutions": codes}))
    assert problem.metadata["solutions"] == [
        {"language": "python", "code": "a"},
        {"language": "python", "code": "b"},
        {"language": "python", "code": "c"},
        {"language": "cpp", "code": "c++"},
    ]
    listed = [{"language": 2, "solution": "c++"}, {"language": 0, "solution": "?"}]
    [problem] = load(jsonl(tmp_path / "valid.jsonl", CONTEST_PUBLISHED | {"solutions": listed}))
    assert problem.metadata["solutions"] == [{"language": "cpp", "code": "c++"}]


def test_leetcode_in_both_shapes(tmp_path):
    for row, key in ((LEETCODE, "add-up"), (LEETCODE_SHORT, None)):
        path = jsonl(tmp_path / "set_test.jsonl", row)
        assert guess_format(path) == "leetcode"
        [problem] = load(path)
        assert problem.id.startswith("leetcode/") and (key is None or problem.id == "leetcode/add-up")
        assert (problem.metadata["entry_point"], problem.metadata["prelude"]) == ("Solution.addUp", True)
        assert problem.prompt.count("class Solution") == 1
        assert "expert" not in problem.prompt
        program = "from typing import *\n" + problem.metadata["solution"]
        assert run_tests(program, problem.tests)
        assert not run_tests(program.replace("a + b", "a * b"), problem.tests)
        assert problem.metadata["solution"] not in problem.prompt
    [problem] = load(jsonl(tmp_path / "set.jsonl", LEETCODE))
    assert problem.metadata["starter_code"] == LEETCODE["starter_code"]
    assert problem.metadata["difficulty"] == "Easy"


def test_apps_programs_and_functions(tmp_path):
    [programs] = load(jsonl(tmp_path / "apps_train.jsonl", APPS))
    assert programs.id == "apps_train/12"
    assert programs.tests == [
        {"type": "stdio", "input": "1 2\n", "output": "3\n"},
        {"type": "stdio", "input": "3 4\n5", "output": "7"},
    ]
    assert [s["language"] for s in programs.metadata["solutions"]] == ["python", "python"]
    assert "entry_point" not in programs.metadata and programs.metadata["difficulty"] == "introductory"
    assert "print(sum" not in programs.prompt

    def call(arguments, output):
        return {"type": "call", "arguments": arguments, "keywords": {}, "output": output}

    def functions(**changed):
        pairs = {"fn_name": "f", "inputs": [[1, [2]], [3, []]], "outputs": [[[1, 2]], [[3]]]}
        row = APPS | {
            "input_output": json.dumps(pairs | changed),
            "solutions": "",
            "starter_code": "def f(a, b):",
        }
        [problem] = load(jsonl(tmp_path / "apps.jsonl", row))
        assert problem.metadata["entry_point"] == "f"
        return problem.tests

    assert functions() == [call([1, [2]], [1, 2]), call([3, []], [3])]  # each result in a list of one
    assert functions(outputs=[[1, 2], [3]]) == [call([1, [2]], [1, 2]), call([3, []], [3])]
    assert functions(outputs=[True, "x"]) == [call([1, [2]], True), call([3, []], "x")]
    as_lines = functions(inputs=["1\n[2]", "3\n[]"], outputs=["[1, 2]", "null"])
    assert as_lines == [call([1, [2]], [1, 2]), call([3, []], None)]

    [none] = load(jsonl(tmp_path / "apps.jsonl", APPS | {"input_output": "", "solutions": ""}), "apps")
    assert none.tests is None


def test_livecodebench_public_and_packed_cases(tmp_path):
    path = jsonl(tmp_path / "test6.jsonl", LIVECODEBENCH)
    assert guess_format(path) == "apps"
    [problem] = load(path)
    assert problem.id == "test6/3001"
    assert [(t["arguments"], t["output"]) for t in problem.tests] == [
        ([[1, 2, 3], 1], [[1], [2, 3]]),
        ([[], 0], [[], []]),
    ]
    assert (problem.metadata["entry_point"], problem.metadata["prelude"]) == ("Solution.halves", True)
    assert problem.prompt.endswith("-> List[List[int]]:\n```")

    stdin = json.dumps([{"input": "1\n", "output": "2\n", "testtype": "stdin"}])
    row = LIVECODEBENCH | {
        "public_test_cases": stdin,
        "private_test_cases": "",
        "starter_code": "",
        "metadata": "{}",
    }
    [problem] = load(jsonl(tmp_path / "test6.jsonl", row))
    assert problem.tests == [{"type": "stdio", "input": "1\n", "output": "2\n"}]
    assert "entry_point" not in problem.metadata


def test_tests_in_our_own_shape(tmp_path):
    tests = [
        {"type": "call", "arguments": [1], "output": 2},
        {"type": "assert", "code": "assert f(2) == 3"},
    ]
    row = {
        "id": "a",
        "question": "Add one.",
        "tests": tests,
        "entry_point": "f",
        "solution": "def f(x): return x + 1",
    }
    [problem] = load(jsonl(tmp_path / "mine.jsonl", row | {"checker": "def check(i, o, e): return True"}))
    assert problem.id == "mine/a"
    assert problem.tests == [tests[0] | {"keywords": {}}, tests[1]]
    assert problem.metadata["checker"].startswith("def check")
    assert problem.metadata["solutions"] == [{"language": "python", "code": row["solution"]}]


def test_a_packed_field_is_never_run(tmp_path):
    """A pickle may name any function to call; here only a text may come out of one."""
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return Path.touch, (marker,)

    packed = base64.b64encode(zlib.compress(pickle.dumps(Evil()))).decode()
    with pytest.raises(RequestError, match=r"row 1, field 'private_test_cases': expected JSON"):
        list(load(jsonl(tmp_path / "test6.jsonl", LIVECODEBENCH | {"private_test_cases": packed})))
    assert not marker.exists()


def test_champ_gives_the_problems_whose_answer_is_a_number(tmp_path):
    found = {problem.id: problem.answer for problem in load(jsonl(tmp_path / "v0.json", CHAMP))}
    assert found == {"champ/a": "239", "champ/b": "252", "champ/c": "-1/2"}


def test_ifeval(tmp_path):
    [problem] = load(jsonl(tmp_path / "ifeval.jsonl", IFEVAL))
    assert problem.tests == [
        {"type": "instruction", "id": "punctuation:no_comma", "kwargs": {}},
        {
            "type": "instruction",
            "id": "length_constraints:number_words",
            "kwargs": {"relation": "at least", "num_words": 30},
        },
    ]


def test_multiple_choice_in_its_three_shapes(tmp_path):
    [mmlu] = load(jsonl(tmp_path / "mmlu.jsonl", MMLU))
    assert mmlu.prompt == "2 + 2?\n\nA. 3\nB. 4\nC. 5\nD. 22"
    assert mmlu.answer == "B"
    [pro] = load(jsonl(tmp_path / "mmlu_pro.jsonl", MMLU_PRO))
    assert (pro.id, pro.answer) == ("mmlu_pro/70", "B")

    path = tmp_path / "gpqa_diamond.csv"
    questions = [GPQA | {"Record ID": f"rec{i}", "Question": f"Question {i},\nwhich?"} for i in range(40)]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, GPQA)
        writer.writeheader()
        writer.writerows(questions)
    gpqa = list(load(path))
    assert all(p.metadata["choices"]["ABCD".index(p.answer)] == "hydrogen" for p in gpqa)
    assert {p.answer for p in gpqa} == set("ABCD")  # the right one is in no fixed place
    assert gpqa == list(load(path))
    assert gpqa[0].metadata["subdomain"] == "Chemistry"


@pytest.mark.parametrize("container", ["jsonl", "jsonl.gz", "json", "json.gz", "parquet", "csv"])
def test_containers_hold_the_same_problems(tmp_path, container):
    rows = [GSM8K | {"question": f"{i} “quoted”, Ümlaut 数\nnew line"} for i in range(3)]
    path = tmp_path / f"set.{container}"
    if container == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif container == "csv":
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            csv.DictWriter(file, rows[0]).writerows([dict(zip(rows[0], rows[0], strict=True)), *rows])
    else:
        text = json.dumps(rows, indent=2) if "jsonl" not in container else "\n\n".join(map(json.dumps, rows))
        path.write_bytes(gzip.compress(text.encode()) if container.endswith("gz") else text.encode())
    assert [p.prompt for p in load(path)] == [row["question"] for row in rows]


def test_ids_do_not_depend_on_order_and_are_unique(tmp_path):
    rows = [GSM8K | {"question": q} for q in ("a?", "b?", "a?")]
    ids = [p.id for p in load(jsonl(tmp_path / "one.jsonl", *rows))]
    assert len(set(ids)) == 3
    assert ids[2] == ids[0] + "#2"
    assert [p.id for p in load(jsonl(tmp_path / "two.jsonl", rows[1], rows[0]))] == [ids[1], ids[0]]


def test_sha256_is_checked_before_anything_is_read(tmp_path):
    path = jsonl(tmp_path / "set.jsonl", GSM8K)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(list(load(path, sha256=digest.upper()))) == 1
    with pytest.raises(RequestError, match=f"its sha256 is {digest}, expected 00"):
        load(path, sha256="00")


@pytest.mark.parametrize(
    ("format", "row", "message"),
    [
        (
            "gsm8k",
            GSM8K | {"answer": "42"},
            r"row 1, field 'answer': expected a worked solution that ends in",
        ),
        ("gsm8k", {"question": ""}, r"field 'question': expected a text, found str ''"),
        ("math", {"problem": "x"}, r"field 'solution': expected a text, found nothing"),
        ("math500", {"problem": "x"}, r"field 'answer': expected the final answer"),
        ("problem_answer", {"problem": "x", "answer": [1]}, r"expected a text or a number, found list"),
        ("mbpp", MBPP | {"test_list": []}, r"field 'test_list': expected at least one assertion"),
        ("mbpp", MBPP | {"test_list": "assert 1"}, r"expected a list of texts, found str"),
        ("code_contests", CONTEST | {"tests": {"inputs": ["1"], "outputs": []}}, r"found 0 and 1"),
        ("code_contests", CONTEST | {"tests": [1]}, r"the lists 'inputs' and 'outputs'"),
        ("code_contests", CONTEST | {"tests": {"inputs": [], "outputs": []}}, r"at least one test"),
        ("leetcode", LEETCODE | {"test": "assert 1"}, r"a text that defines check\(candidate\)"),
        ("leetcode", LEETCODE | {"entry_point": "1 + 1"}, r"the method, as \"Solution\(\)\.twoSum\""),
        ("apps", APPS | {"input_output": '{"inputs": [1], "outputs": []}'}, r"found 0 and 1"),
        ("apps", APPS | {"input_output": '{"inputs": [1], "outputs": [2]}'}, r"texts, found int and int"),
        ("apps", APPS | {"input_output": "[1]"}, r"or a list of cases, found list"),
        ("apps", APPS | {"input_output": "not"}, r"row 1, field 'input_output': expected JSON"),
        ("apps", LIVECODEBENCH | {"starter_code": "", "metadata": ""}, r"the name of the function to call"),
        ("champ", {"problems": []}, r'expected an object with "problems" by name'),
        ("ifeval", IFEVAL | {"kwargs": [{}]}, r"one object for each of 2 instructions, found 1"),
        ("multiple_choice", MMLU | {"answer": 4}, r"one of 4 choices, found 4"),
        ("multiple_choice", MMLU | {"choices": ["3"]}, r"2 to 26 choices, found 1"),
        ("no_such", GSM8K, r"'no_such' is no format of problem sets; expected one of gsm8k"),
        (None, {"x": 1}, r"no known format has the fields x. Say which it is"),
    ],
)
def test_wrong_rows_are_answers(tmp_path, format, row, message):
    with pytest.raises(RequestError, match=message):
        list(load(jsonl(tmp_path / "set.jsonl", row), format))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("set.jsonl", b"", "there is no problem in it"),
        ("set.jsonl", b'{"question": "a", "answer": "#### 1"}\n{"question"\n', r"set.jsonl, row 2: not JSON"),
        ("set.json", b'[{"question": 1},\n]', r"set.json, line 2: not JSON"),
        ("set.json", b"[1]", "row 1: expected an object with fields, found int"),
        ("set.jsonl", b"\xff\xfe", "not UTF-8 at byte 0"),
        ("set.jsonl.gz", gzip.compress(b"{}" * 999, mtime=0)[:-9], "cannot be read"),
        ("set.parquet", b"PAR1" + b"x" * 40, "cannot be read"),
        ("set.csv", b"a,b\n1\n", "row 1: not as many columns as the header has"),
    ],
)
def test_broken_files_are_answers(tmp_path, name, data, message):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(RequestError, match=message):
        list(load(path))


def test_missing_files_and_empty_folders_are_answers(tmp_path):
    with pytest.raises(RequestError, match=r"no such file\. Problem sets are not shipped"):
        load(tmp_path / "absent.jsonl")
    with pytest.raises(RequestError, match=r"no file in it ends in \.json, \.jsonl"):
        load(tmp_path)


@needs_real_files
@pytest.mark.parametrize(
    ("name", "format", "count"),
    [
        ("gsm8k_train.jsonl.gz", "gsm8k", 7473),
        ("gsm8k_test.jsonl.gz", "gsm8k", 1319),
        ("math500.jsonl.gz", "math500", 500),
        ("math_train.json.gz", "problem_answer", 7474),
        ("code_contests_test.json.gz", "code_contests", 165),
        ("ifeval.jsonl.gz", "ifeval", 541),
    ],
)
def test_real_files(name, format, count):
    """The numbers of problems are those their authors publish."""
    path = REAL / name
    assert guess_format(path) == format
    problems = list(load(path))
    assert len({p.id for p in problems}) == len(problems) == count
    if format == "gsm8k":
        assert all(Fraction(p.answer).denominator == 1 for p in problems)  # GSM8K's answers are whole numbers


@needs_real_files
def test_last_boxed_agrees_with_the_published_answers_of_math500():
    problems = list(load(REAL / "math500.jsonl.gz"))
    assert all(last_boxed(p.metadata["solution"]) == p.answer for p in problems)
