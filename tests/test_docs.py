"""What the documentation names is there."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from netwarden import cli
from netwarden.settings import ENVIRONMENT, load_settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
CARD = ["URI", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "S3_BUCKET", "MLFLOW_TRACKING_URI", "DAGSHUB_TOKEN"]


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def code_of(path: Path) -> str:
    """Fenced blocks and inline code."""
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text_of(path), re.DOTALL))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text_of(page))
    local = [target for target in targets if not re.match(r"https?://|mailto:", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_every_make_target_named_is_there():
    listed = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    targets = set(re.findall(r"^  make (\S+)", listed, re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"\bmake ([a-z-]+)", code_of(page))}
    assert {"run", "test"} <= named <= targets


def test_every_netwarden_command_named_is_there():
    root = typer.main.get_command(cli.app)
    for page in PAGES:
        for line in re.findall(r"(?:^|[`\s])netwarden((?: [a-z][a-z-]*)+)", code_of(page), re.MULTILINE):
            assert is_command(root, line.split()), f"{page.name}: netwarden{line}"


def is_command(command: Any, words: list[str]) -> bool:
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        return True  # the rest are arguments
    if hasattr(command, "by_default") and (not words or words[0] not in subcommands):
        return command.by_default in subcommands  # the words are arguments of its default command
    return bool(words) and words[0] in subcommands and is_command(subcommands[words[0]], words[1:])


def test_every_option_of_a_netwarden_command_is_one_that_it_takes():
    root, tried = typer.main.get_command(cli.app), 0
    for page in PAGES:
        code = code_of(page).replace("\\\n", " ")
        for line in re.findall(r"(?:^|[`\s/])netwarden( [a-z][^`\n#|&>]*)", code, re.MULTILINE):
            words = line.split()
            command = command_of(root, words)
            taken = {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {"--help"}
            named = {word.split("=")[0] for word in words if re.match(r"--[a-z]|-[a-z]$", word)}
            assert named <= taken, f"{page.name}: netwarden{line}"
            tried += len(named)
    assert tried > 100


def command_of(command: Any, words: list[str]) -> Any:
    """The command that the words name, or the default one of their group."""
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        return command
    if words and words[0] in subcommands:
        return command_of(subcommands[words[0]], words[1:])
    return subcommands[command.by_default] if hasattr(command, "by_default") else command


def test_every_module_that_the_architecture_names_is_there():
    modules = {str(path.relative_to(ROOT / "src/netwarden")) for path in (ROOT / "src").rglob("*.py")}
    named = re.findall(r"`([\w/*]+\.py)`", text_of(ROOT / "docs/architecture.md"))
    missing = [
        name
        for name in named
        if not any(re.search(rf"(^|/){name.replace('*', '[a-z_]*')}$", module) for module in modules)
    ]
    assert named and missing == []


def test_every_address_of_the_portal_that_is_named_is_served(tmp_path):
    from netwarden.portal.app import create_app  # noqa: PLC0415 - heavy, and the other tests here are quick

    app = create_app(load_settings({"NETWARDEN_HOME": str(tmp_path)}, start=ROOT))
    served = {getattr(route, "path", "") for route in app.routes} | set(app.openapi()["paths"])
    named = {path for page in PAGES for path in re.findall(r"127\.0\.0\.1:8000(/\w+)", text_of(page))}
    assert named and named <= served


def test_the_example_environment_has_every_variable_and_the_six_usual_ones_on_top():
    text = text_of(ROOT / ".env.example")
    assert re.findall(r"^([A-Z_]+[A-Z0-9_]*)=", text, re.MULTILINE) == CARD
    assert sorted(re.findall(r"^(?:# )?([A-Z_]+[A-Z0-9_]*)=", text, re.MULTILINE)) == sorted(ENVIRONMENT)


def test_the_example_environment_as_it_is_changes_nothing(tmp_path):
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / ".env").write_text(text_of(ROOT / ".env.example"), encoding="utf-8")
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "dvc.yaml").touch()
    with_example, without = load_settings({}, start=tmp_path), load_settings({}, start=bare)
    folders = {"workspace", "home", "datasets"}
    assert with_example.model_dump(exclude=folders) == without.model_dump(exclude=folders)


def test_every_setting_named_is_there():
    settings = load_settings({}, start=ROOT)
    sections = {"portal", "stream", "etl", "tracking"}
    named = {name for page in PAGES for name in re.findall(r"`([a-z]+)\.([a-z_]+)(?::[^`]*)?`", text_of(page))}
    files = {"py", "md", "json", "jsonl", "yaml"}
    known = {(section, key) for section, key in named if section in sections and key not in files}
    assert len(known) > 20
    assert [each for each in sorted(known) if not hasattr(getattr(settings, each[0]), each[1])] == []


def test_the_configuration_guide_has_every_variable():
    guide = text_of(ROOT / "docs/guide-configuration.md")
    assert [name for name in ENVIRONMENT if f"`{name}`" not in guide] == []


def test_decisions_are_numbered_and_listed():
    folder = ROOT / "docs/decisions"
    pages = sorted(path.name for path in folder.glob("0*.md"))
    assert [int(name[:4]) for name in pages] == list(range(1, len(pages) + 1))
    index = text_of(folder / "README.md")
    assert re.findall(r"\]\((0[^)]+)\)", index) == pages
    assert all(text_of(folder / name).startswith(f"# {int(name[:4])}. ") for name in pages)
