"""A policy without a model: bytes as tokens, a script as sampler. Both check that callers keep to the protocols."""

import random
import re
import time

from sg_pipeline.agents.turns import ParsedTurn
from sg_pipeline.sampling.base import Completion
from sg_pipeline.trajectories.types import Polarity, Segment

END = 256
PROMPT = 257


class ByteFormat:
    """An agent format whose tokens are the bytes of the text."""

    stop_ids = (END,)

    def __init__(self, guidance=True):
        self.guidance = guidance

    def opening(self, observation, commands=None, forms=()):
        return [*observation.encode(), PROMPT]

    def following(self, completion_ids, observation, commands=None):
        end = [] if completion_ids[-1] == END else [END]
        return [*end, *observation.encode(), PROMPT]

    def parse(self, completion_ids):
        text = bytes(token for token in completion_ids if token < END).decode()
        guidance = re.match("<guidance>((positive|negative): .*)</guidance>", text)
        action = re.search("<action>(.*)</action>", text)
        polarity = None if not self.guidance else Polarity(guidance[2]) if guidance else Polarity.NEUTRAL
        border = action.start() if action else 0
        return ParsedTurn(
            guidance=guidance[1] if guidance else None,
            polarity=polarity,
            guidance_parsed=guidance is not None,
            action=action[1] if action else text,
            action_parsed=action is not None,
            segments=[int(Segment.GUIDANCE)] * border + [int(Segment.ACTION)] * (len(completion_ids) - border),
        )


class ScriptedSampler:
    """Searches the rooms at random; sometimes it writes nonsense or hits the token limit."""

    def __init__(self, guidance=True):
        self.guidance = guidance
        self.sessions = []

    def open(self, streams, max_length):
        self.sessions.append(ScriptedSession(list(streams), max_length, self.guidance))
        return self.sessions[-1]


class ScriptedSession:
    def __init__(self, streams, max_length, guidance):
        self.sequences = [[] for _ in streams]
        self.calls = []
        self._streams = streams
        self._max_length = max_length
        self._guidance = guidance
        self._allowed = set(range(len(streams)))

    def length(self, row):
        return len(self.sequences[row])

    def extend(self, rows, contexts, stop_ids, max_new_tokens):
        assert set(rows) <= self._allowed, "a dropped row came back"
        assert stop_ids == (END,)
        self._allowed = set(rows)
        self.calls.append(list(rows))
        completions = []
        for row, context in zip(rows, contexts, strict=True):
            self.sequences[row].extend(context)
            seen = bytes(token for token in context if token < END).decode()
            ids = [*self._write(self._streams[row], seen).encode(), END][:max_new_tokens]
            logprobs = [-float(number) for number in self._streams[row].random(len(ids))]
            self.sequences[row].extend(ids)
            assert len(self.sequences[row]) <= self._max_length
            completions.append(Completion(ids, logprobs, stopped=ids[-1] == END))
        return completions

    def _write(self, stream, seen):
        chance = stream.random()
        if chance < 0.05:
            return "hm"
        if chance < 0.1:
            return "<guidance>positive: " + "on " * 60 + "</guidance><action>left</action>"
        if "key is here" in seen:
            action = "take key"
        elif "chest is here" in seen and chance < 0.7:
            action = "open chest"
        else:
            action = ("left", "right")[int(stream.integers(2))]
        guidance = f"<guidance>{'positive' if chance < 0.5 else 'negative'}: go on</guidance>" if self._guidance else ""
        return f"{guidance}<action>{action}</action>"


class StreamingSampler(ScriptedSampler):
    """Writes what `ScriptedSampler` writes, and finishes in an odd order."""

    def __init__(self, order=0, pause_s=0.0):
        super().__init__()
        self.order = random.Random(order)
        self.pause_s = pause_s

    def open(self, streams, max_length):
        self.sessions.append(StreamingScript(list(streams), max_length, self.guidance))
        self.sessions[-1].order, self.sessions[-1].pause_s = self.order, self.pause_s
        return self.sessions[-1]


class StreamingScript(ScriptedSession):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.waiting = {}
        self.answered = []

    @property
    def under_way(self):
        return len(self.waiting)

    def submit(self, row, context, stop_ids, max_new_tokens, stop_when=None):
        assert row not in self.waiting
        self._allowed = set(range(len(self.sequences)))
        self.waiting[row] = self.extend([row], [context], stop_ids, max_new_tokens)[0]

    def poll(self):
        assert self.waiting, "polled although no row is under way"
        time.sleep(self.pause_s)
        rows = [row for row in self.waiting if self.order.random() < 0.3]
        self.order.shuffle(rows)
        self.answered += rows
        return [(row, self.waiting.pop(row)) for row in rows]
