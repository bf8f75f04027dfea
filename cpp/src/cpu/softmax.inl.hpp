// Softmax cross-entropy, a loss of whole rows: value and gradient in one pass. See loss.inl.hpp.

// Returns whether a row does not count at all, and then writes its gradient, 0.
template <class T>
inline bool is_left_out(const LossArgs<T>& args, Index i) {
  if (args.element_weights == nullptr || args.weights[i] != 0.0) return false;
  for (Index j = 0; args.grad != nullptr && j < args.cols; ++j) args.grad[i * args.ld_grad + j] = T(0);
  return true;
}

// Returns the largest element of a row. Lanes after its end do not count.
template <class T>
inline T row_maximum(const T* x, Index cols) {
  constexpr Index L = kLanes<T>;
  const T kInfinity = __builtin_inf();
  Vec<T> largest[4];  // several, so that one maximum need not wait for the one before
  STOOP_UNROLL
  for (int v = 0; v < 4; ++v) largest[v] = broadcast(-kInfinity);
  Index start = 0;
  for (; start + 4 * L <= cols; start += 4 * L) {
    STOOP_UNROLL
    for (int v = 0; v < 4; ++v) largest[v] = maximum<T>(largest[v], load(x + start + v * L));
  }
  for_each_vector<T>(cols - start, [&](Index j, int lanes) {
    const Vec<T> next = load_lanes(x + start + j, lanes);
    largest[0] = maximum<T>(largest[0], select<T>(first_lanes<T>(lanes), next, largest[0]));
  });
  return max_lane<T>(maximum<T>(maximum<T>(largest[0], largest[1]), maximum<T>(largest[2], largest[3])));
}

// Returns the first element that equals `value`, or n if none does.
template <class T>
inline Index first_equal(const T* x, Index n, T value) {
  Index j = 0;
  while (j + kLanes<T> <= n && !any_lane<T>(load(x + j) == broadcast(value))) j += kLanes<T>;
  while (j < n && !(x[j] == value)) ++j;
  return j;
}

// Returns what argmax would pick: the first of the largest elements, or 0 if that is NaN.
template <class T>
inline Index first_largest(const T* x, Index cols) {
  const Index first = first_equal(x, cols, row_maximum(x, cols));
  return first < cols ? first : 0;
}

// Returns whether argmax of the outputs is the target; `largest` is their maximum.
template <class T>
inline bool is_argmax(const T* output, Index target, T largest) {
  return output[target] == largest && first_equal(output, target, largest) == target;
}

// Shifts z by its largest element, so that no exponential overflows and their sum is at least 1. exp(z) goes to
// `exponentials` unless that is null. Rows are read twice, and only the second reading has enough work to hide a fetch from
// memory: there the next row, `ahead` elements on, is prefetched.
template <class T>
inline double sum_of_exponentials(const T* z, Index cols, T largest, T* exponentials, Index ahead) {
  Vec<T> sum{};
  for_each_vector<T>(cols, [&](Index j, int lanes) {
    prefetch(z + j + ahead);
    const Vec<T> e = vector_exp_of_negative<T>(load_lanes(z + j, lanes) - largest);
    sum += select<T>(first_lanes<T>(lanes), e, Vec<T>{});
    if (exponentials != nullptr) store_lanes(exponentials + j, e, lanes);
  });
  return sum_lanes<T>(sum);
}

// Computes sum_j t_j and sum_j t_j * (z_j - largest) for a row of targets, and prefetches the next row.
struct TargetSums {
  double total, logits;
};

template <class T>
inline TargetSums target_sums(const T* z, const T* targets, Index cols, T largest, Index ahead) {
  Vec<T> total{}, logits{};
  for_each_vector<T>(cols, [&](Index j, int lanes) {
    prefetch(targets + j + ahead);
    const Vec<T> t = load_lanes(targets + j, lanes);  // zero after the end
    total += t;
    logits += t * (load_lanes(z + j, lanes) - largest);
  });
  return {sum_lanes<T>(total), sum_lanes<T>(logits)};
}

// Computes sum_j (z_j - largest), which label smoothing needs.
template <class T>
inline double sum_of_shifted(const T* z, Index cols, T largest) {
  Vec<T> sum{};
  for_each_vector<T>(cols, [&](Index j, int lanes) {
    sum += select<T>(first_lanes<T>(lanes), load_lanes(z + j, lanes) - largest, Vec<T>{});
  });
  return sum_lanes<T>(sum);
}

