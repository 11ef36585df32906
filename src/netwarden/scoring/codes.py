"""Category codes of array uploads, and how to make such an array.

The code of a category is its position in the vocabulary that the preprocessor of a bundle holds: first the categories
the schema lists, in its order, then those that training rows had besides, sorted. A bundle never changes, so its
codes do not either; −1 stands for any category outside the vocabulary, and NaN for a missing one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from netwarden.features.preprocessor import Preprocessor
from netwarden.flows.schema import Column, FlowSchema

Vocabulary = Mapping[str, tuple[str, ...]]  # column → categories; a code is a position in them

_SPAN = 100  # sample values of a column without an upper limit lie this far above its lower one


def vocabulary_of(preprocessor: Preprocessor) -> Vocabulary:
    """What the codes of each categorical column mean to a bundle with this preprocessor."""
    return {column.name: column.categories for column in preprocessor.columns if column.categorical}


def category_codes(schema: FlowSchema, vocabulary: Vocabulary | None = None) -> dict[str, dict[str, int]]:
    """Column → category → code, for people to read; without a vocabulary, the categories that the schema lists."""
    return {
        column.name: {category: code for code, category in enumerate(_categories(column, vocabulary))}
        for column in schema.features
        if column.categorical
    }


def sample_npy(
    schema: FlowSchema, vocabulary: Vocabulary | None = None, rows: int | None = None
) -> npt.NDArray[np.float64]:
    """Made-up flows that a `.npy` upload of this schema may hold: (rows, features), the same at every call.

    The schema's examples; where it has none, or `rows` are asked for, values drawn from its ranges.
    """
    if schema.examples and rows is None:
        codes = category_codes(schema, vocabulary)
        return np.array([[_example_value(row, column, codes) for column in schema.features] for row in schema.examples])
    draw = np.random.default_rng(0)
    return np.column_stack([_sample_column(column, vocabulary, rows or 5, draw) for column in schema.features])


def recipe(schema: FlowSchema) -> str:
    """Three lines of Python that turn one's own CSV into a `.npy` upload, with names for columns and categories."""
    header = ""
    if not schema.file.header:
        header = f', header=None, names="{" ".join(column.name for column in schema.columns)}".split()'
    return (
        "import numpy as np, pandas as pd\n"
        f'flows = pd.read_csv("flows.csv"{header})  # columns of schema {schema.id}, in any order\n'
        'np.save("flows.npy", flows.to_records(index=False, '
        'column_dtypes={name: "U64" for name in flows.select_dtypes(exclude="number")}))\n'
    )


def _categories(column: Column, vocabulary: Vocabulary | None) -> tuple[str, ...]:
    return column.categories if vocabulary is None else vocabulary.get(column.name, column.categories)


def _example_value(row: Mapping[str, float | str], column: Column, codes: Mapping[str, Mapping[str, int]]) -> float:
    value = row.get(column.name, 0)
    return codes[column.name].get(str(value), -1) if column.categorical else float(value)


def _sample_column(
    column: Column, vocabulary: Vocabulary | None, rows: int, draw: np.random.Generator
) -> npt.NDArray[Any]:
    if column.categorical:
        known = len(_categories(column, vocabulary))
        return draw.integers(0, known, rows) if known else np.full(rows, -1)
    low, high = column.range
    if low is None:
        low = 0.0 if high is None or high >= 0 else high - _SPAN
    high = low + _SPAN if high is None else min(high, low + _SPAN)
    if column.type == "int":
        return draw.integers(round(low), round(high), rows, endpoint=True)
    return draw.uniform(low, high, rows).round(3).clip(low, high)
