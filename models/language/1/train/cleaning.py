"""What is not language is taken out of messages: placeholders, markup, addresses."""

import re
import unicodedata

NO_LANGUAGE = re.compile(
    r"%\([^)]*\)[#0 +-]*\d*(?:\.\d+)?[a-zA-Z]"  # %(name)s
    r"|%[#0 +-]*\d*(?:\.\d+)?[a-zA-Z](?![a-zA-Z])"  # %s
    r"|\{[^{}]*\}"  # {name}
    r"|<[^<>]*>"  # markup
    r"|&[a-zA-Z#0-9]+;"
    r"|(?:https?|ftp)://\S+"
    r"|:[a-z-]+:`[^`]*`|``[^`]*``|`[^`]*`"  # reStructuredText
)
LEAST_LETTERS = 5


def clean(text: str) -> str | None:
    """None when hardly anything is left."""
    cleaned = " ".join(NO_LANGUAGE.sub(" ", unicodedata.normalize("NFC", text)).split())
    return cleaned if letters(cleaned) >= LEAST_LETTERS else None


def letters(text: str) -> int:
    """A character of Chinese, Japanese or Korean counts for two: it says about as much."""
    return sum(2 if is_wide(c) else 1 for c in text if c.isalpha())


def is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"
