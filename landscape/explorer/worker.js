"use strict";
// The network in the browser: directions, weights on a plane, and the mean loss there, in float64.
let net = null;

// A uniform generator of 32 bits (sfc32 of PractRand by C. Doty-Humphrey), and normal numbers by Box and Muller.
const generator = (seed) => {
  let a = 0x9e3779b9, b = 0x243f6a88, c = 0xb7e15162, d = (seed >>> 0) ^ 0xdeadbeef;
  const next = () => {
    const t = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return ((t >>> 0) + 0.5) / 4294967296;
  };
  for (let i = 0; i < 20; i++) next();
  return () => Math.sqrt(-2 * Math.log(next())) * Math.cos(2 * Math.PI * next());
};

// Every filter (row of a tensor of two axes or more) gets the norm of the weights' filter; others do not move.
const normalised = (direction) => {
  for (const { start, rows, width } of net.tensors)
    for (let row = 0; row < rows; row++) {
      const first = start + row * width;
      let own = 0, wanted = 0;
      for (let i = first; i < first + width; i++) {
        own += direction[i] * direction[i];
        wanted += net.weights[i] * net.weights[i];
      }
      const ratio = own > 0 ? Math.sqrt(wanted / own) : 0;
      for (let i = first; i < first + width; i++) direction[i] *= ratio;
    }
  return direction;
};

const drawn = (seed) => {
  const normal = generator(seed), found = new Float64Array(net.weights.length);
  for (const { start, rows, width } of net.tensors)
    for (let i = start; i < start + rows * width; i++) found[i] = normal();
  return normalised(found);
};

// Two directions turned towards a third and a fourth, by angles in radians.
const turned = (from, towards, angle) => {
  if (angle === 0) return from;
  const found = new Float64Array(from.length), c = Math.cos(angle), s = Math.sin(angle);
  for (let i = 0; i < found.length; i++) found[i] = c * from[i] + s * towards[i];
  return normalised(found);
};

// Abramowitz and Stegun 1964, 7.1.6 (series) and 7.1.14 (continued fraction).
const erf = (x) => {
  const size = Math.abs(x);
  let value = 1;
  if (size < 3) {
    let term = size, sum = size;
    for (let n = 1; n < 80 && term > 1e-17 * sum; n++) { term *= 2 * size * size / (2 * n + 1); sum += term; }
    value = 2 / Math.sqrt(Math.PI) * Math.exp(-size * size) * sum;
  } else if (size < 6) {
    let fraction = 0;
    for (let n = 60; n > 0; n--) fraction = n / 2 / (size + fraction);
    value = 1 - Math.exp(-size * size) / Math.sqrt(Math.PI) / (size + fraction);
  }
  return x < 0 ? -value : value;
};
const activations = {
  relu: (x) => (x > 0 || x !== x ? x : 0),
  tanh: Math.tanh,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  silu: (x) => x / (1 + Math.exp(-x)),
  "gelu-tanh": (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x))),
  gelu: (x) => x * 0.5 * (1 + erf(x / Math.SQRT2)),
};

