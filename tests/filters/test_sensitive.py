"""Personal data, keys and listed words: what counts, what only looks like it, and a slow count beside the kernel."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from filters.listed_words import LANGUAGES, SPARED, count_listed, read_list, word_list
from filters.sensitive import COMPILED, KINDS, Sensitive, SensitiveConfig, counts
from filters.words import find_words, texts_of
from pipeline.errors import RequestError
from pipeline.models import model_file


def count(text: str) -> dict[str, int]:
    return {name: values[0].item() for name, values in counts(pa.array([text])).items() if values[0]}


REAL = {
    "emails": (
        "Write to jane.roe@math.uni-kiel.de please",
        "<a+b@sub.domain-name.co.uk>",
        "mailto:kim_99@gmail.com",
        "Email:x@y.org.",
        "```\nauthor = 'li@pku.edu.cn'\n```",
    ),
    "ips": (
        "from 93.184.216.34 port 22",
        "(151.101.1.69)",
        "at 2a00:1450:4001:82a::200e now",
        "2600:1406:3a00:21::173e:2e65",
        "http://140.82.121.4/x",
    ),
    "phones": (
        "Tel. +49 89 3207395",
        "call (415) 867-2671!",
        "212-736-5000",
        "+1 212.736.5000",
        "tel:+442083661177",
        "+33 (0)1 42 68 53 00",
        "1-800-692-7753",
    ),
    "ibans": (
        "IBAN DE02 1203 0000 0000 2020 51 BIC BYLADEM1001",
        "BE62510007547061 BANK",
        "NL20INGB0001234567",
    ),
    "keys": (
        "aws_key = 'AKIA4QZ7MVKD2PLX6RTE'",
        "ghp_9aK2mQ7xZ4rT8vB1nW6yL3cF5hJ0dS2gPe7u",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEAx8Q2",
        'key = "-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBgkqhkiG9w0B"',
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v1",
        "eyJhbGciOiJIUzI1NiJ9xQ.eyJzdWIiOiI5ODc2In0.dBjftJeZ4CVPmB92K27uhbUJU1p1rwW1gFWFOEjXk",
    ),
}
NOT = (
    "me@example.com you@mail.example.org him@host.test her@your-domain.com noreply@github.com",
    "git@github.com:a/b.git ssh://user@host.org/x https://u:p@host.org/y A@B.shape logo@2x.png @property x@y",
    "192.0.2.17 198.51.100.4 203.0.113.9 10.1.2.3 192.168.0.99 127.0.0.1 169.254.1.200 224.0.0.251 255.255.255.0",
    "version 93.184.216.34 and v141.2.3.4, 1.2.3.4.5, section 3.1.2.4, 36.1.1.2 Fields, OID 2.5.29.170 8.8.8.8 999.1.1.1",
    "2001:db8::1 fe80::1 std::abc::def 12:30:45 2023:12:30 2001:4860:4860::8888 ::1 dead::beef",
    "(212) 555-0123 555-867-5309 +44 20 7946 0958 2023-10-01 123-456-7890 1.415-926-5358979 +12345678901 222-222-2222",
    "$x+123 456 789 0123$ 10-20-30-4000 1 000 000 000 3.141-592-6535",
    "4111 1111 1111 1111, 4242424242424242, 3782-822463-10005, 4539578763621487 (wrong digit), 1234567812345670",
    "0.4539578763621486 4539578763621486.5 45395787636214861234567",
    "GB82 WEST 1234 5698 7654 32, DE89370400440532013000, DE03 1203 0000 0000 2020 51, AB12 CDEF GHIJ KLMN",
    "AKIAIOSFODNN7EXAMPLE ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx -----BEGIN PUBLIC KEY----- sk-your-key-here sk-learn",
)


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in REAL.items() for text in texts])
def test_what_counts(kind: str, text: str) -> None:
    assert count(text) == {kind: 1}


@pytest.mark.parametrize("text", NOT)
def test_what_only_looks_like_it(text: str) -> None:
    assert count(text) == {}


def is_card(digits: str) -> bool:
    """Luhn by a table: digits at even places from the right are doubled and their digits added."""
    doubled = {"0": 0, "1": 2, "2": 4, "3": 6, "4": 8, "5": 1, "6": 3, "7": 5, "8": 7, "9": 9}
    total = sum(doubled[d] if i % 2 else int(d) for i, d in enumerate(reversed(digits)))
    return total % 10 == 0 and not digits.startswith("40000")


def test_cards_by_their_check_digit() -> None:
    random_ = random.Random(0)
    for _ in range(300):
        digits = random_.choice(("4", "51", "55", "6011")) + "".join(random_.choices("0123456789", k=15))
        digits = digits[:16]
        grouped = "-".join(digits[i : i + 4] for i in range(0, 16, 4))
        for text in (
            grouped,
            f"({grouped})",
            f"Visa: {digits}",
            f"{digits}|09|2027|123",
            f"{digits} is my card",
        ):
            assert count(text).get("cards", 0) == is_card(digits), digits
        # Numbers as mathematics has them.
        for text in (digits, f"({digits})", f"gap> Order(g);\n{digits}\n", f"{digits}, {digits}"):
            assert "cards" not in count(text), digits
    assert "keys" not in count("-----BEGIN RSA PRIVATE KEY-----\n... (private key in base64 encoding) ...")


def test_several_in_one_text_and_nulls() -> None:
    column = pa.chunked_array([["a@b.org c@d.org 93.184.216.34", None], [""], ["a@b.org"]])
    found = counts(column)
    assert found["emails"].tolist() == [2, 0, 0, 1]
    assert found["ips"].tolist() == [1, 0, 0, 0]


def test_patterns_find_the_same_in_both_engines() -> None:
    """RE2 finds the documents, Python the candidates: neither may see what the other does not."""
    texts = [text for texts in REAL.values() for text in texts] + list(NOT)
    texts += [text.replace(" ", "é") for text in texts] + [f"ß{text}日" for text in texts]
    for name, kind in KINDS.items():
        re2 = pa.compute.match_substring_regex(pa.array(texts), kind.pattern).to_pylist()
        assert re2 == [bool(COMPILED[name].search(text)) for text in texts], name


# --- listed words


def stage(tmp_path: Path, entries: str, spared: tuple[str, ...] = ()) -> Sensitive:
    path = tmp_path / "list.txt"
    path.write_text(entries)
    stage = Sensitive(SensitiveConfig(lists=[str(path)], spared=list(spared)))
    stage.prepare()
    return stage


def listed(stage: Sensitive, *texts: str) -> list[tuple[int, float]]:
    kept = stage.process(pa.table({"id": [str(i) for i in range(len(texts))], "text": list(texts)})).kept
    assert kept.schema.equals(Sensitive.schema)
    return [
        (row["sensitive_listed_words"], round(row["sensitive_listed_share"], 4)) for row in kept.to_pylist()
    ]


def test_listed_words_and_phrases(tmp_path: Path) -> None:
    found = stage(
        tmp_path, "# ours\nturnip\nboiled  cabbage\nboiled cabbage soup\n\ns&m\nrutabaga-face\nβρῶμα\n坏话\n"
    )
    assert listed(
        found,
        "A TURNIP, a turnip!",  # case does not matter
        "turnips and s and m",  # whole words only; "s&m" is no entry
        "Boiled cabbage soup or boiled cabbage or boiled soup",  # the longest counts: 3 + 2
        "rutabaga face, rutabaga-face",
        "βρωμα 他说坏话。",  # accents do not matter; letters of unspaced scripts are words
        "`turnip`\n```\nturnip\n```\n$turnip$",  # code spans are prose; fenced code and formulas are not
        "",
        "boiled",
    ) == [(2, 0.5), (0, 0.0), (5, 0.5556), (4, 1.0), (3, 0.6), (1, 1.0), (0, 0.0), (0, 0.0)]


def test_spared_entries_do_not_count(tmp_path: Path) -> None:
    found = stage(tmp_path, "turnip\nboiled cabbage\ncabbage\n", ("turnip", "boiled-cabbage"))
    assert [n for n, _ in listed(found, "turnip", "boiled cabbage")] == [0, 1]


def test_the_kernel_agrees_with_a_slow_count(tmp_path: Path) -> None:
    random_ = random.Random(1)
    vocabulary = [f"w{chr(97 + i)}" for i in range(12)]
    entries = {tuple(random_.choices(vocabulary, k=random_.choice((1, 2, 2, 3, 4)))) for _ in range(25)}
    found = stage(tmp_path, "\n".join(" ".join(entry) for entry in entries))
    texts = [random_.choices(vocabulary, k=random_.randrange(1, 60)) for _ in range(200)]

    def slow(words: list[str]) -> int:
        covered, i = 0, 0
        while i < len(words):
            n = max((len(entry) for entry in entries if tuple(words[i : i + len(entry)]) == entry), default=0)
            covered, i = covered + n, i + max(n, 1)
        return covered

    assert [n for n, _ in listed(found, *map(" ".join, texts))] == [slow(words) for words in texts]


def test_the_default_list() -> None:
    try:
        model_file("listed-words-en.txt")
    except RequestError as error:
        pytest.skip(f"no word list: {error}")
    default = Sensitive()
    default.prepare()
    clean = (
        "The sex of the embryo depends on the X chromosome. Take the pawn. Cox and Willy Wang proved that "
        "gay and lesbian people, s and m, sum to x x. Breast and rectum cancer. Analysis of assets in Essex, Scunthorpe."
    )
    abuse = "you piece of shit, fuck off you wanker"
    assert [n for n, _ in listed(default, clean, abuse)] == [0, 6]
    assert list(default.files()) == ["0: listed-words-en.txt"]


def test_lists_of_languages(tmp_path: Path) -> None:
    for name, entries in {"all": "turnip", "de": "Rübe\nkleine Rübe", "fr": "navet"}.items():
        (tmp_path / name).write_text(entries)
    stage = Sensitive(
        SensitiveConfig(lists=[str(tmp_path / "all"), f"de={tmp_path / 'de'}", f"fr={tmp_path / 'fr'}"])
    )
    stage.prepare()
    text = "turnip navet kleine Rübe"
    batch = pa.table({"id": list("abcd"), "text": [text] * 4})
    assert list(stage.files()) == ["0: all", "1: de", "2: fr"] and stage.columns == ("language",)
    assert (
        stage.process(batch).kept["sensitive_listed_words"].to_pylist() == [4] * 4
    )  # no label: all lists for all
    labelled = batch.append_column("lang_label", pa.array(["de", "fr", "en", None]))
    kept = stage.process(labelled).kept
    assert kept.schema.equals(Sensitive.schema)
    assert kept["sensitive_listed_words"].to_pylist() == [3, 2, 1, 1]
    assert stage.process(labelled.slice(0, 0)).kept.num_rows == 0
    assert Sensitive().columns == ()  # without such lists the labels are not waited for


@pytest.mark.parametrize("language", LANGUAGES)
def test_packaged_lists_spare_ordinary_words(language: str) -> None:
    """Sentences as a reader of the language would write them, each with words that its list holds."""
    try:
        entries = read_list(model_file(f"listed-words-{language}.json"))
    except RequestError as error:
        pytest.skip(f"no word list: {error}")
    harmless, abuse = SENTENCES[language]
    stage = word_list(entries, SPARED.split())
    words = find_words(texts_of(pa.array([harmless, abuse])))
    assert count_listed(words, stage, np.ones(2, np.bool_)).tolist() == [0, 1]
    unspared = count_listed(words, word_list(entries, []), np.ones(2, np.bool_))
    assert unspared[0] > 0 or language in ("no", "da")


SENTENCES = {
    "cs": ("Pes začal žrát a nechtěl píchat do držky.", "Ty jsi ale kokot."),
    "da": ("Det er en smuk have ved stranden.", "Det er noget lort."),
    "de": ("Nackt wie die Vögel: von den Vögeln und den Vögeln im Nippel der Rosette.", "Du Arschloch!"),
    "es": ("El asno y el martillo de Heroína, una concha en el infierno.", "Eres un gilipollas."),
    "fi": ("Muna ja palli, reikä ja tavara: piru pistää.", "Voi vittu sentään."),
    "fr": ("La veuve donne un baiser à la chatte, la gerbe de blé tombe.", "Quel connard."),
    "hu": ("A marha és a barom, a magyar franc és a pele.", "Te seggfej."),
    "it": ("La regina mangia pesce e carciofo; la pompa deve tirare, Troia cadde.", "Sei uno stronzo."),
    "ko": ("보지 않고 자지 않는 유모", "이 병신 아"),
    "nl": ("Een gat in de muur: twee van drie aftrekken, de pot en de paal.", "Wat een klootzak."),
    "no": ("En vakker dag ved fjorden.", "Du er en drittsekk."),
    "pl": ("Jajko na twardo i suka z młodymi.", "Ale kutas."),
    "pt": ("Beber cerveja e comer frango; o burro e a aranha, a torneira.", "Filho da mãe, merda."),
    "ru": ("Голый человек, какая разница, мент и хрен.", "Вот блядь."),
    "sv": ("En hård sås på en stake.", "Vilken fitta."),
}


def test_json_lists(tmp_path: Path) -> None:
    for said in ('["turnip", "boiled cabbage"]', '\ufeff{"words": ["turnip", "boiled cabbage"]}'):
        (tmp_path / "a.json").write_text(said)
        assert read_list(tmp_path / "a.json") == ["turnip", "boiled cabbage"]
    for said in ("turnip", '{"list": []}', "[1]", "3"):
        (tmp_path / "a.json").write_text(said)
        with pytest.raises(RequestError, match=r"a\.json: .*xpected a list of words"):
            read_list(tmp_path / "a.json")


def test_bad_lists_name_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes(b"one\n# two\nth\xefrd\n")
    with pytest.raises(RequestError, match=r"latin\.txt, line 3: not UTF-8"):
        Sensitive(SensitiveConfig(lists=[str(path)])).prepare()
    with pytest.raises(RequestError, match="no such file"):
        Sensitive(SensitiveConfig(lists=[str(tmp_path / "none.txt")])).prepare()
    with pytest.raises(RequestError, match="Is a directory"):
        Sensitive(SensitiveConfig(lists=[str(tmp_path)])).prepare()
    assert len(word_list([], []).table) == 16
