"""Whether a text asks for no more messages, for messages again, or for help: one word, or a plain sentence.

Read as people write it: any case, with or without accents and punctuation, with a please before and a thank you after. The words that
carriers and regulators name hold in every language; each language that is configured adds its own words and sentences.

A sentence counts only where nothing in it can mean something else ("I can't stop laughing", "stop by at five", "cancel my order"):
who is not understood can still answer with one word, and who was understood wrongly would be silenced.
"""

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hushwire.sms.stop_words import ALWAYS, LANGUAGES


class Keyword(StrEnum):
    """What is asked for."""

    STOP = "stop"
    START = "start"
    HELP = "help"


@dataclass(frozen=True, slots=True)
class Found:
    """What is asked for, and in which language; empty: by a word that is everybody's."""

    keyword: Keyword
    language: str


_LONGEST: Final = 320
"""Nobody says stop in more characters; what is longer is read for its first and last words only, as a whole message."""
_NOT_MEANT: Final = re.compile(
    r"\b(dont|do not|never|not|cant|cannot|wont|nicht|nie|ne|no|non|nao|niet) (ever )?(stop|unsubscribe|cancel|quit|"
    r"opt)\b"
)
_SEPARATE: Final = re.compile(r"[^a-z0-9\u0370-\u03ff\u0400-\u04ff]+")
_APOSTROPHES: Final = re.compile(r"['\u2019\u2018\u02bc`\u00b4]")
_LETTERS: Final = str.maketrans({"ı": "i", "ł": "l", "ø": "o", "đ": "d", "ß": "ss", "æ": "ae", "œ": "oe"})


def keyword(text: str, languages: Collection[str]) -> Found | None:
    """What a text asks for; `languages` are codes of `LANGUAGES`, others are passed over. Stop wins where it could be two things."""
    said = normalised(text)
    if not said:
        return None
    codes = [code for code in dict.fromkeys(languages) if code in LANGUAGES]
    known = [("", ALWAYS), *((code, LANGUAGES[code]) for code in codes)]
    core = _core(said, frozenset().union(*(language.courtesies for _, language in known)))
    for what, code, words in (
        *((Keyword.STOP, code, language.stop) for code, language in known),
        *((Keyword.START, code, language.start) for code, language in known),
        *((Keyword.HELP, code, language.help) for code, language in known),
    ):
        if core in words:
            return Found(what, code)
    if len(said) <= _LONGEST and not _NOT_MEANT.search(said):
        for code, language in known:
            if language.sentences.search(said):
                return Found(Keyword.STOP, code)
    return None


def normalised(text: str) -> str:
    """Small letters without accents, words parted by one blank, nothing else."""
    flat = unicodedata.normalize("NFKD", text.casefold()).translate(_LETTERS)
    flat = "".join(character for character in flat if not unicodedata.combining(character) and unicodedata.category(character) != "Cf")
    return _SEPARATE.sub(" ", _APOSTROPHES.sub("", flat)).strip()


def _core(said: str, courtesies: frozenset[str]) -> str:
    """Without courtesies before and after, and each word once where one is repeated."""
    words = said.split()
    while words and words[0] in courtesies:
        words = words[1:]
    while words and words[-1] in courtesies:
        words = words[:-1]
    once = [word for place, word in enumerate(words) if place == 0 or word != words[place - 1]]
    return " ".join(once)
