// The page follows its controller: it asks each second, and says so at once where that fails or
// what it gets is old. What is not known to be so now is never shown as if it were.

import { h, show } from "./dom.js";
import * as parts from "./parts.js";
import { clock, long } from "./text.js";

const EVERY = 1000, PATIENCE = 5000, PAST_EVERY = 10000, PAST_SOON = 1000;
const at = (id) => document.getElementById(id);
const wanted = new URLSearchParams(location.search).get("deployment");

let page = null; // the last answer
let answered = null; // when it came, by both of this machine's clocks
let failed = null; // why the newest question had no answer
let past = null, span = "15m", pastWanted = 0;
let told = "";

const began = new Date();

/** The controller's time. One of our clocks may stand still while a laptop sleeps. */
function now() {
  const passed = Math.max(performance.now() - answered.steady, Date.now() - answered.wall, 0);
  return Date.parse(page.now) + passed;
}

async function ask(path, query) {
  const asked = await fetch(`${path}?${new URLSearchParams(query)}`, {
    cache: "no-store", credentials: "omit", redirect: "error", signal: AbortSignal.timeout(PATIENCE),
  });
  if (!asked.ok) throw new Error(`HTTP ${asked.status}`);
  return asked.json();
}

async function follow() {
  try {
    const next = await ask("/api/v1/page", wanted === null ? {} : { deployment: wanted });
    page = next;
    answered = { steady: performance.now(), wall: Date.now() };
    failed = null;
    if (page.shown && performance.now() >= pastWanted) await lookBack();
    if (page.shown) goOn();
  } catch (error) {
    failed = error;
  }
  draw();
  setTimeout(follow, EVERY);
}

async function lookBack() {
  pastWanted = performance.now() + PAST_EVERY;
  try {
    const found = await ask("/api/v1/past", { deployment: page.shown.deployment, span });
    if (!found) return;
    past = found;
    if (found.pending) pastWanted = performance.now() + PAST_SOON;
  } catch { /* the curves stay as they are, and say until when */ }
}

/** The newest look is the last point of each curve. */
function goOn() {
  const { status } = page.shown;
  if (!past || !status) return;
  const moment = Math.round(Date.parse(status.observed_at) / 1000);
  for (const v of status.versions) {
    for (const [kind, value] of [["open", v.open_runs], ["meant", v.target_share], ["real", v.real_share]]) {
      const curve = past.curves[kind];
      if (value === null || (!curve[v.build_id] && !value)) continue;
      const points = (curve[v.build_id] ??= []);
      if (!points.length || points.at(-1)[0] < moment) points.push([moment, value]);
    }
  }
  const length = past.to - past.from;
  past.to = Math.max(past.to, moment);
  past.from = past.to - length;
  for (const curve of Object.values(past.curves))
    for (const points of Object.values(curve)) while (points.length > 1 && points[1][0] < past.from) points.shift();
}

/** Why what is shown may not be so any more, or null. */
function doubtOf(status) {
  if (failed) return "gone";
  return now() - Date.parse(status.observed_at) > 1000 * page.shown.fresh_seconds ? "old" : null;
}

function draw() {
  if (!page) {
    document.body.dataset.state = failed ? "gone" : "starting";
    const since = clock(began);
    show(at("alarm"), failed && h("p", { class: "alarm" }, `The controller has not answered since ${since} UTC.`));
    return;
  }
  const { shown } = page;
  show(at("deployments"), page.deployments.length > 1 && page.deployments.map((each) =>
    h("a", { href: `/?${new URLSearchParams({ deployment: each.deployment })}`, "aria-current": each.deployment === shown?.deployment ? "page" : null },
      each.deployment, each.phase && h("small", {}, ` ${each.phase}`))));
  if (!shown) {
    document.body.dataset.state = "none";
    const there = page.deployments.map((each) => each.deployment).join(", ") || "none yet";
    show(at("alarm"), h("p", { class: "alarm" }, failed ? notAnswering() : wanted === null
      ? "No deployment is followed yet." : `No deployment ${wanted} is followed here; there is ${there}.`));
    show(at("live"), "");
    return;
  }
  show(at("name"), shown.deployment);
  const { status } = shown;
  show(at("place"), [status && `namespace ${status.namespace}`, `server ${shown.server}`].filter(Boolean).join(" · "));
  const kind = status ? doubtOf(status) : failed ? "gone" : "unread";
  document.body.dataset.state = kind ?? "live";
  const seen = status && clock(status.observed_at);
  show(at("alarm"), kind && h("p", { class: "alarm" }, {
    gone: notAnswering(),
    old: `The controller has not seen the server since ${seen} UTC${shown.unread ? `: ${shown.unread}` : ""}.`,
    unread: `Nothing has been seen yet${shown.unread ? `: ${shown.unread}` : ""}.`,
  }[kind], status && " What stands below was so then, and may not be so now."));
  show(at("live"), h("span", { class: "pulse", "aria-hidden": "true" }), kind === null
    ? `live, seen ${long((now() - Date.parse(status.observed_at)) / 1000)} ago`
    : { gone: "not answering", old: "not seen", unread: "nothing seen yet" }[kind]);
  show(at("events"), parts.events(shown));
  if (!status) return;
  const doubt = kind && seen;
  show(at("state"), parts.state(shown));
  show(at("answers"), parts.answers(shown, past, doubt));
  show(at("warnings"), parts.warnings(shown));
  show(at("builds"), parts.builds(shown, doubt));
  show(at("curves"), parts.curves(past, shown, span, choose));
  show(at("comparison"), parts.comparison(shown));
  show(at("evidence"), parts.evidence(shown, doubt));
  announce(shown, doubt);
}

function notAnswering() {
  return `The controller has not answered since ${clock(answered.wall)} UTC (${long((Date.now() - answered.wall) / 1000)}).`;
}

/** What a screen reader says by itself: the phase and the verdict, when they change. */
function announce(shown, doubt) {
  const stop = shown.answers.at(-1);
  const text = doubt ? "What is shown is not known to be so now." : `${shown.status.phase}. ${stop.question} ${stop.answer}.`;
  document.title = `${doubt ? "? " : ""}${shown.deployment}: ${shown.status.phase}`;
  if (text !== told) show(at("told"), text);
  told = text;
}

function choose(value) {
  span = value;
  past = null;
  pastWanted = 0;
  draw();
}

document.addEventListener("visibilitychange", draw);
follow();
