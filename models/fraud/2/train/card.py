"""CARD.md: as that of fraud 1, with a chapter on the comparison with it."""

from pathlib import Path
from string import Template

import version_1
from champion import CONFIDENCE, RESAMPLES
from evaluation import Evaluation

first = version_1.module("card")
# Filled in twice: what only this card has is written `$${name}` there, of which the first time leaves `${name}`.
first.TEMPLATE = Path(__file__).with_name("CARD.template.md")

FIGURES = {"pr_auc": "PR-AUC", "recall_at_precision_80": "recall at precision 80%", "brier": "Brier"}


def render_card(evaluation: Evaluation, artifact_bytes: int, seed: int, trained_at: str, versions: dict[str, str]) -> str:
    card = first.render_card(evaluation, artifact_bytes, seed, trained_at, versions)
    return Template(card).substitute(
        comparison=first._table(
            ["figure", "fraud 2", "fraud 1", "difference", f"{CONFIDENCE:.0%} interval of the difference"],
            [
                [
                    title,
                    f"{evaluation.models['booster'][name]:.4f}",
                    f"{evaluation.champion[name]:.4f}",
                    f"{evaluation.comparison[name]['difference']:+.4f}",
                    f"{evaluation.comparison[name]['low']:+.4f} to {evaluation.comparison[name]['high']:+.4f}",
                ]
                for name, title in FIGURES.items()
            ],
        ),
        resamples=f"{RESAMPLES:,}",
        bands_of_both=first._table(
            ["decision", "payments, fraud 2", "reported fraud in them", "payments, fraud 1", "reported fraud in them"],
            [
                [new["decision"], f"{new['rows']:,}", _fraud(new), f"{old['rows']:,}", _fraud(old)]
                for new, old in zip(evaluation.bands, evaluation.champion_bands)
            ],
        ),
        unseen_pr_auc_gain=_mean_gain(evaluation, "pr_auc"),
        unseen_recall_gain=_mean_gain(evaluation, "recall_at_precision_80"),
        unseen=first._table(
            ["seed", "payments", "reported fraud", "PR-AUC, fraud 2", "fraud 1", "recall at precision 80%, fraud 2", "fraud 1"],
            [
                [
                    w["seed"],
                    f"{w['rows']:,}",
                    w["fraud"],
                    *(f"{w[m][f]:.4f}" for f in ("pr_auc", "recall_at_precision_80") for m in ("challenger", "champion")),
                ]
                for w in evaluation.unseen
            ],
        ),
    )


def _fraud(band: dict) -> str:
    return f"{band['fraud']:,} ({band['fraud'] / max(band['rows'], 1):.2%})"


def _mean_gain(evaluation: Evaluation, figure: str) -> str:
    gains = [w["challenger"][figure] - w["champion"][figure] for w in evaluation.unseen]
    return f"{sum(gains) / len(gains):+.4f}"
