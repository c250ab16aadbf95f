"""CARD.md: the template with measured figures put in."""

from pathlib import Path
from string import Template

from booster import PARAMETERS
from evaluation import Evaluation
from fields import FIELDS
from reference_models import RULE_TEXT
from split import CALIBRATION_DAYS, TEST_DAYS, TRAIN_DAYS

TEMPLATE = Path(__file__).with_name("CARD.template.md")
MODEL_TITLES = {"booster": "Boosted trees, calibrated (this model)", "logistic": "Logistic regression, same features", "rule": "Hand-written rule"}


def render_card(evaluation: Evaluation, artifact_bytes: int, seed: int, trained_at: str, versions: dict[str, str]) -> str:
    models = evaluation.models
    booster = models["booster"]
    return Template(TEMPLATE.read_text()).substitute(
        fields=_table(["field", "type", "range", "unit", "meaning"], [_field_row(f) for f in FIELDS]),
        models=_table(
            ["model", "PR-AUC", "ROC-AUC", "Brier", "recall at precision 50%", "80%", "90%"],
            [[MODEL_TITLES[name], *(f"{v:.4f}" for v in figures.values())] for name, figures in models.items()],
        ),
        gap_logistic=f"{booster['pr_auc'] - models['logistic']['pr_auc']:+.4f}",
        gap_rule=f"{booster['pr_auc'] - models['rule']['pr_auc']:+.4f}",
        constant_brier=f"{evaluation.base_rate * (1 - evaluation.base_rate):.4f}",
        reliability=_table(
            ["predicted", "payments", "mean predicted", "observed"],
            [
                [f"{r['above']:g} to {r['to']:g}", f"{r['rows']:,}", f"{r['predicted']:.4f}", f"{r['observed']:.4f}"]
                for r in evaluation.reliability
            ],
        ),
        calibration_error=f"{evaluation.calibration_error:.5f}",
        bands=_table(
            ["decision", "payments", "reported fraud", "share of fraud in the band", "share of all fraud"], _band_rows(evaluation)
        ),
        scenarios=_table(
            ["mechanism", "payments", "block", "step_up", "allow"],
            [
                [s["scenario"], f"{s['rows']:,}", *(f"{s[d]:.2%}" for d in ("block", "step_up", "allow"))]
                for s in evaluation.scenarios
            ],
        ),
        **{f"{name}_rows": f"{count:,}" for name, count in evaluation.rows.items()},
        train_days=_days(TRAIN_DAYS),
        calibration_days=_days(CALIBRATION_DAYS),
        test_days=_days(TEST_DAYS),
        base_rate=f"{evaluation.base_rate:.2%}",
        max_difference_to_training=f"{evaluation.max_difference_to_training:.1e}",
        max_difference_batch_to_single=f"{evaluation.max_difference_batch_to_single:.1e}",
        rule=RULE_TEXT,
        parameters=", ".join(f"{k} {v}" for k, v in PARAMETERS.items()),
        artifact_kib=f"{artifact_bytes / 1024:.0f}",
        seed=seed,
        trained_at=trained_at,
        versions=", ".join(f"{k} {v}" for k, v in versions.items()),
    )


def _field_row(field: dict) -> list[str]:
    limits = f"{field['minimum']} to {field['maximum']:,}" if "minimum" in field else ", ".join(field["enum"])
    return [f"`{field['name']}`", field["type"], limits, field.get("unit", ""), field["description"]]


def _band_rows(evaluation: Evaluation) -> list[list[str]]:
    fraud = sum(b["fraud"] for b in evaluation.bands)
    return [
        [b["decision"], f"{b['rows']:,}", f"{b['fraud']:,}", f"{b['fraud'] / max(b['rows'], 1):.2%}", f"{b['fraud'] / fraud:.2%}"]
        for b in evaluation.bands
    ]


def _days(period: tuple[int, int]) -> str:
    return f"{period[0]} to {period[1] - 1}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(c) for c in line) + " |" for line in lines)
