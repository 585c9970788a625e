"""Personal data, keys and obscene words in each document, counted; the text is left as it is.

Documents with a candidate are found by RE2 over the Arrow column; only in those are candidates looked at one by one
(check digits, reserved ranges, known placeholders). Code counts as well: that is where keys stand. What cannot be a
person's does not count: addresses reserved for examples (RFC 2606, 5737, 3849), invented telephone numbers (555-01xx,
Ofcom's 7946 0), test cards of payment services, sample IBANs and keys.

Obscene words come from lists (`filters.listed_words`), and what is written of them is a share for the policy to weigh,
not a verdict. No classifier of toxicity stands beside them. alt-profanity-check 1.9.1, a linear model of words and the one
that is kept up and small, was tried (3,700 documents per CPU-second): of 2,000 technical documents 8 % have a paragraph
over 0.5 and 0.65 % one over 0.9. Ten abusive sentences with listed words get 0.98 or more, of ten without (threats,
hatred) two do, and of ten harmless ones one ("the dumb terminal is stupid but cheap"); in a paragraph of 360 characters
none of the thirty reaches 0.8. It says what the list says, less surely.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from filters.listed_words import SPARED, count_listed, read_list, word_list
from filters.words import find_words, regions, texts_of
from pipeline.models import model_file, sha256_of
from pipeline.stage import MapStage, Outcome, StageConfig

# --- what counts --------------------------------------------------------------------------------------------
# `is_real(candidate, before, after)` sees the 24 characters on both sides; patterns mean the same to RE2 and Python.

RESERVED_DOMAIN = re.compile(
    r"(?i)(.*\.)?(example\.(com|net|org|edu)|example|test|invalid|localhost|local|domain\.(com|net|org|tld)"
    r"|(my|your|some|the)-?(domain|site|website|company|host|mail|email)\.\w+|foo\.(com|org)|bar\.(com|org)|acme\.com)"
)
TOP_LEVEL = frozenset(  # besides all of two letters: `a @ b.shape` and `logo@2x.png` are no addresses
    "com net org edu gov mil int info biz name pro aero coop museum jobs mobi travel tel cat asia app dev cloud online site "  # noqa: SIM905
    "tech store shop blog xyz email world life live news agency solutions studio design digital media group company "
    "academy school university science eus swiss berlin london paris tokyo wien bayern koeln hamburg".split()
)
NO_PERSON = frozenset("noreply no-reply donotreply do-not-reply mailer-daemon git hg nobody example".split())  # noqa: SIM905
NO_VERSION = re.compile(
    r"(?i)(\b(v|ver|version|release|rev|oid|section|sect|chapter|rfc|figure|fig|table)s?[.:]?|§)\s*$"
)
RESOLVERS = frozenset(
    "1.1.1.1 1.0.0.1 8.8.8.8 8.8.4.4 9.9.9.9 1.2.3.4 4.4.4.4 5.6.7.8 "  # noqa: SIM905
    "2001:4860:4860::8888 2001:4860:4860::8844 2606:4700:4700::1111 2606:4700:4700::1001".split()
)
TEST_CARDS = frozenset(  # of Stripe, PayPal, Adyen, Braintree
    "4111111111111111 4242424242424242 4012888888881881 4222222222222 4000056655665556 4005519200000004 4009348888881881 "  # noqa: SIM905
    "4012000033330026 4012000077777777 4217651111111119 4500600000000061 5555555555554444 5105105105105100 "
    "5200828282828210 5454545454545454 2223003122003222 2223000048400011 2222400070000005 378282246310005 "
    "371449635398431 378734493671000 6011111111111117 6011000990139424 6011981111111113 30569309025904 38520000023237 "
    "3056930009020004 36227206271667 3530111333300000 3566002020360505 6200000000000005 6304000000000000".split()
)
CARD_PREFIX = re.compile(
    r"4(\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|6(011|5\d\d|4[4-9]\d)\d{12}|3(0[0-5]|[68]\d)\d{11}|35(2[89]|[3-8]\d)\d{12}|62\d{14,17}"
)
IBAN_LENGTHS = {  # of the SWIFT registry
    country: int(length)
    for line in (
        "15 NO", "16 BE", "18 DK FI FO GL NL", "19 MK SI", "20 AT BA EE KZ LT LU XK", "21 CH HR LI LV",
        "22 BG BH CR DE GB GE IE ME RS VA", "23 AE GI IL IQ OM SO TL", "24 AD CZ ES MD PK RO SA SE SK TN VG",
        "25 LY PT ST", "26 IS TR", "27 BI DJ FR GR IT MC MR SM", "28 AL AZ BY CY DO GT HU LB NI PL SV", "29 BR EG PS QA UA",
        "30 JO KW MU", "31 MT SC", "33 RU", "32 LC",
    )
    for length, *countries in [line.split()]
    for country in countries
}  # fmt: skip
SAMPLE_IBANS = frozenset(  # of the registry, banks' pages and Wikipedia
    "GB82WEST12345698765432 GB29NWBK60161331926819 GB33BUKB20201555555555 DE89370400440532013000 DE75512108001245126199 "  # noqa: SIM905
    "FR1420041010050500013M02606 FR7630006000011234567890189 ES9121000418450200051332 ES7921000813610123456789 "
    "NL91ABNA0417164300 NL02ABNA0123456789 CH9300762011623852957 CH5604835012345678009 IT60X0542811101000000123456 "
    "AT611904300234573201 AT483200000012345864 BE68539007547034 BE71096123456769 PL61109010140000071219812874 "
    "PT50000201231234567890154 SE4550000000058398257466 DK5000400440116243 NO9386011117947 FI2112345600000785 "
    "GR1601101250000000012300695 IE29AIBK93115212345678 IE64IRCE92050112345678 LU280019400644750000 "
    "TR330006100519786457841326 SA0380000000608010167519 BR1800360305000010009795493C1 CZ6508000000192000145399".split()
)


def is_real_email(candidate: str, before: str, after: str) -> bool:
    """An address that may be somebody's: outside the reserved domains, of a top-level domain in use, no robot's."""
    name, _, domain = candidate.lower().rpartition("@")
    top = domain.rpartition(".")[2]
    if re.search(r"://[^\s/]*$", before) or re.match(
        r":[\w~/.]", after
    ):  # the user of a URL, of an ssh target
        return False
    known = len(top) == 2 or top in TOP_LEVEL
    return known and name not in NO_PERSON and not RESERVED_DOMAIN.fullmatch(domain)


def is_real_ip(candidate: str, before: str, after: str) -> bool:
    """A global unicast address, v4 or v6, and neither a version, a section number nor a public resolver.

    Four numbers below 64 are taken for a section or a version: of random addresses one in 256 looks like that.
    """
    if candidate in RESOLVERS or re.search(r"[\w.:]$", before) or re.match(r"\.?\w|:\w*:", after):
        return False
    if ":" not in candidate and (
        NO_VERSION.search(before) or all(int(part) < 64 for part in candidate.split("."))
    ):
        return False
    try:
        address = ipaddress.ip_address(candidate.rstrip(":") if not candidate.endswith("::") else candidate)
    except ValueError:
        return False
    return address.is_global and not address.is_multicast


def is_real_phone(candidate: str, before: str, after: str) -> bool:
    """International form, or the grouped North American one; neither invented nor part of a longer number."""
    if re.search(r"[\w.$^_\\+]$|\d[-/ ]$", before) or re.match(r"[-.]?\w", after):
        return False
    digits = re.sub(r"\D", "", candidate)
    if candidate.startswith("+"):
        if not 8 <= len(digits) <= 15 or (candidate[1:] == digits and "tel" not in before.lower()):
            return False
        if digits[0] != "1":
            return len(set(digits[2:])) > 2 and not re.search(r"7946\d{4}$|7700900\d{3}$|12345678?", digits)
    national = digits[-10:]
    return (
        len(digits) in (10, 11)
        and re.fullmatch(r"[2-9]\d\d[2-9]\d{6}", national) is not None
        and re.fullmatch(r"\d{3}55501\d\d|555\d{7}|\d{3}5551212|(\d)\1{9}|1?2345678\d\d", national) is None
        and len(set(national)) > 2
    )


OF_CARDS = re.compile(
    r"(?i)card|visa|master|maestro|amex|american express|discover|diners|jcb|credit|debit|\bcc\b|\bpan\b|karte|carte|tarjeta"
)
EXPIRY = re.compile(r"\s*[|;,:/ ]\s*\d\d?\s*[|;,:/-]\s*(20)?\d\d\b")  # in lists of stolen cards


def is_real_card(candidate: str, before: str, after: str) -> bool:
    """A number of an issuer's range with a right check digit (Luhn) that is no payment service's test card.

    Of random numbers without gaps one in a hundred is like that, and pages of mathematics are full of long numbers: they
    count where cards are spoken of or a date of expiry follows.
    """
    if re.search(r"[\w.,$+-]$", before) or re.match(r"[.,-]?\w", after):
        return False
    digits = re.sub(r"\D", "", candidate)
    if digits == candidate and not (OF_CARDS.search(before + after) or EXPIRY.match(after)):
        return False
    if (
        digits in TEST_CARDS
        or len(set(digits)) < 4
        or digits.startswith("40000")
        or not CARD_PREFIX.fullmatch(digits)
    ):
        return False
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    return (sum(map(int, digits[-1::-2])) + sum(n - 9 * (n > 9) for n in doubled)) % 10 == 0


def is_real_iban(candidate: str, before: str, after: str) -> bool:
    """An account number of its country's length with right check digits (ISO 13616, mod 97)."""
    account = candidate.replace(" ", "")[: IBAN_LENGTHS.get(candidate[:2], 0)]
    if len(account) < IBAN_LENGTHS.get(candidate[:2], 99) or account in SAMPLE_IBANS:
        return False
    return int("".join(str(int(c, 36)) for c in account[4:] + account[:4])) % 97 == 1


