// Derivatives in a direction of activations, normalisations and loss gradients, which a Hessian-vector product needs beside
// the kernels of training (Pearlmutter 1994). Tangents are written with t_. A null tangent is zero.

template <class T>
inline Vec<T> load_or_zero(const T* p, int lanes) {
  return p == nullptr ? Vec<T>{} : load_lanes(p, lanes);
}

// ---- activations ----

// f''(x), with y = f(x):
//   relu, leaky_relu, identity  0                 elu       0 for x > 0, else y + a
//   tanh      -2 y (1 - y^2)                      gelu      phi(x) * (2 - x^2)
//   sigmoid   y (1 - y) (1 - 2 y)                 silu      s (1 - s) (2 + x (1 - 2 s))
//   softplus  s (1 - s)                           with s = sigmoid(x), phi the normal density
template <class T, ActivationKind kKind>
inline Vec<T> second_derivative([[maybe_unused]] Vec<T> x, [[maybe_unused]] Vec<T> y, [[maybe_unused]] T parameter) {
  if constexpr (kKind == ActivationKind::tanh) {
    return T(-2) * y * (T(1) - y * y);
  } else if constexpr (kKind == ActivationKind::sigmoid) {
    return (y - y * y) * (T(1) - T(2) * y);
  } else if constexpr (kKind == ActivationKind::elu) {
    return x > Vec<T>{} ? Vec<T>{} : y + parameter;
  } else if constexpr (kKind == ActivationKind::gelu) {
    const NormalTail<T> tail = normal_tail<T>(x);
    return static_cast<T>(0.39894228040143267794) * tail.density * (T(2) - tail.t * tail.t);
  } else if constexpr (kKind == ActivationKind::silu) {
    const T limit = -ExpConstants<T>::kLowest;  // beyond, s (1 - s) is 0 and x could be infinite
    const Vec<T> clamped = minimum<T>(broadcast(limit), maximum<T>(broadcast(-limit), x));
    const Vec<T> s = vector_sigmoid<T>(clamped), rest = vector_sigmoid<T>(-clamped);
    return s * rest * (T(2) + clamped * (rest - s));
  } else if constexpr (kKind == ActivationKind::softplus) {
    return vector_sigmoid<T>(x) * vector_sigmoid<T>(-x);
  } else {
    return Vec<T>{};
  }
}

template <class T, ActivationKind kKind>
void activation_tangent(const ActivationTangentArgs<T>& args) noexcept {
  constexpr bool kSavesInput = kKind == ActivationKind::gelu || kKind == ActivationKind::silu;
  for (Index i = 0; i < args.rows; ++i) {
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      const Vec<T> x = load_lanes(args.x + i * args.ld_x + j, lanes);
      const Vec<T> y = activate<T, kKind>(x, args.parameter);
      const Vec<T> input = load_lanes(args.input + i * args.ld_input + j, lanes);
      Vec<T> out = gate<T, kKind>(input, kSavesInput ? x : y, args.parameter);
      if (args.grad != nullptr && args.tangent != nullptr) {
        out += second_derivative<T, kKind>(x, y, args.parameter) *
               load_lanes(args.tangent + i * args.ld_tangent + j, lanes) *
               load_lanes(args.grad + i * args.ld_grad + j, lanes);
      }
      store_lanes(args.output + i * args.ld_output + j, out, lanes);
    });
  }
}

template <class T>
using ActivationTangentKernel = void (*)(const ActivationTangentArgs<T>&) noexcept;

// Indexed by ActivationKind.
template <class T>
constexpr ActivationTangentKernel<T> kActivationTangent[kActivationCount] = {
    activation_tangent<T, ActivationKind::identity>,   activation_tangent<T, ActivationKind::relu>,
    activation_tangent<T, ActivationKind::leaky_relu>, activation_tangent<T, ActivationKind::tanh>,
    activation_tangent<T, ActivationKind::sigmoid>,    activation_tangent<T, ActivationKind::elu>,
    activation_tangent<T, ActivationKind::gelu>,       activation_tangent<T, ActivationKind::silu>,
    activation_tangent<T, ActivationKind::softplus>};

// ---- normalisations: y = gamma * xhat + beta with xhat = c * r, c = x - mean, r = 1/sqrt(variance + eps) ----

// The statistics of one vector of columns and, if they depend on the batch, their tangents.
template <class T>
struct ColumnTangents {
  Vec<T> mean, r, t_mean, t_r, gamma, t_gamma;
};

