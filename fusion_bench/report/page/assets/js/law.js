// Quantiles of Student's t, which metrics.variance.critical takes from SciPy. The normal one comes with the page.

function logGamma(x) {
  // Lanczos' approximation with g = 7 and nine terms: 15 digits for x > 0
  const c = [
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
    12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
  ];
  if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x);
  let sum = c[0];
  for (let i = 1; i < 9; i++) sum += c[i] / (x - 1 + i);
  const t = x + 6.5;
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(sum);
}

function incompleteBeta(x, a, b) {
  // regularised; the continued fraction, which converges fast below the mean
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log(1 - x)) / a;
  const tiny = 1e-300;
  let d = 1 - ((a + b) * x) / (a + 1);
  d = 1 / (Math.abs(d) < tiny ? tiny : d);
  let c = 1;
  let found = d;
  for (let m = 1; m < 10000; m++) {
    for (const term of [
      (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m)),
      (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1)),
    ]) {
      d = 1 + term * d;
      d = 1 / (Math.abs(d) < tiny ? tiny : d);
      c = 1 + term / c;
      if (Math.abs(c) < tiny) c = tiny;
      found *= c * d;
    }
    if (Math.abs(c * d - 1) < 1e-15) break;
  }
  return front * found;
}

// P(|T| ≥ t) with df degrees of freedom
const bothTails = (t, df) => incompleteBeta(df / (df + t * t), df / 2, 0.5);

// P(|Z| ≥ z) of the normal law: a series near 0, a continued fraction far out
function bothTailsNormal(z) {
  const density = Math.exp(-(z * z) / 2) / Math.sqrt(2 * Math.PI);
  if (z < 3) {
    let [term, sum] = [z, z];
    for (let k = 3; term > 1e-17 * sum; k += 2) {
      term *= (z * z) / k;
      sum += term;
    }
    return 1 - 2 * density * sum;
  }
  let found = z;
  for (let k = 200; k > 0; k--) found = z + k / found;
  return (2 * density) / found;
}

// The value that both tails together exceed with probability `beyond`
function critical(df, beyond = 1 - PAYLOAD.level) {
  if (!Number.isFinite(df) && beyond === 1 - PAYLOAD.level) return PAYLOAD.z;
  const tails = (t) => (Number.isFinite(df) ? bothTails(t, df) : bothTailsNormal(t));
  let [low, high] = [0, 2];
  while (tails(high) > beyond) high *= 2;
  for (let i = 0; i < 100 && high - low > 1e-13 * high; i++) {
    const middle = (low + high) / 2;
    if (tails(middle) > beyond) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
