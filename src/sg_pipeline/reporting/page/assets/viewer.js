/* Connects the state of the viewer to its filters, list, reading pane and address. */

const byElementId = (id) => document.getElementById(id);

function start(content) {
  const episodes = readEpisodes(content);
  if (episodes.length === 0) throw new Error("No trajectory fits into this page.");
  indexFacets(episodes);
  const byId = new Map(episodes.map((episode) => [episode.id, episode]));
  const groups = new Map(inGroups(episodes, ORDERS.recorded));
  const shared = Object.fromEntries(FACETS.map((facet) => [facet.name, facet.values.length <= 1]));
  let state = emptyState();
  let limit = GROUPS_AT_ONCE;
  let listed = [];
  const controls = buildControls();

  function buildControls() {
    const selects = FACETS.filter((facet) => facet.values.length > 1).map((facet) => {
      const select = make("select", { name: facet.name, change: () => {
        if (select.value) state.filters[facet.name] = select.value;
        else delete state.filters[facet.name];
        filtersChanged();
      } });
      return { facet, select };
    });
    const query = make("input", { type: "search", name: "q", placeholder: "words of observation, guidance, action",
      input: () => { state.query = query.value; filtersChanged(); } });
    const order = make("select", { name: "order", change: () => { state.order = order.value; filtersChanged(); } },
      Object.entries(ORDERS).map(([value, { label }]) => make("option", { value }, label)));
    const clear = make("button", { type: "button", class: "clear", click: () => {
      state = { ...emptyState(), episode: state.episode, pin: state.pin };
      filtersChanged();
    } }, "Clear filters");
    const labelled = (label, control, kind) => make("label", { class: kind }, make("span", {}, label), control);
    const form = byElementId("filters");
    form.replaceChildren(...selects.map(({ facet, select }) => labelled(facet.label, select)),
      labelled("Search", query, "wide"), labelled("Order", order), clear);
    form.addEventListener("submit", (event) => event.preventDefault());
    return { selects, query, order };
  }

  function filtersChanged() {
    limit = GROUPS_AT_ONCE;
    render({ keepEpisode: false });
    remember();
  }

  /* Draw everything. Unless `keepEpisode`, an episode that is not listed is replaced by the first listed one. */
  function render({ keepEpisode = true, unknown = [] } = {}) {
    const found = applyFilters(episodes, state);
    listed = found.groups.flatMap(([, members]) => members);
    const current = state.episode === null ? null : byId.get(state.episode);
    if (current === null || (!keepEpisode && !listed.includes(current))) state.episode = listed[0]?.id ?? null;
    drawControls(found.counts);
    drawList(found.groups);
    drawReading();
    byElementId("status").textContent = listed.length === 0 ? "No episode matches."
      : `${listed.length.toLocaleString("en")} of ${count(episodes.length, "episode")} match, in ${count(found.groups.length, "group")}.`;
    const notice = byElementId("notice");
    notice.hidden = unknown.length === 0;
    notice.textContent = unknown.length ? visible(`Not in this page, ignored: ${unknown.join(", ").slice(0, 300)}`) : "";
    const viewer = byElementId("viewer");
    Object.assign(viewer.dataset, { state: "ready", matching: String(listed.length), of: String(episodes.length) });
  }

  function drawControls(counts) {
    for (const { facet, select } of controls.selects) {
      const show = (value) => visible(facet.show ? facet.show(value) : value);
      const option = (value) => make("option", { value }, `${show(value)} (${(counts[facet.name].get(value) ?? 0).toLocaleString("en")})`);
      select.replaceChildren(make("option", { value: "" }, "all"), ...facet.values.map(option));
      select.value = state.filters[facet.name] ?? "";
      select.classList.toggle("set", select.value !== "");
    }
    if (controls.query.value !== state.query) controls.query.value = state.query;
    controls.order.value = state.order;
  }

  function drawList(found) {
    const place = found.findIndex(([, members]) => members.some((episode) => episode.id === state.episode));
    if (place >= limit) limit = place + GROUPS_AT_ONCE;
    const list = byElementId("list");
    list.replaceChildren(...listElements(found, groups, state, shared, limit, choose, () => {
      limit += GROUPS_AT_ONCE;
      drawList(found);
    }));
  }

  function drawReading() {
    const pane = byElementId("reading");
    const episode = byId.get(state.episode);
    if (!episode) {
      pane.replaceChildren(make("p", { class: "hint" }, "Nothing to read: relax the filters."));
      return;
    }
    const pinned = state.pin !== null && state.pin !== state.episode ? byId.get(state.pin) : null;
    const parts = pinned ? readTwo(pinned, episode, state.query) : readOne(episode, state.query);
    pane.replaceChildren(tools(episode), ...parts.filter(Boolean));
    pane.dataset.mode = pinned ? "two" : "one";
  }

  /* Pin and unpin, and the episodes to compare with: first its group, then the same game elsewhere. */
  function tools(episode) {
    const mates = groups.get(episode.group).filter((mate) => mate !== episode);
    const elsewhere = episodes.filter((other) => other.task === episode.task && other.group !== episode.group).slice(0, 200);
    const pinned = state.pin === null || state.pin === episode.id ? null : byId.get(state.pin);
    const another = pinned && !mates.includes(pinned) && !elsewhere.includes(pinned) ? [pinned] : [];
    const name = (other) => [
      other.training ? `#${other.item}` : null, whoPlayed(other, shared), outcomeOf(other), count(other.turns, "turn"),
      `R_sg ${signed(other.rSg)}`,
    ].filter(Boolean).join(" · ");
    const options = (label, others) => (others.length === 0 ? null
      : make("optgroup", { label }, others.map((other) => make("option", { value: other.id }, visible(name(other))))));
    const select = make("select", { name: "beside", change: () => { state.pin = select.value || null; moved(); } },
      make("option", { value: "" }, "nothing"),
      options(episode.training ? "its group" : "this game, evaluated", mates), options("the same game elsewhere", elsewhere),
      options("another game", another));
    select.value = pinned ? pinned.id : "";
    const isPinned = state.pin === episode.id;
    return make("div", { class: "tools" },
      make("label", {}, make("span", {}, "Compare with "), select),
      make("button", { type: "button", class: "pin", "aria-pressed": String(isPinned), click: togglePin },
        isPinned ? "Unpin (c)" : "Pin this one (c)"),
      isPinned ? make("span", { class: "hint" }, "pinned as A: choose another episode to compare with it") : null,
      listed.includes(episode) ? null : make("span", { class: "hint" }, "not among the episodes listed"));
  }

  function togglePin() {
    state.pin = state.pin === state.episode ? null : state.episode;
    moved();
  }

  function choose(id) {
    state.episode = id;
    moved();
  }

  function moveBy(distance) {
    const place = listed.findIndex((episode) => episode.id === state.episode);
    const next = listed[place < 0 ? 0 : place + distance];
    if (next) choose(next.id);
  }

  /* Another episode or pin: draw, write the address, show the top of the episode and its line in the list. */
  function moved() {
    render();
    remember();
    const pane = byElementId("reading");
    if (pane.getBoundingClientRect().top < 0) pane.scrollIntoView({ block: "start" });
    const list = byElementId("list");
    const row = list.querySelector('[aria-current="true"]');
    if (row) {
      const [above, below] = [row.offsetTop - list.scrollTop - 60, row.offsetTop + row.offsetHeight - list.scrollTop - list.clientHeight];
      if (above < 0) list.scrollTop += above;
      else if (below > 0) list.scrollTop += below + 20;
    }
  }

  function remember() {
    const hash = writeHash(state);
    if (hash === location.hash || (hash === "#" && !location.hash)) return;
    try {
      history.replaceState(null, "", hash);
    } catch {
      location.hash = hash;
    }
  }

  function readAddress() {
    const read = readHash(location.hash, byId);
    if (read === null) return false;
    state = read.state;
    render({ unknown: read.unknown });
    return true;
  }

  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof Element && event.target.closest("input, select, textarea");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "j") moveBy(1);
    else if (event.key === "k") moveBy(-1);
    else if (event.key === "c") togglePin();
    else return;
    event.preventDefault();
  });
  addEventListener("hashchange", readAddress);
  if (readAddress()) byElementId("trajectories").scrollIntoView();
  else render();
}

unpack(byElementId("episodes").textContent).then(start).catch((error) => {
  byElementId("viewer").dataset.state = "failed";
  byElementId("status").textContent = error.message;
});
