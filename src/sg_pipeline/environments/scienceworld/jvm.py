"""One simulator per process for all its environments: worlds that take turns in one JVM.

    environment ─► World ─► Simulator (this process's) ─► JVM

A separate JVM for each environment costs 350 MB and seconds of start and of warming up; the many rollouts of a step
would not fit a laptop. The simulator keeps little outside a world: the random generator, the counter of object numbers
and the simplifications in force (found by reading the fields of every Scala object of the jar). A world has its own and
puts them in place before it moves, so that worlds never affect each other.
"""

import atexit
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sg_pipeline.environments.scienceworld.java import start_java
from sg_pipeline.errors import DataError

HEAP_MB = 512
"""Limit of the heap: a world takes a third of a MB, the simulator itself 40."""


class SimulatorDied(RuntimeError):
    """The JVM is gone, and every world in it."""


class Simulator:
    """A JVM and the worlds in it; one at a time moves."""

    def __init__(self, heap_mb: int = HEAP_MB) -> None:
        """Start the JVM. Errors as `start_java`."""
        self.process, port, token = start_java(heap_mb)
        from py4j.java_gateway import GatewayParameters, JavaGateway

        # It logs a traceback of every error that it also raises.
        logging.getLogger("py4j").setLevel(logging.CRITICAL)
        parameters = GatewayParameters(port=port, auth_token=token, auto_field=True)
        self._gateway = JavaGateway(gateway_parameters=parameters)
        self.current: World | None = None
        """The world that moved last, whose globals are in place."""
        jvm = self._gateway.jvm
        # Set before Scala's console is made: the simulator prints every step.
        silence = jvm.java.io.PrintStream(jvm.java.io.OutputStream.nullOutputStream())
        jvm.java.lang.System.setOut(silence)
        jvm.java.lang.System.setErr(silence)
        self._random = getattr(getattr(jvm.scala.util, "Random$"), "MODULE$").self()
        self._seed = self._random.getClass().getDeclaredField("seed")
        self._seed.setAccessible(True)
        self._numbers = jvm.util.UniqueIdentifier
        self.interface = jvm.scienceworld.runtime.pythonapi.PythonInterface()
        """What the published wrapper talks to; here it makes the worlds."""
        self._simplifications = jvm.main.scala.scienceworld.runtime.SimplifierProcessor

    @property
    def alive(self) -> bool:
        """The JVM runs."""
        return self.process.poll() is None

    def chance(self) -> int:
        """Return the state of the random generator."""
        return int(self._seed.get(self._random))

    def set_chance(self, state: int) -> None:
        """Put the random generator into a state that `chance` returned."""
        # `setSeed` scrambles its argument with this number; the same again undoes it.
        self._random.setSeed(state ^ 0x5DEECE66D)

    def put_in_place(self, world: "World") -> None:
        """Make `world` the one that moves: save the globals of the last one, restore its own."""
        last = self.current
        if last is world:
            return
        if last is not None:
            last.put_away = (self.chance(), int(self._numbers.count()))
        self.current = world
        if world.put_away is not None:
            chance, number = world.put_away
            self.set_chance(chance)
            getattr(self._numbers, "count_$eq")(number)
            if last is None or last.simplifications != world.simplifications:
                self._simplifications.parseSimplificationStr(world.simplifications)

    def close(self) -> None:
        """End the JVM."""
        # Proxies that are collected later must not contact a port that may belong to another process by then.
        self._gateway._gateway_client.is_connected = False
        self._gateway.close()
        with self.process:
            self.process.kill()


class World:
    """One episode's world.

    Attributes:
        put_away: random state and last object number while another world moves.
        simplifications: those in force, as the simulator spells them.
    """

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.put_away: tuple[int, int] | None = None
        self.simplifications = ""
        self._agent: Any = None

    def load(self, task: str, variation: int, simplifications: str, gold: bool = False) -> tuple[str, ...]:
        """Create the world of a task; with `gold` return the simulator's solution, which takes a second.

        Raises:
            DataError: the simulator has no such world, in its own words.
        """
        with self._moving():
            interface = self.simulator.interface
            complaint = str(interface.load(task, variation, simplifications, gold))
            # The rest of the interface, with the things of every task, is 8 MB that are not needed again.
            self._agent = interface.agentInterface().get()
            self.simplifications = str(self._agent.simplificationStr())
            if not complaint and self._agent.isInErrorState():
                complaint = str(self._agent.getErrorStateMessage())
            path = tuple(str(action) for action in interface.getGoldActionSequence()) if gold else ()
        if complaint:
            raise DataError(
                f"ScienceWorld cannot load variation {variation} of task {task!r} with simplifications "
                f"{simplifications!r}: it says {complaint.strip()!r}"
            )
        return path

    def act(self, action: str) -> tuple[str, int, bool]:
        """Play one action.

        The wrapper's own `step` also writes a history, looks around and into the inventory, and lists the possible
        actions, at five times the cost; this is the call inside it.

        Returns:
            The answer, the official score (-100 to 100), and whether the episode has ended.
        """
        with self._moving():
            # A tuple as text is one answer instead of three.
            text = str(self._agent.step(action).toString())
        answer, score, completed = text[1:-1].rsplit(",", 2)
        return answer, round(100 * float(score)), completed == "true"

    def possible_actions(self) -> list[str]:
        """Return the action templates, sorted, with OBJ where a thing is named."""
        with self._moving():
            return [str(template) for template in self._agent.getPossibleActions()]

    def visible_objects(self) -> list[str]:
        """Return a name for each visible thing, sorted; the random numbers drawn for them are put back."""
        with self._moving():
            before = self.simulator.chance()
            names = [str(name) for name in self._agent.getPossibleObjects()]
            self.simulator.set_chance(before)
        return names

    def look(self) -> str:
        """Return what "look around" shows, without taking time."""
        with self._moving():
            return str(self._agent.freeActionLook())

    def description(self) -> str:
        """Return the task in words."""
        with self._moving():
            return str(self._agent.getTaskDescription())

    def close(self) -> None:
        """Release it; the simulator lives on."""
        if self.simulator.current is self:
            self.simulator.current = None
        self._agent = None

    @contextmanager
    def _moving(self) -> Iterator[None]:
        """Let this world alone move, with its own globals in place."""
        from py4j.protocol import Py4JNetworkError

        try:
            self.simulator.put_in_place(self)
            yield
        except Py4JNetworkError as error:
            raise SimulatorDied("the JVM of ScienceWorld has died") from error


_shared: dict[int, Simulator] = {}


def shared_simulator(heap_mb: int = HEAP_MB) -> Simulator:
    """Return this process's simulator, a new one if the last has died. It ends with the process.

    Errors as `start_java`.
    """
    simulator = _shared.get(heap_mb)
    if simulator is None or not simulator.alive:
        if simulator is not None:
            simulator.close()
        simulator = _shared[heap_mb] = Simulator(heap_mb)
        atexit.register(simulator.close)
    return simulator
