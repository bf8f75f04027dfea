// Optimizer updates: one pass over weight, gradient and state, with the L2 term and the sums of squares on the way.
// Bytes per element: SGD 3 streams (5 with momentum), Adam 7.

// Sums of squares are carried in double from one run of this many vectors to the next, so that they do not drift.
constexpr Index kVectorsPerSum = 64;

template <class T>
struct SquareSums {
  Vec<T> weight{}, grad{};
};

// Calls update(offset, lanes, weight, gradient with the l2 term) for each vector and adds up the squares.
template <class T, class Update>
inline void for_each_update(const UpdateArgs<T>& args, Update update) {
  double weight_sum = 0.0, grad_sum = 0.0;
  for (Index start = 0; start < args.n; start += kVectorsPerSum * kLanes<T>) {
    const Index left = args.n - start;
    const Index count = left < kVectorsPerSum * kLanes<T> ? left : kVectorsPerSum * kLanes<T>;
    SquareSums<T> sums;
    for_each_vector<T>(count, [&](Index offset, int lanes) {
      const Index j = start + offset;
      const Vec<T> w = load_lanes(args.weight + j, lanes);
      const Vec<T> g = load_lanes(args.grad + j, lanes) + args.l2 * w;
      sums.weight += w * w;
      sums.grad += g * g;
      update(j, lanes, w, g);
    });
    weight_sum += sum_lanes<T>(sums.weight);
    grad_sum += sum_lanes<T>(sums.grad);
  }
  *args.weight_sum_of_squares = weight_sum;
  *args.grad_sum_of_squares = grad_sum;
}

// v = momentum*v + (1-dampening)*g;  w -= lr*v, with nesterov w -= lr*(g + momentum*v).
template <class T>
void sgd_update(const UpdateArgs<T>& args) noexcept {
  const T lr = args.rate[0], momentum = args.rate[1], keep = args.rate[2];
  if (args.state0 == nullptr) {
    for_each_update<T>(args, [&](Index j, int lanes, Vec<T> w, Vec<T> g) {
      store_lanes(args.weight + j, w - lr * (keep * g), lanes);
    });
  } else if (args.rate[3] == T(0)) {
    for_each_update<T>(args, [&](Index j, int lanes, Vec<T> w, Vec<T> g) {
      const Vec<T> v = momentum * load_lanes(args.state0 + j, lanes) + keep * g;
      store_lanes(args.state0 + j, v, lanes);
      store_lanes(args.weight + j, w - lr * v, lanes);
    });
  } else {
    for_each_update<T>(args, [&](Index j, int lanes, Vec<T> w, Vec<T> g) {
      const Vec<T> v = momentum * load_lanes(args.state0 + j, lanes) + keep * g;
      store_lanes(args.state0 + j, v, lanes);
      store_lanes(args.weight + j, w - lr * (g + momentum * v), lanes);
    });
  }
}

// Kingma & Ba 2015, algorithm 1; the bias corrections are folded into rate[0] and rate[4].
template <class T>
void adam_update(const UpdateArgs<T>& args) noexcept {
  const T lr = args.rate[0], beta1 = args.rate[1], beta2 = args.rate[2], eps = args.rate[3], correction = args.rate[4];
  const T rest1 = args.rate[5], rest2 = args.rate[6];
  for_each_update<T>(args, [&](Index j, int lanes, Vec<T> w, Vec<T> g) {
    const Vec<T> m = beta1 * load_lanes(args.state0 + j, lanes) + rest1 * g;
    const Vec<T> v = beta2 * load_lanes(args.state1 + j, lanes) + rest2 * (g * g);
    store_lanes(args.state0 + j, m, lanes);
    store_lanes(args.state1 + j, v, lanes);
    store_lanes(args.weight + j, w - lr * m / (square_root<T>(v) * correction + eps), lanes);
  });
}

template <class T>
void regularize(const RegularizeArgs<T>& args) noexcept {
  const UpdateArgs<T> pass{args.n,
                           const_cast<T*>(args.weight),
                           args.grad,
                           nullptr,
                           nullptr,
                           args.l2,
                           {},
                           args.weight_sum_of_squares,
                           args.grad_sum_of_squares};
  for_each_update<T>(pass, [&](Index j, int lanes, Vec<T>, Vec<T> g) { store_lanes(args.grad + j, g, lanes); });
}
