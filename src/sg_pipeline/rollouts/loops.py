"""Two ways to play the episodes of a rollout to their ends; both make the same trajectories.

In step, all episodes take a turn together, in one batch:

    observations ─► contexts ─► completions ─► actions ─► observations ─► …

That is best where the sampler gains by large batches and the environments are quick. (Sampling one half while the
environments play the other was tried: on two cores the smaller batches cost a third more sampling time, which is more
than the fast engine takes in all.)

Streaming, each episode goes on when its own answer is there. It needs an engine that takes requests at any time, and
keeps it busy while slow environments think:

    engine ─ finished turns ─► environments
      ▲                             │
      └──────── their answers ◄─────┘
"""

from collections.abc import Sequence

from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.rollouts.bookkeeping import Episode, Ledger
from sg_pipeline.sampling.base import Session, StreamingSession


def play_in_step(
    episodes: Sequence[Episode], seeds: Sequence[int], session: Session, pool: EnvironmentPool, ledger: Ledger
) -> None:
    """Play `episodes` to their ends; row i of session and pool is `episodes[i]`.

    Time is booked as what the process does or waits for: "sampling_s", "env_s" (from actions to the last answer),
    "format_s".
    """
    config, agent_format = ledger.config, ledger.format
    active = list(range(len(episodes)))
    ledger.tick("sampling_s")
    results = pool.reset([episode.task for episode in episodes], seeds, [e.group for e in episodes])
    while True:
        ledger.tick("env_s")
        active = [
            row
            for row, result in zip(active, results, strict=True)
            if ledger.goes_on(episodes[row], result, session.length(row))
        ]
        if not active:
            ledger.tick("format_s")
            return
        contexts = [episodes[row].context for row in active]
        ledger.tick("format_s")
        completions = session.extend(active, contexts, agent_format.stop_ids, config.max_new_tokens)
        ledger.tick("sampling_s")
        actions = [
            ledger.decide(episodes[row], completion) for row, completion in zip(active, completions, strict=True)
        ]
        ledger.tick("format_s")
        results = pool.step(active, actions)


def play_streaming(
    episodes: Sequence[Episode], seeds: Sequence[int], session: StreamingSession, pool: EnvironmentPool, ledger: Ledger
) -> None:
    """Play `episodes` to their ends; row i of session and pool is `episodes[i]`.

    Environments answer while the engine works. Time is booked as what this process does or waits for: "sampling_s"
    while the engine has work, whatever the environments do; "env_s" while the engine has none and an environment is
    waited for, and for handing actions over; "format_s". They add up, as in step.
    """
    config, agent_format = ledger.config, ledger.format
    playing = len(episodes)
    ledger.tick("sampling_s")
    pool.begin([episode.task for episode in episodes], seeds, [e.group for e in episodes])
    while playing:
        answers = pool.receive(timeout_s=0.0 if session.under_way else None)
        ledger.tick("env_s")
        contexts = []
        for row, result in answers:
            if ledger.goes_on(episodes[row], result, session.length(row)):
                contexts.append((row, episodes[row].context))
            else:
                playing -= 1
        ledger.tick("format_s")
        for row, context in contexts:
            session.submit(row, context, agent_format.stop_ids, config.max_new_tokens)
        finished = session.poll() if session.under_way else []
        ledger.tick("sampling_s")
        actions = [(row, ledger.decide(episodes[row], completion)) for row, completion in finished]
        ledger.tick("format_s")
        if actions:
            pool.send([row for row, _ in actions], [action for _, action in actions])
