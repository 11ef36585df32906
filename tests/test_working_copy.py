"""A workspace that cannot be written: what its copy holds, at first and after a new image."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from netwarden.settings import load_settings
from netwarden.working_copy import writable_workspace
from tests.fixtures.container import can_confine, confined, give_to, open_folder

WHERE = "from netwarden.cli import _writing_settings as settings; print(settings().workspace)"


@pytest.fixture
def image() -> Iterator[Path]:
    """A folder with `app`, which is root's, and `home`, which is the image's user's."""
    if not can_confine():
        pytest.skip("needs root and a mount namespace")
    with open_folder() as folder:
        for name in ("schema/a.yaml", "src/netwarden/old.py", "config/netwarden.yaml", ".git/HEAD"):
            (folder / "app" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "app" / name).touch()
        for name in ("dvc.yaml", "params.json", ".env"):
            (folder / "app" / name).write_text("" if name == ".env" else "{}")
        give_to(folder / "home")
        yield folder


def start(image: Path, home: str = "home") -> subprocess.CompletedProcess[str]:
    """What a command that loads or trains says of its workspace, in a container of that image."""
    named = {"NETWARDEN_WORKSPACE": str(image / "app"), "NETWARDEN_HOME": str(image / home)}
    command = [*confined(image / "home"), sys.executable, "-c", WHERE]
    return subprocess.run(command, env={"PATH": "/usr/bin:/bin"} | named, capture_output=True, text=True, check=False)


def test_a_workspace_that_can_be_written_stays_where_it_is(tmp_path):
    (tmp_path / "dvc.yaml").touch()
    settings = load_settings({"NETWARDEN_WORKSPACE": str(tmp_path)})
    assert writable_workspace(settings) == settings


def test_a_new_image_brings_its_code_and_schemas_and_leaves_what_is_the_owners(image):
    copy = image / "home/workspace"
    assert start(image).stdout.strip() == str(copy)
    assert (copy / "config").readlink() == image / "app/config" and (copy / ".env").is_symlink()
    assert not (copy / ".git").exists()
    (copy / "params.json").write_text('{"mine": 1}')
    (copy / "schema/mine.yaml").touch()
    (image / "app/src/netwarden/old.py").unlink()
    (image / "app/src/netwarden/new.py").touch()
    (image / "app/schema/a.yaml").write_text("b")
    (image / "app/params.json").write_text('{"theirs": 1}')
    assert start(image).stdout.strip() == str(copy)
    assert [path.name for path in (copy / "src/netwarden").iterdir()] == ["new.py"]
    assert (copy / "schema/a.yaml").read_text() == "b" and (copy / "schema/mine.yaml").exists()
    assert (copy / "params.json").read_text() == '{"mine": 1}'


def test_without_any_writable_folder_the_message_says_what_to_set(image):
    told = start(image, home="nowhere").stderr
    assert f"ConfigError: neither {image / 'app'} nor {image / 'nowhere'} can be written" in told
    assert "set NETWARDEN_HOME to a folder or volume of this user's" in told
