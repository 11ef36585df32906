"""Write the small bundle of the present format that stays in the tests for good, and the scores it gave.

Run `python -m tests.data.make_bundle` once per format version, when that is released; never for an older one.
"""

import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from netwarden.detectors.bundle import FORMAT_VERSION
from netwarden.flows.schema import load_schema
from netwarden.flows.table import FlowTable
from netwarden.scoring.scorer import Scorer
from tests.fixtures.bundles import made_up_flows, train_bundle
from tests.fixtures.data import ROOT

FOLDER = Path(__file__).parent


def main() -> None:
    """Train on made-up flows; keep the bundle, and 60 flows with what the scorer said of them."""
    target = FOLDER / f"bundle-v{FORMAT_VERSION}"
    if target.exists():
        sys.exit(f"{target} is there already: a bundle of a released format stays as it is")
    schema = load_schema("nsl_kdd", ROOT / "schema")
    table = made_up_flows(schema, 2000, seed=1)
    made = train_bundle(target.with_suffix(".new"), schema, table, params={"n_estimators": 5, "max_depth": 3})
    flows = FlowTable(table.arrow.select(list(made.preprocessor.names)).slice(0, 60), schema.id)
    result = Scorer(made, threads=1).score(flows)
    columns = dict(zip(flows.names, flows.arrow.columns, strict=True))
    expected = {f"expected_{name}": result.column(name) for name in result.column_names}
    pq.write_table(pa.table({**columns, **expected}), FOLDER / f"bundle-v{FORMAT_VERSION}.parquet")
    shutil.move(made.folder, target)


if __name__ == "__main__":
    main()
