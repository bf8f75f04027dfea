// Optimizer updates: one pass over weight, gradient and state (update_pass.inl.hpp).
// Streams of memory: 3 for weight and gradient, and 2 for each array of state. Formula<Op, T>::update is that of the
// optimizer Op; its numbers are in Rates<Op>, spec/optimizers.hpp.

// The kernel of the optimizer Op.
template <class T, class Op>
void update(const UpdateArgs<T>& args) noexcept {
  Formula<Op, T>::update(args, *static_cast<const Rates<Op>*>(args.rates));
}

// The second pass of an optimizer that needs the norms of a whole parameter.
template <class T, class Op>
void apply(const UpdateArgs<T>& args) noexcept {
  Formula<Op, T>::apply(args, *static_cast<const Rates<Op>*>(args.rates));
}

// v = momentum*v + (1-dampening)*g;  w -= lr*v, with nesterov w -= lr*(g + momentum*v). With rate_in_velocity keep holds the
// rate: v = momentum*v + keep*g;  w -= v, with nesterov w -= keep*g + momentum*v.
template <class T>
struct Formula<SGD, T> {
  static void update(const UpdateArgs<T>& args, const Rates<SGD>& rates) {
    const T lr = T(rates.lr), momentum = T(rates.momentum), keep = T(rates.keep);
    T* velocity = args.state[0];
    if (velocity == nullptr) {
      for_each_update<T>(args, [&](Index j, int lanes, Vec<T> w, Vec<T> g) {
        store_lanes(args.weight + j, w - lr * (keep * g), lanes);
      });
    } else if (!rates.nesterov) {
      for_each_update<T>(args, [&](Index j, int lanes, Vec<T> w, Vec<T> g) {
        const Vec<T> v = momentum * load_lanes(velocity + j, lanes) + keep * g;
        store_lanes(velocity + j, v, lanes);
        store_lanes(args.weight + j, w - lr * v, lanes);
      });
    } else if (!rates.rate_in_velocity) {
      for_each_update<T>(args, [&](Index j, int lanes, Vec<T> w, Vec<T> g) {
        const Vec<T> v = momentum * load_lanes(velocity + j, lanes) + keep * g;
        store_lanes(velocity + j, v, lanes);
        store_lanes(args.weight + j, w - lr * (g + momentum * v), lanes);
      });
    } else {
      for_each_update<T>(args, [&](Index j, int lanes, Vec<T> w, Vec<T> g) {
        const Vec<T> v = momentum * load_lanes(velocity + j, lanes) + keep * g;
        store_lanes(velocity + j, v, lanes);
        store_lanes(args.weight + j, w - (keep * g + momentum * v), lanes);
      });
    }
  }
};

// s += g^2;  w -= lr * g / (sqrt(s) + eps)   (Duchi, Hazan & Singer 2011)
template <class T>
struct Formula<AdaGrad, T> {
  static void update(const UpdateArgs<T>& args, const Rates<AdaGrad>& rates) {
    const T lr = T(rates.lr), eps = T(rates.eps);
    for_each_update<T>(args, [&](Index j, int lanes, Vec<T> w, Vec<T> g) {
      const Vec<T> s = load_lanes(args.state[0] + j, lanes) + g * g;
      store_lanes(args.state[0] + j, s, lanes);
      store_lanes(args.weight + j, w - lr * g / (square_root<T>(s) + eps), lanes);
    });
  }
};

// v = rho*v + (1-rho)*g^2, centered: minus the square of the running mean a of g, which rounding may make larger;
// d = g / (sqrt(v) + eps);  w -= lr*d, with momentum b = momentum*b + d and w -= lr*b.
template <class T, bool kCentered, bool kMomentum>
inline void rmsprop_update(const UpdateArgs<T>& args, const Rates<RMSProp>& rates) {
  const T lr = T(rates.lr), rho = T(rates.rho), rest = T(rates.rest), eps = T(rates.eps);
  const T momentum = T(rates.momentum);
  T* mean = args.state[1];
  T* buffer = args.state[kCentered ? 2 : 1];
  for_each_update<T>(args, [&](Index j, int lanes, Vec<T> w, Vec<T> g) {
    Vec<T> v = rho * load_lanes(args.state[0] + j, lanes) + rest * (g * g);
    store_lanes(args.state[0] + j, v, lanes);
    if constexpr (kCentered) {
      const Vec<T> a = rho * load_lanes(mean + j, lanes) + rest * g;
      store_lanes(mean + j, a, lanes);
      v = maximum<T>(Vec<T>{}, v - a * a);
    }
    Vec<T> d = g / (square_root<T>(v) + eps);
    if constexpr (kMomentum) {
      d += momentum * load_lanes(buffer + j, lanes);
      store_lanes(buffer + j, d, lanes);
    }
    store_lanes(args.weight + j, w - lr * d, lanes);
  });
}

