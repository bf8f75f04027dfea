// The functions that an exported header is made of. Each goes into a header that uses it, alone or through another, with the
// name of the model in place of "stoop". A blank line ends a function; there is none within.

// y = x w + b of one row; the rows of w, (out, in), belong to one output each. Four sums run side by side.
static inline void stoop_dense(const float* x, float* y, const float* w, const float* b, size_t in, size_t out) {
  const size_t whole = out / 4 * 4;
  for (size_t o = 0; o < whole; o += 4, w += 4 * in) {
    const float *w1 = w + in, *w2 = w1 + in, *w3 = w2 + in;
    float s0 = b[o], s1 = b[o + 1], s2 = b[o + 2], s3 = b[o + 3];
    for (size_t i = 0; i < in; ++i) {
      const float v = x[i];
      s0 += v * w[i];
      s1 += v * w1[i];
      s2 += v * w2[i];
      s3 += v * w3[i];
    }
    y[o] = s0;
    y[o + 1] = s1;
    y[o + 2] = s2;
    y[o + 3] = s3;
  }
  for (size_t o = whole; o < out; ++o, w += in) {
    float s = b[o];
    for (size_t i = 0; i < in; ++i) s += x[i] * w[i];
    y[o] = s;
  }
}

static inline void stoop_scale(const float* x, float* y, const float* scale, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = x[i] * scale[i];
}

static inline void stoop_scale_shift(const float* x, float* y, const float* scale, const float* shift, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = x[i] * scale[i] + shift[i];
}

static inline void stoop_add(const float* x, const float* other, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = x[i] + other[i];
}

// gamma * (x - mean) / sqrt(variance + eps) + beta
static inline void stoop_layer_norm(const float* x, float* y, const float* gamma, const float* beta, float eps,
                                    size_t n) {
  float mean = 0.0f, variance = 0.0f;
  for (size_t i = 0; i < n; ++i) mean += x[i];
  mean /= (float)n;
  for (size_t i = 0; i < n; ++i) variance += (x[i] - mean) * (x[i] - mean);
  const float scale = 1.0f / sqrtf(variance / (float)n + eps);
  for (size_t i = 0; i < n; ++i) y[i] = gamma[i] * ((x[i] - mean) * scale) + beta[i];
}

// The shift is in two parts, so that it has more digits than a float.
static inline float stoop_scaled(float x, float shift, float rest, float scale) { return ((x - shift) - rest) * scale; }

// z / sqrt(1 + (z / clip)^2); beyond 2^40 times the clip it is the clip.
static inline float stoop_clipped(float z, float clip) {
  const float most = clip * 1099511627776.0f;
  const float within = z > most ? most : z < -most ? -most : z;
  const float ratio = within / clip;
  return within / sqrtf(1.0f + ratio * ratio);
}

// The piecewise-linear encoding: 1 before the bin of z, the way through that bin, then 0.
static inline void stoop_ladder(float z, const float* left, const float* slope, size_t bins, float* y, size_t n) {
  size_t bin = 0;
  while (bin + 1 < bins && left[bin + 1] <= z) ++bin;
  for (size_t i = 0; i < n; ++i) y[i] = i < bin ? 1.0f : 0.0f;
  y[bin] = (z - left[bin]) * slope[bin];
}

// number linear + (the piecewise-linear encoding of z) w + b
static inline void stoop_linear_ladder(float z, float number, const float* left, const float* slope, size_t bins,
                                       const float* linear, const float* w, const float* b, float* y, size_t n) {
  size_t bin = 0;
  while (bin + 1 < bins && left[bin + 1] <= z) ++bin;
  for (size_t d = 0; d < n; ++d) y[d] = b[d] + number * linear[d];
  if (bins == 0) return;
  for (size_t k = 0; k < bin; ++k) {
    for (size_t d = 0; d < n; ++d) y[d] += w[k * n + d];
  }
  const float part = (z - left[bin]) * slope[bin];
  for (size_t d = 0; d < n; ++d) y[d] += part * w[bin * n + d];
}

// relu([cos(2 pi c z), sin(2 pi c z)] w + b)
static inline void stoop_wave(float z, const float* frequencies, size_t count, const float* w, const float* b, float* y,
                              size_t n) {
  for (size_t d = 0; d < n; ++d) y[d] = b[d];
  for (size_t k = 0; k < count; ++k) {
    const float turns = frequencies[k] * z;
    const float angle = 6.28318531f * (turns - floorf(turns + 0.5f));
    const float c = cosf(angle), s = sinf(angle);
    for (size_t d = 0; d < n; ++d) y[d] += c * w[k * n + d] + s * w[(count + k) * n + d];
  }
  for (size_t d = 0; d < n; ++d) y[d] = y[d] > 0.0f ? y[d] : 0.0f;
}

