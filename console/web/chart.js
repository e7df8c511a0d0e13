// The heart of the detail: one time axis, stacked strips, a shared cursor, the limit always in view, gaps open; a table under it.
import uPlot from "uplot";
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "./h.js";
import { both, lang, t, word } from "./i18n.js";
import { dayTime, fullTime, minuteTime, number, unitText } from "./format.js";
import { call, query } from "./api.js";
import { say, theme } from "./store.js";
import { useThing } from "./detail.js";
import { marks, range } from "./chart-marks.js";

const SYNC = uPlot.sync("detail");
const SHOWN = ["zs_avg", "zs_rtd", "avg", "rtd"];
const COMPANION = 64;
const PERIODS = ["realtime", "minute", "hour", "day"];

/** The lines worth drawing, the judged one first: converted before dry, mean before instant. */
export function drawn(strip) {
  const known = strip.lines.filter((line) => SHOWN.includes(line.stat)).sort((a, b) => SHOWN.indexOf(a.stat) - SHOWN.indexOf(b.stat));
  return (known.length ? known : strip.lines).slice(0, 2);
}

const ticks = (_, splits, __, ___, step) =>
  splits.map((at) => (step >= 86400e3 || minuteTime(at) === "00:00" ? dayTime(at) : minuteTime(at)));

/** A long span has windows: the mean is drawn, and behind it the band from the least to the greatest value. */
const banded = (line) => line.low !== undefined;
const columns = (line) => (banded(line) ? [line.time, line.value, line.low, line.high] : [line.time, line.value]);

function drawing(lines, ink) {
  const series = [{}];
  const bands = [];
  lines.forEach((line, k) => {
    const stroke = ink(k ? "--second" : "--measured");
    series.push({ stroke, width: k ? 1 : 1.6, points: { show: line.time.length < 60, size: 4 }, spanGaps: false });
    if (!banded(line)) return;
    const edge = { stroke: "transparent", width: 0, points: { show: false }, spanGaps: false };
    bands.push({ series: [series.length + 1, series.length], fill: ink(k ? "--second-band" : "--measured-band") });
    series.push(edge, { ...edge });
  });
  return { series, bands };
}

function options(strip, lines, data, alert, main, width, css, onCursor) {
  const ink = (name) => css.getPropertyValue(name).trim();
  const font = `11px ${css.fontFamily}`;
  const axis = {
    stroke: ink("--dim"),
    font,
    grid: { stroke: ink("--rule"), width: 1 },
    ticks: { stroke: ink("--rule"), width: 1, size: 4 },
  };
  return {
    width,
    height: main ? 210 : COMPANION,
    ms: 1,
    tzDate: (at) => uPlot.tzDate(new Date(at), "Asia/Shanghai"),
    legend: { show: false },
    padding: [8, 18, main ? 0 : 2, 0],
    cursor: { sync: { key: SYNC.key, setSeries: false }, drag: { x: false, y: false }, points: { size: 6 }, y: main },
    scales: {
      x: { time: true, range: () => [data.start, data.end] },
      y: { range: () => range(lines, main ? [strip.limit, alert.expected] : []) },
    },
    axes: [
      { ...axis, values: ticks, size: 26, show: main },
      { ...axis, size: 46, space: main ? 34 : 26, values: (_, splits) => splits.map(number) },
    ],
    ...drawing(lines, ink),
    hooks: {
      drawClear: [(plot) => marks.under(plot, data.episode, lines[0], ink)],
      draw: [
        (plot) => {
          if (main) marks.over(plot, strip, alert, ink, font, t);
        },
      ],
      setCursor: [(plot) => onCursor(plot.cursor.idx)],
    },
  };
}

function Strip({ strip, data, alert, main }) {
  const box = useRef(null);
  const joined = useRef(null); // the instants of the drawn rows: two lines need not share them
  const [at, setAt] = useState(null);
  const lines = drawn(strip);
  useEffect(() => {
    if (!lines.length) return undefined;
    const rows = uPlot.join(
      lines.map(columns),
      lines.map((line) => columns(line).slice(1).map(() => 2)),
    );
    joined.current = rows[0];
    const css = getComputedStyle(box.current);
    const plot = new uPlot(options(strip, lines, data, alert, main, box.current.clientWidth, css, setAt), rows, box.current);
    const watch = new ResizeObserver(() => plot.setSize({ width: box.current?.clientWidth ?? 300, height: main ? 210 : COMPANION }));
    watch.observe(box.current);
    return () => {
      watch.disconnect();
      plot.destroy();
    };
  }, [strip, theme.value, lang.value]);
  const read = (line) => {
    const k = at == null ? line.value.findLastIndex((value) => value !== null) : line.time.indexOf(joined.current?.[at]);
    return reading(line, k);
  };
  return html`<div class=${`strip ${main ? "main" : ""}`}>
    <div class="strip-head">
      <b>${both(strip, "name")}</b>
      <span class="unit">${unitText(strip.unit)}</span>
      ${lines.map(
        (line, k) =>
          html`<span key=${line.stat} class=${`legend l${k}`}
            >${word("stat", line.stat)} <span class="num">${read(line)}</span></span
          >`,
      )}
      ${main && at != null && joined.current ? html`<span class="dim num">${fullTime(joined.current[at])}</span>` : ""}
      ${main && strip.limit != null ? html`<span class="legend limit">${t("limit")} <span class="num">${number(strip.limit)}</span></span>` : ""}
      ${main && lines.some((line) => line.bad.some(Boolean)) ? html`<span class="legend hatch">${t("chart.bad")}</span>` : ""}
    </div>
    ${lines.length ? html`<div class="plot" ref=${box} aria-hidden="true"></div>` : html`<p class="empty">${t("chart.empty")}</p>`}
  </div>`;
}

