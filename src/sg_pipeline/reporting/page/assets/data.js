/* Unpacks the data that source.py packed: episodes, with turns that are read on demand. */

const VERSION = 1;
const POLARITIES = ["positive", "neutral", "negative"];
const FLAGS = { guidanceParsed: 1, actionParsed: 2, actionValid: 4 };

async function unpack(base64) {
  if (typeof DecompressionStream === "undefined") {
    throw new Error(
      "This browser cannot unpack the trajectories: it lacks DecompressionStream (Chrome 80, Safari 16.4, Firefox 113).");
  }
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const content = JSON.parse(await new Response(stream).text());
  if (content.version !== VERSION) {
    throw new Error(`The trajectories are of version ${content.version}, but this page reads ${VERSION}.`);
  }
  return content;
}

/* All episodes, in order. `group` joins related ones: in training one GRPO group, in evaluation one game under all
   policies. */
function readEpisodes(content) {
  const { episodes: columns, turns, strings, sources } = content;
  const lowered = new Map();
  const data = { strings, turns, lowered };
  let first = 0;
  return columns.source.map((number, index) => {
    const source = sources[number];
    const column = (name) => columns[name][index];
    const split = strings[column("split")];
    const task = strings[column("task")];
    const training = source.origin === "training";
    const place = [source.run, source.origin.replaceAll(" ", "-"), source.step, split, column("group"), column("item")];
    const episode = {
      index, source, split, task, training,
      id: place.join("/"),
      group: training ? place.slice(0, 5).join("/") : `game/${split}/${task}`,
      type: strings[column("type")],
      groupNumber: column("group"),
      item: column("item"),
      first,
      turns: column("turns"),
      won: Boolean(column("won")),
      truncated: Boolean(column("truncated")),
      heldBack: Boolean(column("held_back")),
      score: column("score"),
      rEnv: column("r_env"),
      rSg: column("r_sg"),
      rTotal: column("r_total"),
      advantage: column("advantage"),
      data,
    };
    first += episode.turns;
    return episode;
  });
}

/* One turn; `rSg` is null where the turn has no guidance. */
function turnOf(episode, number) {
  const { strings, turns } = episode.data;
  const at = episode.first + number;
  const text = (name) => (turns[name][at] < 0 ? null : strings[turns[name][at]]);
  const flag = (name) => Boolean(turns.flags[at] & FLAGS[name]);
  const polarity = turns.polarity[at] < 0 ? null : POLARITIES[turns.polarity[at]];
  return {
    number, polarity,
    observation: text("observation"),
    guidance: text("guidance"),
    guidanceParsed: flag("guidanceParsed"),
    action: text("action"),
    actionParsed: flag("actionParsed"),
    actionValid: flag("actionValid"),
    reward: turns.reward[at],
    rSg: polarity === null ? null : episode.source.values[polarity],
    guidanceLogprob: turns.guidance_logprob[at],
    actionLogprob: turns.action_logprob[at],
    gap: turns.gap[at],
    verdictCredit: turns.verdict_credit[at],
    actionCredit: turns.action_credit[at],
  };
}

function outcomeOf(episode) {
  return episode.won ? "won" : episode.truncated ? "truncated" : "lost";
}

/* Marks each text that contains `query`, ignoring case: 1 or 0 per text. */
function textsWith(strings, query) {
  const wanted = query.toLowerCase();
  const found = new Uint8Array(strings.length);
  strings.forEach((text, number) => {
    found[number] = text.toLowerCase().includes(wanted) ? 1 : 0;
  });
  return found;
}

/* Whether any observation, guidance or action of the episode is among the marked texts. */
function mentions(episode, found) {
  const { observation, guidance, action } = episode.data.turns;
  for (let at = episode.first; at < episode.first + episode.turns; at += 1) {
    if (found[observation[at]] || found[guidance[at]] || found[action[at]]) return true;
  }
  return false;
}