// The row of a table: known codes, then missing (NaN or -1), then unknown.
static inline size_t stoop_code(float x, size_t known) {
  if (x >= 0.0f && x < (float)known && x <= floorf(x)) return (size_t)x;
  return x != x || (x <= -1.0f && x >= -1.0f) ? known : known + 1;
}

static inline void stoop_indicator(float x, float* y, size_t known) {
  const size_t code = stoop_code(x, known);
  for (size_t i = 0; i < known; ++i) y[i] = i == code ? 1.0f : 0.0f;
}

static inline void stoop_embedding(float x, const float* table, size_t known, float* y, size_t n) {
  const float* const row = table + stoop_code(x, known) * n;
  for (size_t i = 0; i < n; ++i) y[i] = row[i];
}

static inline float stoop_identity(float z) { return z; }

static inline float stoop_relu(float z) { return z > 0.0f ? z : 0.0f; }

static inline float stoop_relu6(float z) { return z > 6.0f ? 6.0f : z > 0.0f ? z : 0.0f; }

static inline float stoop_leaky_relu(float z, float slope) { return z > 0.0f ? z : slope * z; }

static inline float stoop_elu(float z, float alpha) { return z > 0.0f ? z : alpha * expm1f(z); }

static inline float stoop_selu(float z) { return z > 0.0f ? 1.05070099f * z : 1.75809934f * expm1f(z); }

static inline float stoop_gelu(float z) { return 0.5f * z * erfcf(-0.707106781f * z); }

static inline float stoop_gelu_tanh(float z) {
  return 0.5f * z * (1.0f + tanhf(0.797884561f * (z + 0.044715f * z * z * z)));
}

static inline float stoop_sigmoid(float z) { return 1.0f / (1.0f + expf(-z)); }

static inline float stoop_silu(float z) { return z / (1.0f + expf(-z)); }

static inline float stoop_softplus(float z) { return (z > 0.0f ? z : 0.0f) + log1pf(expf(-fabsf(z))); }

static inline float stoop_tanh(float z) { return tanhf(z); }

static inline float stoop_mish(float z) { return z * tanhf(stoop_softplus(z)); }

static inline float stoop_hard_swish(float z) {
  const float gate = z + 3.0f;
  return z * (gate > 6.0f ? 6.0f : gate > 0.0f ? gate : 0.0f) / 6.0f;
}

static inline void stoop_mean(const float* x, float* y, size_t members, size_t n) {
  for (size_t j = 0; j < n; ++j) {
    float sum = 0.0f;
    for (size_t m = 0; m < members; ++m) sum += x[m * n + j];
    y[j] = sum / (float)members;
  }
}

// log(sum(exp(x))) of n numbers that are `step` apart, less an offset for each where there are any.
static inline float stoop_log_sum(const float* x, size_t n, size_t step, const float* offset) {
  float most = x[0] - (offset ? offset[0] : 0.0f), sum = 0.0f;
  for (size_t i = 1; i < n; ++i) {
    const float v = x[i * step] - (offset ? offset[i] : 0.0f);
    if (v > most) most = v;
  }
  for (size_t i = 0; i < n; ++i) sum += expf(x[i * step] - (offset ? offset[i] : 0.0f) - most);
  return most + logf(sum);
}

// The log of the mean softmax of the members; `sums` has room for one number of each.
static inline void stoop_log_mean_softmax(const float* x, float* y, float* sums, size_t members, size_t n) {
  for (size_t m = 0; m < members; ++m) sums[m] = stoop_log_sum(x + m * n, n, 1, NULL);
  for (size_t j = 0; j < n; ++j) y[j] = stoop_log_sum(x + j, members, n, sums) - logf((float)members);
}

// log(sum(sigmoid(sign * x))) of n numbers that are `step` apart.
static inline float stoop_log_sum_sigmoid(const float* x, size_t n, size_t step, float sign) {
  float least = stoop_softplus(-sign * x[0]), sum = 0.0f;
  for (size_t i = 1; i < n; ++i) {
    const float v = stoop_softplus(-sign * x[i * step]);
    if (v < least) least = v;
  }
  for (size_t i = 0; i < n; ++i) sum += expf(least - stoop_softplus(-sign * x[i * step]));
  return logf(sum) - least;
}

// The logit of the mean sigmoid of the members.
static inline void stoop_logit_mean_sigmoid(const float* x, float* y, size_t members, size_t n) {
  for (size_t j = 0; j < n; ++j) {
    y[j] = stoop_log_sum_sigmoid(x + j, members, n, 1.0f) - stoop_log_sum_sigmoid(x + j, members, n, -1.0f);
  }
}

