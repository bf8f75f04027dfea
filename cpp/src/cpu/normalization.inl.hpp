// Layer normalisation, and small elementwise kernels around normalisations.
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
