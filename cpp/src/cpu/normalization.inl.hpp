// Layer normalisation, and small elementwise kernels around normalisations.
// y = gamma * xhat + beta with xhat = (x - mean) / sqrt(variance + eps).

// Sum over the lanes in use of value(j, lanes), in T and in a fixed order, several vectors in flight.
template <class T, class Value>
inline T row_sum(Index cols, Value value) {
  constexpr Index L = kLanes<T>;
  Vec<T> sum[4] = {};
  Index start = 0;
  for (; start + 4 * L <= cols; start += 4 * L) {
    STOOP_UNROLL
    for (int v = 0; v < 4; ++v) sum[v] += value(start + v * L, kLanes<T>);
  }
  for_each_vector<T>(cols - start, [&](Index j, int lanes) {
    sum[0] += select<T>(first_lanes<T>(lanes), value(start + j, lanes), Vec<T>{});
  });
  return static_cast<T>(sum_lanes<T>((sum[0] + sum[1]) + (sum[2] + sum[3])));
}

// Ba, Kiros & Hinton 2016, eq. 4.
template <class T>
void layer_norm_forward(const LayerNormArgs<T>& args) noexcept {
  const T inverse_cols = T(1) / static_cast<T>(args.cols);
  for (Index i = 0; i < args.rows; ++i) {
    const T* x = args.input + i * args.ld_input;
    const T mean = inverse_cols * row_sum<T>(args.cols, [&](Index j, int lanes) { return load_lanes(x + j, lanes); });
    const T variance = inverse_cols * row_sum<T>(args.cols, [&](Index j, int lanes) {
                         const Vec<T> centred = load_lanes(x + j, lanes) - mean;
                         return centred * centred;
                       });
    const T inverse = T(1) / square_root<T>(broadcast(variance + args.eps))[0];
    args.statistics[i * args.ld_statistics] = mean;
    args.statistics[i * args.ld_statistics + 1] = inverse;
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      const Vec<T> normalised = (load_lanes(x + j, lanes) - mean) * inverse;
      store_lanes(args.output + i * args.ld_output + j,
                  normalised * load_lanes(args.gamma + j, lanes) + load_lanes(args.beta + j, lanes), lanes);
    });
  }
}

// With g = dy * gamma: dx = (g - mean(g) - xhat * mean(g * xhat)) / sqrt(variance + eps).
template <class T>
void layer_norm_backward(const LayerNormArgs<T>& args) noexcept {
  const T inverse_cols = T(1) / static_cast<T>(args.cols);
  for (Index i = 0; i < args.rows; ++i) {
    const T* x = args.input + i * args.ld_input;
    const T* dy = args.grad + i * args.ld_grad;
    const T mean = args.statistics[i * args.ld_statistics], inverse = args.statistics[i * args.ld_statistics + 1];
    const auto scaled = [&](Index j, int lanes) {
      return load_lanes(dy + j, lanes) * load_lanes(args.gamma + j, lanes);
    };
    const auto normalised = [&](Index j, int lanes) { return (load_lanes(x + j, lanes) - mean) * inverse; };
    const T mean_grad = inverse_cols * row_sum<T>(args.cols, scaled);
    const T slope = inverse_cols *
                    row_sum<T>(args.cols, [&](Index j, int lanes) { return scaled(j, lanes) * normalised(j, lanes); });
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      store_lanes(args.output + i * args.ld_output + j,
                  (scaled(j, lanes) - mean_grad - normalised(j, lanes) * slope) * inverse, lanes);
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
