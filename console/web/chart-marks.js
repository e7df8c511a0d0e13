// What is drawn around the line: the episode shaded, invalid spans hatched, the limit and the expected value as named lines.

/** The y range: the data and every named line inside, from zero where the values are near it. @param {(number|null)[]} named */
export function range(lines, named) {
  const values = [...lines.flatMap((line) => (line.low ? [...line.low, ...line.high] : line.value)), ...named].filter((value) => value !== null && value !== undefined);
  if (!values.length) return [0, 1];
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const room = (high - low || Math.abs(high) || 1) * 0.12;
  const floor = low >= 0 && low < high * 0.6 ? 0 : low - room;
  return [floor, high + room];
}

function hatch(ctx, ink) {
  const tile = document.createElement("canvas");
  const size = Math.round(6 * devicePixelRatio);
  tile.width = tile.height = size;
  const pen = tile.getContext("2d");
  pen.strokeStyle = ink("--hatch");
  pen.lineWidth = devicePixelRatio;
  pen.beginPath();
  pen.moveTo(0, size);
  pen.lineTo(size, 0);
  pen.stroke();
  return ctx.createPattern(tile, "repeat");
}

/** Runs of unusable readings as [from, to] instants; each reaches half-way to its neighbours. */
export function badSpans(line) {
  const spans = [];
  for (let k = 0; k < line.time.length; k += 1) {
    if (!line.bad[k]) continue;
    const start = k;
    while (k + 1 < line.time.length && line.bad[k + 1]) k += 1;
    const before = start ? (line.time[start - 1] + line.time[start]) / 2 : line.time[start];
    const after = k + 1 < line.time.length ? (line.time[k + 1] + line.time[k]) / 2 : line.time[k];
    spans.push([before, after]);
  }
  return spans;
}

function band(plot, from, to) {
  const { left, top, width, height } = plot.bbox;
  const clip = (at) => Math.max(left, Math.min(left + width, plot.valToPos(at, "x", true)));
  return [clip(from), top, Math.max(2, clip(to) - clip(from)), height];
}

function level(plot, value, colour, text, dash, ground, font) {
  const { ctx } = plot;
  const y = plot.valToPos(value, "y", true);
  const { left, width } = plot.bbox;
  ctx.strokeStyle = colour;
  ctx.fillStyle = colour;
  ctx.lineWidth = 1.25 * devicePixelRatio;
  ctx.setLineDash(dash.map((one) => one * devicePixelRatio));
  ctx.beginPath();
  ctx.moveTo(left, y);
  ctx.lineTo(left + width, y);
  ctx.stroke();
  ctx.setLineDash([]);
  ctx.font = font.replace(/^\d+px/, `${Math.round(11 * devicePixelRatio)}px`);
  ctx.textAlign = "right";
  ctx.textBaseline = "bottom";
  const wide = ctx.measureText(text).width;
  ctx.save();
  ctx.globalAlpha = 0.85;
  ctx.fillStyle = ground;
  ctx.fillRect(left + width - wide - 8 * devicePixelRatio, y - 17 * devicePixelRatio, wide + 8 * devicePixelRatio, 15 * devicePixelRatio);
  ctx.restore();
  ctx.fillText(text, left + width - 4 * devicePixelRatio, y - 2 * devicePixelRatio);
}

export const marks = {
  under(plot, episode, line, ink) {
    const { ctx } = plot;
    ctx.save();
    ctx.fillStyle = ink("--episode");
    ctx.fillRect(...band(plot, episode.start, episode.end ?? plot.scales.x.max));
    ctx.fillStyle = hatch(ctx, ink);
    for (const [from, to] of badSpans(line)) ctx.fillRect(...band(plot, from, to));
    ctx.restore();
  },
  over(plot, strip, alert, ink, font, t) {
    const { ctx } = plot;
    ctx.save();
    if (strip.limit !== null && strip.limit !== undefined)
      level(plot, strip.limit, ink("--limit"), `${t("limit")} ${strip.limit} ${strip.unit}`, [], ink("--panel"), font);
    const expected = alert.expected;
    if (expected !== null && expected !== undefined && expected !== strip.limit)
      level(plot, expected, ink("--dim"), `${t("expected")} ${Math.round(expected * 100) / 100}`, [5, 4], ink("--panel"), font);
    ctx.restore();
  },
};
