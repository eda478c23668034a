// The sections of the page, each made from what the controller tells.

import { h } from "./dom.js";
import { chart, spark } from "./curve.js";
import { clock, day, long, number, percent, seconds } from "./text.js";

const SIGNS = { good: "✓", calm: "", warn: "!", bad: "✕", unknown: "?" };
const SPANS = [["15m", "15 min"], ["1h", "1 h"], ["6h", "6 h"]];
const CHECKS = {
  routing: "New runs", routing_settled: "Routing", server_status: "Server", fresh: "Fresh", open_runs: "Open runs",
  backlog: "Waiting tasks", new_runs: "New runs wait", replacement: "Replacement", hosts: "Hosts",
};

/** What is wanted, and why nothing happens, or what. */
export function state({ status, steps }) {
  const ramping = status.ramping && status.ramping.build_id !== status.target ? `, ramping ${status.ramping.build_id}` : "";
  return [
    h("p", { class: "phase" },
      h("strong", { class: `badge phase-${status.phase}` }, status.phase),
      h("span", {}, status.reason)),
    h("dl", { class: "facts" },
      fact("Wanted", status.target), fact("Current", (status.current ?? "none") + ramping),
      status.manager && fact("Decides", status.manager), status.paused && fact("Paused", "in rollout.toml")),
    steps.length > 0 && h("ol", { class: "steps", "aria-label": "Steps" }, steps.map((mark) =>
      h("li", { class: mark.state, "aria-current": mark.state === "here" ? "step" : null },
        h("span", { class: "sign", "aria-hidden": "true" }, { done: "✓", here: "▶", ahead: "" }[mark.state]),
        h("span", { class: "unseen" }, { done: "done: ", here: "here: ", ahead: "ahead: " }[mark.state]),
        `${mark.percentage} %`, pause(mark)))),
  ];
}

const fact = (name, text) => h("div", {}, h("dt", {}, name), h("dd", {}, text));

function pause(mark) {
  if (mark.left === null) return null;
  return h("small", {}, mark.left < 0 ? ` held for ${long(-mark.left)}` : ` ${long(mark.left)} more`);
}

/** The four questions. What is not fresh is no answer: `doubt` says since when. */
export function answers(shown, past, doubt) {
  const pictures = [shares(shown), drain(shown, past), failures(shown), null];
  return shown.answers.map((each, index) => {
    const { answer, tone, text } = doubt
      ? { answer: "Not known", tone: "unknown", text: `at ${doubt} it was: ${each.answer}` } : each;
    return h("article", { class: `answer tone-${tone}` },
      h("h2", {}, each.question),
      h("p", { class: "big" }, SIGNS[tone] && h("span", { class: "sign", "aria-hidden": "true" }, SIGNS[tone]), answer),
      h("p", { class: "why" }, text),
      !doubt && pictures[index]);
  });
}

function shares({ status, colours }) {
  const routed = status.versions.filter((v) => v.target_share > 0 || v.real_share > 0);
  const known = routed.length > 0 && routed.every((v) => v.real_share !== null);
  const bar = (name, of) => h("div", { class: "shares" }, h("span", { class: "label" }, name),
    of ? h("span", { class: "bar" }, routed.map((v) =>
      h("span", { class: `part c-${colours[v.build_id]}`, vars: { "--part": `${100 * of(v)}%` } },
        of(v) > 0.12 && h("span", {}, v.build_id))))
      : h("span", { class: "bar none" }, "not counted"));
  if (!routed.length) return null;
  return h("div", { class: "picture", "aria-hidden": "true" },
    bar("meant", (v) => v.target_share), bar("real", known && ((v) => v.real_share)));
}

function drain({ answers: told, colours }, past) {
  const build = told[1].build_id;
  const points = build && past?.curves.open[build];
  return points && h("div", { class: "picture" }, spark(points, colours[build], past.step));
}

function failures({ comparison: compared, colours }) {
  if (!compared || !compared.failures.length) return null;
  const rows = compared.failures.filter((row) => row.builds.some((each) => each.of > 0)).slice(0, 3);
  return h("table", { class: "small" },
    h("caption", { class: "unseen" }, "Failures"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "failed"),
      [compared.old, compared.new].map((b) => h("th", { scope: "col" }, build(b, colours))))),
    h("tbody", {}, rows.map((row) => h("tr", {}, h("th", { scope: "row" }, row.what),
      row.builds.map((each) => h("td", {}, each.of ? percent(each.failed / each.of) : "–"))))));
}