template <class T>
inline ColumnTangents<T> column_tangents(const NormTangentArgs<T>& args, Index j, int lanes) {
  ColumnTangents<T> s;
  s.mean = load_lanes(args.mean + j, lanes);
  s.r = T(1) / square_root<T>(load_lanes(args.variance + j, lanes) + args.eps);
  s.t_mean = load_or_zero(args.mean_tangent == nullptr ? nullptr : args.mean_tangent + j, lanes);
  s.t_r = load_or_zero(args.inverse_tangent == nullptr ? nullptr : args.inverse_tangent + j, lanes);
  s.gamma = load_lanes(args.gamma + j, lanes);
  s.t_gamma = load_or_zero(args.gamma_tangent == nullptr ? nullptr : args.gamma_tangent + j, lanes);
  return s;
}

// xhat and its tangent t_c * r + c * t_r.
template <class T>
struct Normalised {
  Vec<T> value, tangent;
};

template <class T>
inline Normalised<T> normalised(const NormTangentArgs<T>& args, const ColumnTangents<T>& s, Index i, Index j,
                                int lanes) {
  const Vec<T> c = load_lanes(args.x + i * args.ld_x + j, lanes) - s.mean;
  const Vec<T> t_x = load_or_zero(args.tangent == nullptr ? nullptr : args.tangent + i * args.ld_tangent + j, lanes);
  return {c * s.r, (t_x - s.t_mean) * s.r + c * s.t_r};
}

// t_mean = mean(t_x), t_r = -r^3 * mean(c * t_c).
template <class T>
inline void batch_statistics_tangent(const NormTangentArgs<T>& args, Index j, int lanes) {
  const T inverse_rows = T(1) / static_cast<T>(args.rows);
  const ColumnTangents<T> s = column_tangents(args, j, lanes);
  Vec<T> t_mean{}, product{};
  for (Index i = 0; args.tangent != nullptr && i < args.rows; ++i) {
    t_mean += load_lanes(args.tangent + i * args.ld_tangent + j, lanes);
  }
  t_mean *= inverse_rows;
  for (Index i = 0; args.tangent != nullptr && i < args.rows; ++i) {
    product += (load_lanes(args.x + i * args.ld_x + j, lanes) - s.mean) *
               (load_lanes(args.tangent + i * args.ld_tangent + j, lanes) - t_mean);
  }
  store_lanes(args.mean_tangent + j, t_mean, lanes);
  store_lanes(args.inverse_tangent + j, -(s.r * s.r * s.r) * (product * inverse_rows), lanes);
}

// t_y = t_gamma * xhat + gamma * t_xhat + t_beta.
template <class T>
void batch_norm_tangent(const NormTangentArgs<T>& args) noexcept {
  for_each_vector<T>(args.cols, [&](Index j, int lanes) {
    if (args.mean_tangent != nullptr) batch_statistics_tangent(args, j, lanes);
    const ColumnTangents<T> s = column_tangents(args, j, lanes);
    const Vec<T> t_beta = load_or_zero(args.beta_tangent == nullptr ? nullptr : args.beta_tangent + j, lanes);
    for (Index i = 0; i < args.rows; ++i) {
      const Normalised<T> xhat = normalised(args, s, i, j, lanes);
      store_lanes(args.output + i * args.ld_output + j, s.t_gamma * xhat.value + s.gamma * xhat.tangent + t_beta,
                  lanes);
    }
  });
}

// With b = sum(dy)/rows, a = sum(dy * xhat)/rows (both 0 for fixed statistics) and u = dy - b - xhat * a, the gradient
// is dx = gamma * r * u, so t_dx = (t_gamma * r + gamma * t_r) * u + gamma * r * t_u.
template <class T>
void batch_norm_gradient_tangent(const NormTangentArgs<T>& args) noexcept {
  const T share = args.mean_tangent == nullptr ? T(0) : T(1) / static_cast<T>(args.rows);
  for_each_vector<T>(args.cols, [&](Index j, int lanes) {
    const ColumnTangents<T> s = column_tangents(args, j, lanes);
    Vec<T> beta{}, gamma{}, t_beta{}, t_gamma{};
    for (Index i = 0; i < args.rows; ++i) {
      const Normalised<T> xhat = normalised(args, s, i, j, lanes);
      const Vec<T> dy = load_lanes(args.grad + i * args.ld_grad + j, lanes);
      const Vec<T> t_dy = load_lanes(args.output + i * args.ld_output + j, lanes);
      beta += dy;
      gamma += dy * xhat.value;
      t_beta += t_dy;
      t_gamma += t_dy * xhat.value + dy * xhat.tangent;
    }
    store_lanes(args.grad_beta + j, t_beta, lanes);
    store_lanes(args.grad_gamma + j, t_gamma, lanes);
    const Vec<T> b = beta * share, a = gamma * share, t_b = t_beta * share, t_a = t_gamma * share;
    for (Index i = 0; i < args.rows; ++i) {
      const Normalised<T> xhat = normalised(args, s, i, j, lanes);
      const Vec<T> u = load_lanes(args.grad + i * args.ld_grad + j, lanes) - b - xhat.value * a;
      T* out = args.output + i * args.ld_output + j;
      const Vec<T> t_u = load_lanes(out, lanes) - t_b - xhat.tangent * a - xhat.value * t_a;
      store_lanes(out, (s.t_gamma * s.r + s.gamma * s.t_r) * u + s.gamma * s.r * t_u, lanes);
    }
  });
}