def is_real_key(candidate: str, before: str, after: str) -> bool:
    """Random enough to open something: no EXAMPLE, no run of x, not a handful of characters repeated."""
    if candidate.startswith("-----BEGIN"):  # and not "... (private key in base64) ..."
        return re.match(r"(\\n|[\s\"'+])*([A-Za-z0-9+/]{12}|[A-Z][A-Za-z-]+: )", after) is not None
    plain = re.search(r"(?i)example|x{5}|0{6}|12345678|abcdef|your[-_]?|placeholder|redacted", candidate)
    return plain is None and len(set(candidate)) >= 12


class Kind(NamedTuple):
    """One kind of find: what a candidate looks like, and whether it is one."""

    pattern: str
    is_real: Callable[[str, str, str], bool]


KEY_FORMS = (
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",  # Amazon
    r"\bgh[pousr]_[A-Za-z0-9]{36,}|\bgithub_pat_[A-Za-z0-9_]{40,}|\bglpat-[A-Za-z0-9_-]{20,}",
    r"\bxox[abprs]-[A-Za-z0-9-]{20,}|\bAIza[0-9A-Za-z_-]{35}|\bya29\.[0-9A-Za-z_-]{30,}",  # Slack, Google
    r"\b[rs]k_live_[0-9a-zA-Z]{20,}|\bSG\.[0-9A-Za-z_-]{20,}\.[0-9A-Za-z_-]{30,}",  # Stripe, SendGrid
    r"\bsk-[A-Za-z0-9_-]{32,}|\bhf_[A-Za-z0-9]{30,}|\bnpm_[A-Za-z0-9]{36}|\bpypi-[A-Za-z0-9_-]{50,}",
    r"\bey[JK][A-Za-z0-9_-]{15,}\.ey[JK][A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}",  # JSON Web Token
    r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY(?: BLOCK)?-----",
)
KINDS = {
    "emails": Kind(
        r"\b[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,4}\.[A-Za-z]{2,12}\b",
        is_real_email,
    ),
    "ips": Kind(
        r"\b(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}\b|\b[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{3,35}",
        is_real_ip,
    ),
    "phones": Kind(
        r"\+[1-9]\d{0,2}(?:[ .()/-]{0,2}\d){7,13}\b|\(?\b[2-9]\d\d\)[ -]?[2-9]\d\d[ .-]\d{4}\b"
        r"|\b(?:1[-.])?[2-9]\d\d([-.])[2-9]\d\d[-.]\d{4}\b",
        is_real_phone,
    ),
    "cards": Kind(
        r"\b[2-6]\d{12,18}\b|\b[2-6]\d{3}[ -]\d{4}[ -]\d{4}[ -]\d{4}\b|\b3\d{3}[ -]\d{6}[ -]\d{4,5}\b",
        is_real_card,
    ),
    "ibans": Kind(r"\b[A-Z]{2}\d\d(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", is_real_iban),
    "keys": Kind("|".join(KEY_FORMS), is_real_key),
}
COMPILED = {name: re.compile(kind.pattern, re.ASCII) for name, kind in KINDS.items()}


