// Losses over a block of rows: value and gradient with respect to the outputs in one pass.
// The gradient is that of the weighted batch mean: row i carries weight_i * grad_scale, grad_scale = 1 / sum(weights). Losses
// that are means over columns may have a weight for each element instead.

// Returns the weight of an element.
template <class T>
inline double weight_of(const LossArgs<T>& args, Index i, Index j) {
  if (args.element_weights != nullptr)
    return static_cast<double>(args.element_weights[i * args.ld_element_weights + j]);
  return args.weights == nullptr ? 1.0 : args.weights[i];
}

// Returns the weights of a vector of elements of a row.
template <class T>
inline Vec<T> weights_of(const LossArgs<T>& args, Index i, Index j, int lanes) {
  if (args.element_weights != nullptr) return load_lanes(args.element_weights + i * args.ld_element_weights + j, lanes);
  return broadcast(args.weights == nullptr ? T(1) : static_cast<T>(args.weights[i]));
}

// Returns `values` where the weight of an element is above 0, else 0: NaN may be where nothing counts.
template <class T>
inline Vec<T> where_counted(Vec<T> weights, Vec<T> values) {
  return select<T>(weights > Vec<T>{}, values, Vec<T>{});
}

// ---- losses of one element each: the mean over the columns ----

template <class T>
struct ValueAndSlope {
  Vec<T> value, slope;
};

// The same of one element, in double.
struct NumberAndSlope {
  double value, slope;
};

// Corrects an element of a gradient whose intermediate values T did not hold.
template <class T>
inline void replace_if_not_finite(T* grad, double value) {
  if (!is_finite_number(*grad)) *grad = static_cast<T>(value);
}

// A Formula has, for outputs z and targets t,
//   element(z, t, op)    the loss and its derivative with respect to z
//   careful(z, t, op)    the same in double, for sums that T does not hold; without it they are infinite
//   curvature(z, t, op)  the second derivative
//   is_right(z, t)       for the accuracy of those that have one: the share of columns where it holds
// or, where Spec<Op> is no sum of elements, rows(args, op) and rows_tangent(args, op) for a block of rows.

// max(z, 0) - z*t + log(1 + exp(-|z|));  sigmoid(z) - t.
template <class T>
struct Formula<BinaryCrossEntropy, T> {
  static ValueAndSlope<T> element(Vec<T> z, Vec<T> t, const BinaryCrossEntropy&) {
    const Vec<T> e = vector_exp_of_negative<T>(z < Vec<T>{} ? z : -z);
    const Vec<T> positive = z < Vec<T>{} ? Vec<T>{} : z;
    const Vec<T> sigmoid = (z < Vec<T>{} ? e : broadcast(T(1))) / (T(1) + e);
    return {positive - z * t + vector_log1p_of_fraction<T>(e), sigmoid - t};
  }
  static NumberAndSlope careful(double z, double t, const BinaryCrossEntropy&) {
    const double e = __builtin_exp(-__builtin_fabs(z));
    return {(z < 0.0 ? 0.0 : z) - z * t + __builtin_log1p(e), (z < 0.0 ? e : 1.0) / (1.0 + e) - t};
  }
  static Vec<T> curvature(Vec<T> z, Vec<T>, const BinaryCrossEntropy&) {
    return vector_sigmoid<T>(z) * vector_sigmoid<T>(-z);
  }
  static auto is_right(Vec<T> z, Vec<T> t) { return (z > Vec<T>{}) == (t > broadcast(T(0.5))); }
};

// (z - t)^2;  2 (z - t). A mean of squares that T does not hold is infinite.
template <class T>
struct Formula<MeanSquaredError, T> {
  static ValueAndSlope<T> element(Vec<T> z, Vec<T> t, const MeanSquaredError&) {
    const Vec<T> d = z - t;
    return {d * d, d + d};
  }
  static Vec<T> curvature(Vec<T>, Vec<T>, const MeanSquaredError&) { return broadcast(T(2)); }
};

// |z - t|;  sign(z - t).
template <class T>
struct Formula<MeanAbsoluteError, T> {
  static ValueAndSlope<T> element(Vec<T> z, Vec<T> t, const MeanAbsoluteError&) {
    const Vec<T> d = z - t, size = absolute<T>(d);
    return {size, size > Vec<T>{} ? with_sign_of<T>(broadcast(T(1)), d) : d};  // NaN stays NaN
  }
  static NumberAndSlope careful(double z, double t, const MeanAbsoluteError&) {
    const double d = z - t, size = __builtin_fabs(d);
    return {size, size > 0.0 ? __builtin_copysign(1.0, d) : d};
  }
  static Vec<T> curvature(Vec<T>, Vec<T>, const MeanAbsoluteError&) { return Vec<T>{}; }
};