template <class T>
struct Formula<RMSProp, T> {
  static void update(const UpdateArgs<T>& args, const Rates<RMSProp>& rates) {
    const bool momentum = T(rates.momentum) != T(0);
    if (rates.centered) {
      momentum ? rmsprop_update<T, true, true>(args, rates) : rmsprop_update<T, true, false>(args, rates);
    } else {
      momentum ? rmsprop_update<T, false, true>(args, rates) : rmsprop_update<T, false, false>(args, rates);
    }
  }
};

// Kingma & Ba 2015, algorithm 1; the bias corrections are in lr and `correction`. With a third array the
// largest second moment so far is divided by (Reddi, Kale & Kumar 2018).
template <class T>
struct Formula<Adam, T> {
  static void update(const UpdateArgs<T>& args, const AdamRates& rates) {
    const T beta1 = T(rates.beta1), beta2 = T(rates.beta2), rest1 = T(rates.rest1), rest2 = T(rates.rest2);
    const T lr = T(rates.lr), eps = T(rates.eps), correction = T(rates.correction), decay = args.decay;
    T* largest = args.state[2];
    for_each_update<T>(args, [&](Index j, int lanes, Vec<T> w, Vec<T> g) {
      const Vec<T> m = beta1 * load_lanes(args.state[0] + j, lanes) + rest1 * g;
      Vec<T> v = beta2 * load_lanes(args.state[1] + j, lanes) + rest2 * (g * g);
      store_lanes(args.state[0] + j, m, lanes);
      store_lanes(args.state[1] + j, v, lanes);
      if (largest != nullptr) {
        v = maximum<T>(load_lanes(largest + j, lanes), v);
        store_lanes(largest + j, v, lanes);
      }
      store_lanes(args.weight + j, w - decay * w - lr * m / (square_root<T>(v) * correction + eps), lanes);
    });
  }
};

template <class T>
struct Formula<AdamW, T> : Formula<Adam, T> {};

// Dozat 2016, algorithm 2.
template <class T>
struct Formula<Nadam, T> {
  static void update(const UpdateArgs<T>& args, const Rates<Nadam>& rates) {
    const T beta1 = T(rates.beta1), beta2 = T(rates.beta2), rest1 = T(rates.rest1), rest2 = T(rates.rest2);
    const T lr_grad = T(rates.lr_grad), lr_mean = T(rates.lr_mean), eps = T(rates.eps),
            correction = T(rates.correction);
    for_each_update<T>(args, [&](Index j, int lanes, Vec<T> w, Vec<T> g) {
      const Vec<T> m = beta1 * load_lanes(args.state[0] + j, lanes) + rest1 * g;
      const Vec<T> v = beta2 * load_lanes(args.state[1] + j, lanes) + rest2 * (g * g);
      store_lanes(args.state[0] + j, m, lanes);
      store_lanes(args.state[1] + j, v, lanes);
      store_lanes(args.weight + j, w - (lr_grad * g + lr_mean * m) / (square_root<T>(v) * correction + eps), lanes);
    });
  }
};

// 1, -1, or 0 where v is 0 (or NaN).
template <class T>
inline Vec<T> sign_of(Vec<T> v) {
  const Vec<T> zero{};
  return select<T>(v > zero, broadcast(T(1)), zero) - select<T>(v < zero, broadcast(T(1)), zero);
}

