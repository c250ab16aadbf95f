"""CARD.md: the template with measured figures put in."""

from math import sqrt
from pathlib import Path
from string import Template

from evaluation import GRID_HEIGHTS, GRID_PENS, Evaluation
from network import DigitNetwork
from rendering import MARGINS
from training import DRAWINGS_PER_DIGIT, EPOCHS, RAW_COPIES, RENDERED_PER_EPOCH

TEMPLATE = Path(__file__).with_name("CARD.template.md")
SET_TITLES = {
    "pixels": "held-out digits as 64 pixels",
    "rendered": "held-out digits rendered as pictures",
    "drawings": "drawings of the held-out hand",
}


def render_card(
    evaluation: Evaluation, network: DigitNetwork, artifact_bytes: int, seed: int, trained_at: str, versions: dict[str, str]
) -> str:
    return Template(TEMPLATE.read_text()).substitute(
        scores=_table(
            ["measured on", "rows", "errors", "accuracy", "95% interval", "mean top probability", "log loss", "logistic regression: accuracy", "gap"],
            [
                [
                    SET_TITLES[name],
                    f"{s.rows:,}",
                    s.errors,
                    f"{s.accuracy:.2%}",
                    _interval(s.errors, s.rows),
                    f"{s.mean_confidence:.4f}",
                    f"{s.log_loss:.4f}",
                    f"{evaluation.logistic_accuracy[name]:.2%}",
                    f"{(s.accuracy - evaluation.logistic_accuracy[name]) * 100:+.2f} points",
                ]
                for name, s in evaluation.scores.items()
            ],
        ),
        errors=_table(
            ["errors by true digit", *map(str, range(10))],
            [[SET_TITLES[name], *errors] for name, errors in evaluation.errors_by_digit.items()],
        ),
        grid=_table(
            ["stroke width / digit height", *(_percent(h) for h in GRID_HEIGHTS)],
            [[_percent(pen), *(f"{a:.1%}" for a in row)] for pen, row in zip(GRID_PENS, evaluation.grid)],
        ),
        parameters=f"{sum(p.numel() for p in network.parameters()):,}",
        artifact_kib=f"{artifact_bytes / 1024:.0f}",
        max_difference_to_training=f"{evaluation.max_difference_to_training:.1e}",
        max_difference_batch_to_single=f"{evaluation.max_difference_batch_to_single:.1e}",
        baseline_rows=f"{len(evaluation.held_out):,}",
        epochs=EPOCHS,
        moved_copies=RAW_COPIES - 1,
        drawings=f"{10 * DRAWINGS_PER_DIGIT:,}",
        rendered_copies=RENDERED_PER_EPOCH,
        crop=f"{-MARGINS[0]:.0%}",
        margin=f"{MARGINS[1]:.0%}",
        seed=seed,
        trained_at=trained_at,
        versions=", ".join(f"{k} {v}" for k, v in versions.items()),
    )


def _interval(errors: int, rows: int) -> str:
    """Wilson's 95% interval of the accuracy."""
    z = 1.96
    accuracy = 1 - errors / rows
    middle = (accuracy + z**2 / (2 * rows)) / (1 + z**2 / rows)
    half = z * sqrt(accuracy * (1 - accuracy) / rows + z**2 / (4 * rows**2)) / (1 + z**2 / rows)
    return f"{middle - half:.1%} to {middle + half:.1%}"


def _percent(interval: tuple[float, float]) -> str:
    return f"{interval[0] * 100:g} to {interval[1] * 100:g}%"


def _table(head: list, rows: list[list]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(c) for c in line) + " |" for line in lines)
