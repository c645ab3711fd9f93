/* Two episodes side by side, turn by turn, with their first difference. */

const COMPARED = ["observation", "guidance", "polarity", "action"];

/* {turn, what}: the first turn in which the episodes differ, and in which fields; null if they are equal. */
function firstDifference(left, right) {
  for (let number = 0; number < Math.max(left.length, right.length); number += 1) {
    if (number >= left.length || number >= right.length) return { turn: number, what: ["length"] };
    const what = COMPARED.filter((name) => left[number][name] !== right[number][name]);
    if (what.length) return { turn: number, what };
  }
  return null;
}

function readTwo(pinned, other, query) {
  const [left, right] = [turnsOf(pinned), turnsOf(other)];
  const difference = firstDifference(left, right);
  const rows = [];
  for (let number = 0; number < Math.max(left.length, right.length); number += 1) {
    if (difference && difference.turn === number) rows.push(parting(difference));
    const same = difference === null || number < difference.turn;
    rows.push(make("div", { class: `pair${same ? " same" : ""}` }, side(pinned, left, number, query), side(other, right, number, query)));
  }
  if (difference === null) rows.push(make("p", { class: "parting" }, "the two episodes are identical"));
  return [
    pinned.task === other.task ? null
      : make("p", { class: "notice" }, "These are two different games, so turns with the same number have little in common."),
    make("div", { class: "pair heads" }, episodeHead(pinned, "A"), episodeHead(other, "B")),
    make("div", { class: "turns double" }, rows,
      make("div", { class: "pair" }, ending(pinned), ending(other))),
  ];
}

function side(episode, turns, number, query) {
  if (number < turns.length) return turnElement(turns[number], { known: knownOf(episode), query });
  return make("div", { class: "turn over" }, number === turns.length ? `(over: ${outcomeOf(episode)})` : "");
}

function parting({ turn, what }) {
  const words = what.includes("length") ? "one of them is over" : what.map((name) => (name === "polarity" ? "verdict" : name)).join(", ");
  return make("p", { class: "parting", id: "first-difference", "data-first-difference": String(turn) },
    `first difference: turn ${turn}, in ${words}`.replace("in one of", "one of"));
}
