"""The tokenizer: pairs of bytes within words, learned from the training texts, so that no character is unknown; and from texts to tensors."""

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from corpus import Text

VOCABULARY = 14_000
MAX_LENGTH = 256
PADDING = "[PAD]"
PAD_ID = 0


def train_tokenizer(texts: list[Text], labels: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    # No lower-casing: Python's library and the one that serves write a capital sigma at the end of a word differently.
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[PADDING],
        show_progress=False,
    )
    tokenizer.train_from_iterator(evenly(texts, labels), trainer)
    return tokenizer


def evenly(texts: list[Text], labels: list[str]) -> list[str]:
    """About as many texts of each language, so that the vocabulary is not that of the best translated ones."""
    by_language = {label: [t.text for t in texts if t.language == label] for label in labels}
    most = max(len(of_language) for of_language in by_language.values())
    return [text for of_language in by_language.values() for text in of_language * (most // len(of_language))]


def token_ids(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [encoding.ids[:MAX_LENGTH] for encoding in tokenizer.encode_batch_fast(texts)]


def tensors_of(ids: list[list[int]]) -> dict[str, np.ndarray]:
    """Padded behind the tokens to the longest text."""
    longest = max(len(row) for row in ids)
    input_ids = np.full((len(ids), longest), PAD_ID, np.int64)
    attention_mask = np.zeros((len(ids), longest), np.int64)
    for position, row in enumerate(ids):
        input_ids[position, : len(row)] = row
        attention_mask[position, : len(row)] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}
