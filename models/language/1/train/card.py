"""CARD.md: the template with measured figures put in."""

from math import sqrt
from pathlib import Path
from string import Template

from corpus import HELD_OUT_PERCENT, LEAST_TEXTS, Corpus
from evaluation import LENGTHS, Evaluation
from network import LanguageNetwork
from tokenization import MAX_LENGTH, VOCABULARY
from training import EPOCHS, TEXTS_PER_LANGUAGE

TEMPLATE = Path(__file__).with_name("CARD.template.md")
SET_TITLES = {
    "held_out": "held-out messages of the learned projects",
    "sphinx": "messages of Sphinx",
    "conversations": "conversations",
}


def render_card(
    evaluation: Evaluation,
    corpus: Corpus,
    network: LanguageNetwork,
    artifact_bytes: int,
    tokenizer_bytes: int,
    seed: int,
    trained_at: str,
    versions: dict[str, str],
) -> str:
    scores = evaluation.scores
    return Template(TEMPLATE.read_text()).substitute(
        labels=", ".join(corpus.labels),
        label_count=len(corpus.labels),
        parameters=f"{sum(p.size for p in network.parameters):,}",
        artifact_mib=f"{artifact_bytes / 2**20:.1f}",
        tokenizer_kib=round(tokenizer_bytes / 1024),
        vocabulary=f"{VOCABULARY:,}",
        max_length=MAX_LENGTH,
        bytes_per_token=f"{evaluation.bytes_per_token:.1f}",
        train_texts=f"{len(corpus.train):,}",
        held_out_percent=HELD_OUT_PERCENT,
        least_texts=LEAST_TEXTS,
        epochs=EPOCHS,
        texts_per_language=f"{TEXTS_PER_LANGUAGE:,}",
        scores=_table(
            ["measured on", "rows", "accuracy", "95% interval", "mean of the languages'", "mean top probability", "log loss", "pairs of characters", "gap"],
            [
                [
                    SET_TITLES[name],
                    f"{s.rows:,}",
                    f"{s.accuracy:.1%}",
                    _interval(s.accuracy, s.rows),
                    f"{s.macro_accuracy:.1%}",
                    f"{s.mean_confidence:.3f}",
                    f"{s.log_loss:.3f}",
                    f"{s.bigram_accuracy:.1%}",
                    f"{(s.accuracy - s.bigram_accuracy) * 100:+.1f} points",
                ]
                for name, s in scores.items()
            ],
        ),
        lengths=_table(
            ["characters", *(SET_TITLES[name] for name in scores)],
            [
                [_range(least, most), *(f"{s.by_length[i][1]:.1%} of {s.by_length[i][0]:,}" for s in scores.values())]
                for i, (least, most) in enumerate(LENGTHS)
            ],
        ),
        worst=", ".join(f"{name} {accuracy:.0%} of {rows}" for name, accuracy, rows in evaluation.worst),
        confusions=", ".join(f"{truth} as {answer} ({count})" for truth, answer, count in evaluation.confusions),
        max_difference_to_training=f"{evaluation.max_difference_to_training:.1e}",
        max_difference_batch_to_single=f"{evaluation.max_difference_batch_to_single:.1e}",
        baseline_rows=f"{len(evaluation.baseline_ids):,}",
        trained_at=trained_at,
        seed=seed,
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
    )


def _interval(share: float, rows: int) -> str:
    """Wilson's."""
    z = 1.96
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return f"{middle - half:.1%} to {middle + half:.1%}"


def _range(least: int, most: int | None) -> str:
    return f"{least} to {most - 1}" if most else f"{least} and more"


def _table(heads: list[str], rows: list[list]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)