// Computes factor * sum_j t_j * (z_j - largest) for logits that span more than T holds: in double, and without the terms
// whose t is 0. If targets are null, every t_j is 1.
template <class T>
[[gnu::noinline]] double careful_logits(const T* z, const T* targets, Index cols, T largest, double factor) {
  double half = 0.0;
  for (Index j = 0; j < cols; ++j) {
    const double t = targets == nullptr ? 1.0 : static_cast<double>(targets[j]);
    if (t != 0.0) half += factor * t * (0.5 * static_cast<double>(z[j]) - 0.5 * static_cast<double>(largest));
  }
  return 2.0 * half;
}

// What the loss of a row needs beside the logarithm of its sum of exponentials.
struct ClassRow {
  double sum, inner, weight;
};

// Does a row of up to kVectors vectors whose target is a class, in registers: rows as short as these would wait longer for
// their own gradient, written and read again, than for all of the arithmetic. Adds to `correct`.
template <class T, int kVectors>
inline ClassRow short_row_of_class(const LossArgs<T>& args, Index i, double smoothing, double share, double& correct) {
  constexpr Index L = kLanes<T>;
  const T kInfinity = __builtin_inf();
  const double keep = 1.0 - smoothing;
  const T* output = args.output + i * args.ld_output;
  const Index label = args.classes[i];
  const int rest = static_cast<int>(args.cols - (kVectors - 1) * L);  // lanes of the last vector
  Vec<T> z[kVectors], peaks = broadcast(-kInfinity), sums{};
  STOOP_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    z[v] = v + 1 < kVectors ? load(output + v * L) : load_lanes(output + v * L, rest);
    peaks = maximum<T>(peaks, v + 1 < kVectors ? z[v] : select<T>(first_lanes<T>(rest), z[v], peaks));
  }
  const T largest = max_lane<T>(maximum<T>(peaks, broadcast(-kInfinity)));  // which is no NaN
  IntVec<T> earlier{};  // elements as large before that of the class
  STOOP_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    earlier |= (z[v] == largest) & first_lanes<T>(static_cast<int>(label - v * L));
    z[v] = vector_exp_of_negative<T>(z[v] - largest);
    sums += v + 1 < kVectors ? z[v] : select<T>(first_lanes<T>(rest), z[v], Vec<T>{});
  }
  const double sum = sum_lanes<T>(sums), weight = args.weights == nullptr ? 1.0 : args.weights[i];
  double inner = keep * (static_cast<double>(output[label]) - static_cast<double>(largest));
  if (smoothing > 0.0) {
    const double all = share * sum_of_shifted(output, args.cols, largest);
    inner += is_finite_number(all) ? all : careful_logits<T>(output, nullptr, args.cols, largest, share);
  }
  correct += static_cast<double>(static_cast<int>(output[label] == largest) & static_cast<int>(!any_lane<T>(earlier)));
  if (args.grad == nullptr) return {sum, inner, weight};
  const double row_scale = weight * static_cast<double>(args.grad_scale);
  const T scale = static_cast<T>(row_scale * (keep + smoothing) / sum), even = static_cast<T>(row_scale * share);
  const T hot = static_cast<T>(row_scale * keep);
  STOOP_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const IntVec<T> is_label = lane_index<T>() == static_cast<IntLane<T>>(label - v * L);
    const Vec<T> g = (z[v] * scale - even) - select<T>(is_label, broadcast(hot), Vec<T>{});
    store_lanes(args.grad + i * args.ld_grad + v * L, g, v + 1 < kVectors ? static_cast<int>(L) : rest);
  }
  return {sum, inner, weight};
}

template <class T, int kVectors>
void softmax_of_short_rows(const LossArgs<T>& args, double smoothing, double share) {
  constexpr Index kBlock = 16;  // rows whose logarithms, calls that spill all vectors, are taken one after another
  const double total = (1.0 - smoothing) + smoothing;
  double loss = 0.0, correct = 0.0;
  for (Index start = 0; start < args.rows; start += kBlock) {
    const Index rows = args.rows - start < kBlock ? args.rows - start : kBlock;
    ClassRow done[kBlock];
    for (Index i = 0; i < rows; ++i) {
      done[i] = short_row_of_class<T, kVectors>(args, start + i, smoothing, share, correct);
    }
    for (Index i = 0; i < rows; ++i) {
      loss += done[i].weight * (__builtin_log(done[i].sum) * total - done[i].inner);
    }
  }
  *args.loss = loss;
  *args.correct = correct;
}

