"use strict";
// A plane in space and as a map, its paths, and the losses along them: views of the same numbers, linked.
(() => {
  const { dark, data, number, plain } = page;
  const state = { frame: 0, field: data.fields[0].name, scale: "best", snapshot: 1e9 };
  const fieldOf = () => data.fields.find((one) => one.name === state.field);
  const scaleOf = () => fieldOf()[state.scale] || fieldOf().best;
  const frameOf = () => data.frames[state.frame];
  const pathColour = (path) => path.colour || (dark() ? "#ffffff" : "#1a1a1a");

  // Positions on the scale, as scale.py has them: what is cut off is drawn at the end.
  const forward = (scale, value) => {
    if (!Number.isFinite(value)) return NaN;
    const low = scale.cut[0] ? Math.max(value, scale.low) : value;
    const held = scale.cut[1] ? Math.min(low, scale.high) : low;
    return scale.log ? Math.log10(held) : held;
  };
  const heights = (frame, field, scale) => page.rows(frame.values[field])
    .map((row) => Float64Array.from(row, (value) => forward(scale, value)));

  // Between grid points: bilinear, as the relief is drawn; outside nothing.
  const place = (axis, value) => {
    const last = axis.length - 1;
    if (!(value >= axis[0] && value <= axis[last])) return null;
    let i = 0;
    while (i < last - 1 && axis[i + 1] <= value) i++;
    return [i, (value - axis[i]) / (axis[i + 1] - axis[i])];
  };
  const onRelief = (frame, z, x, y) => {
    const across = place(frame.x, x), along = place(frame.y, y);
    if (!across || !along) return null;
    const [i, s] = across, [j, t] = along;
    return (1 - t) * ((1 - s) * z[j][i] + s * z[j][i + 1]) + t * ((1 - s) * z[j + 1][i] + s * z[j + 1][i + 1]);
  };

  const what = (frame, field, j, i) => {
    const at = j * frame.x.length + i, own = frame.values[field.name][at];
    if (frame.done && !frame.done[at]) return "not computed";
    const infinite = frame.infinite[field.name];
    if (infinite && infinite[at]) return "infinite";
    const error = frame.errors[field.name] ? frame.errors[field.name][at] : NaN;
    const words = `${number(own)}${Number.isFinite(error) ? " ± " + number(error, 2) : ""}${field.unit ? " " + field.unit : ""}`;
    return words + (frame.computed && !frame.computed[at] ? " (interpolated)" : "");
  };
  const hover = (frame) => {
    const fields = [fieldOf(), ...data.fields.filter((one) => one.name !== state.field)];
    return Array.from(frame.y, (y, j) => Array.from(frame.x, (x, i) =>
      [`x ${number(x)}, y ${number(y)}`, ...fields.map((one) => `${one.label}: ${what(frame, one, j, i)}`)].map(plain).join("<br>")));
  };
  const toldOf = (path) => Array.from(path.step, (step, i) => [path.name, `step ${step}`, `loss ${number(path.loss[i])}`,
    `in the plane ${number(path.plane_loss[i])}`, `${number(path.off_plane[i], 3)} off the plane`].filter(Boolean).map(plain).join("<br>"));

  const chosen = (path) => Math.min(state.snapshot, path.step.length - 1);
  const bar = (scale) => ({ title: { text: plain(page.scaled(fieldOf().label, scale.log)), side: "right" }, tickvals: Array.from(scale.ticks), ticktext: scale.names.map(plain), thickness: 12, len: 0.9, outlinewidth: 0 });
  const ends = (scale) => [forward(scale, scale.low), forward(scale, scale.high)];
  const compact = () => innerWidth < 640;

  // Without a graphics card a fine relief takes half a second a frame: while it turns, a coarse one is shown.
  const most = page.software() ? 41 : 501;
  const thinned = (count) => {
    const all = Math.min(count, most);
    return Array.from({ length: all }, (_, i) => Math.round(i * (count - 1) / (all - 1)));
  };
  const coarse = (frame, z) => {
    const across = thinned(frame.x.length), along = thinned(frame.y.length), found = { x: [], y: [], z: [], i: [], j: [], k: [] };
    along.forEach((j, row) => across.forEach((i, column) => {
      found.x.push(frame.x[i]); found.y.push(frame.y[j]); found.z.push(z[j][i]);
      if (!row || !column) return;
      const d = found.x.length - 1, b = d - across.length;
      for (const corners of [[b - 1, b, d], [b - 1, d, d - 1]]) {
        if (!corners.every((corner) => Number.isFinite(found.z[corner]))) continue;
        found.i.push(corners[0]); found.j.push(corners[1]); found.k.push(corners[2]);
      }
    }));
    return found;
  };

  // A path over the relief: between snapshots it follows the relief, a little above it so that it is seen.
  const draped = (frame, z, path, lift) => {
    const found = { x: [], y: [], z: [] };
    const add = (x, y) => { const h = onRelief(frame, z, x, y); found.x.push(x); found.y.push(y); found.z.push(h === null ? null : h + lift); };
    for (let k = 0; k < path.step.length; k++) {
      for (let part = 1; part < 8 && k > 0; part++) {
        const s = part / 8;
        add((1 - s) * path.x[k - 1] + s * path.x[k], (1 - s) * path.y[k - 1] + s * path.y[k]);
      }
      add(path.x[k], path.y[k]);
    }
    return found;
  };

  const relief = (frame, scale, z, text) => {
    const [low, high] = ends(scale), lift = 0.012 * (high - low);
    const shades = { cmin: low, cmax: high, colorscale: data.colours, colorbar: bar(scale), showscale: !compact(), lighting: { ambient: 0.75, diffuse: 0.5, specular: 0.05 } };
    const traces = [{ type: "surface", uid: "fine", x: frame.x, y: frame.y, z, text, hoverinfo: "text", connectgaps: false, ...shades }];
    for (const path of frame.paths) {
      const own = pathColour(path), line = draped(frame, z, path, lift), k = chosen(path);
      traces.push({ type: "scatter3d", mode: "lines", ...line, line: { color: own, width: 5 }, hoverinfo: "skip", showlegend: false });
      const points = draped(frame, z, { ...path, x: path.x, y: path.y }, lift);
      const at = Array.from(path.step, (_, i) => (i === 0 ? 0 : 8 * i));
      traces.push({ type: "scatter3d", mode: "markers", x: at.map((i) => points.x[i]), y: at.map((i) => points.y[i]), z: at.map((i) => points.z[i]),
        text: toldOf(path), hoverinfo: "text", name: plain(path.name), marker: { color: own, size: 3 }, showlegend: frame.paths.length > 1, customdata: at.map((_, i) => i) });
      traces.push({ type: "scatter3d", mode: "markers", x: [points.x[at[k]]], y: [points.y[at[k]]], z: [points.z[at[k]]], hoverinfo: "skip",
        marker: { color: "#ffffff", size: 7, line: { color: own === "#ffffff" ? "#000000" : own, width: 2 } }, showlegend: false });
    }
    if (Math.max(frame.x.length, frame.y.length) > most) {
      const mesh = coarse(frame, z);
      traces.push({ type: "mesh3d", ...mesh, intensity: mesh.z, hoverinfo: "skip", uid: "coarse", ...shades });
    }
    const axis = (label, more) => page.axis({ title: { text: plain(label) }, backgroundcolor: "rgba(0,0,0,0)", showspikes: false, ...more });
    // Units stand beside the map, and long names above the page: here they would run over each other in the corners.
    const short = (label) => { const own = label.replace(/ \(.*/, ""); return own.length > 18 ? "" : own; };
    return page.plot("relief", traces, { margin: { l: 0, r: 0, t: 24, b: 0 }, uirevision: "kept", legend: { x: 0, y: 1 }, scene: {
      uirevision: "kept", aspectmode: "manual", aspectratio: { x: 1, y: 1, z: 0.7 }, camera: { eye: { x: 1.5, y: -1.75, z: 1 }, center: { x: 0, y: 0, z: -0.14 } },
      xaxis: axis(short(data.axes[0])), yaxis: axis(short(data.axes[1])),
      zaxis: axis(short(fieldOf().label), { tickvals: Array.from(scale.ticks), ticktext: scale.names.map(plain), range: [low - 0.02 * (high - low), high + 0.04 * (high - low)] }) } });
  };

  const map = (frame, scale, z, text) => {
    const [low, high] = ends(scale), ink = dark() ? "rgba(255,255,255,.45)" : "rgba(0,0,0,.45)";
    const lines = Array.from(scale.lines);
    const traces = [{ type: "heatmap", x: frame.x, y: frame.y, z, text, hoverinfo: "text", zmin: low, zmax: high, zsmooth: "best", colorscale: data.colours,
      colorbar: bar(scale), connectgaps: false }];
    for (const level of lines)
      traces.push({ type: "contour", x: frame.x, y: frame.y, z, hoverinfo: "skip", showscale: false, connectgaps: false, showlegend: false,
        contours: { type: "constraint", operation: "=", value: level, coloring: "none" }, line: { color: ink, width: 1 } });
    for (const path of frame.paths) {
      const own = path.colour || "#1a1a1a", k = chosen(path);
      traces.push({ type: "scatter", mode: "lines+markers", x: path.x, y: path.y, text: toldOf(path), hoverinfo: "text", name: plain(path.name),
        line: { color: own, width: 2 }, marker: { color: own, size: 5, line: { color: "#fff", width: 0.5 } }, showlegend: frame.paths.length > 1, customdata: Array.from(path.step, (_, i) => i) });
      traces.push({ type: "scatter", mode: "markers", x: [path.x[k]], y: [path.y[k]], hoverinfo: "skip", showlegend: false,
        marker: { color: "#fff", size: 13, line: { color: own, width: 3 } } });
    }
    for (const [label, x, y] of frame.marks)
      traces.push({ type: "scatter", mode: "markers+text", x: [x], y: [y], text: [plain(label)], textposition: "top center", hoverinfo: "text", showlegend: false,
        textfont: { color: "#1a1a1a" }, marker: { color: "#fff", size: 9, line: { color: "#1a1a1a", width: 1.5 } } });
    const range = (axis) => [axis[0], axis[axis.length - 1]];
    const y = page.axis({ title: { text: plain(data.axes[1]) }, range: range(frame.y), ...(data.equal ? { scaleanchor: "x", constrain: "domain" } : {}) });
    return page.plot("map", traces, { xaxis: page.axis({ title: { text: plain(data.axes[0]) }, range: range(frame.x), constrain: "domain" }), yaxis: y,
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" } });
  };

  const along = (id, frame, lines, label, log) => {
    const traces = [];
    for (const path of frame.paths) {
      lines.forEach(([key, name, dash], n) => {
        const own = path.colour || page.colour(n);
        traces.push({ type: "scatter", mode: "lines+markers", x: path.step, y: path[key], name: plain([path.name, name].filter(Boolean).join(", ")), line: { color: own, dash, width: 2 },
          marker: { size: 4, color: own }, text: toldOf(path), hoverinfo: "text", customdata: Array.from(path.step, (_, i) => i) });
      });
      const k = chosen(path);
      traces.push({ type: "scatter", mode: "markers", x: [path.step[k]], y: [path[lines[0][0]][k]], hoverinfo: "skip", showlegend: false,
        marker: { size: 12, color: "rgba(0,0,0,0)", line: { color: page.look().ink, width: 2 } } });
    }
    return page.plot(id, traces, { xaxis: page.axis({ title: { text: "step" } }), yaxis: page.axis({ title: { text: plain(page.scaled(label, log)) }, type: log ? "log" : "linear", rangemode: "tozero", ...(log ? { nticks: 6 } : {}) }),
      showlegend: lines.length > 1 || frame.paths.length > 1, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, margin: { l: 64, r: 16, t: 40, b: 48 } });
  };

  const say = () => {
    const frame = frameOf();
    page.say("frame-value", frame.label);
    if (page.byId("frame")) page.byId("frame").setAttribute("aria-valuetext", frame.label);
    const path = frame.paths[0];
    if (!path) { page.say("reading", data.frames.length > 1 ? frame.caption : ""); return; }
    const k = chosen(path), words = `step ${path.step[k]}`;
    page.say("snapshot-value", words);
    page.byId("snapshot").setAttribute("aria-valuetext", words);
    page.say("reading", `Step ${path.step[k]}: loss ${number(path.loss[k])}, at its projection into the plane ${number(path.plane_loss[k])}, ${number(path.off_plane[k], 3)} off the plane.`);
  };

  const draw = (all = true) => {
    const frame = frameOf(), scale = scaleOf(), z = heights(frame, state.field, scale), text = hover(frame);
    say();
    const made = [relief(frame, scale, z, text).then(substitute), map(frame, scale, z, text)];
    if (frame.paths.length && page.byId("losses")) {
      const positive = frame.paths.every((path) => [...path.loss, ...path.plane_loss].every((value) => value > 0));
      made.push(along("losses", frame, [["loss", "at the snapshots", "solid"], ["plane_loss", "in the plane", "dash"]], "loss", positive && state.scale !== "linear"));
      made.push(along("distance", frame, [["off_plane", "distance", "solid"]], "distance from the plane", false));
    }
    return Promise.all(made);
  };

  const values = page.controls(["frame", "field", "scale", "snapshot"], (given) => { read(given); draw(); });
  const read = (given) => {
    if (given.frame !== null) state.frame = given.frame;
    if (given.field !== null) state.field = given.field;
    if (given.snapshot !== null) state.snapshot = given.snapshot;
    state.scale = given.scale;
  };
  read(values());
  // Where a field has no logarithm, the button says so.
  const logs = document.querySelector('[name="scale"][value="log"]');
  if (data.fields.every((one) => !one.log)) logs.disabled = true;

  // plotly.js can hide a trace only by building its scene again, so the objects that it draws are asked. Where another
  // version has none of these names, the coarse relief goes.
  let turning = false, rest = 0;
  const place3d = page.byId("relief"), sceneOf = () => place3d._fullLayout.scene._scene || {};
  const substitute = () => {
    if (place3d.data[place3d.data.length - 1].type !== "mesh3d") return null;
    const { fine, coarse: stand } = sceneOf().traces || {};
    if (!(fine && fine.surface && stand && stand.mesh)) return Plotly.deleteTraces(place3d, -1);
    for (const name of ["draw", "drawTransparent", "drawPick"])
      for (const [own, shown] of [[fine.surface, () => !turning], [stand.mesh, () => turning && name !== "drawPick"]])
        own[name] = (...given) => (shown() ? Object.getPrototypeOf(own)[name].apply(own, given) : undefined);
    return null;
  };
  // Turning until so many milliseconds have passed; 0 is until told.
  const turn = (milliseconds) => {
    clearTimeout(rest);
    turning = true;
    if (milliseconds) rest = setTimeout(() => { turning = false; if (sceneOf().glplot) sceneOf().glplot.redraw(); }, milliseconds);
  };
  place3d.addEventListener("pointermove", (event) => { if (event.buttons) turn(0); }, true);
  for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => { if (turning) turn(150); }, true);
  place3d.addEventListener("wheel", () => turn(400), { capture: true, passive: true });
  // Arrow keys turn it by 5 degrees, and tilt it; + and - come nearer and go away.
  const keys = { ArrowLeft: [-1, 0, 1], ArrowRight: [1, 0, 1], ArrowUp: [0, 1, 1], ArrowDown: [0, -1, 1], "+": [0, 0, 0.9], "-": [0, 0, 1 / 0.9] };
  place3d.addEventListener("keydown", (event) => {
    const key = keys[event.key], camera = place3d._fullLayout.scene.camera;
    if (!key || !camera) return;
    event.preventDefault();
    const { x, y, z } = camera.eye, far = Math.hypot(x, y, z) * key[2], step = Math.PI / 36;
    const round = Math.atan2(y, x) + key[0] * step, up = Math.min(1.5, Math.max(-1.5, Math.asin(z / Math.hypot(x, y, z)) + key[1] * step));
    turn(400);
    page.wait(Plotly.relayout(place3d, { "scene.camera.eye": { x: far * Math.cos(up) * Math.cos(round), y: far * Math.cos(up) * Math.sin(round), z: far * Math.sin(up) } }));
  });

  let linked = false;
  page.drawn(() => draw().then(() => {
    if (linked) return;
    linked = true;
    // A snapshot that is clicked in one view is marked in all.
    for (const id of ["relief", "map", "losses", "distance"]) {
      const one = page.byId(id);
      if (one) one.on("plotly_click", (event) => {
        const at = event.points[0] && event.points[0].customdata;
        if (!Number.isInteger(at)) return;
        state.snapshot = at;
        page.byId("snapshot").value = at;
        draw();
      });
    }
  }));
})();
