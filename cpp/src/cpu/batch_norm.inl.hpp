// Batch normalisation: y = gamma * xhat + beta with xhat = (x - mean) / sqrt(variance + eps) (Ioffe & Szegedy 2015,
// algorithm 1), followed by a relu-like activation.
//
// Sums over the rows of a batch are taken of groups of rows first (`partials`), by batch_norm_moments and
// batch_norm_sums: alone, or panel by panel in the epilogue of the product that makes the rows. Whoever needs them adds
// up the groups, from the first to the last, and then goes through its rows once. Within a group each column is added
// row by row, so no bit depends on the slices that a batch is cut into.

constexpr Index kRowsAsked = 8;       // from the row that is read to the one that is asked for
constexpr Index kChunkColumns = 512;  // what is derived from the sums of so many columns lies on the stack

// f'(y) * grad of the activation behind a normalisation, whose f is y for y > 0, else slope * y.
template <class T>
inline Vec<T> gate_by_sign(Vec<T> y, Vec<T> grad, T slope) {
  return y > Vec<T>{} ? grad : slope * grad;
}

// Calls body<rows>(first row), four rows at a time, so that what belongs to a column is loaded once for them.
template <class Body>
inline void for_each_four_rows(Index begin, Index end, Body body) {
  for (; begin + 4 <= end; begin += 4) body.template operator()<4>(begin);
  for (; begin < end; ++begin) body.template operator()<1>(begin);
}

// Of a matrix beyond the caches.
template <bool kLarge, class T>
[[gnu::always_inline]] inline void ask([[maybe_unused]] const T* line) {
  if constexpr (kLarge) prefetch(line);
}

// Calls body(first row, end, partials of the group, whether the group begins here) for the groups of a slice.
template <class T, class Body>
inline void for_each_statistics_group(const BatchNormArgs<T>& args, Index sums, Body body) {
  const Index size = statistics_group(args.batch_rows);
  for (Index i = 0; i < args.rows;) {
    const Index row = args.first_row + i, group = row / size, left = (group + 1) * size - row;
    const Index end = left < args.rows - i ? i + left : args.rows;
    body(i, end, args.partials + group * sums * args.ld_partials, row % size == 0);
    i = end;
  }
}

// For each group and column: the first row's value, and the sums of the differences from it and of their squares. Small
// where all values are large, which sums of the values themselves would not survive; with n rows in a group the squares
// are at most n times the sum of squared deviations from the mean (Chan, Golub & LeVeque 1983, sec. 3).
template <class T>
void batch_norm_moments(const BatchNormArgs<T>& args) noexcept {
  const Index cols = args.cols, ld = args.ld_input;
  for_each_statistics_group(args, kMomentSums, [&](Index begin, Index end, T* origin, bool begins) {
    T* sum = origin + args.ld_partials;
    T* squares = sum + args.ld_partials;
    if (begins) {
      for_each_vector<T>(cols, [&](Index j, int lanes) {
        store_lanes(origin + j, load_lanes(args.input + begin * ld + j, lanes), lanes);
        store_lanes(sum + j, Vec<T>{}, lanes);
        store_lanes(squares + j, Vec<T>{}, lanes);
      });
    }
    for_each_four_rows(begin, end, [&]<int kRows>(Index i) {
      const T* x = args.input + i * ld;
      for_each_vector<T>(cols, [&](Index j, int lanes) {
        const Vec<T> first = load_lanes(origin + j, lanes);
        Vec<T> s = load_lanes(sum + j, lanes), q = load_lanes(squares + j, lanes);
        STOOP_UNROLL
        for (int r = 0; r < kRows; ++r) {
          const Vec<T> difference = load_lanes(x + r * ld + j, lanes) - first;
          s += difference;
          q += difference * difference;
        }
        store_lanes(sum + j, s, lanes);
        store_lanes(squares + j, q, lanes);
      });
    });
  });
}

