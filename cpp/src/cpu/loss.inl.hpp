// Losses over a block of rows: value and gradient with respect to the outputs in one pass.
// The gradient is that of the batch mean: it carries grad_scale = 1 / (samples in the batch).

// 1 if no output is larger than that of `target` and none before it is equal: what argmax would pick.
template <class T>
inline bool is_argmax(const T* output, int32_t target, T largest) {
  if (!(output[target] == largest)) return false;
  for (int32_t j = 0; j < target; ++j) {
    if (output[j] == largest) return false;
  }
  return true;
}

// loss = log(sum_j exp(z_j)) - z_y, grad_j = softmax(z)_j - [j = y]   (Bridle 1990)
// Shifted by the largest z, so that no exponential overflows and the sum is at least 1.
template <class T>
void softmax_cross_entropy(const LossArgs<T>& args) noexcept {
  const T kInfinity = __builtin_inf();
  double loss = 0.0, correct = 0.0;
  for (Index i = 0; i < args.rows; ++i) {
    const T* z = args.output + i * args.ld_output;
    const int32_t target = args.classes[i];
    Vec<T> largest_lanes = broadcast(-kInfinity);
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      const Vec<T> v = load_lanes(z + j, lanes);
      largest_lanes = maximum<T>(largest_lanes, select<T>(first_lanes<T>(lanes), v, largest_lanes));
    });
    const T largest = max_lane<T>(largest_lanes);
    T* grad = args.grad == nullptr ? nullptr : args.grad + i * args.ld_grad;
    Vec<T> sum_vector{};
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      const Vec<T> e = vector_exp<T>(load_lanes(z + j, lanes) - largest);
      sum_vector += select<T>(first_lanes<T>(lanes), e, Vec<T>{});
      if (grad != nullptr) store_lanes(grad + j, e, lanes);
    });
    const double sum = sum_lanes<T>(sum_vector);
    const T target_output = z[target];
    loss += __builtin_log(sum) + (static_cast<double>(largest) - static_cast<double>(target_output));
    correct += is_argmax(z, target, largest) ? 1.0 : 0.0;
    if (grad == nullptr) continue;
    const T scale = static_cast<T>(static_cast<double>(args.grad_scale) / sum);
    for_each_vector<T>(args.cols,
                       [&](Index j, int lanes) { store_lanes(grad + j, load_lanes(grad + j, lanes) * scale, lanes); });
    grad[target] -= args.grad_scale;
  }
  *args.loss = loss;
  *args.correct = correct;
}

// loss = mean_j (o_j - t_j)^2, grad_j = 2 (o_j - t_j) / cols
template <class T>
void mean_squared_error(const LossArgs<T>& args) noexcept {
  const T scale = T(2) * args.grad_scale / static_cast<T>(args.cols);
  double loss = 0.0;
  for (Index i = 0; i < args.rows; ++i) {
    const T* output = args.output + i * args.ld_output;
    const T* target = args.targets + i * args.ld_targets;
    T* grad = args.grad == nullptr ? nullptr : args.grad + i * args.ld_grad;
    Vec<T> sum{};
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      const Vec<T> difference = load_lanes(output + j, lanes) - load_lanes(target + j, lanes);
      sum += difference * difference;
      if (grad != nullptr) store_lanes(grad + j, difference * scale, lanes);
    });
    loss += sum_lanes<T>(sum) / static_cast<double>(args.cols);
  }
  *args.loss = loss;
  *args.correct = 0.0;
}