// Each gives a function (weights, registers) for one operation.
const operations = {
  linear(one, at, sizes) {
    const w = at(one.weight), b = at(one.bias), n = sizes[one.of[0]], m = sizes[one.out];
    return (weights, registers) => {
      const x = registers[one.of[0]], y = registers[one.out];
      for (let o = 0; o < m; o++) {
        // Four sums, so that no addition waits for the one before.
        let s = b < 0 ? 0 : weights[b + o], t = 0, u = 0, v = 0, i = 0, j = w + o * n;
        for (; i + 3 < n; i += 4, j += 4) {
          s += weights[j] * x[i];
          t += weights[j + 1] * x[i + 1];
          u += weights[j + 2] * x[i + 2];
          v += weights[j + 3] * x[i + 3];
        }
        for (; i < n; i++, j++) s += weights[j] * x[i];
        y[o] = s + t + (u + v);
      }
    };
  },
  conv(one, at) {
    const w = at(one.weight), b = at(one.bias);
    const [channels, height, width] = one.from, [out, rows, columns] = one.to;
    const [kh, kw] = one.kernel, [sh, sw] = one.stride, [ph, pw] = one.padding, [dh, dw] = one.dilation;
    const perGroup = channels / one.groups, outPerGroup = out / one.groups;
    return (weights, registers) => {
      const x = registers[one.of[0]], y = registers[one.out];
      for (let o = 0; o < out; o++) {
        const to = o * rows * columns;
        y.fill(b < 0 ? 0 : weights[b + o], to, to + rows * columns);
        const first = Math.floor(o / outPerGroup) * perGroup;
        for (let c = 0; c < perGroup; c++)
          for (let i = 0; i < kh; i++)
            for (let j = 0; j < kw; j++) {
              const weight = weights[w + ((o * perGroup + c) * kh + i) * kw + j];
              if (weight === 0) continue;
              const left = j * dw - pw;
              const low = Math.max(0, Math.ceil(-left / sw));
              const high = Math.min(columns - 1, Math.floor((width - 1 - left) / sw));
              for (let row = 0; row < rows; row++) {
                const line = row * sh + i * dh - ph;
                if (line < 0 || line >= height) continue;
                const base = ((first + c) * height + line) * width + left, target = to + row * columns;
                for (let column = low; column <= high; column++) y[target + column] += weight * x[base + column * sw];
              }
            }
      }
    };
  },
  norm(one, at, sizes) {
    const gain = at(one.weight), bias = at(one.bias), mean = at(one.mean), variance = at(one.variance);
    const each = sizes[one.out] / one.channels;
    return (weights, registers) => {
      const x = registers[one.of[0]], y = registers[one.out];
      for (let c = 0; c < one.channels; c++) {
        const scale = (gain < 0 ? 1 : weights[gain + c]) / Math.sqrt(weights[variance + c] + one.eps);
        const shift = (bias < 0 ? 0 : weights[bias + c]) - scale * weights[mean + c];
        for (let i = c * each; i < (c + 1) * each; i++) y[i] = scale * x[i] + shift;
      }
    };
  },
  act(one) {
    const f = one.name === "leaky-relu" ? (x) => (x > 0 || x !== x ? x : one.slope * x)
      : one.name === "elu" ? (x) => (x > 0 || x !== x ? x : one.slope * Math.expm1(x)) : activations[one.name];
    return (weights, registers) => {
      const x = registers[one.of[0]], y = registers[one.out];
      if (one.name === "relu") for (let i = 0; i < y.length; i++) y[i] = x[i] > 0 || x[i] !== x[i] ? x[i] : 0;
      else for (let i = 0; i < y.length; i++) y[i] = f(x[i]);
    };
  },
  "layer-norm"(one, at) {
    const gain = at(one.weight), bias = at(one.bias), n = one.width;
    return (weights, registers) => {
      const x = registers[one.of[0]], y = registers[one.out];
      for (let first = 0; first < y.length; first += n) {
        let mean = 0, variance = 0;
        for (let i = 0; i < n; i++) mean += x[first + i] / n;
        for (let i = 0; i < n; i++) variance += (x[first + i] - mean) ** 2 / n;
        const scale = 1 / Math.sqrt(variance + one.eps);
        for (let i = 0; i < n; i++)
          y[first + i] = (gain < 0 ? 1 : weights[gain + i]) * scale * (x[first + i] - mean) + (bias < 0 ? 0 : weights[bias + i]);
      }
    };
  },
  move(one) {
    return (weights, registers) => {
      const x = registers[one.of[0]], y = registers[one.out];
      for (let i = 0; i < y.length; i++) y[i] = one.from[i] < 0 ? 0 : x[one.from[i]];
    };
  },
  add(one) {
    return (weights, registers) => {
      const x = registers[one.of[0]], z = registers[one.of[1]];
      const y = registers[one.out];
      for (let i = 0; i < y.length; i++) y[i] = x[i] + z[i];
    };
  },
};
const pooled = (one, begin, step, end) => {
  const [channels, height, width] = one.from, [, rows, columns] = one.to;
  const [kh, kw] = one.kernel, [sh, sw] = one.stride, [ph, pw] = one.padding;
  return (weights, registers) => {
    const x = registers[one.of[0]], y = registers[one.out];
    let at = 0;
    for (let c = 0; c < channels; c++)
      for (let row = 0; row < rows; row++)
        for (let column = 0; column < columns; column++) {
          let value = begin;
          for (let i = Math.max(0, row * sh - ph); i < Math.min(height, row * sh - ph + kh); i++)
            for (let j = Math.max(0, column * sw - pw); j < Math.min(width, column * sw - pw + kw); j++)
              value = step(value, x[(c * height + i) * width + j]);
          y[at++] = end(value, kh * kw);
        }
  };
};
operations.max = (one) => pooled(one, -Infinity, (a, b) => (b > a || b !== b ? b : a), (a) => a);
operations.average = (one) => pooled(one, 0, (a, b) => a + b, (a, n) => a / n);

