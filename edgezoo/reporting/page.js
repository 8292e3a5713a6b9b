"use strict";
(() => {
  const DATA = JSON.parse(document.getElementById("data").textContent);
  const OPTIONS = DATA.options;
  // Columns hold values, or the distinct ones and the place of each.
  const columns = Object.entries(DATA.columns).map(([key, column]) =>
    [key, Array.isArray(column) ? (i) => column[i] : (i) => column.of[column.at[i]]]);
  const rows = Array.from({length: DATA.rows}, (_, i) =>
    Object.fromEntries(columns.map(([key, value]) => [key, value(i)])));
  const FILTERS = [["machine", "Machine"], ["images_hash", "Images"], ["model", "Model"],
    ["alpha", "Width"], ["input_size", "Input size"], ["precision", "Precision"], ["format", "Format"],
    ["runtime", "Runtime"], ["device", "Device"], ["threads", "Threads"], ["store", "Store"],
    ["kind", "Kind"], ["trust", "Trust"]];
  const estimateOf = (r) => r.estimated_by ? r.estimated_by.split(" (")[0] : "";
  const ms = (v) => v.toFixed(v < 10 ? 3 : 2);
  const points = (v) => v.toFixed(1);
  const percent = (v) => (100 * v).toFixed(1);
  const range = (pair, f) => f(pair[0]) + " to " + f(pair[1]);
  // [key, heading, text of a cell]; null cells are shown as a dash and sorted last.
  const COLUMNS = [
    ["name", "Variant", (r) => r.name + (estimateOf(r) ? " (" + estimateOf(r) + ")" : "")],
    ["device", "Device", (r) => r.device], ["threads", "Threads", (r) => String(r.threads), 1],
    ["median_ms", "Median ms", (r) => ms(r.median_ms), 1],
    ["median_ci95", "95 % interval", (r) => range(r.median_ci95, ms), 1],
    ["p95_ms", "p95 ms", (r) => ms(r.p95_ms), 1],
    ["top1", "Top-1 %", (r) => percent(r.top1), 1],
    ["top1_ci95", "95 % interval", (r) => range(r.top1_ci95, percent), 1],
    ["drop_points", "Drop, points", (r) => points(r.drop_points) + " (" +
      range(r.drop_points_ci95, points) + ")", 1],
    ["agreement_top1", "Same top-1 %", (r) => percent(r.agreement_top1), 1],
    ["bytes", "Size kB", (r) => (r.bytes / 1000).toFixed(0), 1],
    ["peak_rss_mb", "Peak MB", (r) => r.peak_rss_mb.toFixed(0), 1],
    ["cold_start_ms", "Cold start ms", (r) => r.cold_start_ms.toFixed(0), 1],
    ["trust", "Trust", (r) => r.trust], ["runtime", "Runtime", (r) => r.runtime]];
  const TRUST = {good: 0, caution: 1, poor: 2};
  // Okabe and Ito's colours, distinguished by shape too.
  const STYLES = {float32: ["#0072b2", "circle"], float16: ["#e69f00", "square"],
    int8: ["#009e73", "diamond"]};
  const OTHER = ["#cc79a7", "triangle-up"];
  const SPREAD_SHOWN = 20;
  const state = {sort: "median_ms", up: true, ticked: new Set()};
  const element = (name, attributes, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const byId = (id) => document.getElementById(id);
  const shown = (value) => value === null ? "unknown" : String(value);
  // Accuracies on different images are never compared, so one list is shown at a time; a variant
  // without an accuracy goes with every list.
  const imageList = (r) => r.images + " images, list " + (r.images_hash || "unknown").slice(0, 6);
  const imageLists = new Map(rows.filter((r) => r.top1 !== null)
    .map((r) => [shown(r.images_hash), imageList(r)]));
  if (imageLists.size > 1) COLUMNS.push(["images_hash", "Images", imageList]);
  const SINGLE = ["machine", "images_hash"];
  const valuesOf = (key) => key === "images_hash" ? [...imageLists.keys()] : distinct(key).map(shown);
  const distinct = (key) => [...new Set(rows.map((r) => r[key]))].sort((a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : shown(a).localeCompare(shown(b)));

  // Filters: of machines and of lists of images one is chosen, of all others any number.
  const chosen = {};
  const buildFilters = () => {
    const form = byId("filters");
    for (const [key, heading] of FILTERS) {
      const values = valuesOf(key);
      if (values.length < 2) continue;
      const single = SINGLE.includes(key);
      chosen[key] = new Set(single ? [values[0]] : values);
      const box = element("fieldset", {}, element("legend", {}, heading));
      for (const value of values) {
        const input = element("input", {type: single ? "radio" : "checkbox", name: key, value});
        input.checked = chosen[key].has(value);
        box.append(element("label", {}, input,
          " " + (key === "images_hash" ? imageLists.get(value) : value)));
      }
      form.append(box);
    }
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", (event) => {
      readFilters();
      if (event.target.name === "machine") chooseImages();
      draw();
    });
    chooseImages();
  };
  // A machine may have scored on another list than the one that is shown.
  const chooseImages = () => {
    if (!chosen.images_hash) return;
    const own = new Set(rows.filter((r) => r.top1 !== null && (!chosen.machine ||
      chosen.machine.has(shown(r.machine)))).map((r) => shown(r.images_hash)));
    if (!own.size || own.has([...chosen.images_hash][0])) return;
    for (const input of document.querySelectorAll("#filters input[name=images_hash]")) {
      if (own.has(input.value)) { input.checked = true; break; }
    }
    readFilters();
  };
  const readFilters = () => {
    for (const key of Object.keys(chosen)) {
      chosen[key] = new Set([...document.querySelectorAll(
        "#filters input[name=" + key + "]:checked")].map((input) => input.value));
    }
  };
  const visibleRows = () => rows.filter((row) => Object.entries(chosen).every(
    ([key, values]) => values.has(shown(row[key])) ||
      (key === "images_hash" && row.top1 === null)));

  // The rules of edgezoo/reporting/gaps.py and fronts.py, so that the front follows the filters.
  const Z = 1.959964;
  const BITS = Array.from({length: 256}, (_, byte) => byte.toString(2).replaceAll("0", "").length);
  const unpacked = new Map();
  const outcomesOf = (text) => {
    if (!text) return null;
    if (!unpacked.has(text)) {
      unpacked.set(text, Uint8Array.from(atob(text), (char) => char.charCodeAt(0)));
    }
    return unpacked.get(text);
  };
  const pairsOf = (row, other) => {
    if (!row.outcomes_of || row.outcomes_of !== other.outcomes_of) return null;
    const [own, theirs] = [outcomesOf(row.correct), outcomesOf(other.correct)];
    const gone = [outcomesOf(row.unreadable), outcomesOf(other.unreadable)].filter((list) => list);
    let won = 0, lost = 0;
    for (let i = 0; i < own.length; i += 1) {
      const read = 255 & ~gone.reduce((all, list) => all | list[i], 0);
      won += BITS[own[i] & ~theirs[i] & read];
      lost += BITS[theirs[i] & ~own[i] & read];
    }
    return {won, lost};
  };
  const isMoreAccurate = (row, other) => {
    if (row.top1 <= other.top1) return false;
    const found = pairsOf(row, other);
    if (found) return (found.won - found.lost) / Math.sqrt(Math.max(1, found.won + found.lost)) > Z;
    if (!row.top1_ci95 || !other.top1_ci95) return false;
    return row.top1 - other.top1 -
      Math.hypot(row.top1 - row.top1_ci95[0], other.top1_ci95[1] - other.top1) > 0;
  };
  const isFaster = (row, other) => {
    const half = (r) => Math.log(r.median_ci95[1] / r.median_ci95[0]) / 2;
    const sessions = row.session !== other.session && row.kind === "measurement" ?
      Math.max(row.between_sessions, other.between_sessions) : 0;
    const floor = Math.max(row.noise_floor, other.noise_floor, sessions);
    return Math.log(row.median_ms / other.median_ms) +
      Math.hypot(half(row), half(other), Math.log1p(floor)) < 0;
  };
  const beats = (row, other) => row.median_ms <= other.median_ms && row.top1 >= other.top1 &&
    (row.median_ms < other.median_ms || row.top1 > other.top1);
  const stand = (visible) => {
    const places = new Map();
    const groups = new Map();
    for (const row of visible) {
      if (row.top1 === null) { places.set(row.id, "none"); continue; }
      if (row.trust === "poor" && !OPTIONS.allow_poor) { places.set(row.id, "poor"); continue; }
      const key = JSON.stringify([row.machine, row.device, row.kind, row.images_hash]);
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(row);
    }
    for (const group of groups.values()) {
      const front = [];
      group.sort((a, b) => a.median_ms - b.median_ms || b.top1 - a.top1);
      for (const row of group) {
        if (!front.length || !beats(front[front.length - 1], row)) {
          front.push(row);
          places.set(row.id, "front");
          continue;
        }
        const clear = [...front].reverse().some((other) => beats(other, row) &&
          (isMoreAccurate(other, row) || isFaster(other, row)));
        places.set(row.id, clear ? "behind" : "maybe");
      }
    }
    return (row) => places.get(row.id);
  };

  const LAYOUT = {margin: {l: 60, r: 16, t: 16, b: 48}, font: {family: "system-ui, sans-serif"},
    legend: {orientation: "h", y: 1.08}, hovermode: "closest", paper_bgcolor: "#fff"};
  const CONFIG = {responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d",
    "lasso2d"], toImageButtonOptions: {format: "svg"}};
  const around = (list, value, interval, scale) => ({type: "data", symmetric: false, thickness: 1,
    width: 2, array: list.map((r) => scale * (r[interval][1] - r[value])),
    arrayminus: list.map((r) => scale * (r[value] - r[interval][0]))});
  // plotly takes some HTML in texts.
  const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  const hover = (r) => plain(r.name) + "<br>" + plain(r.device) + ", threads " + r.threads + ", " +
    plain(r.runtime) +
    "<br>" + ms(r.median_ms) + " ms (" + range(r.median_ci95, ms) + ")" +
    (r.top1 === null ? "" : "<br>top-1 " + percent(r.top1) + " % (" +
      range(r.top1_ci95, percent) + ")") + "<br>" + (r.bytes / 1000).toFixed(0) + " kB, trust: " +
    r.trust + (r.kind === "estimate" ? "<br>" + plain(r.estimated_by) + ": not a measurement" : "");
  const FAINT = "40";  // of 255, appended to a colour
  const trace = (name, list, place, accuracy, largest) => {
    const estimate = list[0].kind === "estimate";
    const behind = place(list[0]) === "behind";
    const [color, symbol] = STYLES[list[0].precision] || OTHER;
    const faint = behind ? color + FAINT : color;
    return {name, legendgroup: name, showlegend: !behind, type: "scatter", mode: "markers",
      x: list.map((r) => r.median_ms),
      y: list.map((r) => accuracy ? 100 * r.top1 : r.bytes / 1e6), text: list.map(hover),
      hoverinfo: "text", error_x: {...around(list, "median_ms", "median_ci95", 1), color: faint},
      error_y: accuracy ? {...around(list, "top1", "top1_ci95", 100), color: faint} :
        {visible: false},
      marker: {color: faint, size: list.map((r) => 8 + 20 * Math.sqrt(r.bytes / largest)),
        sizemode: "diameter", line: {width: 2, color: faint}, opacity: 1,
        symbol: list.map((r) => estimate ? "x-thin" :
          symbol + ({maybe: "-open-dot", poor: "-open"}[place(r)] || ""))}};
  };
  const drawFront = (visible, place) => {
    const accuracy = visible.some((r) => r.top1 !== null);
    const drawn = visible.filter((r) => !accuracy || r.top1 !== null);
    const largest = Math.max(1, ...drawn.map((r) => r.bytes));
    const name = (row) => shown(row.precision) + (estimateOf(row) ? ", " + estimateOf(row) : "");
    const traces = [];
    for (const group of new Set(drawn.map(name))) {
      const list = drawn.filter((r) => name(r) === group);
      const near = list.filter((r) => place(r) !== "behind")
        .sort((a, b) => place(a).localeCompare(place(b)));  // the legend shows the first
      const far = list.filter((r) => place(r) === "behind");
      for (const part of [far, near]) {
        if (part.length) traces.push(trace(plain(group), part, place, accuracy, largest));
      }
      if (!near.length) traces[traces.length - 1].showlegend = true;
    }
    const front = drawn.filter((r) => place(r) === "front" && r.kind === "measurement")
      .sort((a, b) => a.median_ms - b.median_ms);
    if (front.length > 1) {
      traces.unshift({name: "front", type: "scatter", mode: "lines", hoverinfo: "skip",
        line: {shape: "hv", color: "#59636e", width: 1, dash: "dot"},
        x: front.map((r) => r.median_ms), y: front.map((r) => 100 * r.top1)});
    }
    const medians = drawn.map((r) => r.median_ms);
    const log = medians.length > 0 && Math.max(...medians) > 20 * Math.min(...medians);
    byId("chart-title").textContent = accuracy ? "Accuracy against latency" :
      "Size against latency";
    byId("front").setAttribute("aria-label", "Chart of " + (accuracy ? "accuracy" : "size") +
      " against latency; the table below holds the same figures.");
    for (const part of document.querySelectorAll("#front-note [data-axis]")) {
      part.hidden = (part.dataset.axis === "accuracy") !== accuracy;
    }
    Plotly.react("front", traces, {...LAYOUT,
      xaxis: {title: {text: "median latency, ms"}, type: log ? "log" : "linear",
        rangemode: log ? "normal" : "tozero", automargin: true},
      yaxis: {title: {text: accuracy ? "top-1, %" : "file, MB"}, automargin: true}}, CONFIG);
  };
  const drawSpread = (visible) => {
    const whole = visible.filter((r) => r.box_ms)
      .sort((a, b) => a.median_ms - b.median_ms);
    const ticked = whole.filter((r) => state.ticked.has(r.id));
    const list = (ticked.length ? ticked : whole).slice(0, SPREAD_SHOWN).reverse();
    const at = (place) => list.map((r) => r.box_ms[place]);
    const narrow = window.innerWidth < 640;
    const name = (r) => (narrow ? r.name.replace(/ (?=float|int)/, "<br>") : r.name) + ", " +
      r.device + " " + r.threads;
    Plotly.react("spread", [{type: "box", orientation: "h", y: list.map(name),
      lowerfence: at(0), q1: at(1), median: at(2), q3: at(3), upperfence: at(4), marker: {color: "#0072b2"},
      hoverinfo: "x", showlegend: false}], {...LAYOUT,
      xaxis: {title: {text: "ms"}, rangemode: "tozero"},
      yaxis: {automargin: true, tickfont: {size: 11}}}, CONFIG);
  };

  const compareRows = (key, up) => (a, b) => {
    const value = (r) => key === "trust" ? TRUST[r.trust] :
      Array.isArray(r[key]) ? r[key][0] : r[key];
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null) || a.id - b.id;
    const order = typeof x === "number" ? x - y : String(x).localeCompare(String(y));
    return (up ? order : -order) || a.id - b.id;
  };
  const buildHead = () => {
    const line = element("tr", {}, element("th", {scope: "col"}, "Show"));
    for (const [key, heading, , number] of COLUMNS) {
      const button = element("button", {type: "button", "data-key": key}, heading);
      button.addEventListener("click", () => {
        state.up = state.sort === key ? !state.up : true;
        state.sort = key;
        draw();
      });
      line.append(element("th", {scope: "col", class: number ? "number" : ""}, button));
    }
    document.querySelector("#table thead").append(line);
  };
  // Reasons open by mouse, finger or keyboard.
  const trustOf = (row) => {
    const word = element("span", {class: "trust " + row.trust}, row.trust);
    if (!row.reasons.length) return word;
    return element("details", {class: "why"}, element("summary", {}, word),
      element("ul", {}, ...row.reasons.map((reason) => element("li", {}, reason))));
  };
  const cell = (row, [key, , text, number]) => {
    const made = element("td", {class: number ? "number" : ""});
    if (row[key] === null) made.textContent = "\u2013";
    else if (key === "trust") made.append(trustOf(row));
    else made.textContent = text(row);
    return made;
  };
  const lines = new Map();
  const lineOf = (row) => {
    if (lines.has(row.id)) return lines.get(row.id);
    const tick = element("input", {type: "checkbox", "aria-label": "Show the distribution of " +
      row.name + ", " + row.device + ", threads " + row.threads});
    tick.addEventListener("change", () => {
      state.ticked[tick.checked ? "add" : "delete"](row.id);
      drawSpread(visibleRows());
    });
    const line = element("tr", {}, element("td", {}, tick),
      ...COLUMNS.map((column) => cell(row, column)));
    lines.set(row.id, line);
    return line;
  };
  const drawTable = (visible, place) => {
    const sorted = [...visible].sort(compareRows(state.sort, state.up));
    for (const row of sorted) lineOf(row).className = place(row) + " " + row.kind;
    document.querySelector("#table tbody").replaceChildren(...sorted.map(lineOf));
    for (const head of document.querySelectorAll("#table th")) {
      const key = head.firstElementChild && head.firstElementChild.dataset.key;
      if (key === state.sort) head.setAttribute("aria-sort", state.up ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
  };

  const save = (name, type, text) => {
    const url = URL.createObjectURL(new Blob([text], {type}));
    element("a", {href: url, download: name}).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  };
  // As edgezoo.core.escapes.csv: spreadsheets take what begins so for a formula.
  const isFormula = (value, text) => typeof (Array.isArray(value) ? value[0] : value) === "string" &&
    /^\s*[=+\-@\uff0b\uff0d\uff1d\uff20]/.test(text) &&
    !/^[+-]?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(text);
  const quoted = (value) => {
    const own = value === null ? "" : Array.isArray(value) ? value.join(" ") : String(value);
    const text = isFormula(value, own) ? "'" + own : own;
    return /[",\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  };
  const HIDDEN = ["box_ms", "outcomes_of", "correct", "unreadable"];
  const csv = (list) => {
    const keys = Object.keys(rows[0] || {}).filter((key) => !HIDDEN.includes(key));
    return [keys.join(","), ...list.map((row) => keys.map((key) => quoted(row[key])).join(","))]
      .join("\n") + "\n";
  };

  const draw = () => {
    const visible = visibleRows();
    const place = stand(visible);
    byId("count").textContent = visible.length + " of " + rows.length + " variants";
    drawTable(visible, place);
    // The table can be read before the charts are there.
    setTimeout(() => {
      drawFront(visible, place);
      drawSpread(visible);
      document.documentElement.dataset.drawn = String(visible.length);
    });
  };
  buildFilters();
  buildHead();
  const several = (count, word) => count + " " + word + (count === 1 ? "" : "s") +
    (count > 1 ? ", shown one at a time" : "");
  byId("headline").textContent = !rows.length ? "No variant has figures." : rows.length +
    (rows.length === 1 ? " variant, " : " variants, ") +
    several(distinct("machine").length, "machine") +
    (imageLists.size > 1 ? "; " + imageLists.size + " lists of images, shown one at a time" : "");
  byId("reset").addEventListener("click", () => {
    for (const input of document.querySelectorAll("#filters input[type=checkbox]")) {
      input.checked = true;
    }
    readFilters();
    draw();
  });
  byId("csv").addEventListener("click", () => save("edgezoo.csv", "text/csv", csv(visibleRows())));
  byId("json").addEventListener("click", () => save("edgezoo.json", "application/json",
    JSON.stringify(visibleRows(), null, 1)));
  draw();
})();
