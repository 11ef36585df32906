"""Known datasets: where they are published, under which terms, and which files here are theirs."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from netwarden.errors import InputError, NotFoundError
from netwarden.settings import Settings
from netwarden.sources.files import is_flow_file, plain_name

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 30
_SEARCH_DEPTH = 3
_SHOWN_FILES = 8


@dataclass(frozen=True)
class RemoteFile:
    """One file that can be fetched: its name, address, and the sha256 and size of its plain content."""

    name: str
    url: str
    sha256: str
    plain_bytes: int


@dataclass(frozen=True)
class PublicDataset:
    """One public dataset. Without `files` nobody here could pin a checksum, so it is fetched by hand only.

    `shipped` is the folder of the workspace that holds a dataset which comes with Netwarden.
    """

    name: str
    title: str
    schema_id: str
    page: str
    licence: str
    size: str
    patterns: tuple[str, ...]
    by_hand: str
    files: tuple[RemoteFile, ...] = ()
    shipped: str = ""

    @property
    def folder(self) -> str:
        return self.name.replace("_", "-")


_NSL_KDD_MIRROR = "https://raw.githubusercontent.com/defcom17/NSL_KDD/master/"

PUBLIC: tuple[PublicDataset, ...] = (
    PublicDataset(
        name="lab",
        title="Netwarden's traffic laboratory, five days",
        schema_id="netwarden_flow",
        page="docs/lab-dataset.md",
        licence="CC-BY-4.0",
        size="five days of flows, at most 25 MB packed",
        patterns=("day-*.csv",),
        by_hand="what `netwarden lab dataset` makes of the recorded days (docs/lab-dataset.md)",
        shipped="lab/data",
    ),
    PublicDataset(
        name="nsl_kdd",
        title="NSL-KDD (UNB CIC, 2009)",
        schema_id="nsl_kdd",
        page="https://www.unb.ca/cic/datasets/nsl.html",
        licence="free for research with citation (Tavallaee et al. 2009)",
        size="148,517 flows, 21 MB",
        # KDDTest-21 is left out on purpose: its rows are all in KDDTest+.
        patterns=("KDDTrain+.txt", "KDDTest+.txt"),
        by_hand="KDDTrain+.txt and KDDTest+.txt from NSL-KDD.zip",
        # UNB hands the files out by request; the mirror's content is held to the checksum of the original files.
        files=(
            RemoteFile(
                "KDDTrain+.txt",
                f"{_NSL_KDD_MIRROR}KDDTrain%2B.txt",
                "1b86d2f957b33082081bba410fe129b475efebcc13c9014c3f447c8271aadf95",
                19_109_424,
            ),
            RemoteFile(
                "KDDTest+.txt",
                f"{_NSL_KDD_MIRROR}KDDTest%2B.txt",
                "fa46b0935342616aa83b7c2578db355b6a7aaabbc492248172c7a1e8b7ab8f84",
                3_441_513,
            ),
        ),
    ),
    PublicDataset(
        name="cic_ids2017",
        title="CIC-IDS2017 (UNB CIC, 2018)",
        schema_id="cic_flow",
        page="https://www.unb.ca/cic/datasets/ids-2017.html",
        licence="free for research with citation (Sharafaldin et al. 2018)",
        size="about 2.8 million flows, 0.9 to 1.2 GB unpacked",
        patterns=("*ISCX*.csv",),
        by_hand="the CSV files of MachineLearningCSV.zip or GeneratedLabelledFlows.zip, one of the two",
    ),
    PublicDataset(
        name="cse_cic_ids2018",
        title="CSE-CIC-IDS2018 (CSE and UNB CIC, 2018)",
        schema_id="cic_flow",
        page="https://www.unb.ca/cic/datasets/ids-2018.html",
        licence="free for research with citation (Sharafaldin et al. 2018)",
        size="about 16 million flows, 6.9 GB",
        patterns=("*TrafficForML_CICFlowMeter*.csv",),
        by_hand="the CSV files under 'Processed Traffic Data for ML Algorithms' in the bucket s3://cse-cic-ids2018",
    ),
    PublicDataset(
        name="unsw_nb15",
        title="UNSW-NB15 (UNSW Canberra, 2015)",
        schema_id="unsw_nb15",
        page="https://research.unsw.edu.au/projects/unsw-nb15-dataset",
        licence="free for academic research with citation (Moustafa and Slay 2015); else ask the authors",
        size="257,673 flows in the training and testing files, 48 MB; 2.5 million in the four full ones",
        patterns=("UNSW_NB15_training-set.csv", "UNSW_NB15_testing-set.csv"),
        by_hand="UNSW_NB15_training-set.csv and UNSW_NB15_testing-set.csv from 'Training and Testing Sets'",
    ),
    PublicDataset(
        name="iot23",
        title="IoT-23 (Stratosphere Laboratory, 2020)",
        schema_id="zeek_conn",
        page="https://www.stratosphereips.org/datasets-iot23",
        licence="CC-BY-4.0 (Garcia, Parmisano and Erquiaga 2020)",
        size="about 325 million flows in 23 captures, 8.8 GB packed without the captures",
        patterns=("*conn.log.labeled",),
        by_hand="conn.log.labeled of the captures you want (iot_23_datasets_small.tar.gz), each in a folder of its own",
    ),
)


def normal_name(name: str) -> str:
    """Dataset name as it is stored: `NSL-KDD` and `nsl_kdd` are one."""
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def public_dataset(name: str) -> PublicDataset | None:
    """The public dataset of a name in any spelling, or None."""
    return next((dataset for dataset in PUBLIC if _same(dataset.name, name)), None)


def describe_all(settings: Settings) -> str:
    """A table for people: each public dataset, where it is published, its terms and whether it is here."""
    return "\n\n".join(_describe(settings, dataset) for dataset in PUBLIC)


def locate(settings: Settings, name: str) -> list[Path]:
    """The files of a public dataset under NETWARDEN_DATA, plain or gzip; empty where there are none.

    In the dataset's own folder every flow table counts where none has a published name; elsewhere only those that have.
    """
    dataset = _require(name)
    if dataset.shipped:
        return _flow_files(settings.workspace / dataset.shipped)
    own = [
        folder
        for folder in _folders(settings.datasets)
        if _same(folder.name, dataset.name) and folder != settings.datasets
    ]
    files = [path for folder in own for path in _flow_files(folder)]
    published = [path for path in files or _flow_files(settings.datasets) if _is_published(path, dataset)]
    return _without_twins(published or files)


def fetch(settings: Settings, name: str) -> str:
    """Download a public dataset into NETWARDEN_DATA, or say where to put it by hand.

    A broken download goes on where it stopped. Raises InputError where a file is not what its checksum says, and
    NotFoundError where nothing can be downloaded.
    """
    dataset = _require(name)
    found = locate(settings, name)
    if dataset.shipped:
        return _shipped(settings, dataset, found)
    if not dataset.files:
        if found:
            return f"{dataset.name} is here: {', '.join(str(path) for path in found)} (no published checksum to check)"
        raise NotFoundError(_by_hand(settings, dataset, "no checksum of its files could be pinned"))
    here = {plain_name(path): path for path in found}
    lines = [_fetch_one(settings, dataset, file, here.get(file.name)) for file in dataset.files]
    return "\n".join(lines)


def _shipped(settings: Settings, dataset: PublicDataset, found: list[Path]) -> str:
    folder = settings.workspace / dataset.shipped
    if not found:
        raise NotFoundError(
            f"{dataset.name} is read from {folder}, which holds no flow tables; put there {dataset.by_hand}. "
            "Is NETWARDEN_WORKSPACE the checkout's folder?"
        )
    return f"{folder}: here, {len(found)} files"


def obtain(settings: Settings, name: str) -> list[Path]:
    """The files of a public dataset: those here, else downloaded. Raises NotFoundError that says what to do."""
    found = locate(settings, name)
    dataset = _require(name)
    if dataset.shipped:
        _shipped(settings, dataset, found)
    absent = [file for file in dataset.files if file.name not in {plain_name(path) for path in found}]
    if found and not absent:
        return found
    fetch(settings, name)
    return locate(settings, name)


def _same(name: str, other: str) -> bool:
    """Whether two spellings mean one dataset: `IoT-23` and `iot23` do."""
    return normal_name(name).replace("_", "") == normal_name(other).replace("_", "")


def _require(name: str) -> PublicDataset:
    dataset = public_dataset(name)
    if dataset is None:
        known = ", ".join(dataset.name for dataset in PUBLIC)
        raise NotFoundError(f"no public dataset {name!r}; known: {known}; for files of your own, give their paths")
    return dataset


def _describe(settings: Settings, dataset: PublicDataset) -> str:
    found = locate(settings, dataset.name)
    pinned = [f"{file.name} sha256 {file.sha256}" for file in dataset.files]
    place = settings.workspace / dataset.shipped if dataset.shipped else settings.datasets / dataset.folder
    lines = [
        f"{dataset.name}: {dataset.title}",
        f"  address   {dataset.page}",
        f"  licence   {dataset.licence}",
        f"  size      {dataset.size}",
        f"  schema    {dataset.schema_id}",
        f"  checksum  {'; '.join(pinned) or _no_checksum(dataset)}",
        f"  by hand   put {dataset.by_hand} into {place}",
        f"  here      {_listed(found) or 'no'}",
    ]
    return "\n".join(lines)


def _no_checksum(dataset: PublicDataset) -> str:
    return "git's own" if dataset.shipped else "none pinned: the published files were not at hand to take one from"


def _listed(paths: Sequence[Path]) -> str:
    more = len(paths) - _SHOWN_FILES
    return ", ".join(map(str, paths[:_SHOWN_FILES])) + (f" and {more} more" if more > 0 else "")


def _folders(root: Path, depth: int = _SEARCH_DEPTH) -> Iterable[Path]:
    if not root.is_dir():
        return
    yield root
    if depth:
        for child in sorted(root.iterdir()):
            if child.is_dir():
                yield from _folders(child, depth - 1)


def _flow_files(folder: Path) -> list[Path]:
    return [path for inner in _folders(folder) for path in sorted(inner.iterdir()) if is_flow_file(path)]


def _is_published(path: Path, dataset: PublicDataset) -> bool:
    return any(fnmatch(plain_name(path).lower(), pattern.lower()) for pattern in dataset.patterns)


def _without_twins(paths: Sequence[Path]) -> list[Path]:
    """Of a file that is there both plain and gzip, the plain one."""
    return [path for path in paths if path.suffix != ".gz" or path.with_suffix("") not in paths]


# --- fetching ---------------------------------------------------------------------------------------------------


def _fetch_one(settings: Settings, dataset: PublicDataset, file: RemoteFile, here: Path | None) -> str:
    if here is not None:
        _verify(here, file)
        return f"{here}: here, checksum right"
    target = settings.datasets / dataset.folder / file.name
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _download(file.url, part)
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", None) or error
        raise NotFoundError(_by_hand(settings, dataset, f"{file.url} cannot be fetched ({cause})")) from None
    try:
        _verify(part, file)
    except InputError:
        part.unlink()
        raise
    part.replace(target)
    return f"{target}: fetched, checksum right"


def _download(url: str, part: Path) -> None:
    """Fetch into a file, going on after the bytes it already has where the server can."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 - our table
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT_S)  # noqa: S310 - addresses of our own table
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # all of it is here
        raise
    with answer, part.open("ab" if answer.status == http.HTTPStatus.PARTIAL_CONTENT else "wb") as sink:
        while chunk := answer.read(_CHUNK_BYTES):
            sink.write(chunk)


def _verify(path: Path, file: RemoteFile) -> None:
    digest = hashlib.sha256()
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    if digest.hexdigest() != file.sha256:
        raise InputError(
            f"{path} is not the published {file.name}: its sha256 is {digest.hexdigest()}, not {file.sha256}; "
            "remove it and fetch it again"
        )


def _by_hand(settings: Settings, dataset: PublicDataset, why: str) -> str:
    return (
        f"{dataset.name} is not under {settings.datasets} and {why}. Get it from {dataset.page} "
        f"({dataset.licence}; {dataset.size}) and put {dataset.by_hand} into {settings.datasets / dataset.folder}, "
        "or set NETWARDEN_DATA to the folder that has it"
    )
