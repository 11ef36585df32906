"""What training runs came to: figures, plots, receipt and parameters, as each run kept them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.csv as pacsv
import yaml
from pydantic import BaseModel, ConfigDict, Field

from netwarden import jobs
from netwarden.errors import NotFoundError
from netwarden.portal.uploads.truth import Matrix, matrix_of
from netwarden.settings import Settings

_HEADLINES = ("recall", "false_positive_rate", "f1", "roc_auc")
_COLOURS = ("--accent", "--bad", "--odd", "--warn", "--good", "--line-strong", "--muted", "--text")


class ParamChange(BaseModel):
    """One parameter that differs between two runs; null: not in that params.json."""

    model_config = ConfigDict(extra="forbid")
    name: str
    before: Any = None
    after: Any = None


class RunResults(BaseModel):
    """What a run left behind; empty until it has ended well."""

    model_config = ConfigDict(extra="forbid")
    bundle_id: str = ""
    champion: bool | None = None
    why: str = Field("", description="Why it took charge, or did not")
    mlflow_run: str = ""
    metrics: dict[str, float] = Field({}, description="Of test rows: recall, false_positive_rate, f1, roc_auc")
    plots: list[str] = []
    changes: list[ParamChange] = Field([], description="Parameters that differ from the run before")


def results_of(settings: Settings, job: jobs.Job, before: jobs.Job | None = None) -> RunResults:
    """Figures and receipt of a run, and what its parameters changed against another one."""
    folder = job.folder / "results"
    receipt = _read(folder / "receipt.json")
    test = _read(folder / "metrics.json").get("test", {})
    return RunResults(
        bundle_id=receipt.get("bundle_id", ""),
        champion=receipt.get("champion"),
        why=receipt.get("why", ""),
        mlflow_run=receipt.get("run_id", ""),
        metrics={name: test[name] for name in _HEADLINES if test.get(name) is not None},
        plots=[name for name, plot in _plots(settings).items() if (folder / "plots" / plot["file"]).exists()],
        changes=params_diff(before, job) if before else [],
    )


def params_diff(before: jobs.Job, after: jobs.Job) -> list[ParamChange]:
    """Parameters that two runs had otherwise. Nothing where one of them kept none."""
    first, second = (_flat(_read(job.folder / "params.json")) for job in (before, after))
    if not first or not second:
        return []
    names = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    return [ParamChange(name=name, before=first.get(name), after=second.get(name)) for name in names]


def before_of(settings: Settings, job: jobs.Job) -> jobs.Job | None:
    """The run that began before a run, of those that kept their parameters."""
    earlier = [each for each in jobs.recent(settings.home, job.kind) if each.id < job.id]
    return next((each for each in earlier if (each.folder / "params.json").exists()), None)


def figure_of(settings: Settings, job: jobs.Job, name: str) -> dict[str, Any]:
    """A plot of dvc.yaml over the data of a run, as a Plotly figure. Raises NotFoundError."""
    plot = _plots(settings).get(name)
    path = job.folder / "results" / "plots" / (plot["file"] if plot else "none")
    if plot is None or not path.exists():
        raise NotFoundError(f"run {job.id} has no plot {name!r}")
    columns: dict[str, list[Any]] = pacsv.read_csv(path).to_pydict()
    draw = _DRAWN.get(plot["template"], _by_family)
    return {"data": draw(columns, plot["x"], plot["y"]), "layout": _layout(plot)}


def confusions(settings: Settings, job: jobs.Job) -> dict[str, Matrix]:
    """Plots of a run that pages show as a table: Plotly's heat maps need inline styles, which the policy refuses."""
    folder = job.folder / "results" / "plots"
    found = {}
    for name, plot in _plots(settings).items():
        if plot["template"] == "confusion" and (folder / plot["file"]).exists():
            columns = pacsv.read_csv(folder / plot["file"]).to_pydict()
            found[name] = matrix_of(Counter(zip(columns[plot["x"]], columns[plot["y"]], strict=True)))
    return found


def _plots(settings: Settings) -> dict[str, dict[str, str]]:
    """Plots as dvc.yaml declares them: name → file, columns, template, titles of both axes."""
    path = settings.workspace / "dvc.yaml"
    stated = yaml.safe_load(path.read_text(encoding="utf-8")).get("plots", []) if path.exists() else []
    found = {}
    for name, facts in (item for plot in stated for item in plot.items()):
        (file, x), (_, y) = next(iter(facts["x"].items())), next(iter(facts["y"].items()))
        titles = {"x_label": facts.get("x_label", x), "y_label": facts.get("y_label", "")}
        found[name] = {"file": Path(file).name, "x": x, "y": y, "template": facts["template"], **titles}
    return found


def _by_family(columns: dict[str, list[Any]], x: str, y: str) -> list[dict[str, Any]]:
    families = list(dict.fromkeys(columns["family"]))
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": family,
            "x": _of(columns, x, family),
            "y": _of(columns, y, family),
            "line": {"color": _COLOURS[at % len(_COLOURS)], "width": 2 if at == 0 else 1.4},
        }
        for at, family in enumerate(families)
    ]


def _of(columns: dict[str, list[Any]], name: str, family: str) -> list[Any]:
    return [value for value, whose in zip(columns[name], columns["family"], strict=True) if whose == family]


def _scatter(columns: dict[str, list[Any]], x: str, y: str) -> list[dict[str, Any]]:
    diagonal = {"type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "line": {"color": "--line-strong"}}
    dots = {"type": "scatter", "mode": "markers", "x": columns[x], "y": columns[y], "marker": {"color": "--accent"}}
    return [{**diagonal, "showlegend": False}, {**dots, "showlegend": False}]


def _bars(columns: dict[str, list[Any]], x: str, y: str) -> list[dict[str, Any]]:
    rows = sorted(zip(columns[x], columns[y], strict=True))[-20:]  # the longest; Plotly draws from below
    bars = {"type": "bar", "orientation": "h", "x": [value for value, _ in rows], "y": [name for _, name in rows]}
    return [{**bars, "marker": {"color": "--accent"}}]


def _confusion(columns: dict[str, list[Any]], x: str, y: str) -> list[dict[str, Any]]:
    actual, predicted = (sorted(set(columns[name])) for name in (x, y))
    pairs = list(zip(columns[x], columns[y], strict=True))
    counts = [[pairs.count((row, column)) for column in predicted] for row in actual]
    shares = [[count / max(sum(line), 1) for count in line] for line in counts]
    colours = [[0, "--sunken"], [1, "--accent"]]
    text = [[f"{count:,}" if count else "" for count in line] for line in counts]
    heat = {"type": "heatmap", "z": shares, "text": text, "texttemplate": "%{text}", "showscale": False}
    return [{**heat, "x": predicted, "y": actual, "colorscale": colours}]


_DRAWN = {"by_family": _by_family, "scatter": _scatter, "bar_horizontal": _bars, "confusion": _confusion}


def _layout(plot: dict[str, str]) -> dict[str, Any]:
    if plot["template"] == "confusion":
        return {
            "xaxis": {"title": {"text": "predicted"}},
            "yaxis": {"title": {"text": "actual"}, "autorange": "reversed"},
        }
    titles = {"xaxis": {"title": {"text": plot["x_label"]}}, "yaxis": {"title": {"text": plot["y_label"]}}}
    if plot["template"] == "bar_horizontal":
        titles["yaxis"] = {"automargin": True}  # type: ignore[dict-item] # as Plotly has it
    return titles


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    return found
