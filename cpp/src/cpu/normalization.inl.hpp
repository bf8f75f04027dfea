// Batch and layer normalisation. y = gamma * xhat + beta with xhat = (x - mean) / sqrt(variance + eps).
// Means and variances are taken in two passes, which loses nothing when the mean is large. Those of a column are of
// panels of its rows, merged from the first to the last, so its bits do not depend on the slice.

constexpr Index kPanelRows = 64;     // a panel of a strip stays in L1 between its two passes
constexpr Index kRowsPerSum = 1024;  // sums of more rows are added up run by run: rounding grows with the longest chain

// f'(y) * grad of the activation behind a normalisation, whose f is y for y > 0, else slope * y.
template <class T>
inline Vec<T> gate_by_sign(Vec<T> y, Vec<T> grad, T slope) {
  return y > Vec<T>{} ? grad : slope * grad;
}

// Adds rows [begin, end) of a strip to args.mean and, in args.variance, to the sum of squared deviations from it
// (Chan, Golub & LeVeque 1983, eq. 2.1).
template <class T, bool kLarge>
inline void add_panel(const BatchNormArgs<T>& args, Index first, Index cols, Index begin, Index end) {
  const T* strip = args.input + first;
  const T rows = static_cast<T>(end - begin), share = rows / static_cast<T>(end);
  const T weight = static_cast<T>(begin) * share;
  for_each_group_of_vectors<T>(cols, [&]<int kWidth>(Index j, int lanes) {
    const auto at = [&](Index i, int v) { return load_lanes(strip + i * args.ld_input + j + v * kLanes<T>, lanes); };
    Vec<T> mean[kWidth] = {}, squares[kWidth] = {};
    const StripAhead<T, kLarge> ahead{strip, args.ld_input, j == 0 ? args.rows : 0};
    for (Index i = begin; i < end; ++i) {
      ahead.ask(i + kRowsAhead);
      STOOP_UNROLL
      for (int v = 0; v < kWidth; ++v) mean[v] += at(i, v);
    }
    STOOP_UNROLL
    for (int v = 0; v < kWidth; ++v) mean[v] *= T(1) / rows;
    for (Index i = begin; i < end; ++i) {
      STOOP_UNROLL
      for (int v = 0; v < kWidth; ++v) {
        const Vec<T> centred = at(i, v) - mean[v];
        squares[v] += centred * centred;
      }
    }
    STOOP_UNROLL
    for (int v = 0; v < kWidth; ++v) {
      T* mean_so_far = args.mean + first + j + v * kLanes<T>;
      T* squares_so_far = args.variance + first + j + v * kLanes<T>;
      if (begin > 0) {
        const Vec<T> before = load_lanes(mean_so_far, lanes), shift = mean[v] - before;
        mean[v] = before + shift * share;
        squares[v] += load_lanes(squares_so_far, lanes) + shift * shift * weight;
      }
      if (end == args.rows) squares[v] *= T(1) / static_cast<T>(end);
      store_lanes(mean_so_far, mean[v], lanes);
      store_lanes(squares_so_far, squares[v], lanes);
    }
  });
}

