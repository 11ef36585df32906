"""Folders of flow tables that say themselves what they are."""

import pytest

from netwarden.errors import InputError, NotFoundError, SchemaError
from netwarden.sources.etl_plan import make_plan

DESCRIPTION = """
name: tiny
schema_id: netwarden_flow
splits:
  train: [day-1-*]
  validation: [day-2-*]
  test: [day-3-*]
"""


@pytest.fixture
def folder(settings):
    """A folder of three days, as the dataset that comes with Netwarden lies in a workspace."""
    place = settings.workspace / "lab" / "data"
    place.mkdir(parents=True)
    (place / "dataset.yaml").write_text(DESCRIPTION)
    for day in (1, 2, 3):
        (place / f"day-{day}-hour-08.csv.gz").touch()
    return place


def test_a_folder_says_name_schema_and_splits_of_its_files(settings, folder):
    plan = make_plan(settings, [folder], dataset="", schema="")
    assert (plan.dataset, plan.schema.id, plan.not_loaded) == ("tiny", "netwarden_flow", ())
    assert [(file.name, file.split) for file in plan.files] == [
        ("day-1-hour-08.csv.gz", "train"),
        ("day-2-hour-08.csv.gz", "validation"),
        ("day-3-hour-08.csv.gz", "test"),
    ]


def test_the_dataset_that_comes_along_is_found_by_name_without_any_download(settings, folder):
    plan = make_plan(settings, [], dataset="lab", schema="")
    assert plan.dataset == "lab" and {file.split for file in plan.files} == {"train", "validation", "test"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("day-3-*", "day-4-*"), r"day-3-hour-08.csv.gz: no split of dataset.yaml names this file"),
        (("day-3-*", "day-*"), r"day-1-hour-08.csv.gz: train and test of dataset.yaml names this file; exactly one"),
        (("train:", "training:"), r"dataset.yaml: splits.training.*: Input should be 'train', 'validation' or 'test'"),
        (("name: tiny", "colour: tiny"), r"dataset.yaml: name: Field required"),
        (("name: tiny", "name: {"), r"dataset.yaml is not YAML"),
    ],
)
def test_a_description_that_is_wrong_is_refused_by_file_and_key(settings, folder, change, message):
    (folder / "dataset.yaml").write_text(DESCRIPTION.replace(*change))
    with pytest.raises(InputError, match=message):
        make_plan(settings, [folder], dataset="", schema="")


def test_splits_for_a_schema_that_would_not_heed_them_are_refused(settings, folder):
    (folder / "dataset.yaml").write_text(DESCRIPTION.replace("netwarden_flow", "cic_flow"))
    with pytest.raises(SchemaError, match=r"declares splits, for which schema cic_flow needs `split: own: true`"):
        make_plan(settings, [folder], dataset="", schema="")


def test_a_folder_without_recorded_days_says_how_they_are_made(settings):
    with pytest.raises(NotFoundError, match=r"lab/data, which holds no flow tables; put there what `netwarden"):
        make_plan(settings, [], dataset="lab", schema="")
