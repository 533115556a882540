// Two methods of which one or both ran with several seeds: what metrics.seeds.seeded_difference says.

// The values of one task, example by example, as spreadOf and limitsOf want them
function valuesOf(values, source) {
  let [sum, squared] = [0, 0];
  const sums = new Float64Array(source ? source.sizes.length : 0);
  for (let i = 0; i < values.length; i++) {
    sum += values[i];
    squared += values[i] * values[i];
    if (source) sums[source.codes[i]] += values[i];
  }
  return { n: values.length, sum, squared, spread: spreadOf(values.length, sum, squared, sums, source) };
}

// What seeds add to the variance of a method's mean over some tasks, and the degrees of freedom of that
function seedsOf(board, row, tasks) {
  const runs = runsOf(row);
  const K = runs.length;
  if (K === 1) return { variance: 0, df: Infinity };
  const right = tasks.map((t) => runs.map((run) => outcomesOf(board, run, t)));
  const means = runs.map((_, k) => average(right.map((of) => average(of[k]))));
  const middle = average(means);
  const raw = means.reduce((sum, mean) => sum + (mean - middle) ** 2, 0) / (K - 1) / K;
  if (K === 2) return { variance: raw, df: 1 };
  let examples = 0;
  tasks.forEach((t, place) => {
    const shares = shareOf(right[place]);
    for (const own of right[place]) {
      const interaction = Float64Array.from(own, (value, i) => value - shares[i]);
      examples += valuesOf(interaction, sourcesOf(board, t)).spread.variance / (K - 1);
    }
  });
  return { variance: Math.max(0, raw - examples / tasks.length ** 2 / K), df: K - 1 };
}

const average = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function shareOf(runs) {
  const share = new Float64Array(runs[0].length);
  for (const run of runs) for (let i = 0; i < share.length; i++) share[i] += run[i] / runs.length;
  return share;
}

function seededLine(board, a, b, tasks, values) {
  const seeds = [seedsOf(board, a, tasks), seedsOf(board, b, tasks)].filter((side) => side.variance > 0);
  const degrees = pooledDegrees(values.map((task) => task.spread));
  const { centre, error } = limitsOf(values);
  const halfWidth = (beyond) =>
    Math.hypot(critical(degrees, beyond) * error, ...seeds.map((s) => critical(s.df, beyond) * Math.sqrt(s.variance)));
  const difference = average(values.map((task) => task.sum / task.n));
  const half = halfWidth(1 - PAYLOAD.level);
  return { difference, low: centre - half, high: centre + half, p: reachedAt(Math.abs(difference), halfWidth) };
}

// The p-value: both tails beyond which the half-width is the difference
function reachedAt(difference, halfWidth) {
  let [low, high] = [Math.log(1e-15), 0];
  if (halfWidth(Math.exp(low)) <= difference) return Math.exp(low);
  for (let i = 0; i < 24; i++) {
    const middle = (low + high) / 2;
    if (halfWidth(Math.exp(middle)) > difference) low = middle;
    else high = middle;
  }
  return Math.exp(high);
}

function compareSeeds(board, a, b) {
  const values = board.tasks.map((_, t) => {
    const [first, second] = [a, b].map((row) => shareOf(runsOf(row).map((run) => outcomesOf(board, run, t))));
    return valuesOf(first.map((share, i) => share - second[i]), sourcesOf(board, t));
  });
  const every = board.tasks.map((_, t) => t);
  const found = every.map((t) => seededLine(board, a, b, [t], [values[t]]));
  found.push(seededLine(board, a, b, every, values));
  const corrected = holm(found.map((line) => line.p));
  return found.map((line, place) => {
    const of = place < every.length;
    const [first, second] = of ? [a.accuracy[place], b.accuracy[place]] : [a.mean, b.mean];
    const about = of ? { name: board.tasks[place], n: values[place].n, clustered: !!sourcesOf(board, place) } : { name: "mean" };
    return { ...about, ...line, first, second, p: corrected[place] };
  });
}