// d = z - t: d^2/2, beyond delta: delta (|d| - delta/2);  d, limited to +-delta.
template <class T>
struct Formula<Huber, T> {
  static ValueAndSlope<T> element(Vec<T> z, Vec<T> t, const Huber& op) {
    const T delta = static_cast<T>(op.delta);
    const Vec<T> d = z - t, size = absolute<T>(d);
    const Vec<T> slope = maximum<T>(broadcast(-delta), minimum<T>(broadcast(delta), d));
    return {size > delta ? delta * (size - T(0.5) * delta) : T(0.5) * d * d, slope};
  }
  static NumberAndSlope careful(double z, double t, const Huber& op) {
    const double delta = static_cast<double>(static_cast<T>(op.delta)), d = z - t, size = __builtin_fabs(d);
    if (size > delta) return {delta * (size - 0.5 * delta), __builtin_copysign(1.0, d) * delta};
    return {0.5 * d * d, d};
  }
  static Vec<T> curvature(Vec<T> z, Vec<T> t, const Huber& op) {
    return absolute<T>(z - t) <= static_cast<T>(op.delta) ? broadcast(T(1)) : Vec<T>{};
  }
};

// With d = t - z: q d for d > 0, else (q - 1) d;  -q, and 1 - q.
template <class T>
struct Formula<Quantile, T> {
  static ValueAndSlope<T> element(Vec<T> z, Vec<T> t, const Quantile& op) {
    const T q = static_cast<T>(op.q), rest = static_cast<T>(1.0 - op.q);
    const Vec<T> d = t - z, below = d < Vec<T>{} ? broadcast(rest) : d;  // 0 where d is, and NaN stays NaN
    return {d > Vec<T>{} ? q * d : -rest * d, d > Vec<T>{} ? broadcast(-q) : below};
  }
  static NumberAndSlope careful(double z, double t, const Quantile& op) {
    const double d = t - z;
    if (d > 0.0) return {op.q * d, -op.q};
    return {(op.q - 1.0) * d, d < 0.0 ? 1.0 - op.q : d};
  }
  static Vec<T> curvature(Vec<T>, Vec<T>, const Quantile&) { return Vec<T>{}; }
};

// exp(z) - t z;  exp(z) - t. Of rates: z - t log(z + eps);  1 - t / (z + eps).
template <class T>
struct Formula<Poisson, T> {
  static constexpr double kEps = 1e-8;
  static ValueAndSlope<T> element(Vec<T> z, Vec<T> t, const Poisson& op) {
    if (op.log_input) {
      const Vec<T> rate = vector_exp<T>(z);
      return {rate - t * z, rate - t};
    }
    const Vec<T> rate = z + static_cast<T>(kEps);
    return {z - t * vector_log<T>(rate), T(1) - t / rate};
  }
  static NumberAndSlope careful(double z, double t, const Poisson& op) {
    if (op.log_input) return {__builtin_exp(z) - t * z, __builtin_exp(z) - t};
    return {z - t * __builtin_log(z + kEps), 1.0 - t / (z + kEps)};
  }
  static Vec<T> curvature(Vec<T> z, Vec<T> t, const Poisson& op) {
    const Vec<T> rate = z + static_cast<T>(kEps);
    return op.log_input ? vector_exp<T>(z) : t / rate / rate;
  }
};

// log(cosh(d)), d = z - t;  tanh(d). Near 0 it is -log(1 - tanh(d)^2)/2, beyond |d| + log(1 + exp(-2|d|)) - log(2): neither
// cancels there.
template <class T>
struct Formula<LogCosh, T> {
  static ValueAndSlope<T> element(Vec<T> z, Vec<T> t, const LogCosh&) {
    constexpr T kLog2 = static_cast<T>(0.69314718055994530942);
    const Vec<T> d = z - t, size = absolute<T>(d), slope = vector_tanh<T>(d);
    const Vec<T> near = T(-0.5) * vector_log1p<T>(-slope * slope);
    const Vec<T> far = size + (vector_log1p_of_fraction<T>(vector_exp_of_negative<T>(-size - size)) - kLog2);
    return {size < T(1) ? near : far, slope};
  }
  static NumberAndSlope careful(double z, double t, const LogCosh&) {
    const double d = z - t, size = __builtin_fabs(d);
    return {size + __builtin_log1p(__builtin_exp(-2.0 * size)) - 0.69314718055994530942, __builtin_tanh(d)};
  }
  static Vec<T> curvature(Vec<T> z, Vec<T> t, const LogCosh&) {  // 1 / cosh(d)^2
    const Vec<T> d = z - t;
    return T(4) * vector_sigmoid<T>(d + d) * vector_sigmoid<T>(-d - d);
  }
};

