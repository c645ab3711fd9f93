/* One episode: its facts, a strip of its verdicts, its turns. */

const OUTCOME_WORDS = { won: "✓ won", lost: "✗ lost", truncated: "✗ truncated" };

function outcomeBadge(episode) {
  const outcome = outcomeOf(episode);
  return make("span", { class: `badge ${outcome}` }, OUTCOME_WORDS[outcome]);
}

/* Origin of the episode, without the values that all episodes of the page share. */
function whoPlayed(episode, shared) {
  const { method, seed, origin, phase, step } = episode.source;
  return [
    shared.method ? null : method,
    shared.seed ? null : `seed ${seed}`,
    episode.training ? `step ${step}${phase ? `, phase ${phaseName(phase)}` : ""}` : origin.replace("evaluation: ", "").replaceAll("_", " "),
  ].filter(Boolean).join(" · ");
}

function episodeHead(episode, letter) {
  const { source } = episode;
  const fact = (name, value, title) => make("div", { title }, make("dt", {}, name), make("dd", {}, value));
  const advantage = episode.heldBack ? "held back" : signed(episode.advantage);
  return make("header", { class: "episode-head" },
    make("h3", {},
      letter ? make("span", { class: "letter" }, letter) : null,
      make("span", {}, visible(episode.task)), " ", outcomeBadge(episode)),
    make("p", { class: "origin" }, visible([
      episode.type.replaceAll("_", " "), episode.split, source.method, `seed ${source.seed}`, `run ${source.run}`,
      source.origin.replaceAll("_", " "), source.phase ? `phase ${phaseName(source.phase)}` : null, `step ${source.step}`,
      episode.training ? `group ${episode.groupNumber}, item ${episode.item}` : null,
    ].filter(Boolean).join(" · "))),
    make("dl", { class: "facts" },
      fact("turns", String(episode.turns)),
      fact("R_env", reward(episode.rEnv), "sum of the environment's rewards"),
      fact("R_sg", signed(episode.rSg), "sum of the rewards of the verdicts"),
      source.trust === null ? null : fact("λ", figure(source.trust), "trust in R_sg at this step"),
      !episode.training ? null : [
        fact("R", figure(episode.rTotal), "scale · R_env + λ R_sg: normalised within the group"),
        fact("advantage", advantage, episode.heldBack ? "in quarantine: not trained on"
          : knownOf(episode).credit ? "of every policy token, before what its turn adds" : "of every policy token"),
      ],
      episode.score !== null && episode.score !== Number(episode.won) ? fact("score", figure(episode.score)) : null,
      fact("log-prob gap", gapText(largestGap(episode)), "largest |trainer − sampler| log-probability of a token")),
    strip(episode));
}

/* The verdicts of all turns in one row; a click scrolls to the turn. */
function strip(episode) {
  const counts = { positive: 0, neutral: 0, negative: 0, unparsed: 0, none: 0 };
  const marks = [];
  for (let number = 0; number < episode.turns; number += 1) {
    const turn = turnOf(episode, number);
    const verdict = verdictOf(turn);
    counts[verdict] += 1;
    const state = turn.actionValid ? "" : ", invalid action";
    marks.push(make("span", {
      class: `mark ${verdict}${turn.actionValid ? "" : " invalid"}`,
      title: `turn ${number}: ${verdict === "none" ? "no guidance" : verdict}${state}`,
      click: (event) => goToTurn(event.currentTarget, number),
    }, MARKS[verdict]));
  }
  const words = Object.entries(counts).filter(([, times]) => times > 0)
    .map(([verdict, times]) => `${times} ${verdict === "none" ? "without guidance" : verdict}`);
  return make("div", { class: "strip-row" },
    make("div", { class: "strip", role: "img", "aria-label": `Guidance turn by turn: ${words.join(", ")}` }, marks),
    make("span", { class: "strip-words" }, words.join(", ")));
}

function goToTurn(mark, number) {
  const turn = mark.closest(".reading").querySelector(`[data-turn="${number}"]`);
  turn?.scrollIntoView({ block: "center" });
}

/* Over all turns; null if it was not measured. */
function largestGap(episode) {
  const measured = episode.data.turns.gap.slice(episode.first, episode.first + episode.turns).filter((gap) => gap !== null);
  return measured.length ? Math.max(...measured) : null;
}

