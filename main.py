"""Train on the dataset that params.json names: `dvc repro`, from the store to a registered bundle."""

import sys

from netwarden.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    main()