// With p = sigmoid(z), e the binary cross-entropy and a = p (1 - t) + (1 - p) t, the probability of being wrong: e a^gamma.
// u = da/dz / a = (1 - 2t) p (1 - p) / a, so the slope is a^gamma (p - t + gamma e u).
template <class T>
struct Formula<Focal, T> {
  struct Parts {
    Vec<T> p, rest, power, u, entropy, error;  // error: p - t
  };
  static constexpr T kLargest = sizeof(T) == 4 ? static_cast<T>(__FLT_MAX__) : static_cast<T>(__DBL_MAX__);
  static Parts at(Vec<T> z, Vec<T> t, T gamma) {
    constexpr T kLeast = sizeof(T) == 4 ? static_cast<T>(1e-37) : static_cast<T>(1e-300);  // a^gamma is 0 below
    const Vec<T> p = vector_sigmoid<T>(z), rest = vector_sigmoid<T>(-z);
    const Vec<T> wrong = maximum<T>(broadcast(kLeast), p * (T(1) - t) + rest * t);
    const Vec<T> entropy = Formula<BinaryCrossEntropy, T>::element(z, t, {}).value;
    return {p,
            rest,
            vector_exp<T>(gamma * vector_log<T>(wrong)),
            (T(1) - t - t) * (p * rest / wrong),
            entropy,
            p * (T(1) - t) - rest * t};
  }
  static ValueAndSlope<T> element(Vec<T> z, Vec<T> t, const Focal& op) {
    const T gamma = static_cast<T>(op.gamma);
    const Parts f = at(z, t, gamma);
    const Vec<T> large = minimum<T>(broadcast(kLargest), gamma * f.entropy);  // u is 0 where it would be infinite
    return {f.power * f.entropy, f.power * (f.error + large * f.u)};
  }
  static NumberAndSlope careful(double z, double t, const Focal& op) {
    const NumberAndSlope e = Formula<BinaryCrossEntropy, T>::careful(z, t, {});
    const double p = 1.0 / (1.0 + __builtin_exp(-z)), rest = 1.0 / (1.0 + __builtin_exp(z));
    const double wrong = __builtin_fmax(1e-300, p * (1.0 - t) + rest * t), power = __builtin_pow(wrong, op.gamma);
    return {power * e.value, power * (e.slope + op.gamma * e.value * ((1.0 - 2.0 * t) * (p * rest / wrong)))};
  }
  // a^gamma (p (1 - p) + 2 gamma u (p - t) + gamma e u ((gamma - 1) u + 1 - 2p)).
  static Vec<T> curvature(Vec<T> z, Vec<T> t, const Focal& op) {
    const T gamma = static_cast<T>(op.gamma);
    const Parts f = at(z, t, gamma);
    const Vec<T> bend = f.entropy * f.u * ((gamma - T(1)) * f.u + (f.rest - f.p));
    return f.power * (f.p * f.rest + gamma * (T(2) * f.u * f.error + bend));
  }
  static auto is_right(Vec<T> z, Vec<T> t) { return Formula<BinaryCrossEntropy, T>::is_right(z, t); }
};

// max(0, 1 - s z), s = 2t - 1;  -s where that is not 0.
template <class T>
struct Formula<Hinge, T> {
  static ValueAndSlope<T> element(Vec<T> z, Vec<T> t, const Hinge&) {
    const Vec<T> s = t + t - T(1), margin = T(1) - s * z;
    return {maximum<T>(Vec<T>{}, margin), margin > Vec<T>{} ? -s : Vec<T>{}};
  }
  static NumberAndSlope careful(double z, double t, const Hinge&) {
    const double s = 2.0 * t - 1.0, margin = 1.0 - s * z;
    return margin > 0.0 ? NumberAndSlope{margin, -s} : NumberAndSlope{margin == margin ? 0.0 : margin, 0.0};
  }
  static Vec<T> curvature(Vec<T>, Vec<T>, const Hinge&) { return Vec<T>{}; }
  static auto is_right(Vec<T> z, Vec<T> t) { return Formula<BinaryCrossEntropy, T>::is_right(z, t); }
};

// Half of v + r^2, r = (m - t) exp(-v/2), for means m and log variances v;  r exp(-v/2), and (1 - r^2)/2. The mean over the
// means. Squaring last keeps exp(-v) from overflowing before its time.
template <class T>
struct Formula<GaussianNLL, T> {
  struct Parts {
    Vec<T> v, scale, r;  // scale: 1 / standard deviation
  };
  // Takes mean j of a row and its log variance.
  static Parts at(const T* output, const T* target, Index means, Index j, int lanes) {
    const Vec<T> v = load_lanes(output + means + j, lanes), scale = vector_exp<T>(T(-0.5) * v);
    return {v, scale, (load_lanes(output + j, lanes) - load_lanes(target + j, lanes)) * scale};
  }

