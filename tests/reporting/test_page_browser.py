"""The page in a real browser: rendering, filters and comparison."""

import html
import json
import re
import shutil
import subprocess
from urllib.parse import urlencode

import pytest
from page_sources import HOSTILE, hostile, study

from sg_pipeline.reporting.page import Section, build_page, paragraph

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome on the path"),
]

MINUS = "\N{MINUS SIGN}"
PINNED, OTHER = "grpo_sg-seed0/training/3/train/1/0", "grpo_sg-seed0/training/3/train/1/1"
POLICY = r'<meta http-equiv="Content-Security-Policy"[^>]*>'

DRIVER = """<script>(async () => {
    const viewer = document.getElementById("viewer");
    const $ = (selector) => document.querySelector(selector);
    const all = (selector, attribute) => [...document.querySelectorAll(selector)]
        .map((element) => attribute ? element.getAttribute(attribute) : element.textContent);
    const press = (key, target = document.body) =>
        target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    const choose = (name, value) => {
        const control = document.querySelector(`[name=${name}]`);
        control.value = value;
        control.dispatchEvent(new Event(control.type === "search" ? "input" : "change"));
    };
    const visit = (hash) => new Promise((resolve) => {
        addEventListener("hashchange", () => setTimeout(resolve), { once: true });
        location.hash = hash;
    });
    if (viewer.dataset.state === "waiting") await new Promise((resolve) => new MutationObserver(resolve)
        .observe(viewer, { attributes: true, attributeFilter: ["data-state"] }));
    const answer = document.createElement("pre");
    answer.id = "answer";
    try { answer.textContent = JSON.stringify(await (async () => {CODE})()); }
    catch (error) { answer.textContent = JSON.stringify({ failed: String(error.stack) }); }
    document.body.append(answer);
})();</script></body>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    sections = [Section("result", "Result", paragraph("Fine."))]
    path.write_text(build_page("Study", paragraph("Lead."), sections, study(), seed=0), encoding="utf-8")
    return path


def dump(path, fragment: str = "") -> str:
    """The document after its scripts have run."""
    found = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={path.parent / 'profile'}", "--virtual-time-budget=20000", "--dump-dom",
            f"{path.as_uri()}{fragment}",
        ],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    return found.stdout.decode("utf-8")


def drive(path, code: str, **values):
    """Run `code`, the body of an async JavaScript function, in the page; return its result."""
    page = re.sub(POLICY, "", path.read_text(encoding="utf-8"))
    constants = "".join(f"const {name} = {json.dumps(value)};" for name, value in values.items())
    driven = path.with_name("driven.html")
    driven.write_text(page.replace("</body>", DRIVER.replace("CODE", constants + code)), encoding="utf-8")
    found = json.loads(html.unescape(re.search(r'<pre id="answer">(.*?)</pre>', dump(driven), re.S).group(1)))
    assert not (isinstance(found, dict) and "failed" in found), found
    return found


def expected() -> list[dict]:
    """Every episode of the study with its values of each filter."""
    names = ("positive", "neutral", "negative")
    rows = []
    for source in study():
        for row in source.episodes.rows(named=True):
            turns = source.table.filter(
                source.table["group"] == row["group"], source.table["item"] == row["item"],
                source.table["split"] == row["split"],
            )  # fmt: skip
            said = {"none" if p is None else p for p in turns["polarity"]}
            unparsed = bool((turns["polarity"].is_not_null() & ~turns["guidance_parsed"]).any())
            assert said <= {*names, "none"}
            rows.append({
                "method": {source.method}, "seed": {str(source.seed)}, "origin": {source.origin},
                "phase": {source.phase} - {None}, "step": {str(source.step)}, "type": {row["task_type"]},
                "split": {row["split"]}, "outcome": {"won"} if row["won"] else {"lost", "truncated"},
                "polarity": said | ({"unparsed"} if unparsed else set()),
            })  # fmt: skip
    return rows


def test_viewer_renders_under_the_page_security_policy(page):
    found = dump(page, "#outcome=won&polarity=negative")
    wanted = [row for row in expected() if "won" in row["outcome"] and "negative" in row["polarity"]]
    assert 'data-state="ready"' in found
    assert f'data-matching="{len(wanted)}"' in found
    assert f"{len(wanted)} of 112 episodes match" in found
    reading = found.split('<article id="reading"')[1].split("</article>")[0]
    assert "You arrive at cabinet 0." in reading
    assert "go to cabinet 1" in reading
    assert "= neutral" in reading
    assert "<p>Fine.</p>" in found


def test_filter_controls_count_matching_episodes(page):
    rows = expected()
    wanted = {
        name: {
            value: sum(value in row[name] for row in rows) for value in sorted(set().union(*(r[name] for r in rows)))
        }
        for name in rows[0]
    }
    assert len(wanted) == 9
    assert all(0 < number < len(rows) for offered in wanted.values() for number in offered.values())
    found = drive(
        page,
        """
        const found = {};
        for (const name of names) {
            $(".clear").click();
            found[name] = all(`[name=${name}] option`, "value").filter(Boolean).map((value) => {
                const option = $(`[name=${name}] option[value="${value}"]`);
                const said = Number(option.textContent.match(/\\((\\d+)\\)$/)[1]);
                choose(name, value);
                return [value, said, Number(viewer.dataset.matching), location.hash];
            });
        }
        return found;""",
        names=list(wanted),
    )
    # Each option shows beforehand how many episodes it selects, and the address holds the view.
    for name, offered in found.items():
        assert {value: matching for value, _, matching, _ in offered} == wanted[name]
        for value, said, matching, fragment in offered:
            assert said == matching
            assert fragment.startswith("#" + urlencode({name: value}, safe=":"))


def test_filters_combine_with_search_and_order(page):
    rows = expected()
    wanted = [row for row in rows if row["method"] == {"grpo_sg"} and "0" in row["seed"] and "won" in row["outcome"]]
    found = drive(
        page,
        """
        await visit("#method=grpo_sg&seed=0&outcome=won");
        const three = Number(viewer.dataset.matching);
        const search = {};
        for (const words of ["CABINET 4", "find mug 2", "go to cabinet 3", "no such words"]) {
            $(".clear").click();
            choose("q", words);
            search[words] = [Number(viewer.dataset.matching), $("#reading").textContent.slice(0, 20)];
        }
        choose("q", "CABINET 3");
        const marked = all(".reading mark"), hash = location.hash;
        const sum = (text) => Number(text.match(/R_sg ([^ ]+)/)[1].replace(minus, "-"));
        const sorted = {};
        for (const order of ["r_sg-high", "r_sg-low"]) {
            await visit(`#origin=training&order=${order}`);
            sorted[order] = all(".row .sums").map(sum);
        }
        return { three, search, marked, hash, sorted };""",
        minus=MINUS,
    )
    assert found["three"] == len(wanted) > 0
    training = sum(row["split"] == {"train"} for row in rows)
    plain = sum(row["polarity"] == {"none"} for row in rows)
    matching = {words: number for words, (number, _) in found["search"].items()}
    # Four turns: item 0 of each group alone. Three turns: both items, and the episodes without guidance.
    assert matching == {
        "CABINET 4": training // 2, "find mug 2": training, "go to cabinet 3": training + plain, "no such words": 0,
    }  # fmt: skip
    assert found["search"]["no such words"][1] == "Nothing to read: rel"
    assert set(found["marked"]) == {"cabinet 3"}
    assert "q=CABINET+3" in found["hash"]
    high, low = found["sorted"]["r_sg-high"], found["sorted"]["r_sg-low"]
    assert high[0] == max(high) > low[0] == min(low)


def test_episode_shows_facts_verdicts_and_numbers_of_each_turn(page):
    found = drive(
        page,
        """
        const names = (selector) => Object.fromEntries(
            [...document.querySelectorAll(selector)].map((name) => [name.textContent, name.nextSibling.textContent]));
        const read = async (episode) => {
            await visit(`#episode=${episode}`);
            return { facts: names(".facts dt"), strip: all(".strip .mark"), words: all(".turn .words"),
                kinds: all(".turn", "class"), first: names(".turn:nth-child(3) dt"), last: names(".turn dt"),
                gaps: all(".turn .numbers div:last-child dd") };
        };
        return [await read(pinned), await read(other), await read(pinned.replace("/1/0", "/0/0"))];""",
        pinned=PINNED,
        other=OTHER,
    )
    kinds = ["neutral", "positive", "positive", "negative"]
    assert found[0]["kinds"] == [f"turn {kind}" for kind in kinds]
    assert found[0]["strip"] == ["=", "+", "+", MINUS]
    assert found[0]["first"] == {
        "r_env": "0", "r_sg": "+0.10", "Σ r_sg": "+0.10", "log π(z)": f"{MINUS}0.500", "log π(a)": f"{MINUS}0.250",
    }  # fmt: skip
    assert found[0]["last"]["r_sg"] == f"{MINUS}0.10"
    assert found[0]["last"]["Σ r_sg"] == "+0.10"  # 0 + 0.1 + 0.1 - 0.1
    assert "+ positive find mug 1" in found[0]["words"][1]
    assert "✗ invalid" in found[0]["words"][1]
    assert "invalid" not in found[0]["words"][0]
    assert found[0]["facts"]["advantage"] == f"{MINUS}0.71"
    assert found[1]["facts"] == {
        "turns": "3", "R_env": "1", "R_sg": "0.00", "λ": "0.00", "R": "1.00", "advantage": "+0.71",
        "log-prob gap": "not measured",
    }  # fmt: skip
    assert "no guidance found: counts as" in found[1]["words"][1]
    assert found[2]["gaps"] == ["not measured", "not measured", f"4.8e{MINUS}6", "not measured"]


def test_pinned_episode_is_shown_next_to_another(page):
    found = dump(page, f"#pin={PINNED}&episode={OTHER}")
    reading = found.split('<article id="reading"')[1].split("</article>")[0]
    assert 'data-mode="two"' in reading
    assert reading.count('<header class="episode-head">') == 2
    assert 'data-first-difference="1"' in reading
    assert "first difference: turn 1, in guidance" in reading
    assert re.findall(r'class="turn (\w+)"', reading) == [
        "neutral", "neutral", "positive", "unparsed", "positive", "negative", "negative", "over",
    ]  # fmt: skip
    same = drive(
        page,
        """
        await visit("#pin=grpo_sg-seed0/training/0/train/1/0&episode=grpo_sg-seed1/training/0/train/1/0");
        const same = $(".parting").textContent;
        await visit("#pin=grpo_sg-seed0/training/0/train/1/0&episode=grpo_sg-seed1/training/0/train/2/0");
        return [same, $(".reading .notice").textContent];""",
    )
    assert "the two episodes are identical" in same[0]
    assert "two different games" in same[1]


def test_keys_and_clicks_move_and_pin(page):
    found = drive(
        page,
        """
        const current = () => new URLSearchParams(location.hash.slice(1)).get("episode");
        await visit("#origin=training&step=3&method=grpo_sg&seed=0");
        const ids = all(".row", "data-id");
        press("j"); press("j"); press("k");
        const second = current();
        press("c"); press("j");
        const pinned = [$("#reading").dataset.mode, $(".row.pinned").dataset.id, current()];
        press("c"); press("c");
        const unpinned = [$("#reading").dataset.mode, location.hash.includes("pin=")];
        press("j", $("[name=q]"));
        const typed = current();
        for (let times = 0; times < 20; times += 1) press("j");
        const last = current();
        $(".row").click();
        choose("beside", ids[1]);
        const beside = $("#reading").dataset.mode;
        return { ids, second, pinned, unpinned, typed, last, clicked: current(), beside };""",
    )
    ids = found["ids"]
    assert len(ids) == 6
    assert found["second"] == ids[1]
    assert found["pinned"] == ["two", ids[1], ids[2]]
    assert found["unpinned"] == ["one", False]
    assert found["typed"] == ids[2]  # a letter in the search box is a letter
    assert found["last"] == ids[-1]
    assert (found["clicked"], found["beside"]) == (ids[0], "two")


def test_address_unknown_values_are_reported_and_ignored(page):
    fragment = (
        "#outcome=won&method=%3Cimg%20src%3Dx%3E&order=constructor&__proto__=1&pin=a/b&episode=%00%FF&q=&step=1e9&x"
    )
    found = dump(page, fragment)
    won = sum("won" in row["outcome"] for row in expected())
    assert f'data-matching="{won}"' in found
    notice = re.search(r'<p id="notice" class="notice">(.*?)</p>', found).group(1)
    assert "method=&lt;img src=x&gt;" in notice
    assert "order=constructor" in notice
    section = dump(page, "#result")
    assert 'data-matching="112"' in section
    assert '<p id="notice" class="notice" hidden="">' in section


def test_viewer_hostile_text_is_shown_and_never_executed(tmp_path):
    path = tmp_path / "page.html"
    path.write_text(build_page("Calm", "", [], [hostile()], seed=0), encoding="utf-8")
    shown = drive(
        path, "return [document.title, document.images.length, $('.observation').textContent, $('h3').textContent]"
    )
    assert shown[:2] == ["Calm", 0]
    assert shown[2] == HOSTILE.replace("\x1b", "␛").replace("\u202e", "⟨U+202E⟩")
    assert "<img src=x" in shown[3]
    assert 'data-state="ready"' in dump(
        path, "#" + urlencode({"episode": f"{HOSTILE}/training/0/train/0/0", "q": HOSTILE})
    )


def test_viewer_without_decompression_stream_reports_it(page):
    old = page.with_name("old.html")
    text = page.read_text(encoding="utf-8").replace("<script>", "<script>delete globalThis.DecompressionStream;", 1)
    old.write_text(re.sub(POLICY, "", text), encoding="utf-8")
    found = dump(old)
    assert 'data-state="failed"' in found
    assert "This browser cannot unpack the trajectories" in found
