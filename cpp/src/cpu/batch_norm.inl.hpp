// Batch normalisation: y = gamma * xhat + beta with xhat = (x - mean) / sqrt(variance + eps) (Ioffe & Szegedy 2015,
// algorithm 1), followed by a relu-like activation.
//
// Sums over the rows of a batch are first taken over groups of rows (`partials`), by batch_norm_moments and
// batch_norm_sums. These are called alone, or panel by panel in the epilogue of the product that makes the rows. A thread
// that needs the sums adds up the groups, from the first to the last, and then goes through its rows once. Within a group
// each column is added row by row, so no bit depends on the slices that a batch is cut into.

constexpr Index kRowsAsked = 8;  // distance from the row that is read to the row that is prefetched
constexpr int kGateVectors = kVectorBytes == 64 ? 4 : 2;  // as many as fit the registers with their sums
constexpr Index kChunkBytes = 8192;  // of a row; the values derived from the sums of these columns lie on the stack
template <class T>
constexpr Index kChunkColumns = kChunkBytes / static_cast<Index>(sizeof(T));

// Returns f'(y) * grad for the activation after a normalisation, f(y) = y for y > 0, else slope * y.
template <class T>
inline Vec<T> gate_by_sign(Vec<T> y, Vec<T> grad, T slope) {
  return y > Vec<T>{} ? grad : slope * grad;
}

// Calls body<rows>(first row) for four rows at a time, so that the values of a column are loaded once for them.
template <class Body>
inline void for_each_four_rows(Index begin, Index end, Body body) {
  for (; begin + 4 <= end; begin += 4) body.template operator()<4>(begin);
  for (; begin < end; ++begin) body.template operator()<1>(begin);
}

// For a matrix beyond the caches.
template <bool kLarge, class T>
[[gnu::always_inline]] inline void ask([[maybe_unused]] const T* line) {
  if constexpr (kLarge) prefetch(line);
}

// Returns whether sums go through the rows in the order of memory and prefetch lines. The columns of a panel, which a
// product has just made, are in a cache and need neither.
template <class T>
inline bool is_beyond_cache(const BatchNormArgs<T>& args) {
  constexpr Index kCacheBytes = 1 << 20;
  return args.cols > 4 * kLanes<T> && args.batch_rows * args.ld_input * static_cast<Index>(sizeof(T)) > kCacheBytes;
}

// Calls body(first row, end, partials of the group, whether the group begins here) for the groups of a slice.
template <class T, class Body>
inline void for_each_statistics_group(const BatchNormArgs<T>& args, Index sums, Body body) {
  const Index size = statistics_group(args), first = args.first_row / size;
  T* partials = args.partials + first * sums * args.ld_partials;
  Index end = (first + 1) * size - args.first_row;
  bool begins = args.first_row % size == 0;
  for (Index i = 0; i < args.rows; i = end, end += size, partials += sums * args.ld_partials, begins = true) {
    if (end > args.rows) end = args.rows;
    body(i, end, partials, begins);
  }
}

// Calls body<vectors>(first column, lanes, first row, rows) in an order that suits sums of columns. If the rows are in a
// cache, it takes a few vectors of columns at a time with all rows, so that their sums stay in registers; otherwise it goes
// in the order of memory.
template <class T, bool kLarge, int kMost, class Body>
inline void for_each_sum(Index cols, Index begin, Index end, Body body) {
  if constexpr (kLarge) {
    for_each_four_rows(begin, end, [&]<int kRows>(Index i) {
      for_each_vector<T>(cols, [&](Index j, int lanes) { body.template operator()<1>(j, lanes, i, Index{kRows}); });
    });
  } else {
    for_each_group_of_vectors<T, kMost>(
        cols, [&]<int kWidth>(Index j, int lanes) { body.template operator()<kWidth>(j, lanes, begin, end - begin); });
  }
}