static inline void stoop_softmax(float* z, size_t n) {
  float most = z[0], sum = 0.0f;
  for (size_t i = 1; i < n; ++i) most = z[i] > most ? z[i] : most;
  for (size_t i = 0; i < n; ++i) sum += z[i] = expf(z[i] - most);
  for (size_t i = 0; i < n; ++i) z[i] /= sum;
}

// ---- integers of 8 bits: real = scale * (q - zero), Jacob et al. 2018, eq. 1 ----

static inline int8_t stoop_saturated(int64_t value) {
  return (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
}

// The nearest integer; a float is clipped before, so that it fits.
static inline void stoop_quantize(const float* x, int8_t* y, float inverse_scale, int zero, size_t n) {
  const float low = (float)(-128 - zero), high = (float)(127 - zero);
  for (size_t i = 0; i < n; ++i) {
    float z = x[i] * inverse_scale;
    z = z > low ? z : low;
    z = z < high ? z : high;
    y[i] = (int8_t)(lrintf(z) + zero);
  }
}

static inline void stoop_dequantize(const int8_t* x, float* y, float scale, int zero, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = (float)(x[i] - zero) * scale;
}

// The sums of bias and products of `rows` outputs, at most four; the rows of w belong to one output each.
static inline void stoop_sums(const int8_t* x, const int8_t* w, const int32_t* b, int32_t* sums, size_t in, size_t rows) {
  if (rows == 4) {
    const int8_t *w1 = w + in, *w2 = w1 + in, *w3 = w2 + in;
    int32_t s0 = b[0], s1 = b[1], s2 = b[2], s3 = b[3];
    for (size_t i = 0; i < in; ++i) {
      const int32_t v = x[i];
      s0 += v * w[i];
      s1 += v * w1[i];
      s2 += v * w2[i];
      s3 += v * w3[i];
    }
    sums[0] = s0;
    sums[1] = s1;
    sums[2] = s2;
    sums[3] = s3;
    return;
  }
  for (size_t o = 0; o < rows; ++o, w += in) {
    sums[o] = b[o];
    for (size_t i = 0; i < in; ++i) sums[o] += (int32_t)x[i] * w[i];
  }
}

// sum * multiplier / 2^shift, rounded, on the grid of the outputs (the same, eq. 5 and 6). Shifts to the right of negative
// numbers round down, as all compilers in use have it.
static inline void stoop_int_dense(const int8_t* x, int8_t* y, const int8_t* w, const int32_t* b,
                                   const int32_t* multiplier, const uint8_t* shift, size_t in, size_t out,
                                   int zero) {
  int32_t sums[4];
  for (size_t o = 0; o < out; o += 4) {
    const size_t rows = out - o < 4 ? out - o : 4;
    stoop_sums(x, w + o * in, b + o, sums, in, rows);
    for (size_t r = 0; r < rows; ++r) {
      const int64_t half = (int64_t)1 << (shift[o + r] - 1);
      const int64_t scaled = ((int64_t)sums[r] * multiplier[o + r] + half) >> shift[o + r];
      y[o + r] = stoop_saturated(scaled + zero);
    }
  }
}

// The last product: its sums become floats.
static inline void stoop_last_dense(const int8_t* x, float* y, const int8_t* w, const int32_t* b, const float* scale,
                                    size_t in, size_t out) {
  int32_t sums[4];
  for (size_t o = 0; o < out; o += 4) {
    const size_t rows = out - o < 4 ? out - o : 4;
    stoop_sums(x, w + o * in, b + o, sums, in, rows);
    for (size_t r = 0; r < rows; ++r) y[o + r] = (float)sums[r] * scale[o + r];
  }
}

static inline void stoop_lookup(const int8_t* x, int8_t* y, const int8_t* table, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = table[x[i] + 128];
}

static inline void stoop_int_scale(const int8_t* x, int8_t* y, const int32_t* factor, const int32_t* bias, int shift,
                                   size_t n) {
  for (size_t i = 0; i < n; ++i) {
    y[i] = stoop_saturated(((int64_t)x[i] * factor[i] + bias[i]) >> shift);
  }
}

static inline void stoop_int_add(const int8_t* x, const int8_t* other, int8_t* y, int32_t factor, int32_t other_factor,
                                 int32_t bias, int shift, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    const int64_t sum = (int64_t)x[i] * factor + (int64_t)other[i] * other_factor + bias;
    y[i] = stoop_saturated(sum >> shift);
  }
}
