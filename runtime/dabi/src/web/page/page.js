// The page: what /api/events tells, as text and charts.
//
// Owns how a snapshot is shown, and that a lost connection shows. Names and
// messages come from events and compilers: they are set as text, never as markup.

import { chart, decades, linear } from "/chart.js";

const HISTORY_MS = 300_000;
// A snapshot comes every second.
const STALE_MS = 3_500;

const $ = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB");

let latest = null;
let history = [];
let heardAt = 0;

const seconds = (ms) => duration(Math.max(0, Math.round(ms / 1000)) * 1000);
const rate = (value) => (value < 10 ? tenths : whole).format(value);

/** A value in the largest of `units` that it fills, as [number, unit]. */
function scaled(value, units) {
  const [size, unit, from = size] = units.find(([size, , from = size]) => Math.abs(value) >= from) ?? units.at(-1);
  return [(from > size ? whole : short).format(value / size), unit];
}
// From two minutes on whole minutes, from two hours on whole hours.
const TIME = [[86_400_000, "d", 172_800_000], [3_600_000, "h", 7_200_000], [60_000, "min", 120_000], [1000, "s"], [1, "ms"]];
const duration = (ms) => scaled(ms, TIME).join(" ");
const SIZE = [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"], [1, "B"]];
const bytes = (n) => scaled(n, SIZE).join(" ");
const ago = (ms) => (latest.at_ms - ms < 1500 ? "just now" : `${seconds(latest.at_ms - ms)} ago`);
const plural = (n, one, many) => `${whole.format(n)} ${n === 1 ? one : many}`;

/** An element with text, children and attributes. */
function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Sets text only where it differs, so that a selection survives the second. */
function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

/**
 * Lets `parent` have one child per item, in order, after those it has of its
 * own. A child stays the same element as long as what it shows (its `key`) does.
 */
function list(parent, items, key, make) {
  const old = [...parent.children].filter((child) => child.dataset.key !== undefined);
  const byKey = new Map(old.map((child) => [child.dataset.key, child]));
  const children = items.map((item) => {
    const child = byKey.get(key(item)) ?? make(item);
    child.dataset.key = key(item);
    return child;
  });
  if (children.length === old.length && children.every((child, i) => child === old[i])) return;
  for (const child of old) child.remove();
  parent.append(...children);
}

function figure(id, value, unit, note, is = "") {
  const node = $(id);
  const shown = node.querySelector(".value");
  if (shown.dataset.shown !== `${value} ${unit}`) {
    shown.dataset.shown = `${value} ${unit}`;
    shown.replaceChildren(value, ...(unit ? [element("small", {}, unit)] : []));
  }
  text(node.querySelector(".note"), note);
  node.dataset.is = is;
}

function showPhase({ phase, ready, waiting, at_ms, about }) {
  const neighbours = Object.entries(waiting);
  $("phase").dataset.is = ready ? "good" : phase === "running" || phase === "starting" ? "warn" : "bad";
  const names = neighbours.map(([name]) => name).join(", ");
  text($("phase"), names ? `${phase}, waiting for ${names}` : `${phase} for ${seconds(at_ms - about.started_ms)}`);
  $("waiting").hidden = neighbours.length === 0;
  text($("waiting"), neighbours.map(([name, reason]) => `Waiting for ${name}: ${reason}`).join("\n"));
}

function showFigures({ now, lake_lag, latency, run, dead_letters, about }) {
  const read = run.events ? `${whole.format(run.events)} read since ${clock(about.started_ms)}` : `none yet from ${about.topics}`;
  figure("events", rate(now.events_per_s), "/s", read);
  const lake = lake_lag > 0 ? `${whole.format(lake_lag)} wait for the lake` : "the lake has all";
  figure("lag", whole.format(now.lag), now.lag === 1 ? "event" : "events", run.events ? lake : "");
  const { commit_ms: commit, kafka_ms: kafka } = latency;
  const notes = [];
  if (commit) notes.push(`p50 ${duration(commit.p50)}`);
  if (kafka) notes.push(`from Kafka ${duration(kafka.p99)}`);
  const [value, unit] = commit ? scaled(commit.p99, TIME) : ["–", ""];
  figure("latency", value, unit, notes.join(", ") || "no commit in the last 10 s");
  const letters = run.dead_letters + run.unreadable;
  const parts = [];
  if (run.unreadable) parts.push(`${whole.format(run.unreadable)} unreadable, in the lake`);
  if (dead_letters.stored) parts.push(`${whole.format(dead_letters.stored)} in _dead_letters`);
  figure("letters", whole.format(letters), "", parts.join(", ") || "in this run", letters ? "bad" : "");
}

const STATES = { live: "good", building: "warn", failed: "bad", stopped: "bad", retired: "" };

function transformRows(transform) {
  const { state, name, source, targets, language, module, last_build: build, since_ms, note, remarks, reason, reloads } = transform;
  const failed = build && !build.ok;
  const built = !build ? "–" : failed ? `failed, ${clock(build.at_ms)}` : `${duration(build.took_ms)}, ${clock(build.at_ms)}`;
  const since = [since_ms == null ? "–" : clock(since_ms), ...(reloads ? [plural(reloads, "reload", "reloads")] : [])];
  const cell = (content, kind = "") => element("td", { class: kind }, content);
  const body = element("tbody", {}, element("tr", {},
    // What was taken up before a failure goes on: that is a warning.
    element("td", { class: "one-line" }, element("span", { class: "dot", "data-is": state === "failed" && module ? "warn" : STATES[state] ?? "" }), state),
    element("td", { class: "name", title: `fills ${targets.join(", ") || "nothing yet"}` }, name),
    cell(source ?? "–", "wide"), cell(language ?? "wasm", "wide"),
    element("td", { class: "mono wide", title: module ?? "none" }, module?.slice(0, 7) ?? "–"),
    cell(built, failed ? "bad" : ""),
    cell(since.join(", "), "wide"),
  ));
  const detail = (content) => body.append(element("tr", { class: "detail" }, element("td", { colspan: 7 }, content)));
  for (const remark of [...(note ? [note] : []), ...remarks]) detail(element("p", {}, remark));
  if (failed && build.error) detail(element("pre", { tabindex: 0 }, build.error));
  // A failed build is the reason itself.
  if (reason && reason !== build?.error) detail(element("pre", { tabindex: 0 }, reason));
  return body;
}

function showTransforms({ transforms, about, run }) {
  const table = $("transforms");
  table.hidden = transforms.length === 0;
  $("no-transforms").hidden = transforms.length > 0;
  text($("no-transforms"), `None yet: events land in the lake only. Put a transform into ${about.transforms} (README, “Your first transform”).`);
  text($("reloads"), run.reloads ? plural(run.reloads, "reload", "reloads") : "");
  list(table, transforms, (transform) => JSON.stringify(transform), transformRows);
}

function showTargets({ targets, about, at_ms }) {
  text($("database"), about.database);
  $("targets").hidden = targets.length === 0;
  $("no-targets").hidden = targets.length > 0;
  text($("no-targets"), "No targets: they come with the first transform.");
  list($("targets").tBodies[0], targets, ({ table, transform }) => `${table} ${transform}`, ({ table, transform }) =>
    element("tr", {},
      element("td", { class: "name" }, table), element("td", { class: "wide" }, transform),
      element("td", { class: "number" }), element("td", { class: "number" })));
  targets.forEach(({ rows, rows_per_s }, i) => {
    const [, , count, written] = $("targets").tBodies[0].rows[i].cells;
    const old = rows && rows_per_s > 0 && at_ms - rows.at_ms > 10_000 ? ` (${ago(rows.at_ms)})` : "";
    text(count, rows ? whole.format(rows.count) + old : "–");
    text(written, rate(rows_per_s));
  });
}

function showLetters({ dead_letters: { stored, latest: letters } }) {
  const more = stored > letters.length ? `the latest ${letters.length} of ${whole.format(stored)} in _dead_letters` : "";
  text($("stored"), more);
  $("no-letters").hidden = letters.length > 0;
  text($("no-letters"), stored === null
    ? "Not known yet: ClickHouse has not been asked."
    : "None. An event that a transform cannot use is kept here, with the reason, and the others go on.");
  const key = ({ transform, topic, partition, offset, recorded_ms }) => `${transform} ${topic} ${partition} ${offset} ${recorded_ms}`;
  list($("dead-letters"), letters, key, (letter) => element("li", {},
    element("time", { class: "quiet", datetime: new Date(letter.recorded_ms).toISOString() }, clock(letter.recorded_ms)),
    element("span", { class: "message" }, element("b", {}, letter.transform), ` ${letter.message}`),
    element("span", { class: "where mono" }, `${letter.stage}/${letter.code}  ${letter.topic}[${letter.partition}]@${letter.offset}`),
  ));
}

function showLake({ lake, about }) {
  text($("lake-url"), about.lake);
  const facts = [
    ["Files in this run", whole.format(lake.files)], ["Bytes in this run", bytes(lake.bytes)],
    ["Waiting for the next commit", bytes(lake.pending_bytes)],
    ["Last commit", lake.committed_ms == null ? "none yet in this run" : ago(lake.committed_ms)],
  ];
  list($("lake"), facts, ([name]) => name, ([name]) => element("div", {}, element("dt", {}, name), element("dd")));
  facts.forEach(([, value], i) => text($("lake").children[i].querySelector("dd"), value));
}

const charts = [
  chart($("events-chart"), { series: [{ pick: (s) => s.events_per_s }], scale: linear, show: rate }),
  chart($("lag-chart"), { series: [{ pick: (s) => s.lag }], scale: linear, show: whole.format }),
  chart($("latency-chart"), {
    series: [{ name: "p99", pick: (s) => s.commit_ms?.p99 }, { name: "p50", pick: (s) => s.commit_ms?.p50 }],
    scale: decades, show: duration,
  }),
];

function show(overview) {
  latest = overview;
  heardAt = performance.now();
  history = (overview.history ?? [...history, overview.now]).filter(({ at_ms }) => overview.at_ms - at_ms <= HISTORY_MS);
  const { about } = overview;
  document.title = `${about.pipeline}, dabi`;
  text($("pipeline"), about.pipeline);
  text($("about"), `dabi ${about.version}, Kafka ${about.brokers}, ClickHouse ${about.warehouse}`);
  for (const part of [showPhase, showFigures, showTransforms, showTargets, showLetters, showLake]) part(overview);
  for (const draw of charts) draw(history);
  showConnection();
}

/** What is on the screen is the truth only as long as news comes. */
function showConnection() {
  const stale = heardAt === 0 || performance.now() - heardAt > STALE_MS;
  document.body.classList.toggle("stale", stale);
  $("connection").dataset.is = stale ? "bad" : "good";
  const lost = latest ? `connection lost, this was ${clock(latest.at_ms)}` : "no connection yet";
  text($("connection"), stale ? lost : "live");
}

function listen() {
  const events = new EventSource("/api/events");
  for (const name of ["overview", "update"]) {
    events.addEventListener(name, ({ data }) => show(JSON.parse(data)));
  }
  // The browser tries again by itself, except after an answer that is an error.
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 1000);
  });
}

listen();
setInterval(showConnection, 1000);