/** A build's name with its colour. */
function build(name, colours) {
  return h("span", { class: `build c-${colours[name] ?? "none"}` }, name);
}

export function warnings({ status }) {
  const all = status.warnings;
  if (!all.length) return null;
  return [h("h2", {}, all.length === 1 ? "One warning" : `${all.length} warnings`),
    h("ul", {}, all.map((text) => h("li", {}, text)))];
}

/** All builds side by side; those where nothing is left come last. */
export function builds({ status, colours }, doubt) {
  const quiet = (v) => v.target_share === 0 && v.open_runs === 0 && v.workers === 0;
  const all = [...status.versions].sort((a, b) => quiet(a) - quiet(b));
  const busy = all.filter((v) => !quiet(v)).length;
  const [rows, rest] = [all.slice(0, busy + 5), all.slice(busy + 5)];
  const hosts = status.hosts === null || status.hosts.length > 0;
  const heads = ["Build", "Status", "Meant", "Real", "Open runs", "Waiting", "Workers", "Process", hosts && "Hosts", "Safe to stop"].filter(Boolean);
  return [
    h("h2", {}, "Builds"),
    h("table", { class: "builds", role: "table" },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads.map((head) => h("th", { scope: "col", role: "columnheader" }, head)))),
      h("tbody", { role: "rowgroup" }, rows.map((v) => {
        const cells = [
          v.strategy && h("small", {}, ` ${v.strategy}`),
          v.blocked ? h("span", { class: "bad", title: v.blocked }, `${v.status}, blocked`) : v.status,
          share(v.target_share, colours[v.build_id]), share(v.real_share, colours[v.build_id]),
          open(v), waiting(v), number(v.workers), process(v.process), hosts && onHosts(v.hosts),
          doubt ? "not known" : v.safe_to_stop ? h("span", { class: "good" }, "yes") : "no",
        ].filter((cell) => cell !== false);
        return h("tr", { role: "row", class: quiet(v) ? "quiet" : null }, cells.map((cell, index) => index
          ? h("td", { role: "cell", "data-label": heads[index] }, cell)
          : h("th", { scope: "row", role: "rowheader" }, build(v.build_id, colours), cell)));
      }))),
    rest.length > 0 && h("p", { class: "source" }, `${rest.length} more where nothing is left: ${rest.map((v) => v.build_id).join(", ")}`),
  ];
}

function share(value, colour) {
  if (value === null) return "?";
  return h("span", { class: "share" },
    h("span", { class: "bar", "aria-hidden": "true" }, h("span", { class: `part c-${colour}`, vars: { "--part": `${100 * value}%` } })),
    percent(value));
}

function open(v) {
  if (v.open_pinned === null || !v.open_auto_upgrade) return number(v.open_runs);
  return [number(v.open_runs), h("small", {}, ` ${number(v.open_auto_upgrade)} can move`)];
}

function waiting(v) {
  if (!v.waiting_tasks || v.waiting_age_seconds === null) return number(v.waiting_tasks);
  return [number(v.waiting_tasks), h("small", {}, ` for ${long(v.waiting_age_seconds)}`)];
}

function process(name) {
  if (!name) return "–";
  const bad = ["FATAL", "BACKOFF", "EXITED"].includes(name);
  return h("span", { class: bad ? "bad" : null }, name.toLowerCase());
}

function onHosts(hosts) {
  const names = Object.entries(hosts);
  return names.length ? names.map(([name, of]) => `${name || "here"} ${of.toLowerCase()}`).join(", ") : "–";
}

