"use strict";
// Charts of lines and dots; sliders choose one of several positions of their lines.
const charts = (() => {
  const { colour, data } = page;
  // Markers differ too: what is printed in grey is told apart by them.
  const symbols = ["circle", "square", "diamond", "triangle-up", "x", "cross", "triangle-down", "star"];
  const at = Object.fromEntries(data.turns.map((turn) => [turn.name, 0]));

  // The values of a line at a position: of an array with two axes a row.
  const row = (values, position) => !values ? null
    : values.shape.length > 1 ? page.rows(values)[Math.min(position, values.shape[0] - 1)] : values;
  const positionOf = (chart) => {
    const turn = data.turns.find((one) => one.charts.includes(chart.name));
    return turn ? at[turn.name] : 0;
  };

  const told = (chart, line, x, y, error) => Array.from(y, (value, i) =>
    [line.name, `${chart.x_label}: ${page.number(x[i], 6)}`,
      `${chart.y_label}: ${page.number(value, 6)}${error && Number.isFinite(error[i]) ? " ± " + page.number(error[i], 2) : ""}`,
      ...(line.told.length ? [line.told[i]] : [])].filter(Boolean).map(page.plain).join("<br>"));

  const trace = (chart, line, position) => {
    const x = row(line.x, position), y = row(line.y, position), z = row(line.z, position);
    const own = colour(line.place);
    const found = { type: z ? "scatter3d" : "scatter", mode: line.dots, name: page.plain(line.name), x, y, hoverinfo: "text",
      text: told(chart, line, x, y, row(line.error, position)), line: { color: own, dash: line.dash, width: z ? 4 : 2 },
      marker: { color: own, size: z ? 4 : 7, ...(z ? {} : { symbol: symbols[line.place % symbols.length] }) }, connectgaps: false };
    if (z) found.z = z;
    if (line.shade) found.marker = { ...found.marker, color: line.shade, colorscale: "Viridis", showscale: line.place === 0,
      line: { color: page.look().ink, width: 0.5 }, colorbar: { title: { text: page.plain(chart.shade), side: "right" }, thickness: 12, outlinewidth: 0 } };
    if (line.error && !z) found.error_y = { type: "data", array: row(line.error, position), color: own, thickness: 1, width: 2 };
    if (!line.band) return [found];
    const [low, high] = page.rows(line.band);
    const edge = { type: "scatter", x, mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false };
    return [{ ...edge, y: low }, { ...edge, y: high, fill: "tonexty", fillcolor: own + "33" }, found];
  };

  const draw = (chart, scale) => {
    const position = positionOf(chart);
    const log = scale === "as-drawn" || !chart.switch ? chart.log.includes("y") : scale === "log";
    const traces = chart.lines.flatMap((line) => trace(chart, line, position));
    const x = page.axis({ title: { text: page.plain(chart.x_label) }, type: chart.log.includes("x") ? "log" : "linear", ...(chart.log.includes("x") ? { nticks: 6 } : {}) });
    if (chart.x_ticks) Object.assign(x, { tickvals: chart.x_ticks[0], ticktext: chart.x_ticks[1].map(page.plain) });
    const y = page.axis({ title: { text: page.plain(page.scaled(chart.y_label, log)) }, type: log ? "log" : "linear", exponentformat: "power", ...(log ? { nticks: 6 } : {}) });
    if (chart.equal) Object.assign(y, { scaleanchor: "x", scaleratio: 1 });
    if (chart.range) y.range = chart.range[log ? 1 : 0];
    const limits = chart.limits.map((end) => (end === null ? null : log ? (end > 0 ? Math.log10(end) : null) : end));
    if (limits.some((end) => end !== null)) y.range = limits;
    const legend = { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" };
    const layout = { showlegend: chart.lines.length > 1, legend, margin: { l: 64, r: 16, t: 48, b: 52 } };
    const solid = chart.lines.some((line) => line.z);
    const scene = { xaxis: x, yaxis: y, zaxis: page.axis({ title: { text: "" } }), aspectmode: "data" };
    return page.plot(chart.name, traces, solid ? { ...layout, scene } : { ...layout, xaxis: x, yaxis: y });
  };

  let scale = "as-drawn";
  const drawAll = (some = data.charts) => Promise.all(some.map((chart) => draw(chart, scale)));
  const read = (turn) => {
    page.say(`${turn.name}-value`, turn.positions[at[turn.name]]);
    page.byId(turn.name).setAttribute("aria-valuetext", turn.positions[at[turn.name]]);
    for (const one of turn.readings) {
      const i = Math.min(at[turn.name], one.values.length - 1);
      const error = one.errors && Number.isFinite(one.errors[i]) ? ` ± ${page.number(one.errors[i], 2)}` : "";
      page.say(`reading-${one.name}`, `${page.number(one.values[i], 6)}${error}${one.unit ? " " + one.unit : ""}`);
    }
  };
  for (const turn of data.turns) {
    const values = page.controls([turn.name], (chosen) => {
      at[turn.name] = chosen[turn.name];
      read(turn);
      drawAll(data.charts.filter((chart) => turn.charts.includes(chart.name)));
    });
    at[turn.name] = values()[turn.name];
    read(turn);
  }
  page.controls(["scale"], (chosen) => { scale = chosen.scale; drawAll(); });
  page.drawn(() => drawAll());
  return { at };
})();