// Ioffe & Szegedy 2015, algorithm 1. From memory 1 read and 1 write of the slice; two more reads come from caches.
template <class T, bool kLarge>
inline void batch_norm_forward_of(const BatchNormArgs<T>& args) {
  for_each_strip<T>(args.cols, [&](Index first, Index cols) {
    const T* input = args.input + first;
    T* output = args.output + first;
    for (Index i = 0; i < args.rows && !args.fixed_statistics; i += kPanelRows) {
      add_panel<T, kLarge>(args, first, cols, i, args.rows - i < kPanelRows ? args.rows : i + kPanelRows);
    }
    for_each_group_of_vectors<T>(cols, [&]<int kWidth>(Index j, int lanes) {
      Vec<T> mean[kWidth], scale[kWidth], shift[kWidth];
      STOOP_UNROLL
      for (int v = 0; v < kWidth; ++v) {
        const Index column = first + j + v * kLanes<T>;
        mean[v] = load_lanes(args.mean + column, lanes);
        const Vec<T> variance = load_lanes(args.variance + column, lanes);
        scale[v] = load_lanes(args.gamma + column, lanes) / square_root<T>(variance + args.eps);
        shift[v] = load_lanes(args.beta + column, lanes);
      }
      const StripAhead<T, kLarge> output_ahead{output, args.ld_output, j == 0 ? args.rows : 0};
      const StripAhead<T, kLarge> input_ahead{input, args.ld_input, j == 0 && args.fixed_statistics ? args.rows : 0};
      const Index rows = args.rows, ld_input = args.ld_input, ld_output = args.ld_output;
      const T slope = args.slope;
      const T* x = input + j;
      T* y = output + j;
      for (Index i = 0; i < rows; ++i, x += ld_input, y += ld_output) {
        output_ahead.ask(i + kWrittenRowsAhead);
        input_ahead.ask(i + kRowsAhead);
        STOOP_UNROLL
        for (int v = 0; v < kWidth; ++v) {
          const Vec<T> centred = load_lanes(x + v * kLanes<T>, lanes) - mean[v];
          const Vec<T> normalised = centred * scale[v] + shift[v];
          store_lanes(y + v * kLanes<T>, gate_by_sign(normalised, normalised, slope), lanes);
        }
      }
    });
  });
}

template <class T>
void batch_norm_forward(const BatchNormArgs<T>& args) noexcept {
  if (is_large<T>(args.rows, args.ld_input)) return batch_norm_forward_of<T, true>(args);
  batch_norm_forward_of<T, false>(args);
}

// dbeta = sum(dy), dgamma = sum(dy * xhat) of a strip.
template <class T, bool kLarge>
inline void batch_norm_sums(const BatchNormArgs<T>& args, Index first, Index cols) {
  const T* input = args.input + first;
  const T* grad = args.output + first;
  for_each_group_of_vectors<T>(cols, [&]<int kWidth>(Index j, int lanes) {
    Vec<T> mean[kWidth], scale[kWidth], beta[kWidth], grad_beta[kWidth] = {}, products[kWidth] = {};
    STOOP_UNROLL
    for (int v = 0; v < kWidth; ++v) {
      const Index column = first + j + v * kLanes<T>;
      mean[v] = load_lanes(args.mean + column, lanes);
      beta[v] = load_lanes(args.beta + column, lanes);
      const Vec<T> variance = load_lanes(args.variance + column, lanes);
      scale[v] = load_lanes(args.gamma + column, lanes) / square_root<T>(variance + args.eps);
    }
    const StripAhead<T, kLarge> input_ahead{input, args.ld_input, j == 0 ? args.rows : 0};
    const StripAhead<T, kLarge> grad_ahead{grad, args.ld_output, j == 0 ? args.rows : 0};
    const Index rows = args.rows, ld_input = args.ld_input, ld_grad = args.ld_output;
    const T slope = args.slope;
    const T *x = input + j, *dy = grad + j;
    for (Index start = 0; start < rows; start += kRowsPerSum) {
      const Index end = rows - start < kRowsPerSum ? rows : start + kRowsPerSum;
      Vec<T> run_grad_beta[kWidth] = {}, run_products[kWidth] = {};
      for (Index i = start; i < end; ++i, x += ld_input, dy += ld_grad) {
        input_ahead.ask(i + kRowsAhead);
        grad_ahead.ask(i + kRowsAhead);
        STOOP_UNROLL
        for (int v = 0; v < kWidth; ++v) {
          const Vec<T> centred = load_lanes(x + v * kLanes<T>, lanes) - mean[v];
          const Vec<T> g = gate_by_sign(centred * scale[v] + beta[v], load_lanes(dy + v * kLanes<T>, lanes), slope);
          run_grad_beta[v] += g;
          run_products[v] += g * centred;
        }
      }
      STOOP_UNROLL
      for (int v = 0; v < kWidth; ++v) {
        grad_beta[v] += run_grad_beta[v];
        products[v] += run_products[v];
      }
    }
    STOOP_UNROLL
    for (int v = 0; v < kWidth; ++v) {
      const Index column = first + j + v * kLanes<T>;
      const Vec<T> deviation = square_root<T>(load_lanes(args.variance + column, lanes) + args.eps);
      store_lanes(args.grad_beta + column, grad_beta[v], lanes);
      store_lanes(args.grad_gamma + column, products[v] / deviation, lanes);
    }
  });
}