// loss = log(sum_j exp(z_j)) * sum_j t_j - sum_j t_j z_j, grad = softmax(z) * sum_j t_j - t   (Bridle 1990),
// t the one-hot row of the class or the row of targets, smoothed: (1-s)*t + s/cols.
template <class T>
void softmax_cross_entropy(const LossArgs<T>& args, const SoftmaxCrossEntropy& op) {
  const double smoothing = static_cast<double>(static_cast<T>(op.label_smoothing)), keep = 1.0 - smoothing;
  const double share = smoothing / static_cast<double>(args.cols);
  if (args.classes != nullptr && args.element_weights == nullptr && args.cols <= 2 * kLanes<T>) {
    return args.cols <= kLanes<T> ? softmax_of_short_rows<T, 1>(args, smoothing, share)
                                  : softmax_of_short_rows<T, 2>(args, smoothing, share);
  }
  double loss = 0.0, correct = 0.0;
  for (Index i = 0; i < args.rows; ++i) {
    if (is_left_out(args, i)) continue;
    const T* z = args.output + i * args.ld_output;
    const T* targets = args.classes == nullptr ? args.targets + i * args.ld_targets : nullptr;
    T* grad = args.grad == nullptr ? nullptr : args.grad + i * args.ld_grad;
    const Index label = args.classes == nullptr ? first_largest(targets, args.cols) : args.classes[i];
    const T largest = row_maximum(z, args.cols);
    const double sum = sum_of_exponentials(z, args.cols, largest, grad, args.ld_output);
    TargetSums t{1.0, static_cast<double>(z[label]) - static_cast<double>(largest)};
    if (targets != nullptr) t = target_sums(z, targets, args.cols, largest, args.ld_targets);
    const double total = keep * t.total + smoothing;
    if (targets != nullptr && !is_finite_number(t.logits)) {
      t.logits = careful_logits(z, targets, args.cols, largest, 1.0);
    }
    double inner = keep * t.logits;
    if (smoothing > 0.0) {
      const double all = share * sum_of_shifted(z, args.cols, largest);
      inner += is_finite_number(all) ? all : careful_logits<T>(z, nullptr, args.cols, largest, share);
    }
    const double weight = args.weights == nullptr ? 1.0 : args.weights[i];
    loss += weight * (__builtin_log(sum) * total - inner);
    correct += is_argmax(z, label, largest) ? 1.0 : 0.0;
    if (grad == nullptr) continue;
    const double row_scale = weight * static_cast<double>(args.grad_scale);
    const T scale = static_cast<T>(row_scale * total / sum), even = static_cast<T>(row_scale * share);
    const T hot = static_cast<T>(row_scale * keep);
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      Vec<T> g = load_lanes(grad + j, lanes) * scale - even;
      if (targets != nullptr) g -= hot * load_lanes(targets + j, lanes);
      store_lanes(grad + j, g, lanes);
    });
    if (targets == nullptr) grad[label] -= hot;
  }
  *args.loss = loss;
  *args.correct = correct;
}

// With p = softmax(z): t_grad = scale * p * (t_z - sum_j p_j t_z_j), scale that of the gradient.
template <class T>
void softmax_cross_entropy_tangent(const LossTangentArgs<T>& args, const SoftmaxCrossEntropy& op) {
  const LossArgs<T>& of = args.loss;
  const double smoothing = static_cast<double>(static_cast<T>(op.label_smoothing));
  for (Index i = 0; i < of.rows; ++i) {
    if (is_left_out(of, i)) continue;
    const T* z = of.output + i * of.ld_output;
    const T* t_z = args.tangent + i * args.ld_tangent;
    T* grad = of.grad + i * of.ld_grad;
    const T largest = row_maximum(z, of.cols);
    const double sum = sum_of_exponentials(z, of.cols, largest, grad, of.ld_output);
    double total = 1.0;
    if (of.classes == nullptr) {
      total = target_sums(z, of.targets + i * of.ld_targets, of.cols, largest, of.ld_targets).total;
    }
    const double weight = of.weights == nullptr ? 1.0 : of.weights[i];
    const double scale = weight * static_cast<double>(of.grad_scale) * ((1.0 - smoothing) * total + smoothing) / sum;
    const T mean = static_cast<T>(1.0 / sum) * row_sum<T>(of.cols, [&](Index j, int lanes) {
                     return load_lanes(grad + j, lanes) * load_lanes(t_z + j, lanes);
                   });
    for_each_vector<T>(of.cols, [&](Index j, int lanes) {
      store_lanes(grad + j, static_cast<T>(scale) * load_lanes(grad + j, lanes) * (load_lanes(t_z + j, lanes) - mean),
                  lanes);
    });
  }
}

template <class T>
struct Formula<SoftmaxCrossEntropy, T> {
  static void rows(const LossArgs<T>& args, const SoftmaxCrossEntropy& op) { softmax_cross_entropy(args, op); }
  static void rows_tangent(const LossTangentArgs<T>& args, const SoftmaxCrossEntropy& op) {
    softmax_cross_entropy_tangent(args, op);
  }
};