// w -= lr * (sign(beta1*m + (1-beta1)*g) + weight_decay*w);  m = beta2*m + (1-beta2)*g   (Chen et al. 2023)
template <class T>
struct Formula<Lion, T> {
  static void update(const UpdateArgs<T>& args, const Rates<Lion>& rates) {
    const T beta1 = T(rates.beta1), beta2 = T(rates.beta2), rest1 = T(rates.rest1), rest2 = T(rates.rest2);
    const T lr = T(rates.lr), decay = args.decay;
    for_each_update<T>(args, [&](Index j, int lanes, Vec<T> w, Vec<T> g) {
      const Vec<T> m = load_lanes(args.state[0] + j, lanes);
      store_lanes(args.state[0] + j, beta2 * m + rest2 * g, lanes);
      store_lanes(args.weight + j, w - decay * w - lr * sign_of<T>(beta1 * m + rest1 * g), lanes);
    });
  }
};

// v = rho*v + (1-rho)*g^2;  d = sqrt(u + eps) / sqrt(v + eps) * g;  w -= lr*d;  u = rho*u + (1-rho)*d^2   (Zeiler 2012)
template <class T>
struct Formula<Adadelta, T> {
  static void update(const UpdateArgs<T>& args, const Rates<Adadelta>& rates) {
    const T lr = T(rates.lr), rho = T(rates.rho), rest = T(rates.rest), eps = T(rates.eps);
    for_each_update<T>(args, [&](Index j, int lanes, Vec<T> w, Vec<T> g) {
      const Vec<T> v = rho * load_lanes(args.state[0] + j, lanes) + rest * (g * g);
      const Vec<T> u = load_lanes(args.state[1] + j, lanes);
      const Vec<T> d = square_root<T>(u + eps) / square_root<T>(v + eps) * g;
      store_lanes(args.state[0] + j, v, lanes);
      store_lanes(args.state[1] + j, rho * u + rest * (d * d), lanes);
      store_lanes(args.weight + j, w - lr * d, lanes);
    });
  }
};

// Kingma & Ba 2015, algorithm 2, with eps beside |g| as in torch.optim.
template <class T>
struct Formula<Adamax, T> {
  static void update(const UpdateArgs<T>& args, const Rates<Adamax>& rates) {
    const T lr = T(rates.lr), beta1 = T(rates.beta1), rest1 = T(rates.rest1), beta2 = T(rates.beta2);
    const T eps = T(rates.eps);
    for_each_update<T>(args, [&](Index j, int lanes, Vec<T> w, Vec<T> g) {
      const Vec<T> m = beta1 * load_lanes(args.state[0] + j, lanes) + rest1 * g;
      const Vec<T> u = maximum<T>(beta2 * load_lanes(args.state[1] + j, lanes), absolute<T>(g) + eps);
      store_lanes(args.state[0] + j, m, lanes);
      store_lanes(args.state[1] + j, u, lanes);
      store_lanes(args.weight + j, w - lr * m / u, lanes);
    });
  }
};

// Liu et al. 2020, algorithm 2, adaptive from p_t > 5 on as in torch.optim.
template <class T>
struct Formula<RAdam, T> {
  static void update(const UpdateArgs<T>& args, const Rates<RAdam>& rates) {
    const T beta1 = T(rates.beta1), beta2 = T(rates.beta2), rest1 = T(rates.rest1), rest2 = T(rates.rest2);
    const T lr = T(rates.lr), eps = T(rates.eps);
    const bool is_adaptive = rates.is_adaptive;
    for_each_update<T>(args, [&](Index j, int lanes, Vec<T> w, Vec<T> g) {
      const Vec<T> m = beta1 * load_lanes(args.state[0] + j, lanes) + rest1 * g;
      const Vec<T> v = beta2 * load_lanes(args.state[1] + j, lanes) + rest2 * (g * g);
      store_lanes(args.state[0] + j, m, lanes);
      store_lanes(args.state[1] + j, v, lanes);
      store_lanes(args.weight + j, is_adaptive ? w - lr * m / (square_root<T>(v) + eps) : w - lr * m, lanes);
    });
  }
};

