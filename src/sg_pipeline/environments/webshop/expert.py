"""A scripted customer who knows only what the pages have shown.

    search the goal's words ─► open what fits by title and price ─► look for the options ─► check the features
          ▲                            ▲        │ no                      │ no                    │ no
          └── no more pages            └────────┴─────────────────────────┴───────────────────────┘
    ─► choose the options ─► buy

It decides anew at each turn, so that it goes on from wherever a mistake has led.
"""

from sg_pipeline.environments.webshop.goals import Goal
from sg_pipeline.environments.webshop.pages import PageKind
from sg_pipeline.environments.webshop.products import Product
from sg_pipeline.environments.webshop.progress import untold, wanted_options
from sg_pipeline.environments.webshop.session import Session

_PAGES = 3
"""Result pages that it reads before it searches with fewer words."""


class Expert:
    """Plays one visit; `decide` at each turn."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._goal: Goal = session.goal
        self._rejected: set[str] = set()
        self._checked: set[str] = set()
        self._searches = 0

    def decide(self) -> tuple[str, str]:
        """Return the sub-goal in words and the action."""
        kind = self._session.page.kind
        if kind is PageKind.SEARCH:
            return self._search()
        if kind is PageKind.RESULTS:
            return self._choose()
        product = self._session.product
        assert product is not None
        if kind is PageKind.SUB_PAGE:
            return self._read(product)
        return self._inspect(product)

    def _search(self) -> tuple[str, str]:
        attributes = self._goal.attributes if self._searches % 2 == 0 else self._goal.attributes[:1]
        self._searches += 1
        words = " ".join([*attributes, self._goal.query])
        return f"search {self._goal.query}", f"search[{words}]"

    def _choose(self) -> tuple[str, str]:
        """Open the first product that may fit and was not rejected."""
        goal = self._goal
        page = [product for product in self._session.results() if product.asin not in self._rejected]
        promising = [
            product for product in page if goal.query in product.title.lower() and product.price <= goal.price_upper
        ]
        # A title without any of the attributes is a long way off; beyond that the search knows better than the titles.
        for product in promising:
            traits = [attribute for attribute in goal.attributes if attribute in product.title.lower()]
            if traits:
                maker = product.title.split()[0].lower()
                return f"open {' '.join(traits)} {goal.query} by {maker}", f"click[{product.asin.lower()}]"
        if self._session.number < _PAGES and page:
            return "look at next page", "click[next >]"
        return self._search()

    def _inspect(self, product: Product) -> tuple[str, str]:
        goal = self._goal
        wanted = wanted_options(product, goal)
        flaws = goal.query not in product.title.lower() or product.price > goal.price_upper
        if product.asin in self._rejected or flaws or len(wanted) < len(goal.options):
            self._rejected.add(product.asin)
            return "wrong product leave", "click[< prev]"
        unknown = untold(product, goal)
        if unknown and product.asin not in self._checked:
            return f"check {' '.join(unknown)}", "click[features]"
        for name, value in wanted.items():
            if self._session.selected.get(name) != value:
                return f"choose {value}", f"click[{value}]"
        return "buy", "click[buy now]"

    def _read(self, product: Product) -> tuple[str, str]:
        """Leave a sub-page; of the features, with what they say."""
        if self._session.page.is_features:
            self._checked.add(product.asin)
            shown = " ".join(self._session.page.segments).lower()
            missing = [attribute for attribute in untold(product, self._goal) if attribute not in shown]
            if missing:
                self._rejected.add(product.asin)
                return f"not {' '.join(missing)} leave", "click[< prev]"
        return f"back to {self._goal.query}", "click[< prev]"
