// The sign-flip test of metrics.sign_flip: the law of Σ ±s/n under fair signs. One task alone: McNemar's exact test.

const EXACT_SUMS = 2 ** 17;
const GRID_ERROR = 2e-3;
const NEGLIGIBLE = 1e-30;
const BELOW = 1e-12; // p-values under this are given as a bound

// units: [{n, sums: discordant examples, or sources of them, as whole numbers}], one a task; two-sided
function signFlip(units) {
  let observed = 0;
  let variance = 0;
  const bySize = new Map();
  for (const { n, sums } of units) {
    let total = 0;
    const sizes = bySize.get(n) || new Map();
    for (const sum of sums) {
      if (!sum) continue;
      total += sum;
      variance += (sum / n) ** 2;
      sizes.set(Math.abs(sum), (sizes.get(Math.abs(sum)) || 0) + 1);
    }
    observed += total / n;
    if (sizes.size) bySize.set(n, sizes);
  }
  observed = Math.abs(observed);
  // Hoeffding's bound: far out, the law itself would tell nothing more
  if (2 * Math.exp(-(observed ** 2) / variance / 2) < BELOW) return 2 * Math.exp(-(observed ** 2) / variance / 2);
  const parts = [...bySize].sort((a, b) => a[0] - b[0]).map(([n, sizes]) => lawOf(n, sizes));
  const tolerance = 1e-12 * Math.max(1, parts.reduce((sum, part) => sum + part.values[part.values.length - 1], 0));
  if (!parts.length || observed < tolerance) return 1;
  return Math.min(1, 2 * upperTail(parts, observed, tolerance));
}

function lawOf(n, sizes) {
  let law = Float64Array.of(1);
  for (const [size, count] of sizes) {
    const longer = new Float64Array(law.length + size * count);
    let logChoose = -count * Math.LN2;
    for (let k = 0; k <= count; k++) {
      if (k) logChoose += Math.log(count - k + 1) - Math.log(k);
      const weight = Math.exp(logChoose);
      if (weight < NEGLIGIBLE) continue;
      for (let i = 0; i < law.length; i++) longer[i + size * k] += law[i] * weight;
    }
    law = longer;
  }
  const values = [];
  const weights = [];
  law.forEach((weight, i) => {
    if (weight < NEGLIGIBLE) return;
    values.push((2 * i - (law.length - 1)) / n);
    weights.push(weight);
  });
  return { values, weights };
}

function upperTail(parts, observed, tolerance) {
  const halves = [[], []];
  const count = [1, 1];
  for (const part of [...parts].sort((a, b) => b.values.length - a.values.length)) {
    const side = count[1] < count[0] ? 1 : 0;
    halves[side].push(part);
    count[side] *= part.values.length;
  }
  if (Math.max(...count) <= EXACT_SUMS || parts.length === 1) return exactTail(halves, observed - tolerance);
  return gridTail(parts, observed - tolerance);
}

function exactTail(halves, enough) {
  const [a, b] = halves.map((half) => {
    let sums = { values: [0], weights: [1] };
    for (const part of half) {
      const next = { values: [], weights: [] };
      sums.values.forEach((value, i) =>
        part.values.forEach((other, k) => {
          next.values.push(value + other);
          next.weights.push(sums.weights[i] * part.weights[k]);
        }),
      );
      sums = next;
    }
    return sums;
  });
  const order = [...b.values.keys()].sort((i, k) => b.values[i] - b.values[k]);
  const values = Float64Array.from(order, (i) => b.values[i]);
  const tails = new Float64Array(values.length + 1);
  for (let i = values.length - 1; i >= 0; i--) tails[i] = tails[i + 1] + b.weights[order[i]];
  let found = 0;
  a.values.forEach((value, i) => {
    let [low, high] = [0, values.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (values[middle] < enough - value) low = middle + 1;
      else high = middle;
    }
    found += a.weights[i] * tails[low];
  });
  return found;
}

// Values rounded to a fine grid, the rounding conceded: a p-value that is at most 1 in 100 too large, never too small
function gridTail(parts, enough) {
  const spread = Math.sqrt(
    parts.reduce((sum, part) => sum + part.values.reduce((s, v, i) => s + v * v * part.weights[i], 0), 0),
  );
  const step = (GRID_ERROR * spread) / parts.length;
  let start = 0;
  let law = Float64Array.of(1);
  for (const part of parts) {
    const places = part.values.map((value) => Math.round((value - part.values[0]) / step));
    const longer = new Float64Array(law.length + places[places.length - 1]);
    for (let i = 0; i < law.length; i++) {
      if (law[i] < NEGLIGIBLE) continue;
      for (let k = 0; k < places.length; k++) longer[i + places[k]] += law[i] * part.weights[k];
    }
    law = longer;
    start += part.values[0];
  }
  const slack = (parts.length * step) / 2;
  let found = 0;
  for (let i = Math.max(0, Math.ceil((enough - slack - start) / step)); i < law.length; i++) found += law[i];
  return found;
}
