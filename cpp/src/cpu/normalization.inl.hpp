// Layer normalisation with its tangents, and small elementwise kernels around normalisations.
// y = gamma * xhat + beta with xhat = (x - mean) / sqrt(variance + eps).

// Returns the sum of value(j) over a row.
template <class T, class Value>
inline T row_sum(Index cols, Value value) {
  const auto one = [&](Index j, int lanes) -> VecSums<T, 1> { return {{value(j, lanes)}}; };
  return static_cast<T>(sum_lanes<T>(sums_of_vectors<T, 1>(cols, one).of[0]));
}

// The values kept for a row: xhat = (x * scale - mean - rest) * inverse. An ordinary row has a scale of 1 and a rest of 0.
template <class T>
struct RowStatistics {
  T mean, inverse, rest, scale;

  bool is_ordinary() const { return rest == T(0) && scale == T(1); }
};

template <class T>
inline RowStatistics<T> row_statistics(const T* statistics) {
  return {statistics[0], statistics[1], statistics[2], statistics[3]};
}

template <class T>
inline void keep_statistics(const LayerNormArgs<T>& args, Index i, const RowStatistics<T>& row) {
  T* statistics = args.statistics + i * args.ld_statistics;
  statistics[0] = row.mean;
  statistics[1] = row.inverse;
  statistics[2] = row.rest;
  statistics[3] = row.scale;
}

template <class T, bool kOrdinary>
inline Vec<T> normalised(const RowStatistics<T>& row, Vec<T> x) {
  if constexpr (kOrdinary) {
    return (x - row.mean) * row.inverse;
  } else {
    return ((x * row.scale - row.mean) - row.rest) * row.inverse;
  }
}

// A mean is wrong by some units in its last place, which must be small compared with the deviations from it. A variance that
// overflows would make all of a row 0. For rows where one of these happens, `mean` is the first element and `rest` the mean
// of the differences from it; if their squares overflow, the row is scaled by a power of two.
template <class T>
constexpr T kMostMeanPerDeviation = T(64);
template <class T>
constexpr T kScaleOfHugeRows = sizeof(T) == 4 ? T(0x1p-96) : T(0x1p-768);

template <class T>
[[gnu::noinline]] RowStatistics<T> careful_statistics(const T* x, Index cols, T eps) {
  const T inverse_cols = T(1) / static_cast<T>(cols);
  for (T scale = T(1);; scale = kScaleOfHugeRows<T>) {
    const T first = x[0] * scale;
    const auto difference = [&](Index j, int lanes) { return load_lanes(x + j, lanes) * scale - first; };
    const T rest = inverse_cols * row_sum<T>(cols, difference);
    const T variance = inverse_cols * row_sum<T>(cols, [&](Index j, int lanes) {
                         const Vec<T> centred = difference(j, lanes) - rest;
                         return centred * centred;
                       });
    if (scale != T(1) || is_finite_number(variance)) {
      return {first, T(1) / square_root(variance + scale * (scale * eps)), rest, scale};
    }
  }
}

template <class T, bool kOrdinary>
inline void write_normalised(const LayerNormArgs<T>& args, Index i, const RowStatistics<T>& row) {
  const T* x = args.input + i * args.ld_input;
  T* y = args.output + i * args.ld_output;
  const T* gamma = args.gamma;
  const T* beta = args.beta;
  for_each_vector<T>(args.cols, [&](Index j, int lanes) {
    const Vec<T> xhat = normalised<T, kOrdinary>(row, load_lanes(x + j, lanes));
    store_lanes(y + j, xhat * load_lanes(gamma + j, lanes) + load_lanes(beta + j, lanes), lanes);
  });
}

// Takes the rows [first, first + rows) that are not ordinary.
template <class T>
[[gnu::noinline]] void normalise_carefully(const LayerNormArgs<T>& args, Index first, int rows, const bool* ordinary) {
  for (Index i = first; i < first + rows; ++i) {
    if (ordinary[i - first]) {
      write_normalised<T, true>(args, i, row_statistics(args.statistics + i * args.ld_statistics));
    } else {
      const RowStatistics<T> row = careful_statistics(args.input + i * args.ld_input, args.cols, args.eps);
      keep_statistics(args, i, row);
      write_normalised<T, false>(args, i, row);
    }
  }
}

