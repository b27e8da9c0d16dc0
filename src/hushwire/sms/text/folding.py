"""Typographic characters as the plain ones that the GSM alphabet has, so that one curly quote does not double a message's price.

Only what says the same: quotes, dashes, dots, blanks, ligatures. Letters stay as they are: a name without its accents is another name.
"""

from typing import Final

_FOLDED: Final = str.maketrans(
    {
        "\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201b": "'", "\u2032": "'", "\u02bc": "'", "\u02b9": "'", "\u00b4": "'", "`": "'",
        "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u201f": '"', "\u2033": '"', "\u00ab": '"', "\u00bb": '"',
        "\u2039": "<", "\u203a": ">",
        "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2014": "-", "\u2015": "-", "\u2212": "-", "\u2043": "-",
        "\u2022": "-", "\u00b7": ".", "\u2024": ".", "\u2026": "...", "\u2025": "..",
        "\u00a0": " ", "\u2000": " ", "\u2001": " ", "\u2002": " ", "\u2003": " ", "\u2004": " ", "\u2005": " ", "\u2006": " ",
        "\u2007": " ", "\u2008": " ", "\u2009": " ", "\u200a": " ", "\u202f": " ", "\u205f": " ", "\u3000": " ",
        "\u200b": "", "\u2060": "", "\ufeff": "", "\u00ad": "",
        "\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl",
        "\u2044": "/", "\u00d7": "x", "\u2028": "\n", "\u2029": "\n", "\t": " ",
    }
)  # fmt: skip


def folded(text: str) -> str:
    """The text with plain characters for typographic ones; texts in other scripts keep what joins their letters."""
    return text.replace("\r\n", "\n").translate(_FOLDED)