  // The sum over a block in double, where T does not hold it. exp(-v/2) may be infinite even then: r is 0 if m is t.
  [[gnu::noinline]] static double careful_loss(const LossArgs<T>& args, Index means) {
    double loss = 0.0;
    for (Index i = 0; i < args.rows; ++i) {
      const T* output = args.output + i * args.ld_output;
      const T* target = args.targets + i * args.ld_targets;
      T* grad = args.grad == nullptr ? nullptr : args.grad + i * args.ld_grad;
      for (Index j = 0; j < means; ++j) {
        const double weight = weight_of(args, i, j);
        if (weight == 0.0 && args.element_weights != nullptr) continue;
        const double scale = weight * static_cast<double>(args.grad_scale) / static_cast<double>(means);
        const double d = static_cast<double>(output[j]) - static_cast<double>(target[j]);
        const double v = static_cast<double>(output[means + j]), precision = d == 0.0 ? 0.0 : __builtin_exp(-0.5 * v);
        const double r = d * precision;
        loss += weight * (0.5 * (v + r * r));
        if (grad == nullptr) continue;
        replace_if_not_finite(grad + j, r * precision * scale);
        replace_if_not_finite(grad + means + j, 0.5 * (1.0 - r * r) * scale);
      }
    }
    return loss;
  }

  static void rows(const LossArgs<T>& args, const GaussianNLL&) {
    args.element_weights == nullptr ? weighted_rows<false>(args) : weighted_rows<true>(args);
  }

  template <bool kByElement>
  static void weighted_rows(const LossArgs<T>& args) {
    const Index means = args.cols / 2;
    const T inverse_means = T(1) / static_cast<T>(means);
    double loss = 0.0;
    for (Index i = 0; i < args.rows; ++i) {
      const T* output = args.output + i * args.ld_output;
      const T* target = args.targets + i * args.ld_targets;
      const T* weights = kByElement ? args.element_weights + i * args.ld_element_weights : nullptr;
      T* grad = args.grad == nullptr ? nullptr : args.grad + i * args.ld_grad;
      const double weight = kByElement || args.weights == nullptr ? 1.0 : args.weights[i];
      const T row_scale = static_cast<T>(weight) * args.grad_scale * inverse_means;
      Vec<T> sum{};
      for_each_vector<T>(means, [&](Index j, int lanes) {
        const Parts g = at(output, target, means, j, lanes);
        const Vec<T> w = kByElement ? load_lanes(weights + j, lanes) : broadcast(T(1));
        const Vec<T> scale = kByElement ? w * args.grad_scale * inverse_means : broadcast(row_scale);
        const auto counted = [&](Vec<T> values) { return kByElement ? where_counted<T>(w, values) : values; };
        const Vec<T> value = T(0.5) * (g.v + g.r * g.r);
        sum += select<T>(first_lanes<T>(lanes), counted(kByElement ? w * value : value), Vec<T>{});
        if (grad == nullptr) return;
        store_lanes(grad + j, counted(g.r * g.scale * scale), lanes);
        store_lanes(grad + means + j, counted(T(0.5) * (T(1) - g.r * g.r) * scale), lanes);
      });
      loss += weight * sum_lanes<T>(sum);
    }
    if (!is_finite_number(loss)) loss = careful_loss(args, means);
    *args.loss = loss / static_cast<double>(means);
    *args.correct = 0.0;
  }

  // With t_m and t_v the tangents: (t_m - (m - t) t_v) exp(-v), and r (r t_v / 2 - t_m exp(-v/2)).
  static void rows_tangent(const LossTangentArgs<T>& args, const GaussianNLL&) {
    const LossArgs<T>& of = args.loss;
    const Index means = of.cols / 2;
    for (Index i = 0; i < of.rows; ++i) {
      const T* output = of.output + i * of.ld_output;
      const T* target = of.targets + i * of.ld_targets;
      const T* tangent = args.tangent + i * args.ld_tangent;
      T* grad = of.grad + i * of.ld_grad;
      for_each_vector<T>(means, [&](Index j, int lanes) {
        const Parts g = at(output, target, means, j, lanes);
        const Vec<T> weight = weights_of(of, i, j, lanes), scale = weight * of.grad_scale / static_cast<T>(means);
        const Vec<T> t_m = load_lanes(tangent + j, lanes) * g.scale, t_v = load_lanes(tangent + means + j, lanes);
        store_lanes(grad + j, where_counted<T>(weight, (t_m - g.r * t_v) * g.scale * scale), lanes);
        store_lanes(grad + means + j, where_counted<T>(weight, g.r * (T(0.5) * g.r * t_v - t_m) * scale), lanes);
      });
    }
  }
};