// Computes for each group and column the value of the first row, and the sums of the differences from it and of their
// squares. These stay small where all values are large, unlike sums of the values themselves. With n rows in a group the
// squares are at most n times the sum of squared deviations from the mean (Chan, Golub & LeVeque 1983, sec. 3).
template <class T, bool kLarge>
inline void batch_norm_moments_of(const BatchNormArgs<T>& args) {
  const Index cols = args.cols, ld = args.ld_input, ld_partials = args.ld_partials;
  for_each_statistics_group(args, kMomentSums, [&](Index begin, Index end, T* partials, bool begins) {
    const T* input = args.input;
    for_each_sum<T, kLarge, 4>(cols, begin, end, [&]<int kWidth>(Index j, int lanes, Index i, Index rows) {
      constexpr Index L = kLanes<T>;
      const T* x = input + i * ld + j;
      T* origin = partials + j;
      T* sum = origin + ld_partials;
      T* squares = sum + ld_partials;
      const bool starts = begins && i == begin;
      Vec<T> first[kWidth], s[kWidth] = {}, q[kWidth] = {};
      STOOP_UNROLL
      for (int v = 0; v < kWidth; ++v) {
        first[v] = load_lanes((starts ? x : origin) + v * L, lanes);
        if (starts) store_lanes(origin + v * L, first[v], lanes);
        if (!starts) s[v] = load_lanes(sum + v * L, lanes), q[v] = load_lanes(squares + v * L, lanes);
      }
      for (Index r = 0; r < rows; ++r, x += ld) {
        ask<kLarge>(x + kRowsAsked * ld);
        STOOP_UNROLL
        for (int v = 0; v < kWidth; ++v) {
          const Vec<T> difference = load_lanes(x + v * L, lanes) - first[v];
          s[v] += difference;
          q[v] += difference * difference;
        }
      }
      STOOP_UNROLL
      for (int v = 0; v < kWidth; ++v) {
        store_lanes(sum + v * L, s[v], lanes);
        store_lanes(squares + v * L, q[v], lanes);
      }
    });
  });
}

template <class T>
void batch_norm_moments(const BatchNormArgs<T>& args) noexcept {
  if (is_beyond_cache(args)) return batch_norm_moments_of<T, true>(args);
  batch_norm_moments_of<T, false>(args);
}

// Computes mean and biased variance of the batch in the vectors of columns from j on, by merging those of the groups one
// by one (Chan, Golub & LeVeque 1983, eq. 2.1).
template <class T, int kWidth>
inline void merge_moments(const BatchNormArgs<T>& args, Index j, int lanes, Vec<T>* mean, Vec<T>* variance) {
  const Index batch_rows = args.batch_rows, ld = args.ld_partials, size = statistics_group(args);
  Vec<T> m[kWidth] = {}, squares[kWidth] = {};
  const T* partials = args.partials + j;
  for (Index before = 0; before < batch_rows; before += size, partials += kMomentSums * ld) {
    const Index rows = batch_rows - before < size ? batch_rows - before : size;
    const T n = static_cast<T>(rows), inverse = T(1) / n, share = n / static_cast<T>(before + rows);
    const T weight = static_cast<T>(before) * share;
    STOOP_UNROLL
    for (int v = 0; v < kWidth; ++v) {
      const T* origin = partials + v * kLanes<T>;
      const Vec<T> sum = load_lanes(origin + ld, lanes), mean_difference = sum * inverse;
      const Vec<T> deviations = load_lanes(origin + 2 * ld, lanes) - sum * mean_difference;
      const Vec<T> shift = load_lanes(origin, lanes) + mean_difference - m[v];
      m[v] += shift * share;
      squares[v] += maximum<T>(Vec<T>{}, deviations) + shift * shift * weight;
    }
  }
  STOOP_UNROLL
  for (int v = 0; v < kWidth; ++v) mean[v] = m[v], variance[v] = squares[v] * (T(1) / static_cast<T>(batch_rows));
}

// Calls body(first column, columns) for chunks of columns.
template <class T, class Body>
inline void for_each_chunk(const BatchNormArgs<T>& args, Body body) {
  for (Index j = 0; j < args.cols; j += kChunkColumns<T>) {
    body(j, args.cols - j < kChunkColumns<T> ? args.cols - j : kChunkColumns<T>);
  }
}

// 1 read and 1 write of the slice.
template <class T, bool kLarge>
inline void batch_norm_forward_of(const BatchNormArgs<T>& args) {
  alignas(kVectorBytes) T means[kChunkColumns<T>], scales[kChunkColumns<T>];
  const Index ld_input = args.ld_input, ld_output = args.ld_output;
  const T slope = args.slope;
  for_each_chunk(args, [&](Index first, Index cols) {
    for_each_group_of_vectors<T>(cols, [&]<int kWidth>(Index j, int lanes) {
      Vec<T> mean[kWidth], variance[kWidth];
      if (!args.fixed_statistics) merge_moments<T, kWidth>(args, first + j, lanes, mean, variance);
      STOOP_UNROLL
      for (int v = 0; v < kWidth; ++v) {
        const Index i = j + v * kLanes<T>, column = first + i;
        if (args.fixed_statistics) {
          mean[v] = load_lanes(args.mean + column, lanes);
          variance[v] = load_lanes(args.variance + column, lanes);
        } else {
          if (args.mean != nullptr) store_lanes(args.mean + column, mean[v], lanes);
          if (args.variance != nullptr) store_lanes(args.variance + column, variance[v], lanes);
        }
        store_lanes(means + i, mean[v], lanes);
        store_lanes(scales + i, load_lanes(args.gamma + column, lanes) / square_root<T>(variance[v] + args.eps), lanes);
      }
    });
    for_each_four_rows(0, args.rows, [&]<int kRows>(Index i) {
      const T* x = args.input + i * ld_input + first;
      T* y = args.output + i * ld_output + first;
      for_each_vector<T>(cols, [&](Index j, int lanes) {
        const Vec<T> mean = load_lanes(means + j, lanes), scale = load_lanes(scales + j, lanes);
        const Vec<T> beta = load_lanes(args.beta + first + j, lanes);
        STOOP_UNROLL
        for (int r = 0; r < kRows; ++r) {
          ask<kLarge>(x + (r + kRowsAsked) * ld_input + j);
          ask<kLarge>(y + (r + kRowsAsked) * ld_output + j);
          const Vec<T> normalised = (load_lanes(x + r * ld_input + j, lanes) - mean) * scale + beta;
          store_lanes(y + r * ld_output + j, gate_by_sign(normalised, normalised, slope), lanes);
        }
      });
    });
  });
}