// Mean and biased variance of the batch in the vector of columns at j: the groups' merged one by one (Chan, Golub &
// LeVeque 1983, eq. 2.1).
template <class T>
inline void merge_moments(const BatchNormArgs<T>& args, Index j, int lanes, Vec<T>& mean, Vec<T>& variance) {
  const Index size = statistics_group(args.batch_rows);
  mean = variance = Vec<T>{};
  const T* partials = args.partials + j;
  for (Index before = 0; before < args.batch_rows; before += size, partials += kMomentSums * args.ld_partials) {
    const Index rows = args.batch_rows - before < size ? args.batch_rows - before : size;
    const T n = static_cast<T>(rows), share = n / static_cast<T>(before + rows);
    const Vec<T> sum = load_lanes(partials + args.ld_partials, lanes), mean_difference = sum * (T(1) / n);
    const Vec<T> deviations = load_lanes(partials + 2 * args.ld_partials, lanes) - sum * mean_difference;
    const Vec<T> shift = load_lanes(partials, lanes) + mean_difference - mean;
    mean += shift * share;
    variance += maximum<T>(Vec<T>{}, deviations) + shift * shift * (static_cast<T>(before) * share);
  }
  variance *= T(1) / static_cast<T>(args.batch_rows);
}

// Calls body(first column, columns) for chunks of columns.
template <class T, class Body>
inline void for_each_chunk(const BatchNormArgs<T>& args, Body body) {
  for (Index j = 0; j < args.cols; j += kChunkColumns) {
    body(j, args.cols - j < kChunkColumns ? args.cols - j : kChunkColumns);
  }
}

