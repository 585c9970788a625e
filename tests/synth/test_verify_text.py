"""Free texts: good ones pass, each fault has its reason."""

import itertools

import pytest

from synth.verify import text

DOCUMENT = """Analyse this document.

The sieve of Eratosthenes finds all prime numbers up to a limit. Starting with two, every multiple of a prime is
crossed out; what remains has no smaller divisor. Crossing out may begin at the square of the prime, because smaller
multiples were crossed out before. The number of operations grows like n log log n, which makes the sieve nearly
linear. Its memory is one bit for each candidate, and a segmented sieve needs only the primes up to the square root.
"""
ANALYSIS = """The document explains why the sieve is fast. A composite candidate always has a prime divisor no larger than
its square root, so once every multiple of the primes below that root has been crossed out, the remaining numbers must be
prime. Beginning at the square avoids work: each smaller multiple has a smaller prime factor and disappeared earlier.
Summing the harmonic series over primes gives the log log factor of the operations. For a large limit, memory is the
bottleneck, and segmenting solves it: one block of candidates is sieved at a time with a short list of small primes.
"""
CHINESE = (
    "素数筛法从二开始，划去每个素数的倍数，剩下的数没有更小的因子。从平方开始划去可以避免重复的工作，因为较小的倍数已经被划去。"
    "复杂度接近线性，内存只需要每个候选数一位。分段筛法只需要平方根以内的素数，因此适合很大的范围。"
)


def reason(answer, finish="stop", query=DOCUMENT, analysis=True):
    return text.check(answer, finish, query, analysis).reason


def test_good_texts_are_accepted():
    assert text.check(ANALYSIS, "stop", DOCUMENT, True).verdict == "accepted"
    assert text.check(
        f"<think>What does it say? It is about primes.</think>\n{ANALYSIS}", "stop", DOCUMENT, True
    ).passed
    assert text.check(CHINESE, "stop", "请分析下面的文章。" + CHINESE[:20], False).verdict == "accepted"
    code = "Here is the program you asked for.\n\n```python\n" + "\n".join(
        f"def f{i}(x):\n    if x > {i}:\n        return x * {i}\n    return {i} - x\n" for i in range(6)
    )
    assert text.check(
        code + "```\nEach function compares its argument with a number.", "stop", "Write.", False
    ).passed


@pytest.mark.parametrize(
    ("answer", "finish", "expected"),
    [
        (ANALYSIS, "length", "truncated"),
        (ANALYSIS, None, "unfinished"),
        ("It is about primes.", "stop", "too_short"),
        ("", "stop", "too_short"),
        (ANALYSIS + "<|im_end|>", "stop", "template_leftover"),
        ("<think>Primes, hm.\n" + ANALYSIS, "stop", "template_leftover"),
        ("As an AI language model, I read the document. " + ANALYSIS, "stop", "refusal"),
        (ANALYSIS + "I'm sorry, but I can't go on.", "stop", "refusal"),
        (ANALYSIS + "The sieve is fast. " * 40, "stop", "repetitive"),
        (ANALYSIS + "\n".join(["The same line over and over."] * 20), "stop", "repetitive"),
        (ANALYSIS + "wait, " + "no" * 80, "stop", "loop"),
        (ANALYSIS + " ha" * 50, "stop", "loop"),
        (CHINESE * 1, "stop", "wrong_language"),
        (DOCUMENT, "stop", "copied"),
        (
            "My grandmother baked wonderful apple cakes whenever autumn came, filling our kitchen with cinnamon, butter "
            "and laughter, while neighbours knocked quietly, hoping somebody would offer another generous warm slice "
            "before evening fell over the village.",
            "stop",
            "off_document",
        ),
    ],
)
def test_faults(answer, finish, expected):
    assert reason(answer, finish) == expected


def test_a_copy_is_fine_where_no_document_was_given():
    assert reason(DOCUMENT, analysis=False) is None


def test_repeated_ngrams_against_counting():
    words = ["a", "b", "c", "a", "b", "c", "a", "d"]
    for n in (1, 2, 3):
        grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        repeated = sum(gram in grams[:i] for i, gram in enumerate(grams))
        assert text.repeated_ngrams(words, n) == pytest.approx(repeated / len(grams))


def test_loops_at_the_end_against_brute_force():
    for period, times in itertools.product((1, 3, 50), (1, 3, 4, 60)):
        unit = "".join(map(chr, range(65, 115)))
        tail = unit[:period] * times
        wanted = times >= 4 and period * (times - 1) >= 120
        assert bool(text.loop_at_end("Some beginning! " + tail, 120)) is wanted, (period, times)


def test_long_texts_take_no_time(benchmark=None):
    import time

    long = " ".join(f"word{i}{chr(97 + i % 26)} stands here" for i in range(20_000))
    started = time.process_time()
    text.check(long, "stop", long, True)
    assert time.process_time() - started < 3
