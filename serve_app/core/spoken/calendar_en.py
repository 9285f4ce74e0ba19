"""English names of months and days, and their short forms."""

from __future__ import annotations

from typing import Final

_MONTH_NAMES: Final = (
    "January February March April May June July August September October November December"
)
MONTHS: Final = tuple(_MONTH_NAMES.split())
SHORT_MONTHS: Final = {"Sept": "September"} | {month[:3]: month for month in MONTHS}
DAYS: Final = {
    "Mon": "Monday", "Tue": "Tuesday", "Tues": "Tuesday", "Wed": "Wednesday", "Thu": "Thursday",
    "Thur": "Thursday", "Thurs": "Thursday", "Fri": "Friday", "Sat": "Saturday", "Sun": "Sunday",
}  # fmt: skip
MONTH_TEXT: Final = rf"(?:{'|'.join([*MONTHS, 'Sept', *SHORT_MONTHS])})\b"