template <class T>
void batch_norm_forward(const BatchNormArgs<T>& args) noexcept {
  if (is_large<T>(args.batch_rows, args.ld_input)) return batch_norm_forward_of<T, true>(args);
  batch_norm_forward_of<T, false>(args);
}

// The values of a vector of columns from which a gradient finds f' of the activation again.
template <class T>
struct GateVector {
  Vec<T> mean, scale, beta;

  // The gradient before the activation.
  Vec<T> of(Vec<T> centred, Vec<T> grad, T slope) const { return gate_by_sign(centred * scale + beta, grad, slope); }
};

// The same values for each column of a chunk.
template <class T>
struct GateColumns {
  alignas(kVectorBytes) T mean[kChunkColumns<T>], scale[kChunkColumns<T>];

  // Returns sqrt(variance + eps) of the vector of columns at `column`, j in this chunk.
  Vec<T> set(const BatchNormArgs<T>& args, Index column, Index j, int lanes) {
    const Vec<T> deviation = square_root<T>(load_lanes(args.variance + column, lanes) + args.eps);
    store_lanes(mean + j, load_lanes(args.mean + column, lanes), lanes);
    store_lanes(scale + j, load_lanes(args.gamma + column, lanes) / deviation, lanes);
    return deviation;
  }
  GateVector<T> at(Index j, const T* beta, int lanes) const {
    return {load_lanes(mean + j, lanes), load_lanes(scale + j, lanes), load_lanes(beta + j, lanes)};
  }
};

// Computes sum(g) and sum(g * (x - mean)) for each group and column, where g is the gradient before the activation. 2 reads.
template <class T, bool kLarge>
inline void batch_norm_sums_of(const BatchNormArgs<T>& args) {
  GateColumns<T> columns;
  const Index ld_input = args.ld_input, ld_grad = args.ld_output, ld_partials = args.ld_partials;
  const T slope = args.slope;
  for_each_chunk(args, [&](Index first, Index cols) {
    for_each_vector<T>(cols, [&](Index j, int lanes) { columns.set(args, first + j, j, lanes); });
    for_each_statistics_group(args, kGradientSums, [&](Index begin, Index end, T* partials, bool begins) {
      for_each_sum<T, kLarge, kGateVectors>(cols, begin, end, [&]<int kWidth>(Index j, int lanes, Index i, Index rows) {
        constexpr Index L = kLanes<T>;
        const T* x = args.input + i * ld_input + first + j;
        const T* dy = args.output + i * ld_grad + first + j;
        T* sum = partials + first + j;
        T* product = sum + ld_partials;
        GateVector<T> gate[kWidth];
        Vec<T> s[kWidth] = {}, p[kWidth] = {};
        STOOP_UNROLL
        for (int v = 0; v < kWidth; ++v) {
          gate[v] = columns.at(j + v * L, args.beta + first, lanes);
          if (begins && i == begin) continue;
          s[v] = load_lanes(sum + v * L, lanes), p[v] = load_lanes(product + v * L, lanes);
        }
        for (Index r = 0; r < rows; ++r, x += ld_input, dy += ld_grad) {
          ask<kLarge>(x + kRowsAsked * ld_input);
          ask<kLarge>(dy + kRowsAsked * ld_grad);
          STOOP_UNROLL
          for (int v = 0; v < kWidth; ++v) {
            const Vec<T> centred = load_lanes(x + v * L, lanes) - gate[v].mean;
            const Vec<T> g = gate[v].of(centred, load_lanes(dy + v * L, lanes), slope);
            s[v] += g;
            p[v] += g * centred;
          }
        }
        STOOP_UNROLL
        for (int v = 0; v < kWidth; ++v) {
          store_lanes(sum + v * L, s[v], lanes);
          store_lanes(product + v * L, p[v], lanes);
        }
      });
    });
  });
}