/** A value, with the least and the greatest of its window where there is one. */
function reading(line, k) {
  const whole = number(line.value[k]);
  return banded(line) && line.value[k] != null ? `${whole} (${number(line.low[k])}–${number(line.high[k])})` : whole;
}

/** What a canvas cannot say: a sentence with the same facts. */
function Summary({ strip, data }) {
  const line = drawn(strip)[0];
  const rows = line ? [...line.value.keys()].filter((k) => line.value[k] !== null && !line.bad[k]) : [];
  if (!rows.length) return null;
  const low = rows.map((k) => (line.low ?? line.value)[k]);
  const high = rows.map((k) => (line.high ?? line.value)[k]);
  const unit = unitText(strip.unit);
  const said = t("chart.summary", {
    name: both(strip, "name"),
    from: fullTime(data.start),
    to: fullTime(data.end),
    n: line.count,
    min: number(Math.min(...low)),
    max: number(Math.max(...high)),
    unit,
  });
  const over = high.filter((value) => value > strip.limit).length;
  const limit = strip.limit == null ? "" : t(strip.window ? "chart.limit.windows" : "chart.limit", { limit: number(strip.limit), unit, over });
  const windows = strip.window ? t("chart.windows", { minutes: number(Math.round(strip.window / 600) / 100) }) : "";
  return html`<p class="dim">${said}${windows}${limit}</p>`;
}

function Rows({ strip, episode }) {
  const lines = drawn(strip);
  if (!lines.length) return null;
  const times = lines[0].time
    .map((at, k) => [at, k])
    .filter(([, k]) => lines[0].value[k] !== null)
    .reverse()
    .slice(0, 400);
  const other = lines[1] ? new Map(lines[1].time.map((at, k) => [at, k])) : null;
  const inside = (at) => at >= episode.start && (episode.end === null || at < episode.end);
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${t("chart.table")}>
    <table class="ledger">
      <thead>
        <tr>
          <th>${t("time")}</th>
          ${lines.map((line) => html`<th key=${line.stat} class="right">${word("stat", line.stat)} ${unitText(strip.unit)}</th>`)}
          <th>${t("flag")}</th>
          <th>${t("chart.judged")}</th>
        </tr>
      </thead>
      <tbody>
        ${times.map(
          ([at, k]) =>
            html`<tr key=${at} class=${inside(at) ? "inside" : ""}>
              <td class="num">${fullTime(at)}</td>
              <td class=${`num right ${strip.limit != null && (lines[0].high ?? lines[0].value)[k] > strip.limit ? "over" : ""}`}>
                ${reading(lines[0], k)}
              </td>
              ${other ? html`<td class="num right">${reading(lines[1], other.get(at))}</td>` : ""}
              <td>${lines[0].flag[k] ? word("flagname", lines[0].flag[k]) : "–"}${lines[0].bad[k] ? ` · ${t("chart.bad")}` : ""}</td>
              <td>${inside(at) ? t("chart.inside") : ""}</td>
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

/** The strips beside the judged one, read one after the other; each appears when it is there. */
function Companions({ data, path, alert }) {
  const [strips, setStrips] = useState([]);
  useEffect(() => {
    let gone = false;
    const read = async () => {
      const found = [];
      for (const factor of data.companions) {
        const { strip } = await call(path + query({ period: data.period, factor }));
        if (gone) return;
        if (strip.lines.length) found.push(strip);
        setStrips([...found]);
      }
    };
    read().catch((error) => say("fault", error.message));
    return () => {
      gone = true;
    };
  }, [data]);
  return strips.map((strip) => html`<${Strip} key=${strip.factor} strip=${strip} data=${data} alert=${alert} main=${false} />`);
}

export function Chart({ alert }) {
  const [period, setPeriod] = useState("");
  const path = `/api/v1/alerts/${alert.id}/series`;
  const [data, fault] = useThing(path + query({ period }));
  if (fault) return html`<p class="fault" role="alert">${fault}</p>`;
  if (!data) return html`<div class="chart wait"></div>`;
  const tab = (one) =>
    html`<button key=${one} aria-pressed=${data.period === one} onClick=${() => setPeriod(one)}>${word("period", one)}</button>`;
  return html`<section class="chart">
    <div class="chart-head">
      <h3>${t("chart")}</h3>
      <span class="dim num">${fullTime(data.start)} – ${fullTime(data.end)}</span><span class="space"></span>
      <div class="tabs" role="group" aria-label=${t("period")}>${PERIODS.map(tab)}</div>
    </div>
    ${data.strip ? html`<${Strip} strip=${data.strip} data=${data} alert=${alert} main=${true} />` : html`<p class="empty">${t("chart.empty")}</p>`}
    <${Companions} data=${data} path=${path} alert=${alert} />
    ${
      data.strip
        ? html`<${Summary} strip=${data.strip} data=${data} />
            <details>
              <summary>${t("chart.table")}</summary>
              <${Rows} strip=${data.strip} episode=${data.episode} />
            </details>`
        : ""
    }
  </section>`;
}
