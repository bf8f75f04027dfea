// Derivatives in a direction of normalisations, which a Hessian-vector product needs beside the kernels of training and
// the formulas of activations and losses (Pearlmutter 1994). Tangents are written with t_. A null tangent is zero.

template <class T>
inline Vec<T> load_or_zero(const T* p, int lanes) {
  return p == nullptr ? Vec<T>{} : load_lanes(p, lanes);
}

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
