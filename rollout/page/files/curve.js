// Curves over time as SVG, and the same as a table for those who cannot see them.

import { h } from "./dom.js";
import { clock, minute } from "./text.js";

const WIDTH = 440, HEIGHT = 180, LEFT = 40, RIGHT = 84, TOP = 10, BOTTOM = 22;

/**
 * `curves`: [{name, colour, dashed, label, points: [[seconds, value], ...]}], the oldest point first.
 * `format` makes words of a value; `top`: the highest value of the axis, found where not given.
 */
export function chart({ title, curves, from, to, step, format, top, steps }) {
  const drawn = curves.filter((curve) => curve.points.length);
  const highest = Math.max(0, ...drawn.flatMap((curve) => curve.points.map((p) => p[1])));
  const ticks = top ? [0, top / 2, top] : nice(highest);
  const max = ticks[ticks.length - 1];
  const x = (at) => LEFT + ((at - from) / (to - from)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - (value / max) * (HEIGHT - TOP - BOTTOM);
  const labels = spread(drawn.filter((c) => c.label).map((c) => ({ curve: c, y: y(c.points.at(-1)[1]) })));
  return h("figure", { class: "chart" },
    h("figcaption", {}, title),
    drawn.length === 0
      ? h("p", { class: "nothing" }, "Nothing has been measured in this time.")
      : h("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}. ${summary(drawn, format)}` },
          ticks.map((value) => [
            h("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
            h("text", { class: "tick", x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, format(value)),
          ]),
          times(from, to).map((at) =>
            h("text", { class: "tick", x: x(at), y: HEIGHT - 5, "text-anchor": "middle" }, minute(1000 * at))),
          drawn.map((curve) =>
            h("path", {
              class: `curve c-${curve.colour}${curve.dashed ? " dashed" : ""}`,
              d: path(curve.points, x, y, 3.5 * step, steps),
            })),
          labels.map(({ curve, y: at }) => [
            h("circle", { class: `dot c-${curve.colour}`, cx: x(curve.points.at(-1)[0]), cy: y(curve.points.at(-1)[1]), r: 3 }),
            h("text", { class: `name c-${curve.colour}`, x: WIDTH - RIGHT + 8, y: at + 4 },
              `${short(curve.name)} ${format(curve.points.at(-1)[1])}`),
          ])),
    drawn.length > 0 && table(title, drawn, from, to, format));
}

/** One line without axes. */
export function spark(all, colour, step) {
  const gap = all.findLastIndex((p, index) => index > 0 && p[0] - all[index - 1][0] > 3.5 * step);
  const points = all.slice(Math.max(0, gap));
  if (points.length < 2) return null;
  const [from, to] = [points[0][0], points.at(-1)[0]];
  const max = Math.max(1, ...points.map((p) => p[1]));
  const x = (at) => (200 * (at - from)) / Math.max(1, to - from);
  const y = (value) => 38 - (36 * value) / max;
  const line = path(points, x, y, 3.5 * step);
  return h("svg", { class: "spark", viewBox: "0 0 200 40", preserveAspectRatio: "none", "aria-hidden": "true" },
    h("path", { class: `area c-${colour}`, d: `${line}V40H${x(from).toFixed(1)}Z` }),
    h("path", { class: `curve c-${colour}`, d: line }));
}

function path(points, x, y, gap, steps) {
  let text = "", before = null;
  for (const [at, value] of points) {
    const [px, py] = [x(at).toFixed(1), y(value).toFixed(1)];
    if (before === null || at - before > gap) text += `M${px} ${py}`;
    else text += steps ? `H${px}V${py}` : `L${px} ${py}`;
    before = at;
  }
  return text;
}

/** Round values up to one that is at least `highest`. */
function nice(highest) {
  if (highest <= 2) return [0, 1, 2];
  const size = 10 ** Math.floor(Math.log10(highest));
  const max = [1, 2, 4, 6, 10].map((n) => n * size).find((value) => value >= highest);
  return [0, max / 2, max];
}

function times(from, to) {
  const apart = [60, 120, 300, 600, 900, 1800, 3600, 7200].find((s) => (to - from) / s <= 6) ?? 14400;
  const found = [];
  for (let at = Math.ceil(from / apart) * apart; at <= to; at += apart) found.push(at);
  return found;
}

/** Labels at least so far apart that none covers another. */
function spread(labels) {
  const sorted = [...labels].sort((a, b) => a.y - b.y);
  sorted.forEach((label, index) => {
    if (index) label.y = Math.max(label.y, sorted[index - 1].y + 14);
  });
  const over = sorted.length ? Math.max(0, sorted.at(-1).y - (HEIGHT - BOTTOM)) : 0;
  return sorted.map((label) => ({ ...label, y: label.y - over }));
}

const short = (name) => (name.length > 8 ? `${name.slice(0, 7)}…` : name);

function summary(curves, format) {
  return curves
    .map((c) => `${c.name}: ${format(c.points[0][1])} at ${minute(1000 * c.points[0][0])}, ${format(c.points.at(-1)[1])} now`)
    .join("; ");
}

function table(title, curves, from, to, format) {
  const rows = 12, apart = (to - from) / rows;
  const last = Math.floor(to / apart) * apart;
  const moments = Array.from({ length: rows }, (_, index) => last - index * apart);
  const at = (curve, moment) => curve.points.findLast((p) => p[0] <= moment && p[0] > moment - apart);
  return h("details", { class: "as-table" },
    h("summary", {}, "As a table"),
    h("table", {},
      h("caption", { class: "unseen" }, title),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "UTC"),
        curves.map((c) => h("th", { scope: "col" }, c.dashed ? `${c.name}, really` : c.name)))),
      h("tbody", {}, moments.map((moment) => h("tr", {}, h("th", { scope: "row" }, clock(1000 * moment)),
        curves.map((c) => { const p = at(c, moment); return h("td", {}, p ? format(p[1]) : "–"); }))))));
}
