"""Lists of obscene and abusive words: reading them, and counting their entries in texts.

A list does not know what is meant: C4's blocklist removed medicine and texts of and about minorities above their share
(Dodge et al. 2021, "Documenting Large Webtext Corpora"). So words that are also ordinary ones are spared by default.

The model cache knows an English list and LDNOOBW's (the "List of Dirty, Naughty, Obscene, and Otherwise Bad Words",
CC-BY-4.0) for `LANGUAGES`. Of 5,425 Debian manuals and articles in these, all of them clean, they find a word in 24
without `SPARED` (Swedish 9 %, Italian 1 %) and in none with it; what was found there went into it. In 10,000 English
ones the English list finds a word in 0.12 %, the others together in 0.06 %. Endings are not undone: in languages that
put many on a word (Finnish, Korean, Russian) much is missed.

Left out, because no sparing helps: Chinese and Japanese, which write no spaces (of 1,500 manuals each 38 % and 12 % have
an entry inside other words: it takes a segmenter), Thai for the same reason; the Turkish list (82 %: "durum", state) and
the Arabic one, which hold ordinary words by the dozen; Hindi (in Latin letters) and Persian, unjudged.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
import pyarrow as pa

from filters.words import Words, find_words, texts_of
from pipeline.errors import RequestError

LANGUAGES = ("cs", "da", "de", "es", "fi", "fr", "hu", "it", "ko", "nl", "no", "pl", "pt", "ru", "sv")

# On the lists, and ordinary words of science, medicine, law, food, play, names or what people are.
SPARED = (
    # en
    "amphetamines anal anus bareback bastard bastards beaver-lips big-black bloody bondage breasts butt "
    "chink cialis clitoris cok cox cum damn darn date-rape dirty do-her domination dummy dyke ejaculation "
    "erotic escort fecal gay get-high girl-on grope hard-core heroin hooker how-to-kill idiot idiots "
    "intercourse kinky knob lesbian made-love make-love making-love mong nude nudity on-drugs orgasm pawn "
    "penis playboy poop prick pricks pron rape raping rapist rectum sadism sadist santorum scat scissoring "
    "screwing scrotum semen sex sexual sexuality sexually skeet snatch snowballing spac stripping suck "
    "sucks swastika taste-my testicle tied-up tight-white tit tongue-in-a topless tranny twinkie undressing "
    "vagina viagra vibrator voyeur vulva wang white-power willies willy xx xxx"
    # cs
    " bordel debil čumět držka flundra píchat žrát"
    # de
    " bonze fratze ische kimme lümmel mufti möpse nackt nippel onanieren orgasmus popel poppen reudig"
    " rosette schabracke schiesser schnackeln vögeln"
    # es
    " asesinato asno bastardo caca chupada chupetón concha culo drogas esperma fiesta-de-salchichas"
    " haciendo-el-amor heroína idiota imbécil infierno maciza maldito martillo nazi orina pedo pervertido"
    " pezón pinche pis prostituta racista ramera sexo sexo-oral sádico travesti trio tía-buena verga"
    # fi
    " haahka hatullinen hitosti hitto jutku jutsku jätkä kulli kusi lahtari molo muna munaton mutakuono"
    " mutiainen naida nainti narttu paljaalla palli pallit panettaa panna pano pantava pehko pipari piru"
    " pistää reikä reva rättipää suklaaosasto tavara toosa tuhkaluukku tumputtaa viiksi"
    # fr
    " baiser bander bite bitte bordel bosser bourré bourrée caca cailler chatte clito con cul drague folle"
    " gerbe gerber gueule grande-folle jouir ménage-à-trois meuf pipi pédale péter ramoner suce tanche"
    " tapette tringler trique veuve"
    # hu
    " barmok barmokat barmot barom buksza bukszák bukszákat bukszát búr búrok franc francok francokat"
    " francot marha marhák marhákat marhát megdöglik pele pelék pofa pofákat pofát"
    # it
    " anale bagnarsi balle battere battona belino biga boiata bordello brinca buona-donna cacca cadavere"
    " cagna cammello cappella carciofo carità casci checca chiappa cornuto cozza duro fava femminuccia"
    " finocchio fracicone fregna fuori-come-un-balcone goldone grilletto guanto guardone ingoio"
    " l'arte-bolognese lecchino lumaca manico mannaggia mona monta montare mussa nave-scuola nudo padulo"
    " palle palloso patacca pecorina pesce picio pipa pipì pisello pistola pistolotto pomiciare pompa"
    " porca potta quaglia regina rizzarsi ruffiano sbattere sbattersi sega spagnola tette tirare topa"
    " troia uccello vacca vangare venire zio-cantante"
    # ko
    " 강간 거유 고자 근친 노모 로리타 망가 몰카 미친 바바리맨 변태 보지 불알 섹스 스와핑 애자 야사 에로 염병 유모 육갑 자위 자지 창녀 하드코어 호로 후장"
    # nl
    " aardappels-afgieten achter-het-raam-zitten afrukken aftrekken afwerkplaats"
    " anderhalve-man-en-een-paardekop anita asbak aso balen bedonderen bekken belazeren beurt boemelen"
    " boerenpummel brugpieper buffelen de-ballen de-hond-uitlaten de-koffer-induiken"
    " de-pijp-aan-maarten-geven de-pijp-uitgaan del dombo drol een-beurt-geven een-nummertje-maken eikel"
    " engerd flikken gat gedoogzone gras-maaien griet hol huisdealer johny kanen knor kont lul lummel"
    " mafketel matje mof muts naaien naakt nicht paal palen penoze pijpen pik poep poepen poot pot"
    " potverdorie raaskallen reet remsporen reutelen schatje schoft slempen spuiten standje stootje"
    " sufferd teef toeter tongzoen triootje vergallen vingeren watje wijf wippen zaadje zuigen zuiplap"
    # pl
    " burdel debil dmuchać duperele jajco jajeczko jajko jajo pierdoła rzygać suka syf"
    # pt
    " aborto amador aranha ariano bastardo biscate bissexual boob bumbum burro cacete camisinha cerveja"
    " clitoris cocaína comer consolo corno cu dum-raio frango-assado gozar grelho heroína heterosexual"
    " homem-gay homoerótico homosexual inferno lolita lésbica mama pau passar-um-cheque pinto pênis saco"
    " torneira vibrador veado ânus"
    # ru
    " бардак бугор голый другой-дразнится какая-разница мент на-фиг обнаженный офигеть половое-сношение"
    " секс ты-мне-ваньку-не-валяй фига хапать хохол хрен byk gol petuh uboy"
    # sv
    " brutta fan hård helvete moona moonade moonar moonat mutta olla pippa pitt prutt satan skita stake"
    " sås tusan"
)


class WordList(NamedTuple):
    """Entries as hashes of words: `table` holds each entry's first word, `lengths` (a bit each) how long its entries are."""

    table: np.ndarray  # uint64, open addressing, 0 is free
    lengths: np.ndarray  # uint32, beside `table`: bit n for an entry of n words
    phrases: np.ndarray  # uint64, sorted: entries of several words


