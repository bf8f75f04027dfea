// Layer normalisation, and small elementwise kernels around normalisations.
// y = gamma * xhat + beta with xhat = (x - mean) / sqrt(variance + eps).

// Of one value.
template <class T, class Value>
inline T row_sum(Index cols, Value value) {
  const auto one = [&](Index j, int lanes) -> VecSums<T, 1> { return {{value(j, lanes)}}; };
  return static_cast<T>(sum_lanes<T>(sums_of_vectors<T, 1>(cols, one).of[0]));
}

// Mean and 1/sqrt(variance + eps) of kRows rows, which go to the statistics. Each pass is over all rows before the next:
// adding the lanes of a sum is a long chain, and other rows are worked on meanwhile.
template <class T, int kRows>
inline void normalise_rows(const LayerNormArgs<T>& args, Index first) {
  const Index cols = args.cols;
  const T inverse_cols = T(1) / static_cast<T>(cols);
  const T* gamma = args.gamma;
  const T* beta = args.beta;
  const T* input = args.input + first * args.ld_input;
  T mean[kRows], inverse[kRows];
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
  }
  for (int r = 0; r < kRows; ++r) {
    const T* x = input + r * args.ld_input;
    T* y = args.output + (first + r) * args.ld_output;
    T* statistics = args.statistics + (first + r) * args.ld_statistics;
    statistics[0] = mean[r];
    statistics[1] = inverse[r];
    for_each_vector<T>(cols, [&](Index j, int lanes) {
      const Vec<T> normalised = (load_lanes(x + j, lanes) - mean[r]) * inverse[r];
      store_lanes(y + j, normalised * load_lanes(gamma + j, lanes) + load_lanes(beta + j, lanes), lanes);
    });
  }
}

// Ba, Kiros & Hinton 2016, eq. 4. Wide rows go alone: prefetchers follow one better than several.
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

// With g = dy * gamma: dx = (g - mean(g) - xhat * mean(g * xhat)) / sqrt(variance + eps).
template <class T>
void layer_norm_backward(const LayerNormArgs<T>& args) noexcept {
  const Index cols = args.cols;
  const T inverse_cols = T(1) / static_cast<T>(cols);
  const T* gamma = args.gamma;
  for (Index i = 0; i < args.rows; ++i) {
    const T* x = args.input + i * args.ld_input;
    const T* dy = args.grad + i * args.ld_grad;
    T* dx = args.output + i * args.ld_output;
    const T mean = args.statistics[i * args.ld_statistics], inverse = args.statistics[i * args.ld_statistics + 1];
    const auto scaled = [&](Index j, int lanes) { return load_lanes(dy + j, lanes) * load_lanes(gamma + j, lanes); };
    const auto normalised = [&](Index j, int lanes) { return (load_lanes(x + j, lanes) - mean) * inverse; };
    const VecSums<T, 2> sums = sums_of_vectors<T, 2>(cols, [&](Index j, int lanes) -> VecSums<T, 2> {
      const Vec<T> g = scaled(j, lanes);
      return {{g, g * normalised(j, lanes)}};
    });
    const T mean_grad = inverse_cols * static_cast<T>(sum_lanes<T>(sums.of[0]));
    const T slope = inverse_cols * static_cast<T>(sum_lanes<T>(sums.of[1]));
    for_each_vector<T>(cols, [&](Index j, int lanes) {
      store_lanes(dx + j, (scaled(j, lanes) - mean_grad - normalised(j, lanes) * slope) * inverse, lanes);
    });
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
        const T mean = args.statistics[i * args.ld_statistics], inverse = args.statistics[i * args.ld_statistics + 1];
        STOOP_UNROLL
        for (int v = 0; v < kWidth; ++v) {
          const Index column = j + v * kLanes<T>;
          const Vec<T> centred = load_lanes(input + i * args.ld_input + column, lanes) - mean;
          sum[v] += load_lanes(grad + i * args.ld_grad + column, lanes) * (centred * inverse);
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

// Running statistics: an exponentially weighted average.
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
