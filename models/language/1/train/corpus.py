"""Texts with their language: the translations that come inside of Python packages.

`learned` texts are messages of Django, Django REST framework and Wagtail. Two more packages are never learned from: Sphinx, whose messages
are about documents and code, and ChatterBot's corpus, small talk that people wrote for a chat bot.
"""

import hashlib
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import yaml
from babel.messages.mofile import read_mo

from cleaning import clean

LEARNED_PACKAGES = ("django", "rest_framework", "wagtail")
STRANGE_PACKAGE = "sphinx"
LEAST_TEXTS = 500  # a language with fewer is not learned
HELD_OUT_PERCENT = 15
SOURCE_LANGUAGE = "en"
# Two codes for one language, and folders that are named otherwise.
LANGUAGES = {"no": "nb", "iw": "he", "in": "id"}
CONVERSATIONS = {
    "bengali": "bn", "chinese": "zh", "dutch": "nl", "english": "en", "french": "fr", "german": "de", "hebrew": "he", "hindi": "hi",
    "indonesian": "id", "italian": "it", "japanese": "ja", "korean": "ko", "persian": "fa", "portuguese": "pt", "russian": "ru",
    "spanish": "es", "swedish": "sv", "thai": "th", "traditionalchinese": "zh", "turkish": "tr", "ukrainian": "uk",
}  # fmt: skip


@dataclass(frozen=True)
class Text:
    text: str
    language: str


@dataclass(frozen=True)
class Corpus:
    labels: list[str]
    train: list[Text]
    held_out: list[Text]
    sphinx: list[Text]
    conversations: list[Text]


def load_corpus() -> Corpus:
    learned = [(source, text) for package in LEARNED_PACKAGES for source, text in messages_of(package)]
    several = texts_of_several_languages([text for _, text in learned])
    learned = [(source, text) for source, text in learned if text.text not in several]
    found = Counter(text.language for text in {text for _, text in learned})
    labels = sorted(language for language, count in found.items() if count >= LEAST_TEXTS)
    parts: dict[bool, dict[Text, None]] = {True: {}, False: {}}
    for source, text in learned:
        if text.language in labels:
            parts[is_held_out(source)][text] = None
    known = {text.text for text in parts[False]}
    strangers = {
        name: sorted(
            {text for text in texts if text.language in labels and text.text not in known and text.text not in several},
            key=lambda text: (text.language, text.text),
        )
        for name, texts in {
            "held_out": parts[True],
            "sphinx": [text for _, text in messages_of(STRANGE_PACKAGE)],
            "conversations": conversations(),
        }.items()
    }
    return Corpus(labels=labels, train=list(parts[False]), **strangers)


def is_held_out(source: str) -> bool:
    """By the English message, so that no translation of a held-out message is learned from, in whatever language."""
    return hashlib.sha256(source.encode()).digest()[0] * 100 < HELD_OUT_PERCENT * 256


def texts_of_several_languages(texts: list[Text]) -> set[str]:
    """A text that two languages share has no right answer."""
    languages = defaultdict(set)
    for text in texts:
        languages[text.text].add(text.language)
    return {text for text, of_text in languages.items() if len(of_text) > 1}


def messages_of(package: str) -> list[tuple[str, Text]]:
    """(English message, text), in an order that is the same everywhere."""
    found: dict[tuple[str, Text], None] = {}
    for path in sorted(folder_of(package).rglob("*.mo")):
        language = language_of(path)
        if language is None:
            continue
        with path.open("rb") as file:
            catalog = read_mo(file)
        for message in catalog:
            sources, strings = as_tuple(message.id), as_tuple(message.string)
            if not sources[0]:
                continue  # the header
            texts = [(text, SOURCE_LANGUAGE) for text in sources]
            texts += [(text, language) for text in strings if text and text not in sources and language != SOURCE_LANGUAGE]
            for raw, of_text in texts:
                text = clean(raw)
                if text:
                    found[(sources[0], Text(text, of_text))] = None
    return list(found)


def conversations() -> list[Text]:
    found = []
    for folder, language in CONVERSATIONS.items():
        for path in sorted((folder_of("chatterbot_corpus") / "data" / folder).glob("*.yml")):
            for exchange in yaml.safe_load(path.read_text(encoding="utf-8")).get("conversations") or []:
                texts = (clean(line) for line in exchange if isinstance(line, str))
                found += [Text(text, language) for text in texts if text]
    return found


def language_of(path: Path) -> str | None:
    match = re.search(r"/locales?/([a-z]{2,3})(?:[_@][A-Za-z0-9_@]+)?/LC_MESSAGES/", path.as_posix())
    return LANGUAGES.get(match[1], match[1]) if match else None


def folder_of(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed; see requirements.txt.")
    return Path(spec.submodule_search_locations[0])


def as_tuple(value) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)
