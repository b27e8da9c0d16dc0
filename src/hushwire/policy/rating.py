"""What a call costs by a carrier's rate table: an estimate by the longest prefix, in whole increments. Pure.

Amounts are whole millionths of a currency, so that no sum depends on its order. A table comes as CSV with a header line:

    prefix,currency,per_minute[,connection][,first_s][,next_s]
    49,EUR,0.012
    491,EUR,0.12,0.05,60,1

`first_s` is charged at least, then every `next_s` that has begun; without them each second is charged.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Final

_NEEDED: Final = ("prefix", "currency", "per_minute")
_KNOWN: Final = frozenset({*_NEEDED, "connection", "first_s", "next_s"})
_DEAREST: Final = Decimal(10_000)
MOST_ROWS: Final = 500_000


@dataclass(frozen=True, slots=True)
class Rate:
    """The price of one prefix."""

    currency: str
    minute_micros: int
    connection_micros: int = 0
    first_s: int = 1
    next_s: int = 1

    def cost(self, seconds: float) -> int:
        """What so much talking costs, in millionths. Of no time nothing, also no connection."""
        if seconds <= 0:
            return 0
        charged = self.first_s
        if seconds > charged:
            rest = seconds - self.first_s
            charged += self.next_s * (int(rest // self.next_s) + (rest % self.next_s > 0))
        return self.connection_micros + -(-self.minute_micros * charged // 60)


@dataclass(frozen=True, slots=True)
class RateTable:
    """The rates of one trunk, by prefix without a plus sign."""

    rates: Mapping[str, Rate] = field(repr=False)
    _longest: int = field(init=False, repr=False)
    _dearest: Rate | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_longest", max(map(len, self.rates), default=0))
        dearest = max(self.rates.values(), key=lambda rate: (rate.minute_micros, rate.connection_micros), default=None)
        object.__setattr__(self, "_dearest", dearest)

    def find(self, number: str) -> Rate | None:
        """The rate of a canonical number; what the table does not know costs as its dearest, None where it is empty.

        A short code begins with no calling code: it has an entry of its own, digit by digit, or is not known.
        """
        if not number.startswith("+"):
            return self.rates.get(number) or self._dearest
        digits = number.removeprefix("+")
        for length in range(min(len(digits), self._longest), 0, -1):
            found = self.rates.get(digits[:length])
            if found is not None:
                return found
        return self._dearest


class RatesUnreadableError(ValueError):
    """A file that is no rate table: its words say which line and why."""


def read_csv(text: str) -> dict[str, Rate]:
    """The rates of a file. Raises RatesUnreadableError for the first line that is none; nothing of the line is repeated."""
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    try:
        return dict(_rates(rows))
    except csv.Error:
        raise RatesUnreadableError(f"line {rows.line_num}: this is no CSV") from None


def _rates(rows: "Iterator[list[str]]") -> Iterator[tuple[str, Rate]]:
    header: list[str] | None = None
    seen: set[str] = set()
    for number, row in enumerate(rows, 1):
        if not any(cell.strip() for cell in row):
            continue
        if header is None:
            header = [cell.strip().lower() for cell in row]
            if missing := [name for name in _NEEDED if name not in header]:
                raise RatesUnreadableError(f"line {number}: the header lacks {', '.join(missing)}")
            if len(set(header)) != len(header) or not set(header) <= _KNOWN:
                raise RatesUnreadableError(f"line {number}: the header may name each of {', '.join(sorted(_KNOWN))} once, and nothing else")
            continue
        if len(row) != len(header):
            raise RatesUnreadableError(f"line {number}: {len(header)} columns are needed")
        cells = dict(zip(header, (cell.strip() for cell in row), strict=True))
        prefix = cells["prefix"].removeprefix("+")
        if not (prefix.isascii() and prefix.isdigit() and len(prefix) <= 15):
            raise RatesUnreadableError(f"line {number}: prefix must be 1 to 15 digits")
        if prefix in seen:
            raise RatesUnreadableError(f"line {number}: the prefix stands in the file twice")
        seen.add(prefix)
        if len(seen) > MOST_ROWS:
            raise RatesUnreadableError(f"more than {MOST_ROWS} prefixes")
        yield prefix, _rate(number, cells)
    if header is None:
        raise RatesUnreadableError("the file is empty: its first line names the columns")


def _rate(number: int, cells: Mapping[str, str]) -> Rate:
    currency = cells["currency"]
    if not (len(currency) == 3 and currency.isascii() and currency.isalpha() and currency.isupper()):
        raise RatesUnreadableError(f"line {number}: currency must be three capital letters, such as EUR")
    return Rate(
        currency,
        _micros(number, "per_minute", cells["per_minute"]),
        _micros(number, "connection", cells.get("connection") or "0"),
        _seconds(number, "first_s", cells.get("first_s") or "1"),
        _seconds(number, "next_s", cells.get("next_s") or "1"),
    )


def _micros(number: int, name: str, text: str) -> int:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not (amount.is_finite() and 0 <= amount <= _DEAREST):
        raise RatesUnreadableError(f"line {number}: {name} must be an amount such as 0.012, at most {_DEAREST}")
    return int((amount * 1_000_000).to_integral_value())


def _seconds(number: int, name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= 3600):
        raise RatesUnreadableError(f"line {number}: {name} must be 1 to 3600 seconds")
    return int(text)
