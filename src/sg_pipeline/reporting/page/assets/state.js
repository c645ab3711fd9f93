/* State of the view: filters, search, order, the episode and the pinned one. It is stored in the address after the '#',
   so that a view can be linked: #method=grpo_sg&outcome=won&episode=... A '#' without '=' is a section. */

function emptyState() {
  return { filters: {}, query: "", order: "recorded", episode: null, pin: null };
}

/* The state that a hash describes, and its unknown values; null if the hash is not a state. */
function readHash(hash, byId) {
  const text = hash.replace(/^#/, "");
  if (!text.includes("=")) return null;
  const state = emptyState();
  const unknown = [];
  for (const [name, value] of new URLSearchParams(text)) {
    const facet = FACETS.find((candidate) => candidate.name === name);
    if (facet && facet.values.includes(value)) state.filters[name] = value;
    else if (name === "q") state.query = value;
    else if (name === "order" && Object.hasOwn(ORDERS, value)) state.order = value;
    else if ((name === "episode" || name === "pin") && byId.has(value)) state[name] = value;
    else unknown.push(`${name}=${value}`);
  }
  return { state, unknown };
}

function writeHash(state) {
  const parameters = new URLSearchParams();
  for (const facet of FACETS) {
    if (state.filters[facet.name] !== undefined) parameters.set(facet.name, state.filters[facet.name]);
  }
  if (state.query) parameters.set("q", state.query);
  if (state.order !== "recorded") parameters.set("order", state.order);
  if (state.episode) parameters.set("episode", state.episode);
  if (state.pin) parameters.set("pin", state.pin);
  return `#${parameters.toString().replaceAll("%2F", "/").replaceAll("%3A", ":")}`;
}
