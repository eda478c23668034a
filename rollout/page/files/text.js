// Figures and times in words. What is not known is "?" and never 0.

export const number = (n) => (n === null || n === undefined ? "?" : n.toLocaleString("en"));

export function percent(share) {
  if (share === null || share === undefined) return "?";
  if (share > 0 && share < 0.005) return "<1 %";
  if (share < 1 && share > 0.995) return ">99 %";
  return `${Math.round(100 * share)} %`;
}

export function seconds(value) {
  if (value === null || value === undefined) return "?";
  if (value < 1) return `${Math.round(1000 * value)} ms`;
  return value < 10 ? `${value.toFixed(1)} s` : long(value);
}

export function long(value) {
  const s = Math.max(0, Math.round(value));
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  return s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
}

/** The time of day in UTC, as all of this project tells it. */
export const clock = (at) => new Date(at).toISOString().slice(11, 19);
export const minute = (at) => new Date(at).toISOString().slice(11, 16);
export const day = (at) => new Date(at).toISOString().slice(0, 10);
