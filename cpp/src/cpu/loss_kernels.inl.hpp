// The kernels of the losses: the Formula of each over a block of rows. See loss.inl.hpp.

// ---- elementwise losses over a block of rows ----

// Computes the weighted sum over a block whose loss leaves the range of T, since double may hold it. Elements of the
// gradient whose intermediate values T did not hold are computed again.
template <class T, class Op>
[[gnu::noinline]] double careful_elementwise_loss(const LossArgs<T>& args, const Op& op) {
  double loss = 0.0;
  for (Index i = 0; i < args.rows; ++i) {
    for (Index j = 0; j < args.cols; ++j) {
      const double weight = weight_of(args, i, j);
      if (weight == 0.0 && args.element_weights != nullptr) continue;
      const double scale = weight * static_cast<double>(args.grad_scale) / static_cast<double>(args.cols);
      const NumberAndSlope element =
          Formula<Op, T>::careful(static_cast<double>(args.output[i * args.ld_output + j]),
                                  static_cast<double>(args.targets[i * args.ld_targets + j]), op);
      loss += weight * element.value;
      T* grad = args.grad == nullptr ? nullptr : args.grad + i * args.ld_grad + j;
      if (grad != nullptr) replace_if_not_finite(grad, element.slope * scale);
    }
  }
  return loss;
}

// With kByElement each element has a weight of its own, otherwise each row.
template <class T, bool kByElement, class Op>
void elementwise_loss(const LossArgs<T>& args, const Op& op) {
  constexpr int kSums = Spec<Op>::kHasAccuracy ? 2 : 1;
  const double cols = static_cast<double>(args.cols);
  const T inverse_cols = T(1) / static_cast<T>(args.cols);
  Vec<double> loss{}, correct{};  // lanes are added when all rows are
  for (Index i = 0; i < args.rows; ++i) {
    const T* output = args.output + i * args.ld_output;
    const T* target = args.targets + i * args.ld_targets;
    const T* weights = kByElement ? args.element_weights + i * args.ld_element_weights : nullptr;
    T* grad = args.grad == nullptr ? nullptr : args.grad + i * args.ld_grad;
    const double weight = kByElement || args.weights == nullptr ? 1.0 : args.weights[i];
    const T row_scale = static_cast<T>(weight) * args.grad_scale * inverse_cols;
    const VecSums<T, kSums> sums = sums_of_vectors<T, kSums>(args.cols, [&](Index j, int lanes) -> VecSums<T, kSums> {
      const Vec<T> z = load_lanes(output + j, lanes), t = load_lanes(target + j, lanes);
      const Vec<T> w = kByElement ? load_lanes(weights + j, lanes) : broadcast(T(1));
      ValueAndSlope<T> element = Formula<Op, T>::element(z, t, op);
      Vec<T> scale = broadcast(row_scale);
      if constexpr (kByElement) {
        element = {where_counted<T>(w, w * element.value), where_counted<T>(w, element.slope)};
        scale = w * args.grad_scale * inverse_cols;
      }
      if (grad != nullptr) store_lanes(grad + j, element.slope * scale, lanes);
      if constexpr (kSums == 2) {
        const Vec<T> right = select<T>(Formula<Op, T>::is_right(z, t), broadcast(T(1)), Vec<T>{});
        return {{element.value, kByElement ? where_counted<T>(w, right) : right}};
      } else {
        return {{element.value}};
      }
    });
    loss += weight * add_pairs_of_lanes<T>(sums.of[0]);
    if constexpr (kSums == 2) correct += add_pairs_of_lanes<T>(sums.of[1]);
  }
  double total = sum_lanes<double>(loss);
  if constexpr (requires { &Formula<Op, T>::careful; }) {
    if (!is_finite_number(total)) total = careful_elementwise_loss<T>(args, op);
  }
  *args.loss = total / cols;
  *args.correct = sum_lanes<double>(correct) / cols;
}

template <class T, class Op>
void elementwise_loss_tangent(const LossTangentArgs<T>& args, const Op& op) {
  const LossArgs<T>& of = args.loss;
  for (Index i = 0; i < of.rows; ++i) {
    for_each_vector<T>(of.cols, [&](Index j, int lanes) {
      const Vec<T> curvature = Formula<Op, T>::curvature(load_lanes(of.output + i * of.ld_output + j, lanes),
                                                         load_lanes(of.targets + i * of.ld_targets + j, lanes), op);
      const Vec<T> tangent = curvature * load_lanes(args.tangent + i * args.ld_tangent + j, lanes);
      const Vec<T> weight = weights_of(of, i, j, lanes), scale = weight * of.grad_scale / static_cast<T>(of.cols);
      store_lanes(of.grad + i * of.ld_grad + j, where_counted<T>(weight, tangent) * scale, lanes);
    });
  }
}

// ---- the kernels of each alternative of Loss ----

template <class T, class Op>
void loss_kernel(const LossArgs<T>& args) noexcept {
  const Op op = op_from<Op>(args.numbers);
  if constexpr (Spec<Op>::kByRows) {
    Formula<Op, T>::rows(args, op);
  } else if (args.element_weights == nullptr) {
    elementwise_loss<T, false>(args, op);
  } else {
    elementwise_loss<T, true>(args, op);
  }
}

template <class T, class Op>
void loss_tangent_kernel(const LossTangentArgs<T>& args) noexcept {
  const Op op = op_from<Op>(args.loss.numbers);
  if constexpr (Spec<Op>::kByRows) {
    Formula<Op, T>::rows_tangent(args, op);
  } else {
    elementwise_loss_tangent<T>(args, op);
  }
}
