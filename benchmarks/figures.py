"""Where every benchmark leaves its figures."""

import json
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def record(
    subject: str, name: str, value: float, unit: str, ratio_to: dict[str, float] | None = None, **facts: object
) -> None:
    """Print a figure and append it to `results/SUBJECT.jsonl`.

    `ratio_to`: how many times another figure of the same run it is, by that figure's name; `facts`: what it depends on.
    """
    ratios = "".join(f"  {ratio:.2f} x {other}" for other, ratio in (ratio_to or {}).items())
    print(f"{name:<48} {value:>14,.4g} {unit}{ratios}")
    line = {"name": name, "value": value, "unit": unit, "ratio_to": ratio_to or {}, **facts}
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{subject}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