// dx = gamma / sqrt(variance + eps) * (dy - dbeta/rows - xhat * dgamma/rows); without the means for fixed statistics.
// From memory 2 reads and 1 write of the slice; two more reads come from caches: from the last row to the first, so that
// of two strips larger than a cache at least the rows read last are still there.
template <class T, bool kLarge>
inline void batch_norm_backward_of(const BatchNormArgs<T>& args) {
  const T inverse_rows = args.fixed_statistics ? T(0) : T(1) / static_cast<T>(args.rows);
  for_each_strip<T>(args.cols, [&](Index first, Index cols) {
    batch_norm_sums<T, kLarge>(args, first, cols);
    const T* input = args.input + first;
    T* grad = args.output + first;
    for_each_group_of_vectors<T>(cols, [&]<int kWidth>(Index j, int lanes) {
      Vec<T> mean[kWidth], scale[kWidth], beta[kWidth], mean_grad[kWidth], mean_product[kWidth];
      STOOP_UNROLL
      for (int v = 0; v < kWidth; ++v) {
        const Index column = first + j + v * kLanes<T>;
        mean[v] = load_lanes(args.mean + column, lanes);
        beta[v] = load_lanes(args.beta + column, lanes);
        const Vec<T> deviation = square_root<T>(load_lanes(args.variance + column, lanes) + args.eps);
        scale[v] = load_lanes(args.gamma + column, lanes) / deviation;
        mean_grad[v] = load_lanes(args.grad_beta + column, lanes) * inverse_rows;
        mean_product[v] = load_lanes(args.grad_gamma + column, lanes) * inverse_rows / deviation;
      }
      const StripAhead<T, kLarge> input_ahead{input, args.ld_input, j == 0 ? args.rows : 0};
      const StripAhead<T, kLarge> grad_ahead{grad, args.ld_output, j == 0 ? args.rows : 0};
      const Index rows = args.rows, ld_input = args.ld_input, ld_grad = args.ld_output;
      const T slope = args.slope;
      const T* x = input + j + (rows - 1) * ld_input;
      T* dy = grad + j + (rows - 1) * ld_grad;
      for (Index i = rows - 1; i >= 0; --i, x -= ld_input, dy -= ld_grad) {
        input_ahead.ask(i - kRowsAhead);
        grad_ahead.ask(i - kRowsAhead);
        STOOP_UNROLL
        for (int v = 0; v < kWidth; ++v) {
          const Vec<T> centred = load_lanes(x + v * kLanes<T>, lanes) - mean[v];
          const Vec<T> g = gate_by_sign(centred * scale[v] + beta[v], load_lanes(dy + v * kLanes<T>, lanes), slope);
          store_lanes(dy + v * kLanes<T>, (g - mean_grad[v] - centred * mean_product[v]) * scale[v], lanes);
        }
      }
    });
  });
}

template <class T>
void batch_norm_backward(const BatchNormArgs<T>& args) noexcept {
  if (is_large<T>(args.rows, args.ld_input)) return batch_norm_backward_of<T, true>(args);
  batch_norm_backward_of<T, false>(args);
}

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
