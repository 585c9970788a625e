"""Dates as people and forum programs write them → ISO 8601."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from pipeline.extract.metadata import iso_date

MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan ene gen янв", "feb fév fev фев", "mar mär мар", "apr avr abr апр", "may mai mag май мая",
            "jun juin giu июн", "jul juil lug июл", "aug aoû ago авг", "sep set сен", "oct okt ott out окт",
            "nov ноя", "dec dez déc dic дек",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip
DAY = re.compile(
    r"(?P<y>(?:19|20)\d\d)[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})\b"
    r"|(?P<y2>(?:19|20)\d\d)\s?[年년]\s?(?P<m2>\d{1,2})\s?[月월]\s?(?P<d2>\d{1,2})"
    r"|\b(?P<d3>\d{1,2})(?:st|nd|rd|th|\.)?[\s-]+(?:de\s+)?(?P<name3>[^\W\d_]{3,10})\.?,?[\s-]+(?:de\s+)?"
    r"(?P<y3>(?:19|20)\d\d)\b"
    r"|\b(?P<name4>[^\W\d_]{3,10})\.?\s+(?P<d4>\d{1,2})(?:st|nd|rd|th)?,?\s+(?P<y4>(?:19|20)\d\d)\b"
    r"|\b(?P<a5>\d{1,2})(?P<by5>[./-])(?P<b5>\d{1,2})(?P=by5)(?P<y5>(?:19|20)\d\d)\b"
)
CLOCK = re.compile(r"\b(\d{1,2}):([0-5]\d)(?::([0-5]\d))?(?:\s*([ap])\.?m\b)?", re.I)
MOST_TEXT = 600  # characters searched
EPOCH = re.compile(r"\s*(\d{10})(?:\d{3})?(?:\.\d+)?\s*")
JOINED = re.compile(r"\b(?:join|regist|member since|founded|last (?:edit|active)|注册|加入)\w*.{0,30}", re.I)


def date_in(text: str) -> str | None:
    """The first full date in a text, as ISO 8601, with its time of day if that stands there too.

    Day and month in figures are only read where one of them cannot be the other, or with points (day first).

    >>> date_in("» Tue Aug 27, 2019 1:47 am"), date_in("发表于 2020年1月2日 10:05"), date_in("3/5/2024")
    ('2019-08-27T01:47', '2020-01-02T10:05', None)
    """
    if (date := iso_date(text)) and ("T" in date or not CLOCK.search(text)):
        return date
    if epoch := EPOCH.fullmatch(text):
        return datetime.fromtimestamp(int(epoch[1]), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    for found in DAY.finditer(text[:MOST_TEXT]):
        year = next(value for name in ("y", "y2", "y3", "y4", "y5") if (value := found[name]))
        if name := found["name3"] or found["name4"]:
            month = MONTHS.get(name.lower()[:4]) or MONTHS.get(name.lower()[:3]) or 0
            day = int(found["d3"] or found["d4"])
        elif found["y5"]:
            day, month = int(found["a5"]), int(found["b5"])
            if found["by5"] != "." and day <= 12:
                if month <= 12 and month != day:
                    continue
                day, month = month, day
        else:
            month, day = int(found["m"] or found["m2"]), int(found["d"] or found["d2"])
        if not (1 <= month <= 12 and 1 <= day <= 31):
            continue
        date = f"{year}-{month:02}-{day:02}"
        clock = CLOCK.search(text, found.end(), found.end() + 20) or CLOCK.search(text, 0, found.start())
        if not clock or int(clock[1]) > 23:
            return date
        hour = int(clock[1]) % 12 + 12 * (clock[4] in "pP") if clock[4] else int(clock[1])
        return f"{date}T{hour:02}:{clock[2]}" + (f":{clock[3]}" if clock[3] else "")
    return None


def date_of_post(text: str) -> str | None:
    """The first date in what stands before a post, other than the day when its author joined."""
    return date_in(JOINED.sub(" ", text))
