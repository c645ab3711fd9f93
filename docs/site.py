"""Pages of the site that have their source elsewhere: README, data/README.md, conf/base, and the API by package.

A link in any page is written as GitHub reads it, relative to the file's place in the repository; the site gets the
address of the page that shows this file.
"""

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = {"index.md": "README.md", "outputs.md": "data/README.md"}
LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages whose source is not in docs/."""
    for uri, source in ELSEWHERE.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / source)))
    for uri, text in {**_packages(), "reference/parameters.md": _parameters()}.items():
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at the pages of the site."""
    source = page.file.abs_src_path
    if source is None:
        return markdown
    shown = {os.path.realpath(file.abs_src_path): file.src_uri for file in files if file.abs_src_path}

    def address(match: re.Match[str]) -> str:
        target = shown.get(os.path.realpath(Path(source).parent / match[1]))
        return match[0] if target is None else f"]({os.path.relpath(target, Path(page.file.src_uri).parent)}"

    return LINK.sub(address, markdown)


def _packages() -> dict[str, str]:
    """Return one page for each package of sg_pipeline."""
    found = sorted(path.parent for path in (ROOT / "src" / "sg_pipeline").glob("*/__init__.py"))
    return {f"reference/{path.name}.md": f"# {path.name}\n\n::: sg_pipeline.{path.name}\n" for path in found}


def _parameters() -> str:
    """Return the parameter files of conf/base as they are."""
    parts = [
        "# Parameters",
        "The defaults, from `conf/base/`, with their comments. On the command line they follow `--params`, joined by "
        "commas: `--params run.seed=1,run.name=seed1`. `conf/environments/`, the files of `--env` and `conf/methods/` "
        "change single values.",
    ]
    for path in sorted((ROOT / "conf" / "base").glob("parameters_*.yml")):
        section = path.stem.removeprefix("parameters_")
        parts.append(f'## {section}\n\n```yaml title="conf/base/{path.name}"\n{path.read_text(encoding="utf-8")}```')
    return "\n\n".join(parts) + "\n"
