"""The shop's pages and what actions do, on unusual products."""

import json
from pathlib import Path

import pytest
from webshop_shops import product_of

from sg_pipeline.environments.webshop.catalogue import Catalogue, open_catalogue
from sg_pipeline.environments.webshop.session import Session, parse_action

ODD = {
    "asin": "B00ODD0001",
    "name": " Tea <b>& Co's</b> ",
    "full_description": "",
    "small_description": ["", "one\n two", "\n", "\xa0"],
    "pricing": "$3.5 - $9.25",
    "images": [],
    "product_category": "Grocery \u203a Tea",
    "customization_options": {
        "Size": [{"value": " 2/3 Oz "}, {"value": "Features"}],
        "Pack": [{"value": "2 | 3 oz"}],
        "Flavor": None,
    },
    "category": "grocery",
    "query": " Teas ",
}


def plain(number: int) -> dict[str, object]:
    return {**ODD, "asin": f"B00PLAIN{number:02d}", "name": f"Tea Number {number}", "customization_options": ""}


@pytest.fixture(scope="module")
def tea_shop(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    folder: Path = tmp_path_factory.mktemp("tea")
    products = [ODD, *(plain(number) for number in range(24)), {**ODD, "name": "a second one"}, {**ODD, "asin": "nan"}]
    (folder / "items_shuffle.json").write_text(json.dumps(products), encoding="utf-8")
    known = {"attributes": ["loose leaf"], "instruction": "Find me tea", "instruction_attributes": ["loose leaf"]}
    (folder / "items_ins_v2.json").write_text(json.dumps({"B00ODD0001": known}), encoding="utf-8")
    human = [{"instruction": "i want tea.", "instruction_attributes": ["loose leaf"], "instruction_options": ["x"]}]
    (folder / "items_human_ins.json").write_text(json.dumps({"B00PLAIN03": human}), encoding="utf-8")
    return open_catalogue(folder, None)


@pytest.fixture
def session(tea_shop: Catalogue) -> Session:
    return Session(tea_shop, tea_shop.goal("synthetic", 0))


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("search[Green TEA]", ("search", "green tea")),
        ("click[Next >] and more", ("click", "next >")),
        ("search[ ]", ("search", " ")),
        ("search[a[b]c]", None),  # greedy: the name is "search[a"
        ("search[]", None),
        ("Search[tea]", None),
        (" search[tea]", None),
        ("search[two\nlines]", None),
        ("buy", None),
        ("search[<r>]", None),
        ("search[<c> grocery]", None),
        ("search[<q> teas]", None),
        ("search[<a> loose leaf]", None),
    ],
)
def test_parse_action_reads_as_the_original(text: str, action: tuple[str, str] | None) -> None:
    assert parse_action(text) == action


@pytest.fixture
def item(session: Session) -> Session:
    """A visit that has opened the odd product and selected one of its options."""
    for action in ("search[co]", "click[b00odd0001]", "click[2 | 3 oz]"):
        session.act(action)
    return session


def test_the_search_page_shows_the_instruction(session: Session) -> None:
    text = session.page.text()
    assert text.startswith("WebShop [SEP] Instruction: [SEP] Find me tea with ")
    assert text.endswith(" [SEP] Search")
    assert session.page.clickables == ["search"]
    assert session.page.text(with_instruction=False) == "WebShop [SEP] Search"


def test_results_have_ten_products_a_page_and_a_next_button_always(session: Session) -> None:
    session.act("search[number tea]")
    page = session.page
    assert (
        " [SEP] Back to Search [SEP] Page 1 (Total results: 25) [SEP] Next > [SEP] B00PLAIN00 [SEP] Tea" in page.text()
    )
    assert page.clickables[:2] == ["back to search", "next >"]
    assert len(page.products) == 10
    session.act("click[next >]")
    assert session.page.clickables[:3] == ["back to search", "< prev", "next >"]
    session.act("click[next >]")
    session.act("click[NEXT >]")
    assert session.page.text().endswith("Back to Search [SEP] Page 4 (Total results: 25) [SEP] < Prev [SEP] Next >")
    session.act("click[< prev]")
    assert len(session.page.products) == 5