// Computes kRows rows. Each pass goes over all of them before the next pass: adding the lanes of a sum is a long chain, and
// other rows are computed meanwhile.
template <class T, int kRows>
inline void normalise_rows(const LayerNormArgs<T>& args, Index first) {
  const Index cols = args.cols;
  const T inverse_cols = T(1) / static_cast<T>(cols);
  const T* input = args.input + first * args.ld_input;
  T mean[kRows], inverse[kRows];
  bool ordinary[kRows], all = true;
  for (int r = 0; r < kRows; ++r) {
    const T* x = input + r * args.ld_input;
    mean[r] = inverse_cols * row_sum<T>(cols, [&](Index j, int lanes) { return load_lanes(x + j, lanes); });
  }
  for (int r = 0; r < kRows; ++r) {
    const T* x = input + r * args.ld_input;
    const T variance = inverse_cols * row_sum<T>(cols, [&](Index j, int lanes) {
                         const Vec<T> centred = load_lanes(x + j, lanes) - mean[r];
                         return centred * centred;
                       });
    inverse[r] = T(1) / square_root(variance + args.eps);
    const T ratio = mean[r] * inverse[r];  // 0 or NaN if the variance is infinite
    ordinary[r] = ratio <= kMostMeanPerDeviation<T> && -ratio <= kMostMeanPerDeviation<T> && inverse[r] > T(0);
    all = all && ordinary[r];
  }
  for (int r = 0; r < kRows; ++r) keep_statistics(args, first + r, {mean[r], inverse[r], T(0), T(1)});
  if (!all) return normalise_carefully(args, first, kRows, ordinary);
  for (int r = 0; r < kRows; ++r) write_normalised<T, true>(args, first + r, {mean[r], inverse[r], T(0), T(1)});
}

// Ba, Kiros & Hinton 2016, eq. 4. Wide rows are computed one by one, since prefetchers follow one better than several.
template <class T>
void layer_norm_forward(const LayerNormArgs<T>& args) noexcept {
  constexpr int kTogether = 4;
  constexpr Index kMostBytes = 2048;  // of a row
  Index i = 0;
  if (args.cols * static_cast<Index>(sizeof(T)) <= kMostBytes) {
    for (; i + kTogether <= args.rows; i += kTogether) normalise_rows<T, kTogether>(args, i);
  }
  for (; i < args.rows; ++i) normalise_rows<T, 1>(args, i);
}

template <class T, bool kOrdinary>
inline void layer_norm_backward_of(const LayerNormArgs<T>& args, Index i, const RowStatistics<T>& row) {
  const Index cols = args.cols;
  const T inverse_cols = T(1) / static_cast<T>(cols);
  const T* gamma = args.gamma;
  const T* x = args.input + i * args.ld_input;
  const T* dy = args.grad + i * args.ld_grad;
  T* dx = args.output + i * args.ld_output;
  const auto scaled = [&](Index j, int lanes) { return load_lanes(dy + j, lanes) * load_lanes(gamma + j, lanes); };
  const auto xhat = [&](Index j, int lanes) { return normalised<T, kOrdinary>(row, load_lanes(x + j, lanes)); };
  const VecSums<T, 2> sums = sums_of_vectors<T, 2>(cols, [&](Index j, int lanes) -> VecSums<T, 2> {
    const Vec<T> g = scaled(j, lanes);
    return {{g, g * xhat(j, lanes)}};
  });
  const T mean_grad = inverse_cols * static_cast<T>(sum_lanes<T>(sums.of[0]));
  const T slope = inverse_cols * static_cast<T>(sum_lanes<T>(sums.of[1]));
  for_each_vector<T>(cols, [&](Index j, int lanes) {
    Vec<T> g = (scaled(j, lanes) - mean_grad - xhat(j, lanes) * slope) * row.inverse;
    if constexpr (!kOrdinary) g *= row.scale;
    store_lanes(dx + j, g, lanes);
  });
}

// With g = dy * gamma: dx = (g - mean(g) - xhat * mean(g * xhat)) / sqrt(variance + eps).
template <class T>
void layer_norm_backward(const LayerNormArgs<T>& args) noexcept {
  for (Index i = 0; i < args.rows; ++i) {
    const RowStatistics<T> row = row_statistics(args.statistics + i * args.ld_statistics);
    if (row.is_ordinary()) {
      layer_norm_backward_of<T, true>(args, i, row);
    } else {
      layer_norm_backward_of<T, false>(args, i, row);
    }
  }
}

