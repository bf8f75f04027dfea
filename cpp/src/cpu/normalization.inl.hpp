// Batch and layer normalisation. y = gamma * xhat + beta with xhat = (x - mean) / sqrt(variance + eps).
// Means and variances are taken in two passes, which loses nothing when the mean is large; each column (row) is added
// from first to last, so its bits do not depend on the slice.

// Calls strip(j, width) for runs of up to four vectors of columns, so that several sums are in flight at once;
// lanes of the last vector: `lanes`.
template <class T, class Strip>
inline void for_each_strip(Index cols, Strip strip) {
  constexpr Index L = kLanes<T>;
  Index j = 0;
  for (; j + 4 * L <= cols; j += 4 * L) strip.template operator()<4>(j, kLanes<T>);
  for (; j + L <= cols; j += L) strip.template operator()<1>(j, kLanes<T>);
  if (j < cols) strip.template operator()<1>(j, static_cast<int>(cols - j));
}

// Ioffe & Szegedy 2015, algorithm 1. 3 reads and 1 write of the slice, which a column strip keeps in cache.
template <class T>
void batch_norm_forward(const BatchNormArgs<T>& args) noexcept {
  const T inverse_rows = T(1) / static_cast<T>(args.rows);
  for_each_strip<T>(args.cols, [&]<int kWidth>(Index j, int lanes) {
    Vec<T> mean[kWidth] = {}, variance[kWidth] = {};
    const auto at = [&](const T* base, Index ld, Index i, int v) {
      return load_lanes(base + i * ld + j + v * kLanes<T>, lanes);
    };
    if (args.fixed_statistics) {
      for (int v = 0; v < kWidth; ++v) {
        mean[v] = at(args.mean, 0, 0, v);
        variance[v] = at(args.variance, 0, 0, v);
      }
    } else {
      for (Index i = 0; i < args.rows; ++i) {
        STOOP_UNROLL
        for (int v = 0; v < kWidth; ++v) mean[v] += at(args.input, args.ld_input, i, v);
      }
      for (int v = 0; v < kWidth; ++v) mean[v] *= inverse_rows;
      for (Index i = 0; i < args.rows; ++i) {
        STOOP_UNROLL
        for (int v = 0; v < kWidth; ++v) {
          const Vec<T> centred = at(args.input, args.ld_input, i, v) - mean[v];
          variance[v] += centred * centred;
        }
      }
      for (int v = 0; v < kWidth; ++v) {
        variance[v] *= inverse_rows;
        store_lanes(args.mean + j + v * kLanes<T>, mean[v], lanes);
        store_lanes(args.variance + j + v * kLanes<T>, variance[v], lanes);
      }
    }
    Vec<T> scale[kWidth], shift[kWidth];
    for (int v = 0; v < kWidth; ++v) {
      scale[v] = at(args.gamma, 0, 0, v) / square_root<T>(variance[v] + args.eps);
      shift[v] = at(args.beta, 0, 0, v);
    }
    for (Index i = 0; i < args.rows; ++i) {
      STOOP_UNROLL
      for (int v = 0; v < kWidth; ++v) {
        store_lanes(args.output + i * args.ld_output + j + v * kLanes<T>,
                    (at(args.input, args.ld_input, i, v) - mean[v]) * scale[v] + shift[v], lanes);
      }
    }
  });
}

// dbeta = sum(dy), dgamma = sum(dy * xhat),
// dx = gamma / sqrt(variance + eps) * (dy - dbeta/rows - xhat * dgamma/rows); without the means for fixed statistics.
template <class T>
void batch_norm_backward(const BatchNormArgs<T>& args) noexcept {
  const T inverse_rows = args.fixed_statistics ? T(0) : T(1) / static_cast<T>(args.rows);
  for_each_strip<T>(args.cols, [&]<int kWidth>(Index j, int lanes) {
    const auto at = [&](const T* base, Index ld, Index i, int v) {
      return load_lanes(base + i * ld + j + v * kLanes<T>, lanes);
    };
    Vec<T> mean[kWidth], inverse[kWidth], grad_beta[kWidth] = {}, grad_gamma[kWidth] = {};
    for (int v = 0; v < kWidth; ++v) {
      mean[v] = at(args.mean, 0, 0, v);
      inverse[v] = T(1) / square_root<T>(at(args.variance, 0, 0, v) + args.eps);
    }
    for (Index i = 0; i < args.rows; ++i) {
      STOOP_UNROLL
      for (int v = 0; v < kWidth; ++v) {
        const Vec<T> dy = at(args.output, args.ld_output, i, v);
        grad_beta[v] += dy;
        grad_gamma[v] += dy * ((at(args.input, args.ld_input, i, v) - mean[v]) * inverse[v]);
      }
    }
    Vec<T> scale[kWidth], shift[kWidth], slope[kWidth];
    for (int v = 0; v < kWidth; ++v) {
      store_lanes(args.grad_beta + j + v * kLanes<T>, grad_beta[v], lanes);
      store_lanes(args.grad_gamma + j + v * kLanes<T>, grad_gamma[v], lanes);
      scale[v] = at(args.gamma, 0, 0, v) * inverse[v];
      shift[v] = grad_beta[v] * inverse_rows;
      slope[v] = grad_gamma[v] * inverse_rows * inverse[v];
    }
    for (Index i = 0; i < args.rows; ++i) {
      STOOP_UNROLL
      for (int v = 0; v < kWidth; ++v) {
        const Vec<T> centred = at(args.input, args.ld_input, i, v) - mean[v];
        const Vec<T> dy = at(args.output, args.ld_output, i, v);
        store_lanes(args.output + i * args.ld_output + j + v * kLanes<T>,
                    (dy - shift[v] - centred * slope[v]) * scale[v], lanes);
      }
    }
  });
}

// Sum over the lanes in use of value(j, lanes), in T and in a fixed order.
template <class T, class Value>
inline T row_sum(Index cols, Value value) {
  Vec<T> sum{};
  for_each_vector<T>(cols,
                     [&](Index j, int lanes) { sum += select<T>(first_lanes<T>(lanes), value(j, lanes), Vec<T>{}); });
  return static_cast<T>(sum_lanes<T>(sum));
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
template <class T>
void layer_norm_gamma(const LayerNormArgs<T>& args) noexcept {
  for_each_vector<T>(args.cols, [&](Index j, int lanes) {
    Vec<T> sum{};
    for (Index i = 0; i < args.rows; ++i) {
      const T mean = args.statistics[i * args.ld_statistics], inverse = args.statistics[i * args.ld_statistics + 1];
      sum += load_lanes(args.grad + i * args.ld_grad + j, lanes) *
             ((load_lanes(args.input + i * args.ld_input + j, lanes) - mean) * inverse);
    }
    store_lanes(args.grad_gamma + j, sum, lanes);
  });
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
