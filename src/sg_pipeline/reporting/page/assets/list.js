/* The list of groups and their episodes. */

const GROUPS_AT_ONCE = 40;

function listElements(groups, all, state, shared, limit, choose, more) {
  const shown = groups.slice(0, limit).map(([, members]) => groupElement(members, all.get(members[0].group), state, shared, choose));
  if (groups.length > limit) {
    const rest = groups.length - limit;
    shown.push(make("button", { type: "button", class: "more", click: more }, `${count(rest, "more group")} …`));
  }
  return shown;
}

function groupElement(members, whole, state, shared, choose) {
  const [first] = members;
  const wins = whole.filter((episode) => episode.won).length;
  const where = first.training ? whoPlayed(first, shared) : "evaluation";
  const matching = members.length < whole.length ? `, ${members.length} match` : "";
  return make("section", { class: "group" },
    make("h4", {}, visible(first.task), make("span", {}, visible(first.type.replaceAll("_", " ")))),
    make("p", {}, visible(where), ` · ${wins} of ${whole.length} won${matching}`),
    make("ul", {}, members.map((episode) => make("li", {}, episodeRow(episode, state, shared, choose)))));
}

function episodeRow(episode, state, shared, choose) {
  const role = state.pin === episode.id ? "A" : null;
  return make("button", {
    type: "button",
    class: `row${role ? " pinned" : ""}`,
    "data-id": episode.id,
    "aria-current": state.episode === episode.id ? "true" : null,
    click: () => choose(episode.id),
  },
    make("span", { class: "who" }, role ? make("span", { class: "letter" }, role) : null,
      episode.training ? `#${episode.item}` : visible(whoPlayed(episode, shared)), " ", outcomeBadge(episode)),
    make("span", { class: "length" }, count(episode.turns, "turn")),
    make("span", { class: "sums" }, `R_env ${reward(episode.rEnv)} · R_sg ${signed(episode.rSg)}`,
      episode.training ? ` · A ${episode.heldBack ? "held back" : signed(episode.advantage)}` : ""),
    ribbon(episode));
}

/* The verdicts as coloured bands: a thumbnail of the strip in the reading pane. */
function ribbon(episode) {
  const { polarity } = episode.data.turns;
  const bands = [];
  for (let number = 0; number < episode.turns; number += 1) {
    const colour = polarity[episode.first + number] < 0 ? "none" : POLARITIES[polarity[episode.first + number]];
    const at = (place) => `${((100 * place) / episode.turns).toFixed(2)}%`;
    bands.push(`var(--${colour}) ${at(number)} ${at(number + 1)}`);
  }
  const element = make("span", { class: "ribbon", "aria-hidden": "true" });
  element.style.backgroundImage = `linear-gradient(90deg, ${bands.join(", ")})`;
  return element;
}