def counts(column: pa.ChunkedArray | pa.Array) -> dict[str, np.ndarray]:
    """For each of KINDS, how many of it each text holds (int32)."""
    found = {}
    for name, kind in KINDS.items():
        found[name] = np.zeros(len(column), np.int32)
        hits = pc.indices_nonzero(pc.match_substring_regex(column, kind.pattern))
        for row, text in zip(hits.to_pylist(), column.take(hits).to_pylist(), strict=True):
            found[name][row] = sum(
                kind.is_real(
                    match[0],
                    text[max(0, match.start() - 24) : match.start()],
                    text[match.end() : match.end() + 24],
                )
                for match in COMPILED[name].finditer(text)
            )
    return found


# --- the stage ----------------------------------------------------------------------------------------------


OF_LANGUAGE = re.compile(r"([a-z]{2,3})=(.+)")


class SensitiveConfig(StageConfig):
    lists: list[str] = Field(
        ["listed-words-en.txt"],
        description="word lists, one entry (a word or several) a line, # comments, or JSON: names in the model cache, or "
        "paths. LANGUAGE=LIST (`de=listed-words-de.json`) counts in documents of that language, where the dataset "
        "`language` says which it is, otherwise in all",
    )
    spared: list[str] | None = Field(
        None,
        description="entries of the lists that do not count, words joined by hyphens; by default those that are also "
        "ordinary words (`filters.listed_words.SPARED`)",
    )