template <class T>
void batch_norm_sums(const BatchNormArgs<T>& args) noexcept {
  if (is_beyond_cache(args)) return batch_norm_sums_of<T, true>(args);
  batch_norm_sums_of<T, false>(args);
}

// Computes the two sums of the whole batch. Groups are added in runs, since rounding grows with the longest chain.
template <class T, int kWidth>
inline void merge_sums(const BatchNormArgs<T>& args, Index j, int lanes, Vec<T>* sum, Vec<T>* product) {
  constexpr Index kGroupsPerRun = 64;
  const Index size = statistics_group(args), groups = (args.batch_rows + size - 1) / size;
  const Index ld = args.ld_partials;
  const T* partials = args.partials + j;
  Vec<T> s[kWidth] = {}, p[kWidth] = {};
  for (Index group = 0; group < groups;) {
    const Index end = groups - group < kGroupsPerRun ? groups : group + kGroupsPerRun;
    Vec<T> run_sum[kWidth] = {}, run_product[kWidth] = {};
    for (; group < end; ++group, partials += kGradientSums * ld) {
      STOOP_UNROLL
      for (int v = 0; v < kWidth; ++v) {
        run_sum[v] += load_lanes(partials + v * kLanes<T>, lanes);
        run_product[v] += load_lanes(partials + ld + v * kLanes<T>, lanes);
      }
    }
    STOOP_UNROLL
    for (int v = 0; v < kWidth; ++v) s[v] += run_sum[v], p[v] += run_product[v];
  }
  STOOP_UNROLL
  for (int v = 0; v < kWidth; ++v) sum[v] = s[v], product[v] = p[v];
}

// dbeta = sum(dy), dgamma = sum(dy * xhat), dx = gamma / sqrt(variance + eps) * (dy - dbeta/rows - xhat * dgamma/rows);
// For fixed statistics the means are left out. 2 reads and 1 write of the slice.
template <class T, bool kLarge>
inline void batch_norm_backward_of(const BatchNormArgs<T>& args) {
  GateColumns<T> columns;
  alignas(kVectorBytes) T mean_grads[kChunkColumns<T>], mean_products[kChunkColumns<T>];
  const Index ld_input = args.ld_input, ld_grad = args.ld_output;
  const T slope = args.slope, inverse_rows = args.fixed_statistics ? T(0) : T(1) / static_cast<T>(args.batch_rows);
  for_each_chunk(args, [&](Index first, Index cols) {
    for_each_group_of_vectors<T>(cols, [&]<int kWidth>(Index j, int lanes) {
      Vec<T> sum[kWidth], product[kWidth];
      merge_sums<T, kWidth>(args, first + j, lanes, sum, product);
      STOOP_UNROLL
      for (int v = 0; v < kWidth; ++v) {
        const Index i = j + v * kLanes<T>, column = first + i;
        const Vec<T> deviation = columns.set(args, column, i, lanes);
        product[v] /= deviation;
        if (args.grad_beta != nullptr) store_lanes(args.grad_beta + column, sum[v], lanes);
        if (args.grad_gamma != nullptr) store_lanes(args.grad_gamma + column, product[v], lanes);
        store_lanes(mean_grads + i, sum[v] * inverse_rows, lanes);
        store_lanes(mean_products + i, product[v] * inverse_rows / deviation, lanes);
      }
    });
    for_each_four_rows(0, args.rows, [&]<int kRows>(Index i) {
      const T* x = args.input + i * ld_input + first;
      T* dy = args.output + i * ld_grad + first;
      for_each_vector<T>(cols, [&](Index j, int lanes) {
        const GateVector<T> gate = columns.at(j, args.beta + first, lanes);
        const Vec<T> mean_grad = load_lanes(mean_grads + j, lanes), mean_product = load_lanes(mean_products + j, lanes);
        STOOP_UNROLL
        for (int r = 0; r < kRows; ++r) {
          ask<kLarge>(x + (r + kRowsAsked) * ld_input + j);
          ask<kLarge>(dy + (r + kRowsAsked) * ld_grad + j);
          const Vec<T> centred = load_lanes(x + r * ld_input + j, lanes) - gate.mean;
          const Vec<T> g = gate.of(centred, load_lanes(dy + r * ld_grad + j, lanes), slope);
          store_lanes(dy + r * ld_grad + j, (g - mean_grad - centred * mean_product) * gate.scale, lanes);
        }
      });
    });
  });
}

template <class T>
void batch_norm_backward(const BatchNormArgs<T>& args) noexcept {
  if (is_large<T>(args.batch_rows, args.ld_input)) return batch_norm_backward_of<T, true>(args);
  batch_norm_backward_of<T, false>(args);
}
