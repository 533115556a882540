// Two runs from their packed outcomes: what report.comparison.compare_runs says, computed here for any pair.

function outcomesOf(board, row, t) {
  row.unpacked = row.unpacked || [];
  if (!row.unpacked[t]) {
    const bytes = bytesOf(row.bits[t]);
    const right = new Uint8Array(board.sizes[t]);
    for (let i = 0; i < right.length; i++) right[i] = (bytes[i >> 3] >> (7 - (i & 7))) & 1;
    row.unpacked[t] = right;
  }
  return row.unpacked[t];
}

function sourcesOf(board, t) {
  const found = board.sources[board.tasks[t]];
  if (found && typeof found.codes === "string") found.codes = wordsOf(found.codes, found.width);
  return found;
}

const polynomial = (coefficients, x) => coefficients.reduceRight((sum, c) => sum * x + c, 0);

// metrics.variance.spread of the values of one task, from their sum, their squares' and those of each source
function spreadOf(n, sum, squared, sums, source) {
  const mean = sum / n;
  const squares = Math.max(0, squared - n * mean * mean);
  const independent = squares / (n - 1) / n;
  if (!source) return { variance: independent, extra: 0, df: Infinity };
  let [sandwich, between, sizesSquared] = [0, 0, 0];
  const groups = source.sizes.length;
  source.sizes.forEach((m, g) => {
    const off = sums[g] - m * mean;
    sandwich += source.correction[g] * off * off;
    between += (off * off) / m;
    sizesSquared += m * m;
  });
  const variance = Math.max(sandwich / n ** 2, independent);
  const meanBetween = between / (groups - 1);
  const within = n > groups ? Math.max(squares - between, 0) / (n - groups) : 0;
  const typical = (n - sizesSquared / n) / (groups - 1);
  const total = meanBetween + (typical - 1) * within;
  let rho = total > 0 ? (meanBetween - within) / total : 0;
  rho = n > groups ? Math.min(1, Math.max(0, rho)) : 0;
  const df = polynomial(source.expected, rho) ** 2 / polynomial(source.quadratic, rho);
  return { variance, extra: variance - independent, df };
}

function pooledDegrees(spreads) {
  const lost = spreads.reduce((sum, s) => sum + s.variance ** 2 / s.df, 0);
  return lost > 0 ? spreads.reduce((sum, s) => sum + s.variance, 0) ** 2 / lost : Infinity;
}

// metrics.paired.difference_limits: the centre, what c is multiplied with, and c
function limitsOf(tasks) {
  const c = critical(pooledDegrees(tasks.map((task) => task.spread)));
  const kappa = c ** 2 / (4 * tasks.length);
  let [centre, variance] = [0, 0];
  for (const { n, sum, squared, spread } of tasks) {
    const total = n + 2 * kappa;
    const mean = sum / total;
    centre += mean / tasks.length;
    variance += ((squared + 2 * kappa) / total - mean ** 2) / total + spread.extra;
  }
  return { centre, error: Math.sqrt(variance) / tasks.length, c };
}

function holm(values) {
  const order = [...values.keys()].sort((i, k) => values[i] - values[k]);
  const corrected = new Array(values.length);
  let largest = 0;
  order.forEach((i, place) => {
    largest = Math.max(largest, Math.min(1, values[i] * (values.length - place)));
    corrected[i] = largest;
  });
  return corrected;
}

// One line a task, and "mean" last. Differences are A − B.
function compareRows(board, a, b) {
  if (runsOf(a).length > 1 || runsOf(b).length > 1) return compareSeeds(board, a, b);
  const tasks = board.tasks.map((name, t) => {
    const [first, second, source] = [outcomesOf(board, a, t), outcomesOf(board, b, t), sourcesOf(board, t)];
    const n = first.length;
    let [gained, lost] = [0, 0];
    const sums = new Int32Array(source ? source.sizes.length : 0);
    for (let i = 0; i < n; i++) {
      const d = first[i] - second[i];
      if (d > 0) gained++;
      else if (d < 0) lost++;
      if (d && source) sums[source.codes[i]] += d;
    }
    const units = source ? sums : { gained, lost };
    const spread = spreadOf(n, gained - lost, gained + lost, sums, source);
    return { name, n, gained, lost, sum: gained - lost, squared: gained + lost, units, spread, clustered: !!source };
  });
  const unitsOf = ({ n, units, gained, lost }) => ({
    n,
    sums: units instanceof Int32Array ? units : [...Array(gained).fill(1), ...Array(lost).fill(-1)],
  });
  const p = tasks.map((task) => signFlip([unitsOf(task)]));
  p.push(signFlip(tasks.map(unitsOf)));
  const corrected = holm(p);
  const lines = tasks.map((task, t) => {
    const { centre, error, c } = limitsOf([task]);
    const [low, high] = [centre - c * error, centre + c * error];
    const { name, n, gained, lost, clustered } = task;
    const difference = (gained - lost) / n;
    return {
      name, n, gained, lost, difference, low, high, clustered,
      first: a.accuracy[t], second: b.accuracy[t], p: corrected[t],
    };
  });
  const { centre, error, c } = limitsOf(tasks);
  const [low, high] = [centre - c * error, centre + c * error];
  const difference = lines.reduce((sum, line) => sum + line.difference, 0) / lines.length;
  lines.push({ name: "mean", difference, low, high, first: a.mean, second: b.mean, p: corrected[tasks.length] });
  return lines;
}
