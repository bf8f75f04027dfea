// Values with members: scales of their rows, sums over them, and what they say together.

template <class T>
void member_scale(const MemberScaleArgs<T>& args) noexcept {
  const bool one = args.input_members == 1;
  for (Index i = 0; i < args.rows; ++i) {
    for (Index m = 0; m < args.members; ++m) {
      const T* x = args.input + (one ? i : i * args.members + m) * args.ld_input;
      const T* scale = args.scale + m * args.ld_scale;
      const T* bias = args.bias == nullptr ? nullptr : args.bias + m * args.ld_scale;
      T* out = args.output + (i * args.members + m) * args.ld_output;
      for_each_vector<T>(args.cols, [&](Index j, int lanes) {
        Vec<T> y = load_lanes(x + j, lanes) * load_lanes(scale + j, lanes);
        if (bias != nullptr) y += load_lanes(bias + j, lanes);
        store_lanes(out + j, y, lanes);
      });
    }
  }
}

template <class T>
void member_sum(const MemberSumArgs<T>& args) noexcept {
  for (Index i = 0; i < args.rows; ++i) {
    const T* rows = args.input + i * args.members * args.ld_input;
    T* out = args.output + i * args.ld_output;
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      Vec<T> sum{};
      for (Index m = 0; m < args.members; ++m) {
        const Vec<T> x = load_lanes(rows + m * args.ld_input + j, lanes);
        sum += args.scale == nullptr ? x : x * load_lanes(args.scale + m * args.ld_scale + j, lanes);
      }
      store_lanes(out + j, sum, lanes);
    });
  }
}

template <class T>
void product_sum(const ProductSumArgs<T>& args) noexcept {
  for_each_group_of_vectors<T>(args.cols, [&]<int kWidth>(Index j, int lanes) {
    Vec<T> sum[kWidth] = {};
    for (Index i = 0; i < args.rows; ++i) {
      STOOP_UNROLL
      for (int v = 0; v < kWidth; ++v) {
        const Index place = j + v * kLanes<T>;
        sum[v] += load_lanes(args.a + i * args.lda + place, lanes) * load_lanes(args.b + i * args.ldb + place, lanes);
      }
    }
    STOOP_UNROLL
    for (int v = 0; v < kWidth; ++v) store_lanes(args.sum + j + v * kLanes<T>, sum[v], lanes);
  });
}

// ---- what the members say together ----

// The exponents of a sum over the members in each lane: where(m) gives them.
template <class T>
struct ExponentSum {
  Vec<T> largest;  // 0 where none is above -inf, so that no difference is inf - inf
  Vec<T> sum;      // of exp(exponent - largest)

  template <class Where>
  static ExponentSum of(Index members, Where where) {
    const T kInfinity = __builtin_inf();
    Vec<T> largest = broadcast(-kInfinity), sum{};
    for (Index m = 0; m < members; ++m) largest = maximum<T>(largest, where(m));
    largest = largest > -kInfinity ? largest : Vec<T>{};
    for (Index m = 0; m < members; ++m) sum += vector_exp_of_negative<T>(where(m) - largest);
    return {largest, sum};
  }

  Vec<T> logarithm() const { return largest + vector_log<T>(sum); }
  // The part of a member.
  Vec<T> share(Vec<T> exponent) const { return vector_exp_of_negative<T>(exponent - largest) / sum; }
};

template <class T>
void combine_identity(const CombineArgs<T>& args) noexcept {
  const T members = static_cast<T>(args.members);
  for (Index i = 0; i < args.rows; ++i) {
    const T* rows = args.input + i * args.members * args.ld_input;
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      Vec<T> sum{};
      for (Index m = 0; m < args.members; ++m) sum += load_lanes(rows + m * args.ld_input + j, lanes);
      store_lanes(args.output + i * args.ld_output + j, sum / members, lanes);
    });
  }
}

template <class T>
void combine_identity_gradient(const CombineArgs<T>& args) noexcept {
  const T members = static_cast<T>(args.members);
  for (Index i = 0; i < args.rows; ++i) {
    for (Index m = 0; m < args.members; ++m) {
      for_each_vector<T>(args.cols, [&](Index j, int lanes) {
        store_lanes(args.output + (i * args.members + m) * args.ld_output + j,
                    load_lanes(args.grad + i * args.ld_grad + j, lanes) / members, lanes);
      });
    }
  }
}

// The log-softmax of the members of one sample: (z - largest) - log_sum.
template <class T>
struct LogSoftmaxes {
  const T* rows;
  Index ld;
  T largest[kMostMembers], log_sum[kMostMembers];

  LogSoftmaxes(const CombineArgs<T>& args, Index sample)
      : rows(args.input + sample * args.members * args.ld_input), ld(args.ld_input) {
    for (Index m = 0; m < args.members; ++m) {
      const T* z = rows + m * ld;
      largest[m] = row_maximum(z, args.cols);
      log_sum[m] = static_cast<T>(__builtin_log(sum_of_exponentials<T>(z, args.cols, largest[m], nullptr, ld)));
    }
  }

  Vec<T> operator()(Index m, Index j, int lanes) const {
    return (load_lanes(rows + m * ld + j, lanes) - largest[m]) - log_sum[m];
  }
};