class Sensitive(MapStage):
    """documents → `sensitive_emails`, `_ips`, `_phones`, `_cards`, `_ibans`, `_keys` (counts), `sensitive_listed_words`
    (words covered by entries of the lists) and `sensitive_listed_share` (of all words of the prose)."""

    name = "sensitive"
    output = "sensitive"
    input = ("documents",)
    reads = ("id", "text")
    libraries = ("numpy",)
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            *(pa.field(f"sensitive_{kind}", pa.int32()) for kind in KINDS),
            pa.field("sensitive_listed_words", pa.int32()),
            pa.field("sensitive_listed_share", pa.float32()),
        ]
    )
    Config: ClassVar[type[StageConfig]] = SensitiveConfig

    def __init__(self, config: StageConfig | None = None) -> None:
        super().__init__(config)
        self.lists: dict[str, list[str]] = {"": []}  # by language, "" for all; then files or names
        for given in self.config.lists:
            language, name = found.groups() if (found := OF_LANGUAGE.fullmatch(given)) else ("", given)
            self.lists.setdefault(language, []).append(name)
        if len(self.lists) > 1:
            self.columns = ("language",)  # type: ignore[misc]  # joined where it is there

    def files(self) -> dict[str, str]:
        names = [name for names in self.lists.values() for name in names]
        return {f"{i}: {Path(name).name}": sha256_of(name) for i, name in enumerate(names)}

    def prepare(self) -> None:
        entries = {
            of: [word for name in names for word in read_list(model_file(name))]
            for of, names in self.lists.items()
        }
        spared = SPARED.split() if self.config.spared is None else self.config.spared
        self.of_any = word_list([word for words in entries.values() for word in words], spared)
        self.of_language = {
            of: word_list(entries[""] + (words if of else []), spared) for of, words in entries.items()
        }

    def process(self, batch: pa.Table) -> Outcome:
        column = batch["text"]
        texts = texts_of(column)
        words = find_words(texts, regions(texts))
        if "lang_label" in batch.column_names:
            label = batch["lang_label"].fill_null("").to_numpy()
            apart = [of for of in self.of_language if of]
            wanted = {of: label == of for of in apart} | {"": ~np.isin(label, apart)}
            listed = sum(count_listed(words, self.of_language[of], rows) for of, rows in wanted.items())
        else:
            listed = count_listed(words, self.of_any, np.ones(len(column), np.bool_))
        share = listed / np.maximum(np.diff(words.offsets), 1)
        found = {f"sensitive_{kind}": values for kind, values in counts(column).items()}
        columns = {
            "id": batch["id"],
            **found,
            "sensitive_listed_words": listed,
            "sensitive_listed_share": share,
        }
        return Outcome(pa.table(columns, schema=self.schema))
