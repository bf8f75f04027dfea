// Losses over a block of rows: value and gradient with respect to the outputs in one pass.
// The gradient is that of the weighted batch mean: row i carries weight_i * grad_scale, grad_scale = 1 / sum(weights).

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

// loss = log(sum_j exp(z_j)) * sum_j t_j - sum_j t_j z_j, grad = softmax(z) * sum_j t_j - t   (Bridle 1990),
// t the one-hot row of the class or the row of targets, smoothed: (1-s)*t + s/cols.
template <class T>
void softmax_cross_entropy(const LossArgs<T>& args) noexcept {
  const double smoothing = static_cast<double>(args.parameter), keep = 1.0 - smoothing;
  const double share = smoothing / static_cast<double>(args.cols);
  double loss = 0.0, correct = 0.0;
  for (Index i = 0; i < args.rows; ++i) {
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

template <class T>
struct ValueAndSlope {
  Vec<T> value, slope;
};

// One element's loss and its derivative with respect to the output z:
//   binary_cross_entropy  max(z, 0) - z*t + log(1 + exp(-|z|))         sigmoid(z) - t
//   mse                   (z - t)^2                                    2 (z - t)
//   mae                   |z - t|                                      sign(z - t)
//   huber                 d^2/2, beyond delta: delta (|d| - delta/2)   d, limited to +-delta
template <class T, LossKind kKind>
inline ValueAndSlope<T> element_loss(Vec<T> z, Vec<T> t, [[maybe_unused]] T delta) {
  const Vec<T> d = z - t;
  if constexpr (kKind == LossKind::binary_cross_entropy) {
    const Vec<T> e = vector_exp_of_negative<T>(z < Vec<T>{} ? z : -z);
    const Vec<T> positive = z < Vec<T>{} ? Vec<T>{} : z;
    const Vec<T> sigmoid = (z < Vec<T>{} ? e : broadcast(T(1))) / (T(1) + e);
    return {positive - z * t + vector_log1p_of_fraction<T>(e), sigmoid - t};
  } else if constexpr (kKind == LossKind::mse) {
    return {d * d, d + d};
  } else if constexpr (kKind == LossKind::mae) {
    const Vec<T> size = absolute<T>(d);
    return {size, size > Vec<T>{} ? with_sign_of<T>(broadcast(T(1)), d) : d};  // NaN stays NaN
  } else {
    const Vec<T> size = absolute<T>(d);
    const Vec<T> slope = maximum<T>(broadcast(-delta), minimum<T>(broadcast(delta), d));
    return {size > delta ? delta * (size - T(0.5) * delta) : T(0.5) * d * d, slope};
  }
}

// The same of one element, in double.
struct NumberAndSlope {
  double value, slope;
};

template <LossKind kKind>
inline NumberAndSlope careful_element_loss(double z, double t, [[maybe_unused]] double delta) {
  const double d = z - t, size = __builtin_fabs(d), sign = __builtin_copysign(1.0, d);
  if constexpr (kKind == LossKind::binary_cross_entropy) {
    const double e = __builtin_exp(-__builtin_fabs(z));
    return {(z < 0.0 ? 0.0 : z) - z * t + __builtin_log1p(e), (z < 0.0 ? e : 1.0) / (1.0 + e) - t};
  } else if constexpr (kKind == LossKind::mae) {
    return {size, size > 0.0 ? sign : d};
  } else {
    return size > delta ? NumberAndSlope{delta * (size - 0.5 * delta), sign * delta} : NumberAndSlope{0.5 * d * d, d};
  }
}

// Computes the weighted sum over a block whose loss leaves the range of T, since double may hold it. Elements of the
// gradient whose intermediate values T did not hold are computed again.
template <class T, LossKind kKind>
[[gnu::noinline]] double careful_elementwise_loss(const LossArgs<T>& args) {
  double loss = 0.0;
  for (Index i = 0; i < args.rows; ++i) {
    const double weight = args.weights == nullptr ? 1.0 : args.weights[i];
    const double scale = weight * static_cast<double>(args.grad_scale) / static_cast<double>(args.cols);
    for (Index j = 0; j < args.cols; ++j) {
      const NumberAndSlope element = careful_element_loss<kKind>(
          static_cast<double>(args.output[i * args.ld_output + j]),
          static_cast<double>(args.targets[i * args.ld_targets + j]), static_cast<double>(args.parameter));
      loss += weight * element.value;
      T* grad = args.grad == nullptr ? nullptr : args.grad + i * args.ld_grad + j;
      if (grad != nullptr && !is_finite_number(*grad)) *grad = static_cast<T>(element.slope * scale);
    }
  }
  return loss;
}

// loss = mean_j of element_loss; `correct` (binary_cross_entropy) is the share of columns with z > 0 where t > 1/2.
template <class T, LossKind kKind>
void elementwise_loss(const LossArgs<T>& args) noexcept {
  constexpr int kSums = kKind == LossKind::binary_cross_entropy ? 2 : 1;
  const double cols = static_cast<double>(args.cols);
  const T inverse_cols = T(1) / static_cast<T>(args.cols), parameter = args.parameter;
  Vec<double> loss{}, correct{};  // lanes are added when all rows are
  for (Index i = 0; i < args.rows; ++i) {
    const T* output = args.output + i * args.ld_output;
    const T* target = args.targets + i * args.ld_targets;
    T* grad = args.grad == nullptr ? nullptr : args.grad + i * args.ld_grad;
    const double weight = args.weights == nullptr ? 1.0 : args.weights[i];
    const T scale = static_cast<T>(weight) * args.grad_scale * inverse_cols;
    const VecSums<T, kSums> sums = sums_of_vectors<T, kSums>(args.cols, [&](Index j, int lanes) -> VecSums<T, kSums> {
      const Vec<T> z = load_lanes(output + j, lanes), t = load_lanes(target + j, lanes);
      const ValueAndSlope<T> element = element_loss<T, kKind>(z, t, parameter);
      if (grad != nullptr) store_lanes(grad + j, element.slope * scale, lanes);
      if constexpr (kSums == 2) {
        return {{element.value, select<T>((z > Vec<T>{}) == (t > broadcast(T(0.5))), broadcast(T(1)), Vec<T>{})}};
      } else {
        return {{element.value}};
      }
    });
    loss += weight * add_pairs_of_lanes<T>(sums.of[0]);
    if constexpr (kSums == 2) correct += add_pairs_of_lanes<T>(sums.of[1]);
  }
  double total = sum_lanes<double>(loss);
  if constexpr (kKind != LossKind::mse) {  // a mean of squares that T does not hold is infinite
    if (!is_finite_number(total)) total = careful_elementwise_loss<T, kKind>(args);
  }
  *args.loss = total / cols;
  *args.correct = sum_lanes<double>(correct) / cols;
}
