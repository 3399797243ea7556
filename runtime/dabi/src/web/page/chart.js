// Line charts of the last five minutes, in plain SVG.
//
// Owns how a series becomes a picture. A second without a value is a gap, never
// a zero; one pointer reads all charts at the same moment.

const SPAN_MS = 300_000;
// Seconds come one by one; more apart than this, some are missing.
const GAP_MS = 3_500;
const WIDTH = 600, HEIGHT = 100;

const charts = [];
let pointedAt = null;

/** The scale for values from 0, which are counts. */
export const linear = {
  of(values) {
    const most = Math.max(10, ...values);
    const magnitude = 10 ** Math.floor(Math.log10(most));
    const top = [1, 1.5, 2, 3, 5, 7.5, 10].map((n) => n * magnitude).find((n) => n >= most);
    return { at: (value) => value / top, marks: [top, top / 2] };
  },
};

/** The scale for durations, of which both 50 ms and a minute are to be read. */
export const decades = {
  of(values) {
    const low = Math.floor(Math.log10(Math.max(1, Math.min(10, ...values))));
    const high = Math.max(low + 2, Math.ceil(Math.log10(Math.max(1, ...values))));
    const marks = Array.from({ length: high - low }, (_, i) => 10 ** (high - i));
    return { at: (value) => (Math.log10(Math.max(1, value)) - low) / (high - low), marks };
  },
};

function svg(tag, attributes = {}) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/**
 * Draws into `figure`. `series` is [{ name, pick(sample) }]: the first is drawn
 * as an area; `scale` is one of the above, `show` writes a value.
 */
export function chart(figure, { series, scale, show }) {
  const caption = figure.querySelector("figcaption");
  const readout = caption.appendChild(document.createElement("output"));
  const plot = figure.appendChild(document.createElement("div"));
  plot.className = "plot";
  const picture = plot.appendChild(svg("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
  }));
  const ends = figure.appendChild(document.createElement("div"));
  ends.className = "ends";
  for (const text of ["5 min ago", "now"]) ends.appendChild(document.createElement("span")).textContent = text;

  const self = { samples: [], draw };
  charts.push(self);
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    point((event.clientX - box.left) / box.width);
  });
  picture.addEventListener("pointerleave", () => point(null));
  return (samples) => { self.samples = samples; draw(); };

  function draw() {
    const samples = self.samples;
    const end = samples.length ? samples.at(-1).at_ms : 0;
    const x = (sample) => WIDTH * (1 - (end - sample.at_ms) / SPAN_MS);
    const values = series.flatMap(({ pick }) => samples.map(pick).filter((value) => value != null));
    const { at, marks } = scale.of(values);
    const y = (value) => HEIGHT * (1 - at(value));
    picture.replaceChildren();
    for (const old of plot.querySelectorAll("span")) old.remove();
    for (const mark of [...marks, null]) {
      const height = mark == null ? HEIGHT : y(mark);
      picture.append(svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: height, y2: height }));
      if (mark == null) continue;
      const label = plot.appendChild(document.createElement("span"));
      label.textContent = show(mark);
      label.style.top = `${height / HEIGHT * 100}%`;
    }
    series.forEach(({ pick }, index) => {
      const runs = unbroken(samples, pick).map((run) => run.map((s) => [x(s), y(pick(s))]));
      const line = runs.map(path).join("");
      if (index === 0) {
        const area = runs.map((run) => `${path(run)}L${run.at(-1)[0]} ${HEIGHT}L${run[0][0]} ${HEIGHT}Z`).join("");
        picture.append(svg("path", { class: "area", d: area }));
      }
      picture.append(svg("path", { class: "ab"[index], d: line }));
    });
    read(samples, end, x);
  }

  function read(samples, end, x) {
    let sample = samples.at(-1);
    if (pointedAt != null && samples.length) {
      const moment = end - (1 - pointedAt) * SPAN_MS;
      sample = samples.reduce((a, b) => (Math.abs(b.at_ms - moment) < Math.abs(a.at_ms - moment) ? b : a));
      picture.append(svg("line", { class: "cursor", x1: x(sample), x2: x(sample), y1: 0, y2: HEIGHT }));
    }
    const parts = series.map(({ name, pick }, index) => {
      const part = document.createElement("span");
      const value = sample && pick(sample);
      part.className = series.length > 1 ? `key-${"ab"[index]}` : "";
      part.textContent = `${name ? `${name} ` : ""}${value == null ? "–" : show(value)}`;
      return part;
    });
    const time = document.createElement("span");
    time.className = "quiet";
    if (pointedAt != null && sample) time.textContent = new Date(sample.at_ms).toLocaleTimeString();
    readout.replaceChildren(...[time, ...parts].flatMap((part) => [part, " "]));
    picture.setAttribute("aria-label", `${caption.firstChild.textContent}: now ${parts.map((p) => p.textContent).join(", ")}`);
  }
}

function point(share) {
  pointedAt = share;
  for (const { draw } of charts) draw();
}

/** The runs of samples that follow each other and have a value. */
function unbroken(samples, pick) {
  const runs = [];
  let last = null;
  for (const sample of samples) {
    if (pick(sample) == null) { last = null; continue; }
    if (last == null || sample.at_ms - last.at_ms > GAP_MS) runs.push([]);
    runs.at(-1).push(sample);
    last = sample;
  }
  return runs;
}

function path(points) {
  // A lone point is drawn as a dot: a line of no length with round ends.
  const [first, ...rest] = points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(2)}`);
  return `M${first}${(rest.length ? rest : [first]).map((p) => `L${p}`).join("")}`;
}