// 1 read and 1 write of the slice.
template <class T, bool kLarge>
inline void batch_norm_forward_of(const BatchNormArgs<T>& args) {
  alignas(kVectorBytes) T means[kChunkColumns], scales[kChunkColumns];
  const Index ld_input = args.ld_input, ld_output = args.ld_output;
  const T slope = args.slope;
  for_each_chunk(args, [&](Index first, Index cols) {
    for_each_vector<T>(cols, [&](Index j, int lanes) {
      const Index column = first + j;
      Vec<T> mean, variance;
      if (args.fixed_statistics) {
        mean = load_lanes(args.mean + column, lanes);
        variance = load_lanes(args.variance + column, lanes);
      } else {
        merge_moments(args, column, lanes, mean, variance);
        if (args.mean != nullptr) store_lanes(args.mean + column, mean, lanes);
        if (args.variance != nullptr) store_lanes(args.variance + column, variance, lanes);
      }
      store_lanes(means + j, mean, lanes);
      store_lanes(scales + j, load_lanes(args.gamma + column, lanes) / square_root<T>(variance + args.eps), lanes);
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

// What a gradient needs of a vector of columns to find f' of the activation again.
template <class T>
struct GateVector {
  Vec<T> mean, scale, beta;

  // The gradient before the activation.
  Vec<T> of(Vec<T> centred, Vec<T> grad, T slope) const { return gate_by_sign(centred * scale + beta, grad, slope); }
};

// The same of each column of a chunk.
template <class T>
struct GateColumns {
  alignas(kVectorBytes) T mean[kChunkColumns], scale[kChunkColumns];

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

// For each group and column, with g the gradient before the activation: sum(g) and sum(g * (x - mean)). 2 reads.
template <class T, bool kLarge>
inline void batch_norm_sums_of(const BatchNormArgs<T>& args) {
  GateColumns<T> columns;
  const Index ld_input = args.ld_input, ld_grad = args.ld_output;
  const T slope = args.slope;
  for_each_chunk(args, [&](Index first, Index cols) {
    for_each_vector<T>(cols, [&](Index j, int lanes) { columns.set(args, first + j, j, lanes); });
    for_each_statistics_group(args, kGradientSums, [&](Index begin, Index end, T* partials, bool begins) {
      T* sum = partials + first;
      T* product = sum + args.ld_partials;
      if (begins) {
        for_each_vector<T>(cols, [&](Index j, int lanes) {
          store_lanes(sum + j, Vec<T>{}, lanes);
          store_lanes(product + j, Vec<T>{}, lanes);
        });
      }
      for_each_four_rows(begin, end, [&]<int kRows>(Index i) {
        const T* x = args.input + i * ld_input + first;
        const T* dy = args.output + i * ld_grad + first;
        for_each_vector<T>(cols, [&](Index j, int lanes) {
          const GateVector<T> gate = columns.at(j, args.beta + first, lanes);
          Vec<T> s = load_lanes(sum + j, lanes), p = load_lanes(product + j, lanes);
          STOOP_UNROLL
          for (int r = 0; r < kRows; ++r) {
            ask<kLarge>(x + (r + kRowsAsked) * ld_input + j);
            ask<kLarge>(dy + (r + kRowsAsked) * ld_grad + j);
            const Vec<T> centred = load_lanes(x + r * ld_input + j, lanes) - gate.mean;
            const Vec<T> g = gate.of(centred, load_lanes(dy + r * ld_grad + j, lanes), slope);
            s += g;
            p += g * centred;
          }
          store_lanes(sum + j, s, lanes);
          store_lanes(product + j, p, lanes);
        });
      });
    });
  });
}

template <class T>
void batch_norm_sums(const BatchNormArgs<T>& args) noexcept {
  if (is_large<T>(args.batch_rows, args.ld_input)) return batch_norm_sums_of<T, true>(args);
  batch_norm_sums_of<T, false>(args);
}

// The two sums of the whole batch. Groups are added up run by run: rounding grows with the longest chain.
template <class T>
inline void merge_sums(const BatchNormArgs<T>& args, Index j, int lanes, Vec<T>& sum, Vec<T>& product) {
  constexpr Index kGroupsPerRun = 64;
  const Index size = statistics_group(args.batch_rows), groups = (args.batch_rows + size - 1) / size;
  sum = product = Vec<T>{};
  for (Index group = 0; group < groups;) {
    const Index end = groups - group < kGroupsPerRun ? groups : group + kGroupsPerRun;
    Vec<T> run_sum{}, run_product{};
    for (; group < end; ++group) {
      const T* partials = args.partials + group * kGradientSums * args.ld_partials + j;
      run_sum += load_lanes(partials, lanes);
      run_product += load_lanes(partials + args.ld_partials, lanes);
    }
    sum += run_sum;
    product += run_product;
  }
}

// dbeta = sum(dy), dgamma = sum(dy * xhat), dx = gamma / sqrt(variance + eps) * (dy - dbeta/rows - xhat * dgamma/rows);
// without the means for fixed statistics. 2 reads and 1 write of the slice.
template <class T, bool kLarge>
inline void batch_norm_backward_of(const BatchNormArgs<T>& args) {
  GateColumns<T> columns;
  alignas(kVectorBytes) T mean_grads[kChunkColumns], mean_products[kChunkColumns];
  const Index ld_input = args.ld_input, ld_grad = args.ld_output;
  const T slope = args.slope, inverse_rows = args.fixed_statistics ? T(0) : T(1) / static_cast<T>(args.batch_rows);
  for_each_chunk(args, [&](Index first, Index cols) {
    for_each_vector<T>(cols, [&](Index j, int lanes) {
      const Vec<T> deviation = columns.set(args, first + j, j, lanes);
      Vec<T> sum, product;
      merge_sums(args, first + j, lanes, sum, product);
      product /= deviation;
      if (args.grad_beta != nullptr) store_lanes(args.grad_beta + first + j, sum, lanes);
      if (args.grad_gamma != nullptr) store_lanes(args.grad_gamma + first + j, product, lanes);
      store_lanes(mean_grads + j, sum * inverse_rows, lanes);
      store_lanes(mean_products + j, product * inverse_rows / deviation, lanes);
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
