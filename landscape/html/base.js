"use strict";
// Shared by all pages: data, safe text, colours of the screen, controls and plots. One name: `page`.
const page = (() => {
  const kinds = { f4: Float32Array, f8: Float64Array, i1: Int8Array, i2: Int16Array, i4: Int32Array,
    u1: Uint8Array, u2: Uint16Array, u4: Uint32Array };

  const byId = (id) => document.getElementById(id);

  // A script that fails must not leave a page that looks complete.
  const fail = (words) => {
    const box = document.createElement("p");
    box.className = "failure";
    box.setAttribute("role", "alert");
    box.textContent = `This page could not be drawn: ${words}`;
    const main = document.querySelector("main");
    main.insertBefore(box, main.children[1] || null);
  };
  addEventListener("error", (event) => fail(event.message));
  addEventListener("unhandledrejection", (event) => fail(String(event.reason && event.reason.message || event.reason)));

  // An array as it was packed: a typed array with its shape.
  const unpack = (key, value) => {
    if (!value || typeof value.bdata !== "string") return value;
    const text = atob(value.bdata), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    const found = new kinds[value.dtype](bytes.buffer);
    found.shape = value.shape === "" ? [] : value.shape.split(",").map(Number);
    return found;
  };
  const data = JSON.parse(byId("data").textContent, unpack);

  // The rows of an array of two axes.
  const rows = (array) => {
    const [count, width] = array.shape, found = [];
    for (let i = 0; i < count; i++) found.push(array.subarray(i * width, (i + 1) * width));
    return found;
  };

  // Text for plotly.js, which reads some HTML in labels.
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  // A number in few digits; what is no number says so.
  const number = (value, digits = 4) => {
    if (value === null || value === undefined || Number.isNaN(value)) return "undefined";
    if (!Number.isFinite(Number(value))) return String(value).startsWith("-") ? "−∞" : "∞";
    const size = Math.abs(value);
    const text = size !== 0 && (size < 1e-3 || size >= 1e5)
      ? Number(value).toExponential(digits - 1) : String(Number(Number(value).toPrecision(digits)));
    return text.replace(/-/g, "−");
  };

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const look = () => ({ ink: style("--ink"), soft: style("--soft"), line: style("--line"), page: style("--page"),
    accent: style("--accent") });

  // Colours of lines by their place: darker on paper, brighter on dark screens. Okabe and Ito 2008, and two more.
  const dark = () => matchMedia("(prefers-color-scheme: dark)").matches && !matchMedia("print").matches;
  const colours = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999933", "#882255"];
  const bright = ["#6db6e8", "#ff9a52", "#4fcfa6", "#e7a5cb", "#f2bd4b", "#9ad3f5", "#c6c66a", "#d680a6"];
  const colour = (place) => (dark() ? bright : colours)[place % colours.length];

  // Whatever is drawn is drawn once more when the screen turns dark or light, or goes to a printer.
  const drawings = [];
  let settled = Promise.resolve();
  const wait = (promise) => { settled = Promise.all([settled, promise]).then(() => {}); return promise; };
  const redraw = () => drawings.forEach((draw) => draw());
  const drawn = (draw) => { drawings.push(draw); draw(); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  matchMedia("print").addEventListener("change", redraw);

  const axis = (more) => {
    const { line, soft } = look();
    return { gridcolor: line, linecolor: line, zerolinecolor: line, tickcolor: soft, automargin: true, ...more };
  };

  // Whether scenes are drawn by the processor alone.
  let processor = null;
  const software = () => {
    if (processor === null) {
      const gl = document.createElement("canvas").getContext("webgl"), told = gl && gl.getExtension("WEBGL_debug_renderer_info");
      processor = Boolean(gl) && /swiftshader|llvmpipe|softpipe|software|basic render/i.test(gl.getParameter(told ? told.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
    }
    return processor;
  };

  // Draw with plotly.js in the colours of the screen; returns what its promise gives.
  const plot = (id, traces, layout) => {
    const { ink, soft, accent } = look();
    const whole = { margin: { l: 56, r: 16, t: 16, b: 48 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, family: "system-ui, sans-serif", size: 13 }, hovermode: "closest", hoverlabel: { align: "left" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: soft, activecolor: accent }, ...layout };
    return wait(Plotly.react(byId(id), traces, whole, { displaylogo: false, responsive: true, displayModeBar: innerWidth >= 640 && matchMedia("(hover: hover)").matches ? "hover" : false,
      showSendToCloud: false, ...(layout.scene && software() ? { plotGlPixelRatio: 1 } : {}), plotlyServerURL: "",
      modeBarButtonsToRemove: ["lasso2d", "select2d"] }));
  };

  // The label of an axis that may be logarithmic.
  const scaled = (label, log) => (!log ? label : label.endsWith(")") ? `${label.slice(0, -1)}, log scale)` : `${label} (log scale)`);

  // Call on every change of the controls of these names, with name -> value; a checked radio or a range counts.
  const controls = (names, changed) => {
    const values = () => Object.fromEntries(names.map((name) => {
      const one = document.querySelector(`[name="${name}"]:checked`) || document.querySelector(`[name="${name}"]`);
      if (!one) return [name, null];
      return [name, one.type === "checkbox" ? one.checked : one.type === "range" ? Number(one.value) : one.value];
    }));
    for (const name of names)
      for (const one of document.querySelectorAll(`[name="${name}"]`)) one.addEventListener("input", () => changed(values()));
    return values;
  };

  // What a slider or a reading shows: text, never markup.
  const say = (id, words) => { const one = byId(id); if (one) one.textContent = words; };

  return { axis, byId, colour, controls, dark, data, drawn, fail, look, number, plain, plot, rows, say, scaled, software, wait,
    // Kept once all that was begun is drawn.
    get settled() { return settled; } };
})();
