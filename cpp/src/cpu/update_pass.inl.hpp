// The pass over weight and gradient that every update makes: the L2 term, and the sums of squares on the way.

// Sums of squares are carried in double from one run of this many vectors to the next, so that they do not drift.
constexpr Index kVectorsPerSum = 64;

template <class T>
struct SquareSums {
  Vec<T> weight{}, grad{};
};

// Sums of squares of T that are neither infinite nor made of squares that were too small for T.
template <class T>
inline bool is_reliable(double sum) {
  constexpr double kLeast = sizeof(T) == 4 ? 0x1p-85 : 0x1p-952;
  return sum >= kLeast && sum < __builtin_inf();
}

// The sum of squares is sum * unit^2, unit a power of two.
struct ScaledSum {
  double sum, unit;

  double norm() const { return __builtin_sqrt(sum) * unit; }
};

// Sums the squares of value(j) for j < n in double, slowly, for numbers of any size. Returns NaN if one is not finite.
template <class Value>
[[gnu::noinline]] ScaledSum careful_sum_of_squares(Index n, Value value) {
  constexpr double kLarge = 0x1p400, kSmall = 0x1p-400, kUnit = 0x1p600;
  double largest = 0.0;
  for (Index j = 0; j < n; ++j) {
    const double size = __builtin_fabs(static_cast<double>(value(j)));
    if (!(size < __builtin_inf())) return {__builtin_nan(""), 1.0};
    largest = size > largest ? size : largest;
  }
  const double unit = largest > kLarge ? kUnit : largest < kSmall ? 1.0 / kUnit : 1.0, inverse = 1.0 / unit;
  double sum = 0.0;
  for (Index j = 0; j < n; ++j) {
    const double v = static_cast<double>(value(j)) * inverse;
    sum += v * v;
  }
  return {sum, unit};
}

// Returns the sums of a block that its vectors gave. If these cannot be relied on, it computes them again: a square of a
// float is infinite from 1.8e19 on and 0 below 1e-23. value(j) gives an element of the gradient.
template <class T, class Value>
inline void finish_gradient_sum(Index n, double sum, double* sum_of_squares, double* norm, Value value) {
  *sum_of_squares = sum;
  if (norm == nullptr || is_reliable<T>(sum)) return;
  const ScaledSum right = careful_sum_of_squares(n, value);
  *sum_of_squares = right.sum * right.unit * right.unit;
  *norm = right.norm();
}

// The root of the sum of squares of value(j, lanes) for j < n.
template <class T, class Value>
inline double norm_of(Index n, Value value) {
  double sum = 0.0;
  for (Index start = 0; start < n; start += kVectorsPerSum * kLanes<T>) {
    const Index left = n - start;
    Vec<T> squares{};
    for_each_vector<T>(left < kVectorsPerSum * kLanes<T> ? left : kVectorsPerSum * kLanes<T>, [&](Index j, int lanes) {
      const Vec<T> v = select<T>(first_lanes<T>(lanes), value(start + j, lanes), Vec<T>{});
      squares += v * v;
    });
    sum += sum_lanes<T>(squares);
  }
  if (is_reliable<T>(sum)) return __builtin_sqrt(sum);
  return careful_sum_of_squares(n, [&](Index j) { return value(j, 1)[0]; }).norm();
}

template <class T>
inline double finish_weight_sum(Index n, const T* weight, double sum) {
  if (sum < __builtin_inf()) return sum;
  const ScaledSum right = careful_sum_of_squares(n, [&](Index j) { return weight[j]; });
  return right.sum * right.unit * right.unit;
}

// Calls update(offset, lanes, weight, scaled gradient with the l2 term) for each vector and adds up the squares.
template <class T, class Update>
inline void for_each_update(const UpdateArgs<T>& args, Update update) {
  const bool scaled = args.grad_scale != T(1);  // a product by 1 could be contracted in another way than none
  double weight_sum = 0.0, grad_sum = 0.0;
  for (Index start = 0; start < args.n; start += kVectorsPerSum * kLanes<T>) {
    const Index left = args.n - start;
    const Index count = left < kVectorsPerSum * kLanes<T> ? left : kVectorsPerSum * kLanes<T>;
    SquareSums<T> sums;
    for_each_vector<T>(count, [&](Index offset, int lanes) {
      const Index j = start + offset;
      const Vec<T> w = load_lanes(args.weight + j, lanes);
      Vec<T> g = load_lanes(args.grad + j, lanes);
      if (scaled) g = (g * args.grad_scale) * args.grad_scale_rest;
      g += args.l2 * w;
      sums.weight += w * w;
      sums.grad += g * g;
      update(j, lanes, w, g);
    });
    weight_sum += sum_lanes<T>(sums.weight);
    grad_sum += sum_lanes<T>(sums.grad);
  }
  *args.weight_sum_of_squares = args.l2 == T(0) ? weight_sum : finish_weight_sum(args.n, args.weight, weight_sum);
  finish_gradient_sum<T>(args.n, grad_sum, args.grad_sum_of_squares, args.grad_norm, [&](Index j) {
    const T g = scaled ? (args.grad[j] * args.grad_scale) * args.grad_scale_rest : args.grad[j];
    return args.l2 == T(0) ? g : g + args.l2 * args.weight[j];  // of the new weight: see UpdateArgs
  });
}