// dgamma (cols) = sum over the rows of dy * xhat, each column from the first row to the last.
template <class T, bool kLarge>
inline void layer_norm_gamma_of(const LayerNormArgs<T>& args) {
  for_each_strip<T>(args.cols, [&](Index first, Index cols) {
    const T* input = args.input + first;
    const T* grad = args.grad + first;
    for_each_group_of_vectors<T>(cols, [&]<int kWidth>(Index j, int lanes) {
      Vec<T> sum[kWidth] = {};
      const StripAhead<T, kLarge> input_ahead{input, args.ld_input, j == 0 ? args.rows : 0};
      const StripAhead<T, kLarge> grad_ahead{grad, args.ld_grad, j == 0 ? args.rows : 0};
      for (Index i = 0; i < args.rows; ++i) {
        input_ahead.ask(i + kRowsAhead);
        grad_ahead.ask(i + kRowsAhead);
        const RowStatistics<T> row = row_statistics(args.statistics + i * args.ld_statistics);
        const auto add_row = [&]<bool kOrdinary>() {
          STOOP_UNROLL
          for (int v = 0; v < kWidth; ++v) {
            const Index column = j + v * kLanes<T>;
            const Vec<T> xhat = normalised<T, kOrdinary>(row, load_lanes(input + i * args.ld_input + column, lanes));
            sum[v] += load_lanes(grad + i * args.ld_grad + column, lanes) * xhat;
          }
        };
        if (row.is_ordinary()) {
          add_row.template operator()<true>();
        } else {
          add_row.template operator()<false>();
        }
      }
      STOOP_UNROLL
      for (int v = 0; v < kWidth; ++v) store_lanes(args.grad_gamma + first + j + v * kLanes<T>, sum[v], lanes);
    });
  });
}

template <class T>
void layer_norm_gamma(const LayerNormArgs<T>& args) noexcept {
  if (is_large<T>(args.rows, args.ld_input)) return layer_norm_gamma_of<T, true>(args);
  layer_norm_gamma_of<T, false>(args);
}

// ---- tangents ----

// One row of a layer normalisation and the tangents of its statistics. The tangents of x and dx are scaled like the row.
template <class T>
struct RowTangents {
  RowStatistics<T> of;
  T t_mean, t_r;
};

template <class T>
inline RowTangents<T> row_tangents(const NormTangentArgs<T>& args, Index i) {
  const Index at = i * args.ld_statistics;
  return {row_statistics(args.mean + at), args.mean_tangent[at], args.mean_tangent[at + 1]};
}

template <class T>
inline Normalised<T> normalised(const NormTangentArgs<T>& args, const RowTangents<T>& s, Index i, Index j, int lanes) {
  const Vec<T> c = (load_lanes(args.x + i * args.ld_x + j, lanes) * s.of.scale - s.of.mean) - s.of.rest;
  const Vec<T> t_x = load_or_zero(args.tangent == nullptr ? nullptr : args.tangent + i * args.ld_tangent + j, lanes);
  return {c * s.of.inverse, (t_x * s.of.scale - s.t_mean) * s.of.inverse + c * s.t_r};
}

// t_mean = mean(t_x), t_r = -r^3 * mean(c * t_c), also where r^3 alone would overflow.
template <class T>
inline void row_statistics_tangent(const NormTangentArgs<T>& args, Index i) {
  const RowStatistics<T> s = row_statistics(args.mean + i * args.ld_statistics);
  const T* x = args.x + i * args.ld_x;
  const T inverse_cols = T(1) / static_cast<T>(args.cols), r = s.inverse;
  T t_mean = T(0), product = T(0);
  if (args.tangent != nullptr) {
    const T* t_x = args.tangent + i * args.ld_tangent;
    t_mean =
        inverse_cols * row_sum<T>(args.cols, [&](Index j, int lanes) { return load_lanes(t_x + j, lanes) * s.scale; });
    product = inverse_cols * row_sum<T>(args.cols, [&](Index j, int lanes) {
                const Vec<T> c = (load_lanes(x + j, lanes) * s.scale - s.mean) - s.rest;
                return c * (load_lanes(t_x + j, lanes) * s.scale - t_mean);
              });
  }
  args.mean_tangent[i * args.ld_statistics] = t_mean;
  const T cube = r * r * r;
  args.mean_tangent[i * args.ld_statistics + 1] = is_finite_number(cube) ? -cube * product : -(product * r * r * r);
}

template <class T>
void layer_norm_tangent(const NormTangentArgs<T>& args) noexcept {
  for (Index i = 0; i < args.rows; ++i) {
    row_statistics_tangent(args, i);
    const RowTangents<T> s = row_tangents(args, i);
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      const Normalised<T> xhat = normalised(args, s, i, j, lanes);
      const Vec<T> t_gamma = load_or_zero(args.gamma_tangent == nullptr ? nullptr : args.gamma_tangent + j, lanes);
      const Vec<T> t_beta = load_or_zero(args.beta_tangent == nullptr ? nullptr : args.beta_tangent + j, lanes);
      store_lanes(args.output + i * args.ld_output + j,
                  t_gamma * xhat.value + load_lanes(args.gamma + j, lanes) * xhat.tangent + t_beta, lanes);
    });
  }
}