// One row of a layer normalisation and the tangents of its statistics. The tangents of x and dx are scaled like the row.
template <class T>
struct RowTangents {
  RowStatistics<T> of;
  T t_mean, t_r;
};

template <class T>
inline RowTangents<T> row_tangents(const NormTangentArgs<T>& args, Index i) {
  const Index at = i * args.ld_statistics;
  return {row_statistics(args.mean + at), args.mean_tangent[at], args.mean_tangent[at + 1]};
}

template <class T>
inline Normalised<T> normalised(const NormTangentArgs<T>& args, const RowTangents<T>& s, Index i, Index j, int lanes) {
  const Vec<T> c = (load_lanes(args.x + i * args.ld_x + j, lanes) * s.of.scale - s.of.mean) - s.of.rest;
  const Vec<T> t_x = load_or_zero(args.tangent == nullptr ? nullptr : args.tangent + i * args.ld_tangent + j, lanes);
  return {c * s.of.inverse, (t_x * s.of.scale - s.t_mean) * s.of.inverse + c * s.t_r};
}

// t_mean = mean(t_x), t_r = -r^3 * mean(c * t_c), also where r^3 alone would overflow.
template <class T>
inline void row_statistics_tangent(const NormTangentArgs<T>& args, Index i) {
  const RowStatistics<T> s = row_statistics(args.mean + i * args.ld_statistics);
  const T* x = args.x + i * args.ld_x;
  const T inverse_cols = T(1) / static_cast<T>(args.cols), r = s.inverse;
  T t_mean = T(0), product = T(0);
  if (args.tangent != nullptr) {
    const T* t_x = args.tangent + i * args.ld_tangent;
    t_mean =
        inverse_cols * row_sum<T>(args.cols, [&](Index j, int lanes) { return load_lanes(t_x + j, lanes) * s.scale; });
    product = inverse_cols * row_sum<T>(args.cols, [&](Index j, int lanes) {
                const Vec<T> c = (load_lanes(x + j, lanes) * s.scale - s.mean) - s.rest;
                return c * (load_lanes(t_x + j, lanes) * s.scale - t_mean);
              });
  }
  args.mean_tangent[i * args.ld_statistics] = t_mean;
  const T cube = r * r * r;
  args.mean_tangent[i * args.ld_statistics + 1] = is_finite_number(cube) ? -cube * product : -(product * r * r * r);
}

template <class T>
void layer_norm_tangent(const NormTangentArgs<T>& args) noexcept {
  for (Index i = 0; i < args.rows; ++i) {
    row_statistics_tangent(args, i);
    const RowTangents<T> s = row_tangents(args, i);
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      const Normalised<T> xhat = normalised(args, s, i, j, lanes);
      const Vec<T> t_gamma = load_or_zero(args.gamma_tangent == nullptr ? nullptr : args.gamma_tangent + j, lanes);
      const Vec<T> t_beta = load_or_zero(args.beta_tangent == nullptr ? nullptr : args.beta_tangent + j, lanes);
      store_lanes(args.output + i * args.ld_output + j,
                  t_gamma * xhat.value + load_lanes(args.gamma + j, lanes) * xhat.tangent + t_beta, lanes);
    });
  }
}

