/* Filters: each facet returns an episode's values. */

const OUTCOMES = { won: "won", lost: "lost (all)", truncated: "lost: truncated" };

const FACETS = [
  { name: "method", label: "Method", of: (episode) => [episode.source.method] },
  { name: "seed", label: "Seed", of: (episode) => [String(episode.source.seed)] },
  { name: "origin", label: "Origin", of: (episode) => [episode.source.origin], show: (value) => value.replaceAll("_", " ") },
  { name: "phase", label: "Phase", of: (episode) => (episode.source.phase === null ? [] : [episode.source.phase]),
    show: phaseName },
  { name: "step", label: "Step", of: (episode) => [String(episode.source.step)], numeric: true },
  { name: "type", label: "Task type", of: (episode) => [episode.type], show: (value) => value.replaceAll("_", " ") },
  { name: "split", label: "Split", of: (episode) => [episode.split] },
  { name: "outcome", label: "Outcome", of: outcomes, show: (value) => OUTCOMES[value], order: Object.keys(OUTCOMES) },
  { name: "polarity", label: "Has verdict", of: polarities, order: [...POLARITIES, "unparsed", "none"] },
];

const ORDERS = {
  recorded: { label: "as recorded" },
  "r_sg-high": { label: "R_sg, highest first", of: (episode) => -(episode.rSg ?? -Infinity) },
  "r_sg-low": { label: "R_sg, lowest first", of: (episode) => episode.rSg ?? Infinity },
  "advantage-high": { label: "advantage, highest first", of: (episode) => -(episode.advantage ?? -Infinity) },
  "advantage-low": { label: "advantage, lowest first", of: (episode) => episode.advantage ?? Infinity },
  longest: { label: "longest first", of: (episode) => -episode.turns },
  shortest: { label: "shortest first", of: (episode) => episode.turns },
};

function phaseName(phase) {
  return phase.replace("phase_", "").replaceAll("_", " ");
}

function outcomes(episode) {
  return episode.won ? ["won"] : episode.truncated ? ["lost", "truncated"] : ["lost"];
}

function polarities(episode) {
  const { polarity, flags } = episode.data.turns;
  const found = new Set();
  for (let at = episode.first; at < episode.first + episode.turns; at += 1) {
    if (polarity[at] < 0) found.add("none");
    else {
      found.add(POLARITIES[polarity[at]]);
      if (!(flags[at] & FLAGS.guidanceParsed)) found.add("unparsed");
    }
  }
  return [...found];
}

/* Store the values of every episode, and the sorted values of every facet. */
function indexFacets(episodes) {
  for (const facet of FACETS) {
    const values = new Set();
    for (const episode of episodes) {
      episode.facets ??= {};
      episode.facets[facet.name] = facet.of(episode);
      for (const value of episode.facets[facet.name]) values.add(value);
    }
    const rank = (value) => (facet.numeric ? Number(value) : facet.order ? facet.order.indexOf(value) : 0);
    facet.values = [...values].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : a > b ? 1 : 0));
  }
}

/* The matching episodes, and for every facet the number of matches under each of its values. */
function applyFilters(episodes, state) {
  const found = state.query ? textsWith(episodes[0].data.strings, state.query) : null;
  const active = FACETS.filter((facet) => state.filters[facet.name] !== undefined);
  const counts = Object.fromEntries(FACETS.map((facet) => [facet.name, new Map()]));
  const matching = [];
  for (const episode of episodes) {
    if (found && !mentions(episode, found)) continue;
    const failed = active.filter((facet) => !episode.facets[facet.name].includes(state.filters[facet.name]));
    if (failed.length > 1) continue;
    if (failed.length === 0) matching.push(episode);
    for (const facet of failed.length ? failed : FACETS) {
      for (const value of episode.facets[facet.name]) {
        counts[facet.name].set(value, (counts[facet.name].get(value) ?? 0) + 1);
      }
    }
  }
  return { groups: inGroups(matching, ORDERS[state.order]), counts };
}

/* [group, its matching episodes] in the requested order; a group is placed by its first episode. */
function inGroups(episodes, order) {
  const sorted = order.of
    ? episodes.map((episode) => [order.of(episode), episode]).sort((a, b) => a[0] - b[0] || a[1].index - b[1].index)
        .map((pair) => pair[1])
    : episodes;
  const groups = new Map();
  for (const episode of sorted) {
    if (!groups.has(episode.group)) groups.set(episode.group, []);
    groups.get(episode.group).push(episode);
  }
  return [...groups];
}