// Riedmiller & Braun 1993 without weight backtracking, as in torch.optim.
template <class T>
struct Formula<Rprop, T> {
  static void update(const UpdateArgs<T>& args, const Rates<Rprop>& rates) {
    const Vec<T> first = broadcast(T(rates.lr)), shrink = broadcast(T(rates.eta_minus));
    const Vec<T> grow = broadcast(T(rates.eta_plus)), stay = broadcast(T(1)), zero{};
    const Vec<T> least = broadcast(T(rates.min_step)), most = broadcast(T(rates.max_step));
    const bool is_first = rates.is_first;
    for_each_update<T>(args, [&](Index j, int lanes, Vec<T> w, Vec<T> g) {
      const Vec<T> agrees = sign_of<T>(load_lanes(args.state[0] + j, lanes)) * sign_of<T>(g);
      const Vec<T> factor = select<T>(agrees > zero, grow, select<T>(agrees < zero, shrink, stay));
      const Vec<T> step = is_first ? first : load_lanes(args.state[1] + j, lanes);
      const Vec<T> d = minimum<T>(most, maximum<T>(least, step * factor));
      const Vec<T> used = select<T>(agrees < zero, zero, g);
      store_lanes(args.state[0] + j, used, lanes);
      store_lanes(args.state[1] + j, d, lanes);
      store_lanes(args.weight + j, w - sign_of<T>(used) * d, lanes);
    });
  }
};

// You et al. 2020, algorithm 2. The step is computed anew in the second pass, from the state and the weight.
template <class T>
struct Formula<Lamb, T> {
  static void update(const UpdateArgs<T>& args, const Rates<Lamb>& rates) {
    const T beta1 = T(rates.beta1), beta2 = T(rates.beta2), rest1 = T(rates.rest1), rest2 = T(rates.rest2);
    for_each_update<T>(args, [&](Index j, int lanes, Vec<T>, Vec<T> g) {
      store_lanes(args.state[0] + j, beta1 * load_lanes(args.state[0] + j, lanes) + rest1 * g, lanes);
      store_lanes(args.state[1] + j, beta2 * load_lanes(args.state[1] + j, lanes) + rest2 * (g * g), lanes);
    });
    args.block_norms[0] = norm_of<T>(args.n, [&](Index j, int lanes) { return load_lanes(args.weight + j, lanes); });
    args.block_norms[1] = norm_of<T>(args.n, [&](Index j, int lanes) { return step(args, rates, j, lanes); });
  }

  static void apply(const UpdateArgs<T>& args, const Rates<Lamb>& rates) {
    const T lr = T(rates.lr * args.trust_ratio);
    for_each_vector<T>(args.n, [&](Index j, int lanes) {
      store_lanes(args.weight + j, load_lanes(args.weight + j, lanes) - lr * step(args, rates, j, lanes), lanes);
    });
  }

  static Vec<T> step(const UpdateArgs<T>& args, const Rates<Lamb>& rates, Index j, int lanes) {
    const T decay = args.decay == T(0) ? T(0) : T(rates.weight_decay), correction = T(rates.correction);
    const Vec<T> m = load_lanes(args.state[0] + j, lanes), v = load_lanes(args.state[1] + j, lanes);
    const Vec<T> root = square_root<T>(v) * correction + T(rates.eps);
    return m * T(rates.mean_correction) / root + decay * load_lanes(args.weight + j, lanes);
  }
};

// Returns v cut to [-limit, limit]. A number that is not finite becomes NaN, so that the sum of squares shows it.
template <class T>
inline Vec<T> cut(Vec<T> v, T limit) {
  const Vec<T> most = broadcast(limit);
  return minimum<T>(most, maximum<T>(-most, v)) + (v - v);
}

template <class T>
void regularize(const RegularizeArgs<T>& args) noexcept {
  double weight_sum = 0.0, magnitude_sum = 0.0, grad_sum = 0.0;
  for (Index start = 0; start < args.n; start += kVectorsPerSum * kLanes<T>) {
    const Index left = args.n - start;
    const Index count = left < kVectorsPerSum * kLanes<T> ? left : kVectorsPerSum * kLanes<T>;
    SquareSums<T> sums;
    Vec<T> magnitudes{};
    for_each_vector<T>(count, [&](Index offset, int lanes) {
      const Index j = start + offset;
      const Vec<T> w = load_lanes(args.weight + j, lanes), sign = sign_of<T>(w);
      Vec<T> g = load_lanes(args.grad + j, lanes) + args.l2 * w;
      if (args.l1 != T(0)) g += args.l1 * sign;
      if (args.clip_value > T(0)) g = cut<T>(g, args.clip_value);
      sums.weight += w * w;
      sums.grad += g * g;
      magnitudes += w * sign;
      store_lanes(args.grad + j, g, lanes);
    });
    weight_sum += sum_lanes<T>(sums.weight);
    magnitude_sum += sum_lanes<T>(magnitudes);
    grad_sum += sum_lanes<T>(sums.grad);
  }
  *args.weight_sum_of_squares = finish_weight_sum(args.n, args.weight, weight_sum);
  *args.weight_sum_of_magnitudes = magnitude_sum;
  finish_gradient_sum<T>(args.n, grad_sum, args.grad_sum_of_squares, args.grad_norm,
                         [&](Index j) { return args.grad[j]; });
}

