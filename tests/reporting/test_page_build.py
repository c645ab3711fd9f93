import base64
import gzip
import hashlib
import html
import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import polars as pl
import pytest
from page_sources import HOSTILE, hostile, study, training

from sg_pipeline.reporting.page.build import build_page
from sg_pipeline.reporting.page.elements import Section, figure_html, inline_html, paragraph, report_table
from sg_pipeline.reporting.page.source import FLAGS, VERSION
from sg_pipeline.reporting.run_tables import ReportTable

PNG = b"\x89PNG\r\n\x1a\n..."
SECTIONS = [Section("result", "Result & more", paragraph("**good**")), Section("dials", "Dials", "<p>x</p>")]


@pytest.fixture(scope="module")
def page() -> str:
    return build_page("A <study>", paragraph("What came out."), SECTIONS, study(), seed=0)


def embedded(page: str) -> dict:
    text = re.search(r'<script type="text/plain" id="episodes">\n(.*?)\n</script>', page, re.S).group(1)
    return json.loads(gzip.decompress(base64.b64decode(text)))


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "input", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_has_summary_contents_and_sections_in_order(page):
    assert page.startswith("<!DOCTYPE html>")
    assert "<title>A &lt;study&gt;</title>" in page
    places = [page.index(part) for part in ("What came out.", 'href="#result"', 'id="result"', 'id="dials"',
                                            'id="trajectories"', "</main>")]  # fmt: skip
    assert places == sorted(places)
    assert '<a href="#result">Result &amp; more</a>' in page
    assert build_page("A <study>", paragraph("What came out."), SECTIONS, study(), seed=0) == page
    assert "All 112 episodes" in page
    elements = Elements(page)
    assert elements.open == []
    ids = Counter(attributes["id"] for _, attributes in elements.found if "id" in attributes)
    assert max(ids.values()) == 1
    targets = [attributes["href"] for tag, attributes in elements.found if tag == "a"]
    assert {target.removeprefix("#") for target in targets} <= set(ids)


def test_page_fetches_nothing(page):
    for tag, attributes in Elements(page).found:
        assert tag not in {"link", "iframe", "object", "embed", "base"}
        assert attributes.get("src", "data:").startswith("data:"), tag
    code = page.split('id="episodes"')[0] + page.rpartition("</script>")[0].rpartition("<script>")[2]
    assert not re.search(r"https?://|@import|url\(", code)


def test_page_security_policy_allows_only_its_own_script(page):
    policy = html.unescape(re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page).group(1))
    script = re.search(r"<script>(.*?)</script>", page, re.S).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_page_packs_an_episode_and_its_turns_unchanged(page):
    data = embedded(page)
    assert data["version"] == VERSION
    source = data["sources"].index(
        next(s for s in data["sources"] if s["run"] == "grpo_sg_gr-seed1" and s["step"] == 3)
    )
    index = data["episodes"]["source"].index(source) + 1
    episode = {name: column[index] for name, column in data["episodes"].items()}
    assert (episode["group"], episode["item"], episode["turns"], episode["won"], episode["r_sg"]) == (0, 1, 3, 0, 0)
    at = sum(data["episodes"]["turns"][:index]) + 1
    turn = {name: column[at] for name, column in data["turns"].items()}
    assert data["strings"][turn["observation"]] == "You arrive at cabinet 1."
    assert (turn["guidance"], turn["polarity"]) == (-1, 0)  # not found; positive as the test's episode says
    assert turn["flags"] == FLAGS["action_parsed"] + FLAGS["action_valid"]
    assert (turn["guidance_logprob"], turn["action_logprob"], turn["gap"]) == (-0.5, -0.25, None)
    assert [gap for gap in data["turns"]["gap"] if gap is not None] == [4.77e-06] * 4


def test_page_hostile_text_stays_text():
    page = build_page(HOSTILE, paragraph(HOSTILE), [Section("a", HOSTILE, paragraph(HOSTILE))], [hostile()], seed=0)
    elements = Elements(page)
    assert [tag for tag, _ in elements.found].count("script") == 2  # the data, the viewer
    assert "img" not in [tag for tag, _ in elements.found]
    assert HOSTILE in embedded(page)["strings"]


def test_page_size_limit_shows_whole_groups_that_fit():
    def wordy(source):  # every text is different, so that compression does not hide the size
        words = pl.concat_str(pl.lit(source.run), "step", "group", "item", "turn").hash(0).cast(pl.String)
        return replace(source, table=source.table.with_columns(observation=words))

    sources = [wordy(training(f"m{n}", 0, step, groups=60)) for n in range(4) for step in (0, 3)]
    whole = build_page("t", "", [], sources, seed=0)
    limit = len(whole) - 20_000
    page = build_page("t", "", [], sources, seed=0, size_limit=limit)
    assert len(page) <= limit
    shown, of = map(int, re.search(r"<strong>([\d,]+) of ([\d,]+) episodes", page.replace(",", "")).groups())
    data = embedded(page)
    assert 300 < shown < of == 960
    assert len(data["episodes"]["source"]) == shown
    assert len(data["turns"]["action"]) == sum(data["episodes"]["turns"])
    groups = Counter(zip(data["episodes"]["source"], data["episodes"]["group"], strict=True))
    assert set(groups.values()) == {2}  # whole groups
    none = build_page("t", "", [], sources, seed=0, size_limit=10)
    assert "<strong>0 of 960 episodes" in none


def test_page_without_sources_has_no_viewer():
    page = build_page("t", "", SECTIONS, [], seed=0)
    assert "<script" not in page
    assert "Trajectories" not in page
    assert Elements(page).open == []


def test_page_scripts_never_parse_text_as_html(page):
    script = re.search(r"<script>(.*?)</script>", page, re.S).group(1)
    for danger in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "fetch("):
        assert danger not in script


@pytest.mark.parametrize(
    "made",
    [
        inline_html(HOSTILE), paragraph(HOSTILE, kind=HOSTILE), figure_html(PNG, HOSTILE, alt=HOSTILE),
        report_table(ReportTable([HOSTILE], [[HOSTILE]], note=HOSTILE)),
    ],
)  # fmt: skip
def test_elements_escape_text(made):
    assert "<script" not in made
    assert "<img src=x" not in made
    assert '"document' not in made
    assert "&lt;/script&gt;" in made


def test_elements_render_inline_markup_tables_and_figures():
    assert inline_html("**a < b** and `x_y`") == "<strong>a &lt; b</strong> and <code>x_y</code>"
    assert paragraph("a", "b", kind="note") == '<p class="note">a</p>\n<p class="note">b</p>'
    assert '<img src="data:image/png;base64,iVBORw0KGgouLi4=" alt="what">' in figure_html(PNG, "c", alt="what")
    made = report_table(ReportTable(["split", "success"], [["seen", "0.5"]]))
    for part in ('<th scope="col">split</th>', '<th scope="col" class="figure">success</th>',
                 '<th scope="row">seen</th>', '<td class="figure">0.5</td>'):  # fmt: skip
        assert part in made
    assert 'class="figure"' not in report_table(ReportTable(["a", "b"], [["c", "d"]], text_columns=2))
    assert report_table(ReportTable(["a"], [], note="n", empty="Nothing yet.")) == "<p>Nothing yet.</p>"
