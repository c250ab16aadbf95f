"""The fields of a row: what a client sends, what the graph takes, and what they mean."""

import numpy as np

from aggregates import customer_aggregates, terminal_aggregates
from simulator import Simulation
from world import CATEGORY_NAMES


def _number(name, maximum, description, unit=None):
    field = {"name": name, "type": "number", "minimum": 0, "maximum": maximum}
    return {**field, **({"unit": unit} if unit else {}), "description": description}


def _integer(name, maximum, description):
    return {"name": name, "type": "integer", "minimum": 0, "maximum": maximum, "description": description}


FIELDS = [
    _number("amount", 100_000, "Amount of this payment.", "EUR"),
    {
        "name": "merchant_category",
        "type": "string",
        "enum": list(CATEGORY_NAMES),
        "description": "What the merchant sells.",
    },
    _integer("hour", 23, "Hour of the payment, local time."),
    _number("distance_km", 25_000, "Distance from the customer's home to the terminal.", "km"),
    _integer("customer_tx_1d", 10_000, "The customer's payments in the 24 hours before this one."),
    _integer("customer_tx_7d", 10_000, "The customer's payments in the 7 days before this one."),
    _integer("customer_tx_30d", 100_000, "The customer's payments in the 30 days before this one."),
    _number("customer_avg_amount_7d", 100_000, "Mean amount of the customer's payments in the last 7 days; 0 without any.", "EUR"),
    _number("customer_avg_amount_30d", 100_000, "Mean amount of the customer's payments in the last 30 days; 0 without any.", "EUR"),
    _number("customer_night_share_30d", 1, "Share of the customer's payments of the last 30 days made from 00:00 to 05:59.", "fraction"),
    _integer("terminal_tx_7d", 1_000_000, "Payments at this terminal in the 7 days before this one."),
    _integer("terminal_tx_30d", 1_000_000, "Payments at this terminal in the 30 days before this one."),
    _number("terminal_fraud_rate_7d", 1, "Share of the terminal's payments reported as fraud, over the 7 days that ended 7 days ago.", "fraction"),
    _number("terminal_fraud_rate_30d", 1, "Share of the terminal's payments reported as fraud, over the 30 days that ended 7 days ago.", "fraction"),
]
FIELD_NAMES = [f["name"] for f in FIELDS]
STRING_FIELD = "merchant_category"
NUMERIC_FIELDS = [n for n in FIELD_NAMES if n != STRING_FIELD]
FIELD_BY_NAME = {f["name"]: f for f in FIELDS}

Columns = dict[str, np.ndarray]


def columns_of(simulation: Simulation) -> Columns:
    """One array a field, in the order of `simulation.transactions`."""
    table, world = simulation.transactions, simulation.world
    columns = {
        "amount": table.amount,
        "merchant_category": np.array(CATEGORY_NAMES, dtype=object)[world.terminal_category[table.terminal]],
        "hour": table.hour.astype(float),
        "distance_km": world.distance_km(table.customer, table.terminal),
        **customer_aggregates(table),
        **terminal_aggregates(table),
    }
    return {name: columns[name] for name in FIELD_NAMES}


def select(columns: Columns, index) -> Columns:
    return {name: values[index] for name, values in columns.items()}


def feeds_of(columns: Columns) -> Columns:
    """The graph's inputs: every field a column [n, 1] of its own."""
    return {
        name: values.reshape(-1, 1) if name == STRING_FIELD else values.reshape(-1, 1).astype(np.float32)
        for name, values in columns.items()
    }


def row_of(columns: Columns, i: int) -> dict:
    """Row `i` as a client would send it."""
    row = {}
    for name, values in columns.items():
        kind = FIELD_BY_NAME[name]["type"]
        row[name] = str(values[i]) if kind == "string" else int(values[i]) if kind == "integer" else float(values[i])
    return row


def columns_of_rows(rows: list[dict]) -> Columns:
    return {
        name: np.array([r[name] for r in rows], dtype=object if name == STRING_FIELD else float) for name in FIELD_NAMES
    }