// With g = dy * gamma and u = g - mean(g) - xhat * mean(g * xhat): dx = r * u, so t_dx = t_r * u + r * t_u.
template <class T>
void layer_norm_gradient_tangent(const NormTangentArgs<T>& args) noexcept {
  const T inverse_cols = T(1) / static_cast<T>(args.cols);
  for (Index i = 0; i < args.rows; ++i) {
    const RowTangents<T> s = row_tangents(args, i);
    const auto scaled = [&](Index j, int lanes) -> Normalised<T> {  // g and its tangent
      const Vec<T> dy = load_lanes(args.grad + i * args.ld_grad + j, lanes);
      const Vec<T> t_dy = load_lanes(args.grad_tangent + i * args.ld_grad_tangent + j, lanes);
      const Vec<T> gamma = load_lanes(args.gamma + j, lanes);
      const Vec<T> t_gamma = load_or_zero(args.gamma_tangent == nullptr ? nullptr : args.gamma_tangent + j, lanes);
      return {dy * gamma, t_dy * gamma + dy * t_gamma};
    };
    const auto mean_of = [&](auto value) { return inverse_cols * row_sum<T>(args.cols, value); };
    const auto xhat = [&](Index j, int lanes) { return normalised(args, s, i, j, lanes); };
    const T mean = mean_of([&](Index j, int lanes) { return scaled(j, lanes).value; });
    const T t_mean = mean_of([&](Index j, int lanes) { return scaled(j, lanes).tangent; });
    const T slope = mean_of([&](Index j, int lanes) { return scaled(j, lanes).value * xhat(j, lanes).value; });
    const T t_slope = mean_of([&](Index j, int lanes) {
      const Normalised<T> g = scaled(j, lanes), h = xhat(j, lanes);
      return g.tangent * h.value + g.value * h.tangent;
    });
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      const Normalised<T> g = scaled(j, lanes), h = xhat(j, lanes);
      const Vec<T> u = g.value - mean - h.value * slope;
      const Vec<T> t_u = g.tangent - t_mean - h.tangent * slope - h.value * t_slope;
      const Vec<T> t_dx = s.t_r * u + s.of.inverse * t_u;
      store_lanes(args.output + i * args.ld_output + j, t_dx * s.of.scale, lanes);
    });
  }
}

// The tangent of dgamma = sum over the rows of dy * xhat.
template <class T>
void layer_norm_gamma_tangent(const NormTangentArgs<T>& args) noexcept {
  for_each_vector<T>(args.cols, [&](Index j, int lanes) {
    Vec<T> sum{};
    for (Index i = 0; i < args.rows; ++i) {
      const Normalised<T> xhat = normalised(args, row_tangents(args, i), i, j, lanes);
      sum += load_lanes(args.grad_tangent + i * args.ld_grad_tangent + j, lanes) * xhat.value +
             load_lanes(args.grad + i * args.ld_grad + j, lanes) * xhat.tangent;
    }
    store_lanes(args.grad_gamma + j, sum, lanes);
  });
}

// ---- losses ----

// With p = softmax(z): t_grad = scale * p * (t_z - sum_j p_j t_z_j), scale that of the gradient.
template <class T>
void softmax_cross_entropy_tangent(const LossTangentArgs<T>& args) noexcept {
  const LossArgs<T>& of = args.loss;
  const double smoothing = static_cast<double>(of.parameter);
  for (Index i = 0; i < of.rows; ++i) {
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

// d(slope)/dz of element_loss: sigmoid (1 - sigmoid), 2, 0, and 1 within delta.
template <class T, LossKind kKind>
inline Vec<T> element_curvature(Vec<T> z, Vec<T> t, [[maybe_unused]] T delta) {
  if constexpr (kKind == LossKind::binary_cross_entropy) {
    return vector_sigmoid<T>(z) * vector_sigmoid<T>(-z);
  } else if constexpr (kKind == LossKind::mse) {
    return broadcast(T(2));
  } else if constexpr (kKind == LossKind::mae) {
    return Vec<T>{};
  } else {
    return absolute<T>(z - t) <= delta ? broadcast(T(1)) : Vec<T>{};
  }
}

template <class T, LossKind kKind>
void elementwise_loss_tangent(const LossTangentArgs<T>& args) noexcept {
  const LossArgs<T>& of = args.loss;
  for (Index i = 0; i < of.rows; ++i) {
    const T weight = of.weights == nullptr ? T(1) : static_cast<T>(of.weights[i]);
    const T scale = weight * of.grad_scale / static_cast<T>(of.cols);
    for_each_vector<T>(of.cols, [&](Index j, int lanes) {
      const Vec<T> curvature =
          element_curvature<T, kKind>(load_lanes(of.output + i * of.ld_output + j, lanes),
                                      load_lanes(of.targets + i * of.ld_targets + j, lanes), of.parameter);
      store_lanes(of.grad + i * of.ld_grad + j,
                  curvature * load_lanes(args.tangent + i * args.ld_tangent + j, lanes) * scale, lanes);
    });
  }
}
