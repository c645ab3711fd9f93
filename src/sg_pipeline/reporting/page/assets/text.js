/* Elements and numbers. Text from the data only ever becomes a text node. */

const NONE = "–";
const MARKS = { positive: "+", neutral: "=", negative: "−", unparsed: "?", none: "·" };

/* An element with attributes (`class`, `title`, ..., a function is an event listener) and children. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/* Text with invisible characters, and those that reverse the text direction, made visible. */
function visible(text) {
  return text
    .replace(/[\u0000-\u0008\u000b-\u001f]/g, (character) => String.fromCharCode(0x2400 + character.charCodeAt(0)))
    .replace(/[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, (character) =>
      `⟨U+${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

/* Visible text with matches of `query` marked. */
function marked(text, query) {
  const shown = visible(text);
  if (!query) return [shown];
  const [lowered, wanted] = [shown.toLowerCase(), query.toLowerCase()];
  if (lowered.length !== shown.length) return [shown]; // a character whose lower-case form is longer: positions would not match
  const parts = [];
  let end = 0;
  for (let at = lowered.indexOf(wanted); at >= 0; at = lowered.indexOf(wanted, end)) {
    parts.push(shown.slice(end, at), make("mark", {}, shown.slice(at, at + wanted.length)));
    end = at + wanted.length;
  }
  return [...parts, shown.slice(end)];
}

function figure(value, digits = 2) {
  if (value === null || value === undefined) return NONE;
  return value.toFixed(digits).replace(/^-(0\.?0*)$/, "$1").replace("-", "−");
}

function signed(value, digits = 2) {
  const text = figure(value, digits);
  return value > 0 && /[1-9]/.test(text) ? `+${text}` : text;
}

/* A reward; an integer without decimals. */
function reward(value) {
  return value === null ? NONE : Number.isInteger(value) ? String(value).replace("-", "−") : figure(value);
}

/* A log-probability gap; its order of magnitude matters. */
function gapText(value) {
  if (value === null) return "not measured";
  return value === 0 ? "0" : value.toExponential(1).replaceAll("-", "−");
}

function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

/* The verdict of a turn in one word. */
function verdictOf(turn) {
  if (turn.polarity === null) return "none";
  return turn.guidanceParsed ? turn.polarity : "unparsed";
}
