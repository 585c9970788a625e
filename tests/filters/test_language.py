"""Languages of texts whose language is known, and what must not be taken for English."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from filters.language import Language, LanguageConfig, prose_windows
from filters.words import regions, texts_of
from pipeline.errors import RequestError
from pipeline.models import model_file

KNOWN = {
    "en": "A triangle with two equal sides also has two equal angles, as was already known to the ancient Greeks.",
    "de": "Ein Dreieck mit zwei gleich langen Seiten hat auch zwei gleich große Winkel, wie schon die Griechen wussten.",
    "fr": "Un triangle qui possède deux côtés égaux possède aussi deux angles égaux, comme le savaient les Grecs.",
    "es": "Un triángulo que tiene dos lados iguales tiene también dos ángulos iguales, como ya sabían los griegos.",
    "ru": "Треугольник с двумя равными сторонами имеет и два равных угла, как знали уже древние греки.",
    "zh": "如果一个三角形有两条边相等，那么它也有两个角相等，古希腊人早就知道这一点。",
    "ja": "二辺が等しい三角形は二つの角も等しい。これは古代ギリシャ人がすでに知っていたことである。",
    "ko": "두 변의 길이가 같은 삼각형은 두 각의 크기도 같다는 것을 고대 그리스인들은 이미 알고 있었다.",
    "th": "รูปสามเหลี่ยมที่มีด้านสองด้านยาวเท่ากันย่อมมีมุมสองมุมเท่ากันด้วย ซึ่งชาวกรีกโบราณรู้อยู่แล้ว",
    "ar": "المثلث الذي له ضلعان متساويان له أيضا زاويتان متساويتان، كما عرف الإغريق القدماء.",
    "hi": "जिस त्रिभुज की दो भुजाएँ बराबर होती हैं उसके दो कोण भी बराबर होते हैं, यह प्राचीन यूनानी जानते थे।",
}
CODE = "```python\ndef the_sum_of_all(numbers):\n    return sum(number for number in numbers if number is not None)\n```\n"


@pytest.fixture(scope="module")
def stage() -> Language:
    try:
        model_file("lid.176.ftz")
    except RequestError as error:
        pytest.skip(f"no language model: {error}")
    stage = Language()
    stage.prepare()
    return stage


def label(stage: Language, *texts: str) -> list[tuple[str, float, str]]:
    batch = pa.table({"id": [str(i) for i in range(len(texts))], "text": list(texts)})
    kept = stage.process(batch).kept
    assert kept.schema.equals(Language.schema)
    assert kept["id"].to_pylist() == batch["id"].to_pylist()
    return [(row["lang_label"], row["lang_score"], row["lang_window"]) for row in kept.to_pylist()]


def windows(text: str, length: int) -> str:
    texts = texts_of(pa.array([text]))
    return prose_windows(texts, regions(texts), length)[0][0]


def test_known_languages_short_long_and_in_capitals(stage: Language) -> None:
    assert [found[0] for found in label(stage, *KNOWN.values())] == list(KNOWN)
    assert [found[0] for found in label(stage, *(text * 40 for text in KNOWN.values()))] == list(KNOWN)
    assert [found[0] for found in label(stage, *(text.upper() for text in KNOWN.values()))] == list(KNOWN)


def test_code_formulas_and_addresses_are_not_english(stage: Language) -> None:
    address = "https://www.example.org/the/great/history/of/all/the/triangles/and/their/angles\n"
    formula = "$$\\text{where the sum of all angles is the same for any of these}$$\n"
    for language, text in KNOWN.items():
        wrapped = (CODE + formula + address) * 3 + text + "\n" + (CODE + formula + address) * 3
        assert label(stage, wrapped)[0][0] == language


def test_nothing_to_judge_is_undetermined(stage: Language) -> None:
    for text in ("", " \n\t", CODE, "$$x = y$$", "12 345 + 67 (!)", "https://example.org/some/words"):
        assert label(stage, text) == [("und", 0.0, "short")]


def test_the_long_window_is_read_only_when_the_short_one_is_unsure(stage: Language) -> None:
    sure = KNOWN["de"] * 60
    names = (
        "Kowalski Meyer Nakamura Silva OConnor Ivanov " * 3
    )  # where the short window looks: they say little …
    unsure = (KNOWN["de"] * 5 + names + KNOWN["de"] * 5) * 4  # … the long one sees what stands around them
    (_, score, window), (found, better, wide) = label(stage, sure, unsure)
    assert window == "short" and score > 0.7
    assert (found, wide) == ("de", "long")
    never = Language(LanguageConfig(threshold=0))
    never.model = stage.model
    assert label(never, unsure)[0][2] == "short"
    assert label(never, unsure)[0][1] < 0.7 < better


def test_a_long_quotation_in_the_middle_does_not_decide(stage: Language) -> None:
    for language, quoted in (("de", "en"), ("en", "fr"), ("ru", "en"), ("ja", "en")):
        text = KNOWN[language] * 20 + KNOWN[quoted] * 3 + KNOWN[language] * 20
        assert label(stage, text)[0][::2] == (language, "short")


def test_the_window_is_prose_on_one_line() -> None:
    text = "# One\n\n  two   three\nfour `five` $six$ [seven](http://eight.org) NINE ten\n" + CODE
    assert windows(text, 1000).strip() == "# one two three four [seven nine ten"


def test_the_window_is_the_middles_of_four_quarters() -> None:
    whole = "".join(chr(0x4E00 + i) for i in range(80))
    assert windows(whole, 12) == " ".join(whole[middle - 1 : middle + 2] for middle in (10, 30, 50, 70))
    assert windows(whole, 80) == whole
    close = windows(whole, 79)  # pieces that all but touch
    assert close.replace(" ", "") == "".join(whole[m - 9 : m + 10] for m in (10, 30, 50, 70))
    mixed = "aé我𝑥" * 50  # one to four bytes a character
    assert windows(mixed, 8) == " ".join(mixed[middle - 1 : middle + 1] for middle in (25, 75, 125, 175))
    assert windows("ab" * 4 + "ç", 8).replace(" ", "") == "abababab"


@pytest.mark.parametrize("length", [4, 7, 50, 500])
def test_windows_of_many_texts_do_not_touch(length: int) -> None:
    texts = [*KNOWN.values(), "", CODE, "short"]
    together = texts_of(pa.array(texts))
    assert prose_windows(together, regions(together), length)[0] == [windows(text, length) for text in texts]


def test_the_label_agrees_with_that_of_the_full_text(stage: Language) -> None:
    """On documents made of one language's sentences in any order, window and full text say the same."""
    rng = np.random.default_rng(0)
    texts = [
        " ".join(rng.choice([sentence, sentence[::-1][:20], "…"]) for _ in range(60))
        for sentence in KNOWN.values()
    ]
    full = [
        names[0].removeprefix("__label__") for names in stage.model.predict([t.lower() for t in texts])[0]
    ]
    assert [found[0] for found in label(stage, *texts)] == full


def test_the_model_file_is_part_of_the_key(stage: Language, tmp_path: Path) -> None:
    model = model_file("lid.176.ftz")
    assert stage.files() == {"lid.176.ftz": hashlib.sha256(model.read_bytes()).hexdigest()}
    copy = tmp_path / "copy.ftz"
    copy.write_bytes(model.read_bytes())
    assert list(Language(LanguageConfig(model=str(copy))).files().values()) == list(stage.files().values())


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "broken.ftz"
    path.write_bytes(b"not a model at all" * 10)
    with pytest.raises(RequestError, match=r"broken\.ftz is not a fastText model"):
        Language(LanguageConfig(model=str(path))).prepare()
