// Derivatives in a direction of a batch normalisation, which a Hessian-vector product needs beside the kernels of training
// and the formulas of activations and losses (Pearlmutter 1994), and what other normalisations need for theirs. Tangents are written with t_. A null tangent is zero.

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