/* What the page has of an episode besides its texts and rewards. */
function knownOf(episode) {
  return { gap: largestGap(episode) !== null, credit: episode.data.turns.action_credit[episode.first] !== null };
}

/* All turns, with the running sum of R_sg and the advantage of the turn's tokens. */
function turnsOf(episode) {
  let running = 0;
  return Array.from({ length: episode.turns }, (_, number) => {
    const turn = turnOf(episode, number);
    running += turn.rSg ?? 0;
    const advantage = (credit) => (credit === null ? null : episode.advantage + credit);
    return {
      ...turn,
      running: episode.rSg === null ? null : running,
      verdictAdvantage: advantage(turn.verdictCredit),
      actionAdvantage: advantage(turn.actionCredit),
    };
  });
}

/* `known`: of the episode, see `knownOf`; `query`: words to mark. */
function turnElement(turn, { known, query }) {
  const verdict = verdictOf(turn);
  return make("div", { class: `turn ${verdict}`, "data-turn": String(turn.number) },
    make("div", { class: "number" }, String(turn.number)),
    make("div", { class: "words" },
      make("p", { class: "observation" }, marked(turn.observation, query)),
      verdict === "none" ? null : make("p", { class: `guidance ${verdict}` },
        make("span", { class: "verdict" }, `${MARKS[verdict]} ${verdict}`), " ",
        turn.guidance === null ? make("em", {}, "no guidance found: counts as neutral")
          : marked(wording(turn), query)),
      make("p", { class: `action${turn.actionValid ? "" : " invalid"}` },
        make("span", { class: "prompt" }, ">"), " ", make("code", {}, marked(turn.action, query)),
        turn.actionParsed ? null : make("span", { class: "flag" }, "? no action tag"),
        turn.actionValid ? null : make("span", { class: "flag" }, "✗ invalid"))),
    numbers(turn, known));
}

/* The guidance without its leading verdict, which is already shown. */
function wording(turn) {
  const head = new RegExp(`^\\s*${turn.polarity}\\b[\\s.,:;-]*`, "i");
  return turn.guidanceParsed ? turn.guidance.replace(head, "") : turn.guidance;
}

const NUMBERS = [
  ["r_env", "reward of the environment", (turn) => reward(turn.reward)],
  ["r_sg", "reward of the verdict", (turn) => signed(turn.rSg)],
  ["Σ r_sg", "R_sg so far", (turn) => signed(turn.running)],
  ["log π(z)", "mean log-probability of the guidance tokens, as sampled", (turn) => figure(turn.guidanceLogprob, 3)],
  ["log π(a)", "mean log-probability of the action tokens, as sampled", (turn) => figure(turn.actionLogprob, 3)],
  ["A(v)", "advantage of the verdict's tokens: the episode's, and what this turn adds", (turn) => signed(turn.verdictAdvantage)],
  ["A(a)", "advantage of plan and action: the episode's, and what this turn adds", (turn) => signed(turn.actionAdvantage)],
  ["gap", "largest |trainer − sampler| log-probability of the turn's tokens", (turn) => gapText(turn.gap)],
];

/* A column without any value is left out; the head of the episode has the gap and the advantage of all tokens. */
function numbersShown(known) {
  return NUMBERS.filter(([name]) => (name === "gap" ? known.gap : !name.startsWith("A(") || known.credit));
}

function numbers(turn, known) {
  return make("dl", { class: "numbers" }, numbersShown(known).map(([name, title, text]) =>
    make("div", { title, class: text(turn).length > 8 ? "long" : null }, make("dt", {}, name), make("dd", {}, text(turn)))));
}

function readOne(episode, query) {
  const known = knownOf(episode);
  const kinds = `${known.gap ? " measured" : ""}${known.credit ? " credited" : ""}`;
  return [
    episodeHead(episode),
    make("div", { class: `turns single${kinds}` },
      make("div", { class: "column-names", "aria-hidden": "true" },
        make("div", {}), make("div", {}, "observation, guidance, action"),
        make("div", { class: "names" }, numbersShown(known).map(([name, title]) => make("span", { title }, name)))),
      turnsOf(episode).map((turn) => turnElement(turn, { known, query })), ending(episode)),
  ];
}

function ending(episode) {
  const words = { won: "won", lost: "lost: ended by the environment", truncated: "lost: truncated, turn or token limit reached" };
  return make("p", { class: `ending ${outcomeOf(episode)}` }, `${words[outcomeOf(episode)]} after ${count(episode.turns, "turn")}`);
}