// Returns whether the squares of a column, or the factor that would scale it, are beyond the range of T.
template <class T>
inline bool needs_care(double squares, double limit) {
  constexpr double kLeastScale = sizeof(T) == 4 ? 0x1p-120 : 0x1p-1000;
  const double least_square = limit * limit;
  if (!is_reliable<T>(squares)) return !(squares < __builtin_inf()) || !is_reliable<T>(least_square);
  return limit < kLeastScale * __builtin_sqrt(squares);
}

template <class T>
[[gnu::noinline]] void limit_column(T* weight, Index rows, Index ld, double limit) {
  const double norm = careful_sum_of_squares(rows, [&](Index i) { return weight[i * ld]; }).norm();
  if (!(norm > limit)) return;
  for (Index i = 0; i < rows; ++i) {
    weight[i * ld] = static_cast<T>(static_cast<double>(weight[i * ld]) / norm * limit);
  }
}

// Each column is added from the first row to the last, in double from one run of rows to the next.
template <class T, bool kLarge>
inline void limit_norm_of(const LimitNormArgs<T>& args) {
  const Index rows = args.rows, ld = args.ld_weight;
  for_each_strip<T>(args.cols, [&](Index first, Index cols) {
    for_each_group_of_vectors<T>(cols, [&]<int kWidth>(Index j, int lanes) {
      T* weight = args.weight + first + j;
      const StripAhead<T, kLarge> ahead{weight, ld, j == 0 ? rows : 0};
      double squares[kWidth * kLanes<T>] = {};
      for (Index start = 0; start < rows; start += kVectorsPerSum) {
        const Index end = rows - start < kVectorsPerSum ? rows : start + kVectorsPerSum;
        Vec<T> sum[kWidth] = {};
        for (Index i = start; i < end; ++i) {
          ahead.ask(i + kRowsAhead);
          STOOP_UNROLL
          for (int v = 0; v < kWidth; ++v) {
            const Vec<T> w = load_lanes(weight + i * ld + v * kLanes<T>, lanes);
            sum[v] += w * w;
          }
        }
        T lane_sums[kWidth * kLanes<T>];
        STOOP_UNROLL
        for (int v = 0; v < kWidth; ++v) store(lane_sums + v * kLanes<T>, sum[v]);
        for (int lane = 0; lane < kWidth * kLanes<T>; ++lane) squares[lane] += static_cast<double>(lane_sums[lane]);
      }
      T scale[kWidth * kLanes<T>];
      bool any = false;
      for (int lane = 0; lane < kWidth * kLanes<T>; ++lane) {
        if (needs_care<T>(squares[lane], args.limit) && (kWidth > 1 || lane < lanes)) {
          limit_column(weight + lane, rows, ld, args.limit);
          squares[lane] = 0.0;
        }
        const double norm = __builtin_sqrt(squares[lane]);
        const bool above = norm > args.limit && (kWidth > 1 || lane < lanes);
        scale[lane] = above ? static_cast<T>(args.limit / norm) : T(1);
        any = any || above;
      }
      for (Index i = 0; any && i < rows; ++i) {
        STOOP_UNROLL
        for (int v = 0; v < kWidth; ++v) {
          T* w = weight + i * ld + v * kLanes<T>;
          store_lanes(w, load_lanes(w, lanes) * load(scale + v * kLanes<T>), lanes);
        }
      }
    });
  });
}

template <class T>
void limit_norm(const LimitNormArgs<T>& args) noexcept {
  if (is_large<T>(args.rows, args.ld_weight)) return limit_norm_of<T, true>(args);
  limit_norm_of<T, false>(args);
}
