"""Move flow tables into the store: `python ETL.py --dataset lab`, the same as `netwarden etl`."""

import sys

from netwarden.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "etl")
    main()
