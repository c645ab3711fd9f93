"""WebShop behind the environment protocol."""

from dataclasses import replace
from pathlib import Path

from sg_pipeline.environments.base import StepResult
from sg_pipeline.environments.webshop.catalogue import open_catalogue
from sg_pipeline.environments.webshop.pages import Page
from sg_pipeline.environments.webshop.reward import Reward
from sg_pipeline.environments.webshop.session import FORMS, Session
from sg_pipeline.errors import DataError
from sg_pipeline.trajectories.types import Task


class WebShopEnvironment:
    """Plays WebShop in text mode (see `environments.base.Environment`).

    An action is valid if it is a search, or a click on something that the page has; anything else leaves the page as
    it is and costs the turn. The episode ends with "Buy Now" only: the reward is the purchase's score, in [0, 1], on
    that step, and 0 on all others. Solved is a score of 1. There is no step limit: limits are the rollout's.
    """

    def __init__(
        self,
        data_root: Path,
        cache_dir: Path | None = None,
        repeat_instruction: bool = True,
        admissible: bool = False,
    ) -> None:
        """Prepare an environment without loading anything.

        Args:
            data_root: folder of the official (or generated) files.
            cache_dir: where prepared catalogues are kept; None: in `data_root`.
            repeat_instruction: every page begins with the instruction, as in the original; False: only the first page,
                which saves a third of the tokens.
            admissible: put the possible commands into every `StepResult`.
        """
        self._data_root, self._cache_dir = Path(data_root), cache_dir
        self._repeat_instruction = repeat_instruction
        self._admissible = admissible
        self.session: Session | None = None
        """The present visit; a policy never sees it."""

    def reset(self, task: Task, seed: int) -> StepResult:
        """Start an episode of `task`; nothing is random in it.

        Args:
            task: `task.path` is "<kind of goal>/<position>"; a non-empty `task.sha256` must be the goal's.
            seed: not used.

        Raises:
            DataError: data are missing or wrong, or there is no such goal.
        """
        self.session = None
        catalogue = open_catalogue(self._data_root, self._cache_dir)
        kind, slash, position = task.path.partition("/")
        if not (slash and position.isdecimal() and position.isascii()):
            raise DataError(
                f"WebShop's task {task.task_id} has the path {task.path!r}: 'human/<position>' or "
                "'synthetic/<position>' was expected."
            )
        goal = catalogue.goal(kind, int(position))  # type: ignore[arg-type]  # the catalogue checks the kind
        if task.sha256 and goal.sha256 != task.sha256:
            raise DataError(
                f"WebShop's task {task.task_id} is another goal in {self._data_root} than in its panel (sha256 "
                f"{goal.sha256[:12]}… instead of {task.sha256[:12]}…): restore the panel's data, or prepare it again."
            )
        self.session = Session(catalogue, goal)
        return replace(self._result(self.session.page), forms=FORMS)

    def step(self, action: str) -> StepResult:
        """Play one action, exactly as the policy wrote it. Raises `RuntimeError` if no episode is open."""
        if self.session is None or self.session.done:
            raise RuntimeError("WebShopEnvironment.step was called without an episode: call reset first.")
        outcome = self.session.act(action)
        return self._result(self.session.page, outcome.reward, outcome.understood)

    def close(self) -> None:
        """Release the episode; the catalogue serves the next environment in this process."""
        self.session = None

    def _result(self, page: Page, reward: Reward | None = None, valid: bool = True) -> StepResult:
        done = page.kind == "done"
        score = 0.0 if reward is None else reward.total
        return StepResult(
            observation=page.text(self._repeat_instruction or page.kind == "search"),
            reward=score,
            done=done,
            won=done and score == 1.0,
            score=score,
            valid=valid,
            admissible=_commands(page) if self._admissible else None,
            parts=() if reward is None else reward.parts(),
        )


def _commands(page: Page) -> tuple[str, ...]:
    """Return the possible commands; a search may contain anything, and is possible everywhere before the end."""
    if page.kind == "done":
        return ()
    return ("search[...]", *(f"click[{name}]" for name in page.clickables if name != "search"))
