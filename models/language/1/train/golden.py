"""Golden rows: inputs as a client would send them, with the output that a server must give."""

from classification import served_output
from corpus import Corpus
from graph import logits_of
from tokenization import token_ids

ODD_TEXTS = [
    "a",
    "   spaces   before and\tbehind \n",
    "Straße, Größe und Übermut",
    "ΟΔΥΣΣΕΥΣ ΚΑΙ ΟΔΟΣ",
    "İstanbul'da ILIK bir gün",
    "e\u0301te\u0301 et hiver",  # not composed
    "你好，世界！今天天气很好。",
    "한국어 문장과 English words together",
    "สวัสดีชาวโลก",
    "👩‍👩‍👧 🎉🎉🎉",
    "12345 67890 !!! ??? ...",
    "\u200bzero\u200bwidth\u00a0and\u3000wide spaces",
    "word " * 400,  # longer than the model takes
    "x" * 3000,
]


def golden_rows(session, tokenizer, corpus: Corpus) -> list[dict]:
    """A held-out text of each language, of middling length, and what no one would think of."""
    texts = []
    for label in corpus.labels:
        of_label = sorted((t.text for t in corpus.held_out if t.language == label), key=lambda text: (len(text), text))
        texts.append(of_label[len(of_label) * 2 // 3])
    texts += ODD_TEXTS
    logits = logits_of(session, token_ids(tokenizer, texts))
    return [{"input": {"text": text}, "output": served_output(row, corpus.labels)} for text, row in zip(texts, logits)]
