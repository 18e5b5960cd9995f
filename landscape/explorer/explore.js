"use strict";
// The explorer: what the reader chooses, the picture as it fills, and whether the browser agrees with Python.
const explorer = (() => {
  const { data, byId, say, number } = page;
  const source = URL.createObjectURL(new Blob([data.worker], { type: "text/javascript" }));
  const worker = new Worker(source);
  worker.onerror = (event) => page.fail(event.message || "the worker did not start");
  worker.postMessage({ begin: data.network });

  const canvas = byId("map"), pen = canvas.getContext("2d");
  const state = { id: 0, values: null, wanted: null, seed: 0, begun: 0, done: false };
  const waiting = new Map();
  const degrees = Math.PI / 180;
  const radiusOf = (value) => 10 ** (value / 20 - 1);
  const unit = data.unit ? ` ${data.unit}` : "";

  // The range of what is known so far, clipped where a few points would take it all.
  const rangeOf = (values) => {
    const known = values.filter(Number.isFinite).sort((a, b) => a - b);
    const low = known[0], high = known[Math.max(0, Math.floor(0.98 * (known.length - 1)))];
    return [low, high > low ? high : low + 1e-12];
  };
  const scaled = () => {
    const [low, high] = rangeOf(state.values);
    const log = byId("log").checked && low > 0;
    const f = log ? Math.log : (x) => x;
    return { low, high, log, share: (x) => Math.min(1, Math.max(0, (f(x) - f(low)) / (f(high) - f(low)))),
      back: (share) => (log ? Math.exp(f(low) + share * (f(high) - f(low))) : low + share * (high - low)) };
  };
  const colour = (share) => {
    const at = 3 * Math.round(255 * share);
    return [data.palette[at], data.palette[at + 1], data.palette[at + 2]];
  };

  // The value at a point, or of the nearest coarser one that is known.
  const valueAt = (row, column) => {
    const { count } = state.wanted;
    const near = (at, stride) => Math.min(Math.round(at / stride), Math.floor((count - 1) / stride)) * stride;
    for (let stride = 1; stride < count; stride *= 2) {
      const place = near(row, stride) * count + near(column, stride);
      if (state.known[place]) return state.values[place];
    }
    return NaN;
  };

  const paint = () => {
    if (!state.wanted || !state.known.some(Boolean)) return;
    const { count } = state.wanted, scale = scaled();
    const image = pen.createImageData(count, count);
    for (let row = 0; row < count; row++)
      for (let column = 0; column < count; column++) {
        const value = valueAt(row, column), at = 4 * ((count - 1 - row) * count + column);
        const [r, g, b] = Number.isFinite(value) ? colour(scale.share(value)) : [128, 128, 128];
        image.data.set([r, g, b, 255], at);
      }
    const small = new OffscreenCanvas(count, count);
    small.getContext("2d").putImageData(image, 0, 0);
    pen.imageSmoothingEnabled = state.done;
    // Cells are centred on their points: the edge of the picture is half a cell inside the outer ones.
    const cell = canvas.width / (count - 1);
    pen.drawImage(small, -cell / 2, -cell / 2, cell * count, cell * count);
    if (state.done) contours(scale);
    const middle = canvas.width / 2;
    pen.fillStyle = "#fff"; pen.strokeStyle = "#000"; pen.lineWidth = 2;
    pen.beginPath(); pen.arc(middle, middle, 6, 0, 7); pen.fill(); pen.stroke();
    bar(scale);
  };

  // Level lines by marching squares, drawn over the colours.
  const contours = (scale) => {
    const { count } = state.wanted, cell = canvas.width / (count - 1);
    const heights = state.values.map((value) => (Number.isFinite(value) ? scale.share(value) : NaN));
    pen.strokeStyle = "rgba(255,255,255,.75)"; pen.lineWidth = 1.2;
    pen.beginPath();
    for (let level = 1; level < 10; level++)
      for (let row = 0; row + 1 < count; row++)
        for (let column = 0; column + 1 < count; column++) {
          const corners = [[0, 0], [0, 1], [1, 1], [1, 0]].map(([i, j]) => [column + j, row + i,
            heights[(row + i) * count + column + j] - level / 10]);
          const ends = [];
          corners.forEach((one, k) => {
            const next = corners[(k + 1) % 4];
            if ((one[2] < 0) === (next[2] < 0) || !Number.isFinite(one[2] + next[2])) return;
            const t = one[2] / (one[2] - next[2]);
            ends.push([one[0] + t * (next[0] - one[0]), one[1] + t * (next[1] - one[1])]);
          });
          for (let k = 0; k + 1 < ends.length; k += 2) {
            pen.moveTo(ends[k][0] * cell, canvas.height - ends[k][1] * cell);
            pen.lineTo(ends[k + 1][0] * cell, canvas.height - ends[k + 1][1] * cell);
          }
        }
    pen.stroke();
  };

  const bar = (scale) => {
    const strip = byId("bar"), ink = strip.getContext("2d");
    for (let i = 0; i < strip.width; i++) {
      ink.fillStyle = `rgb(${colour(i / (strip.width - 1)).join(",")})`;
      ink.fillRect(i, 0, 1, strip.height);
    }
    for (let i = 0; i < 5; i++) say(`tick-${i}`, number(scale.back(i / 4), 3) + (i === 4 ? " or more" : ""));
  };

  worker.onmessage = ({ data: told }) => {
    if (told.values) { waiting.get(told.id)(told.values); waiting.delete(told.id); return; }
    if (told.id !== state.id) return;
    if (told.centre !== undefined) agree(told.centre);
    if (!told.points) return;
    const { count } = state.wanted;
    for (const [row, column, , value] of told.points) {
      state.values[row * count + column] = value;
      state.known[row * count + column] = 1;
    }
    state.done = Boolean(told.done);
    const have = state.known.reduce((sum, one) => sum + one, 0);
    const seconds = ((performance.now() - state.begun) / 1000).toFixed(1);
    say("progress", state.done ? `${have} points in ${seconds} s` : `${have} of ${count * count} points`);
    paint();
    if (state.done) for (const done of finished.splice(0)) done();
  };

  const agree = (centre) => {
    const apart = Math.abs(centre - data.centre);
    say("here", number(centre, 9) + unit);
    say("apart", apart === 0 ? "0" : apart.toExponential(1).replace("-", "−"));
    byId("apart").dataset.value = String(apart);
    say("verdict", apart <= 1e-6 ? "The browser and Python agree to 1e−6 at the centre."
      : "The browser and Python differ at the centre: do not trust this picture.");
    byId("verdict").className = apart <= 1e-6 ? "note" : "failure";
  };

  const chosen = () => ({ seed: state.seed, turn: [Number(byId("turn-x").value) * degrees, Number(byId("turn-y").value) * degrees],
    radius: radiusOf(Number(byId("zoom").value)), count: Number(byId("points").value) });

  const finished = [];
  const redraw = () => {
    const wanted = { ...chosen(), id: ++state.id };
    Object.assign(state, { wanted, begun: performance.now(), done: false });
    state.values = new Array(wanted.count ** 2).fill(NaN);
    state.known = new Uint8Array(wanted.count ** 2);
    say("turn-x-value", `${byId("turn-x").value}°`);
    say("turn-y-value", `${byId("turn-y").value}°`);
    say("zoom-value", `± ${number(wanted.radius, 3)}`);
    say("range", `Both axes run from ${number(-wanted.radius, 3)} to ${number(wanted.radius, 3)}, in units of filter norms.`);
    say("seed", String(state.seed));
    worker.postMessage({ draw: wanted });
  };
  for (const id of ["turn-x", "turn-y", "zoom", "points"]) byId(id).addEventListener("input", redraw);
  byId("log").addEventListener("input", paint);
  byId("new").addEventListener("click", () => { state.seed += 1; redraw(); });
  byId("back").addEventListener("click", () => {
    state.seed = 0;
    byId("turn-x").value = byId("turn-y").value = 0;
    byId("zoom").value = 20;
    redraw();
  });

  const point = (event) => {
    const box = canvas.getBoundingClientRect(), { count, radius } = state.wanted;
    const x = (event.clientX - box.left) / box.width, y = 1 - (event.clientY - box.top) / box.height;
    const clip = (share) => Math.min(count - 1, Math.max(0, Math.round(share * (count - 1))));
    const value = valueAt(clip(y), clip(x));
    say("there", `${number(value, 5)}${unit} at x ${number(radius * (2 * x - 1), 3)}, y ${number(radius * (2 * y - 1), 3)}`);
  };
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerdown", point);
  redraw();

  // For tests: values anywhere on a plane, and a promise of the whole picture.
  const valuesAt = (at, seed = 0, turn = [0, 0]) => new Promise((done) => {
    const id = `values ${waiting.size} ${performance.now()}`;
    waiting.set(id, done);
    worker.postMessage({ values: { id, at, seed, turn } });
  });
  const whole = () => new Promise((done) => (state.done ? done() : finished.push(done)));
  return { valuesAt, whole, state };
})();