/** The falling curve of open runs, and who gets the new ones. */
export function curves(past, { colours }, span, choose) {
  const heads = h("div", { class: "head" },
    h("h2", {}, "The way so far"),
    h("fieldset", {}, h("legend", { class: "unseen" }, "How far back"),
      SPANS.map(([value, text]) => h("label", {},
        h("input", { type: "radio", name: "span", value, first: value === span ? { checked: "" } : {}, on: { onchange: () => choose(value) } }),
        h("span", {}, text)))));
  if (!past) return [heads, h("p", { class: "nothing" }, "Reading…")];
  const of = (kind, options) => Object.entries(past.curves[kind]).map(([name, points]) =>
    ({ name, points, colour: colours[name] ?? "none", label: true, ...options }));
  const time = { from: past.from, to: past.to, step: past.step };
  const real = of("real", { dashed: true, label: false }).filter((c) => past.curves.meant[c.name]);
  return [heads,
    h("div", { class: "pair" },
      chart({ title: "Open runs", curves: of("open"), format: (n) => number(Math.round(n)), ...time }),
      chart({ title: "Share of new runs: meant, and real dashed", curves: [...of("meant"), ...real], format: percent, top: 1, steps: true, ...time })),
    h("p", { class: "source" }, past.source === "prometheus" ? "From Prometheus." : "From the controller's own memory, of six hours at most.")];
}

/** The judge's numbers. */
export function comparison({ comparison: compared, colours }) {
  if (!compared) return null;
  const pair = [compared.old, compared.new];
  const cell = (each) => each.of ? [`${number(each.failed)} of ${number(each.of)}`, h("small", {}, ` ${percent(each.failed / each.of)}`)] : "–";
  return [
    h("h2", {}, "Old against new"),
    h("p", { class: "source" }, `Failures of the last ${long(compared.counted_seconds)}, latencies of ${long(compared.window_seconds)}, `
      + (compared.source === "server" ? "as the server counts." : "as Prometheus has them.")),
    compared.problem ? h("p", { class: "bad" }, compared.problem) : h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span", { class: "unseen" }, "What")), pair.map((b) => h("th", { scope: "col" }, build(b, colours))))),
      h("tbody", {},
        compared.failures.map((row) => h("tr", {}, h("th", { scope: "row" }, `${row.what} failed`), row.builds.map((each) => h("td", {}, cell(each))))),
        compared.latencies.map((row) => h("tr", {}, h("th", { scope: "row" }, row.what), row.builds.map((each) => h("td", {}, seconds(each))))),
        compared.checks.map((check) => h("tr", {}, h("th", { scope: "row" }, `check ${check.name}`), h("td", {}, "–"), h("td", {}, number(check.value)))))),
  ];
}

/** The verdict on each build that may be stopped one day, point by point. */
export function evidence({ status, old, colours }, doubt) {
  const others = status.versions.filter((v) => v.build_id !== old && v.build_id !== status.target
    && v.status !== "unregistered" && (v.workers !== 0 || v.open_runs !== 0));
  const told = [...status.versions.filter((v) => v.build_id === old), ...others];
  if (!told.length) return null;
  return [h("h2", {}, "Safe to stop, point by point"), told.map((v) =>
    h("details", { key: v.build_id, first: v.build_id === old ? { open: "" } : {} },
      h("summary", {}, build(v.build_id, colours), " ",
        doubt ? h("span", {}, `not known since ${doubt}`)
          : v.safe_to_stop ? h("span", { class: "good" }, "✓ safe to stop") : h("span", {}, "not safe to stop")),
      h("ul", { class: "points" }, v.evidence.map((point) =>
        h("li", { class: doubt ? "" : point.ok ? "ok" : "against" },
          h("span", { class: "sign", "aria-hidden": "true" }, doubt ? "?" : point.ok ? "✓" : "✕"),
          h("span", { class: "unseen" }, doubt ? "not known: " : point.ok ? "holds: " : "against: "),
          h("b", {}, CHECKS[point.check] ?? point.check), h("span", {}, point.detail))))))];
}

export function events({ events: told }) {
  return [h("h2", {}, "What happened"),
    told.length === 0 ? h("p", { class: "nothing" }, "Nothing yet.") :
      h("ol", { class: "timeline", tabindex: "0", "aria-label": "Newest first" }, told.map((each, index) => [
        (index === 0 || day(each.at) !== day(told[index - 1].at)) && day(each.at) !== day(Date.now()) && h("li", { class: "day" }, day(each.at)),
        h("li", { class: each.did ? "did" : "saw" }, h("time", { datetime: each.at }, clock(each.at)), h("span", {}, each.text)),
      ]))];
}