def word_list(entries: list[str], spared: list[str]) -> WordList:
    """A list to look up. Of an entry case and accents do not matter; one spelt with other signs ("s&m") is left out."""
    spellings = [" ".join(re.split(r"[\s_-]+", entry.strip())) for entry in entries]
    kept = [entry for entry in spellings if entry and re.fullmatch(r"[^\W_]+(?:[ '’][^\W_]+)*", entry)]
    words = find_words(texts_of(pa.array(kept, pa.string())))
    apart = find_words(texts_of(pa.array([entry.replace("-", " ") for entry in spared], pa.string())))
    of = lambda w: {tuple(w.hashes[a:b].tolist()) for a, b in zip(w.offsets[:-1], w.offsets[1:], strict=True)}  # noqa: E731
    listed = sorted(entry for entry in of(words) - of(apart) if 0 < len(entry) < 32)
    size = 1 << max(4, (4 * len(listed)).bit_length())
    found = WordList(
        np.zeros(size, np.uint64),
        np.zeros(size, np.uint32),
        np.array(sorted(_phrase(np.array(e, np.uint64)) for e in listed if len(e) > 1), np.uint64),
    )
    for entry in listed:
        slot = entry[0] & (size - 1)
        while found.table[slot] not in (0, entry[0]):
            slot = (slot + 1) & (size - 1)
        found.table[slot] = entry[0]
        found.lengths[slot] |= np.uint32(1 << len(entry))
    return found


def count_listed(words: Words, listed: WordList, wanted: np.ndarray) -> np.ndarray:
    """How many words of each text that is `wanted` (bool) the longest entries cover; 0 for the others (int32)."""
    counts = np.zeros(len(wanted), np.int32)
    _count_listed(words.offsets, words.hashes, *listed, wanted, counts)
    return counts


@numba.njit(cache=True)
def _phrase(hashes):
    hash_ = np.uint64(0)
    for one in hashes:
        hash_ = hash_ * np.uint64(0x9E3779B97F4A7C15) + one
    return hash_


@numba.njit(cache=True)
def _count_listed(offsets, hashes, table, lengths, phrases, wanted, counts):
    mask = np.uint64(len(table) - 1)
    for d in range(len(offsets) - 1):
        i, end = offsets[d], offsets[d + 1] if wanted[d] else offsets[d]
        while i < end:
            slot = hashes[i] & mask
            while table[slot] != 0 and table[slot] != hashes[i]:
                slot = (slot + np.uint64(1)) & mask
            taken = 0
            if table[slot] != 0:
                for n in range(1, min(32, end - i + 1)):  # the longest entry that begins here
                    if lengths[slot] >> np.uint32(n) & np.uint32(1):
                        if n == 1:
                            taken = 1
                        else:
                            phrase = _phrase(hashes[i : i + n])
                            place = np.searchsorted(phrases, phrase)
                            if place < len(phrases) and phrases[place] == phrase:
                                taken = n
            counts[d] += taken
            i += max(taken, 1)


def read_list(path: Path) -> list[str]:
    """Entries of a word list: a line each, without blank lines and # comments, or JSON, `["…"]` or `{"words": ["…"]}`.

    Raises `RequestError` with file and line.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}. Give `lists` the paths of text files.") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad = data.count(b"\n", 0, error.start) + 1
        raise RequestError(
            f"{path}, line {bad}: not UTF-8 ({error.reason}). Save the list as UTF-8."
        ) from error
    if path.suffix != ".json":
        return [line.strip() for line in text.split("\n") if line.strip() and not line.startswith("#")]
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{path}: no JSON ({error}). Expected a list of words.") from error
    words = said.get("words") if isinstance(said, dict) else said
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise RequestError(f'{path}: expected a list of words, or an object with one under "words".')
    return words