// With g = dy * gamma and u = g - mean(g) - xhat * mean(g * xhat): dx = r * u, so t_dx = t_r * u + r * t_u.
template <class T>
void layer_norm_gradient_tangent(const NormTangentArgs<T>& args) noexcept {
  const T inverse_cols = T(1) / static_cast<T>(args.cols);
  for (Index i = 0; i < args.rows; ++i) {
    const RowTangents<T> s = row_tangents(args, i);
    const auto scaled = [&](Index j, int lanes) -> Normalised<T> {  // g and its tangent
      const Vec<T> dy = load_lanes(args.grad + i * args.ld_grad + j, lanes);
      const Vec<T> t_dy = load_lanes(args.grad_tangent + i * args.ld_grad_tangent + j, lanes);
      const Vec<T> gamma = load_lanes(args.gamma + j, lanes);
      const Vec<T> t_gamma = load_or_zero(args.gamma_tangent == nullptr ? nullptr : args.gamma_tangent + j, lanes);
      return {dy * gamma, t_dy * gamma + dy * t_gamma};
    };
    const auto mean_of = [&](auto value) { return inverse_cols * row_sum<T>(args.cols, value); };
    const auto xhat = [&](Index j, int lanes) { return normalised(args, s, i, j, lanes); };
    const T mean = mean_of([&](Index j, int lanes) { return scaled(j, lanes).value; });
    const T t_mean = mean_of([&](Index j, int lanes) { return scaled(j, lanes).tangent; });
    const T slope = mean_of([&](Index j, int lanes) { return scaled(j, lanes).value * xhat(j, lanes).value; });
    const T t_slope = mean_of([&](Index j, int lanes) {
      const Normalised<T> g = scaled(j, lanes), h = xhat(j, lanes);
      return g.tangent * h.value + g.value * h.tangent;
    });
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      const Normalised<T> g = scaled(j, lanes), h = xhat(j, lanes);
      const Vec<T> u = g.value - mean - h.value * slope;
      const Vec<T> t_u = g.tangent - t_mean - h.tangent * slope - h.value * t_slope;
      const Vec<T> t_dx = s.t_r * u + s.of.inverse * t_u;
      store_lanes(args.output + i * args.ld_output + j, t_dx * s.of.scale, lanes);
    });
  }
}

// The tangent of dgamma = sum over the rows of dy * xhat.
template <class T>
void layer_norm_gamma_tangent(const NormTangentArgs<T>& args) noexcept {
  for_each_vector<T>(args.cols, [&](Index j, int lanes) {
    Vec<T> sum{};
    for (Index i = 0; i < args.rows; ++i) {
      const Normalised<T> xhat = normalised(args, row_tangents(args, i), i, j, lanes);
      sum += load_lanes(args.grad_tangent + i * args.ld_grad_tangent + j, lanes) * xhat.value +
             load_lanes(args.grad + i * args.ld_grad + j, lanes) * xhat.tangent;
    }
    store_lanes(args.grad_gamma + j, sum, lanes);
  });
}

// Updates running statistics, an exponentially weighted average.
template <class T>
void average(const AverageArgs<T>& args) noexcept {
  const T rest = T(1) - args.momentum;
  for_each_vector<T>(args.n, [&](Index j, int lanes) {
    store_lanes(args.running + j,
                args.momentum * load_lanes(args.running + j, lanes) + rest * load_lanes(args.batch + j, lanes), lanes);
  });
}

template <class T>
void add(const AddArgs<T>& args) noexcept {
  for (Index i = 0; i < args.rows; ++i) {
    const T* x = args.input + i * args.ld_input;
    T* y = args.output + i * args.ld_output;
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      const Vec<T> v = load_lanes(x + j, lanes);
      store_lanes(y + j, args.copy ? v : v + load_lanes(y + j, lanes), lanes);
    });
  }
}

template <class T>
constexpr void fill_normalization(OpTable<T>& table) {
  table.layer_norm_forward = layer_norm_forward<T>;
  table.layer_norm_backward = layer_norm_backward<T>;
  table.layer_norm_gamma = layer_norm_gamma<T>;
  table.layer_norm_tangent = layer_norm_tangent<T>;
  table.layer_norm_gradient_tangent = layer_norm_gradient_tangent<T>;
  table.layer_norm_gamma_tangent = layer_norm_gamma_tangent<T>;
  table.average = average<T>;
  table.add = add<T>;
}