const losses = {
  "cross-entropy"(output, example) {
    let top = -Infinity, sum = 0;
    for (const value of output) if (value > top) top = value;
    for (const value of output) sum += Math.exp(value - top);
    return top + Math.log(sum) - output[net.targets[example]];
  },
  "squared error"(output, example) {
    let sum = 0;
    for (let i = 0; i < output.length; i++) sum += (output[i] - net.targets[example * output.length + i]) ** 2;
    return sum / output.length;
  },
};

const begin = (given) => {
  net = given;
  net.weights = Float64Array.from(given.weights);
  net.inputs = Float64Array.from(given.inputs);
  const starts = new Map(given.tensors.map((one) => [one.name, one.start]));
  const at = (name) => (name === null ? -1 : starts.get(name));
  net.run = given.operations.map((one) => operations[one.op](one, at, given.sizes));
  net.registers = given.sizes.map((size) => new Float64Array(size));
  net.moved = new Float64Array(net.weights.length);
  net.first = given.directions.map((one) => Float64Array.from(one));
  net.drawn = new Map();
};

// The four directions of a seed; the first two of seed 0 are those of Python.
const directions = (seed) => {
  if (!net.drawn.has(seed)) {
    net.drawn.clear();
    const own = [0, 1, 2, 3].map((place) => drawn(1 + 4 * seed + place));
    net.drawn.set(seed, seed === 0 ? [...net.first, own[2], own[3]] : own);
  }
  return net.drawn.get(seed);
};

const lossAt = (plane, x, y) => {
  const { weights, moved, registers } = net;
  for (let i = 0; i < moved.length; i++) moved[i] = weights[i] + x * plane[0][i] + y * plane[1][i];
  const size = net.sizes[0], count = net.inputs.length / size, loss = losses[net.loss];
  let sum = 0;
  for (let example = 0; example < count; example++) {
    registers[0].set(net.inputs.subarray(example * size, (example + 1) * size));
    for (const run of net.run) run(moved, registers);
    sum += loss(registers[registers.length - 1], example);
  }
  return sum / count;
};

// Points in passes, each of half the distance: a coarse picture comes first.
const order = (count) => {
  const found = [], seen = new Uint8Array(count * count);
  let stride = 1;
  while (2 * stride < count - 1) stride *= 2;
  for (; stride >= 1; stride /= 2)
    for (let row = 0; row < count; row += stride)
      for (let column = 0; column < count; column += stride) {
        const place = row * count + column;
        if (!seen[place]) { seen[place] = 1; found.push([row, column, stride]); }
      }
  return found;
};

let current = 0;
const draw = async (wanted) => {
  const mine = ++current;
  const [a, b, c, d] = directions(wanted.seed);
  const plane = [turned(a, c, wanted.turn[0]), turned(b, d, wanted.turn[1])];
  const { count, radius } = wanted;
  const at = (place) => radius * (2 * place / (count - 1) - 1);
  postMessage({ id: wanted.id, centre: lossAt(plane, 0, 0) });
  let points = [], last = Date.now();
  for (const [row, column, stride] of order(count)) {
    points.push([row, column, stride, lossAt(plane, at(column), at(row))]);
    if (Date.now() - last < 80) continue;
    postMessage({ id: wanted.id, points });
    points = [];
    // Another wish may have come meanwhile.
    await new Promise((done) => setTimeout(done));
    if (mine !== current) return;
    last = Date.now();
  }
  postMessage({ id: wanted.id, points, done: true });
};

onmessage = (event) => {
  const { begin: given, draw: wanted, values } = event.data;
  if (given) begin(given);
  if (wanted) draw(wanted);
  if (values) {
    const [a, b, c, d] = directions(values.seed);
    const plane = [turned(a, c, values.turn[0]), turned(b, d, values.turn[1])];
    postMessage({ id: values.id, values: values.at.map(([x, y]) => lossAt(plane, x, y)) });
  }
};