def test_an_item_shows_its_options_and_texts(item: Session) -> None:
    assert item.page.text(with_instruction=False) == (
        "Back to Search [SEP] < Prev [SEP] size [SEP] 2 | 3 oz [SEP] features [SEP] pack [SEP] 2 | 3 oz [SEP] "
        "Tea <b>& Co's</b> [SEP] Price: $3.5 to $9.25 [SEP] Rating: N.A. [SEP] Description [SEP] Features [SEP] "
        "Reviews [SEP] Buy Now"
    )
    names = ["back to search", "< prev", "description", "features", "reviews", "buy now", "2 | 3 oz"]
    assert item.page.clickables == names


def test_sub_pages_and_the_value_that_two_options_share(item: Session) -> None:
    assert item.selected == {"pack": "2 | 3 oz"}
    item.act("click[features]")  # the button, not the value of the same name
    assert item.page.text(with_instruction=False) == "Back to Search [SEP] < Prev [SEP]  [SEP] one\n two [SEP] "
    for name in ("description", "reviews"):
        item.act("click[< prev]")
        item.act(f"click[{name}]")
        assert item.page.text(with_instruction=False) == "Back to Search [SEP] < Prev"
        assert item.selected == {"pack": "2 | 3 oz"}


@pytest.mark.parametrize("leave", ["click[< prev]", "search[co]", "click[back to search]"])
def test_selected_options_are_forgotten_on_the_way_back(item: Session, leave: str) -> None:
    item.act(leave)
    assert (item.selected, item.product) == ({}, None)


def test_buying_ends_with_the_score(item: Session) -> None:
    outcome = item.act("click[Buy Now]")
    assert outcome.reward is not None
    text = item.page.text()
    assert text.startswith("Thank you for shopping with us! [SEP] Your code: [SEP] None")
    assert 'asin [SEP] B00ODD0001 [SEP] options [SEP] {"pack": "2 | 3 oz"} [SEP] attrs' in text
    assert f"(min 0.0, max 1.0) [SEP] {outcome.reward.total} [SEP] Reward Details" in text
    assert item.page.clickables == []


@pytest.mark.parametrize(
    "text", ["", "click[foo]", "click[buy now]", "click[b00odd0001]", "click[search]", "search[<r>]"]
)
def test_act_invalid_action_changes_nothing(session: Session, text: str) -> None:
    before = session.page
    assert not session.act(text).understood
    assert session.page is before


def test_search_without_results_shows_an_empty_page(session: Session) -> None:
    assert session.act("search[\x07\x1b 💥]").understood
    assert "Page 1 (Total results: 0)" in session.page.text()


def test_products_are_read_by_the_originals_rules(tea_shop: Catalogue) -> None:
    assert len(tea_shop) == 25
    odd = product_of(tea_shop, "B00ODD0001")
    assert odd.options == {"size": ("2 | 3 oz", "features"), "pack": ("2 | 3 oz",)}
    assert (odd.query, odd.attributes, odd.price_tag) == ("teas", ("loose leaf",), "$3.5 to $9.25")
    assert 3.5 <= odd.price <= 9.25
    assert odd.price == odd.parse(odd.dump()).price
    assert product_of(tea_shop, "B00PLAIN03").attributes == ("DUMMY_ATTR",)
    assert odd.document() == (" tea <b>& co's</b>    size: 2 | 3 oz, features, and pack: 2 | 3 oz")


def test_goals_of_both_kinds(tea_shop: Catalogue) -> None:
    synthetic = {tea_shop.goal("synthetic", position).options for position in range(tea_shop.goal_count("synthetic"))}
    assert synthetic == {(("pack", "2 | 3 oz"), ("size", "2 | 3 oz")), (("pack", "2 | 3 oz"), ("size", "features"))}
    human = tea_shop.goal("human", 0)
    assert tea_shop.goal_count("human") == 1
    assert human.instruction.startswith("i want tea, and price lower than ")
    assert human.options == ("x",)
    assert human.price_upper in (10.0, 20.0, 30.0, 40.0, 50.0)