template <class T>
void combine_softmax(const CombineArgs<T>& args) noexcept {
  const T log_members = static_cast<T>(__builtin_log(static_cast<double>(args.members)));
  for (Index i = 0; i < args.rows; ++i) {
    const LogSoftmaxes<T> p(args, i);
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      const auto sum = ExponentSum<T>::of(args.members, [&](Index m) { return p(m, j, lanes); });
      store_lanes(args.output + i * args.ld_output + j, sum.logarithm() - log_members, lanes);
    });
  }
}

// With w_mj = p_mj / sum_m p_mj: the gradient of z_mj is w_mj g_j - p_mj * sum_c w_mc g_c.
template <class T>
void combine_softmax_gradient(const CombineArgs<T>& args) noexcept {
  for (Index i = 0; i < args.rows; ++i) {
    const LogSoftmaxes<T> p(args, i);
    const T* grad = args.grad + i * args.ld_grad;
    T* out = args.output + i * args.members * args.ld_output;
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      const auto sum = ExponentSum<T>::of(args.members, [&](Index m) { return p(m, j, lanes); });
      for (Index m = 0; m < args.members; ++m) {
        store_lanes(out + m * args.ld_output + j, sum.share(p(m, j, lanes)) * load_lanes(grad + j, lanes), lanes);
      }
    });
    for (Index m = 0; m < args.members; ++m) {
      T* own = out + m * args.ld_output;
      const T total = row_sum<T>(args.cols, [&](Index j, int lanes) { return load_lanes(own + j, lanes); });
      for_each_vector<T>(args.cols, [&](Index j, int lanes) {
        const Vec<T> softmax = vector_exp_of_negative<T>(p(m, j, lanes));
        store_lanes(own + j, load_lanes(own + j, lanes) - softmax * total, lanes);
      });
    }
  }
}

// log(sigmoid(z)) = min(z, 0) - log(1 + exp(-|z|)).
template <class T>
inline Vec<T> log_sigmoid(Vec<T> z) {
  return minimum<T>(Vec<T>{}, z) - vector_log1p_of_fraction<T>(vector_exp_of_negative<T>(-absolute<T>(z)));
}

// The sums of sigmoid(z) and of 1 - sigmoid(z) over the members, in each column.
template <class T>
struct SigmoidSums {
  ExponentSum<T> yes, no;

  SigmoidSums(const CombineArgs<T>& args, const T* column, int lanes)
      : yes(ExponentSum<T>::of(args.members,
                               [&](Index m) { return log_sigmoid<T>(load_lanes(column + m * args.ld_input, lanes)); })),
        no(ExponentSum<T>::of(
            args.members, [&](Index m) { return log_sigmoid<T>(-load_lanes(column + m * args.ld_input, lanes)); })) {}
};

template <class T>
void combine_sigmoid(const CombineArgs<T>& args) noexcept {
  for (Index i = 0; i < args.rows; ++i) {
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      const SigmoidSums<T> sums(args, args.input + i * args.members * args.ld_input + j, lanes);
      store_lanes(args.output + i * args.ld_output + j, sums.yes.logarithm() - sums.no.logarithm(), lanes);
    });
  }
}

// With p = sigmoid(z_m): g * (p (1-p) / sum p + p (1-p) / sum (1-p)).
template <class T>
void combine_sigmoid_gradient(const CombineArgs<T>& args) noexcept {
  for (Index i = 0; i < args.rows; ++i) {
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      const T* column = args.input + i * args.members * args.ld_input + j;
      const SigmoidSums<T> sums(args, column, lanes);
      const Vec<T> grad = load_lanes(args.grad + i * args.ld_grad + j, lanes);
      for (Index m = 0; m < args.members; ++m) {
        const Vec<T> z = load_lanes(column + m * args.ld_input, lanes);
        const Vec<T> yes = log_sigmoid<T>(z), no = log_sigmoid<T>(-z);
        const Vec<T> slope =
            sums.yes.share(yes) * vector_exp_of_negative<T>(no) + sums.no.share(no) * vector_exp_of_negative<T>(yes);
        store_lanes(args.output + (i * args.members + m) * args.ld_output + j, slope * grad, lanes);
      }
    });
  }
}

template <class T>
constexpr void fill_members(OpTable<T>& table) {
  table.member_scale = member_scale<T>;
  table.member_sum = member_sum<T>;
  table.product_sum = product_sum<T>;
  table.narrow_product = narrow_product<T>;
  table.narrow_input_gradient = narrow_input_gradient<T>;
  table.narrow_weight_gradient = narrow_weight_gradient<T>;
  table.combine[static_cast<int>(OutputKind::identity)] = combine_identity<T>;
  table.combine[static_cast<int>(OutputKind::softmax)] = combine_softmax<T>;
  table.combine[static_cast<int>(OutputKind::sigmoid)] = combine_sigmoid<T>;
  table.combine_gradient[static_cast<int>(OutputKind::identity)] = combine_identity_gradient<T>;
  table.combine_gradient[static_cast<int>(OutputKind::softmax)] = combine_softmax_gradient<T>;
  table.combine_gradient[static_cast<int>(OutputKind::sigmoid)] = combine_sigmoid_gradient<T>;
}
