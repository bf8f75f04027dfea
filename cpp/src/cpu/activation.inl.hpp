// Activations and their derivatives, elementwise. The derivative is computed from the output, so only that is kept.
//   relu        max(0, x)              1 for y > 0, else 0
//   leaky_relu  x, slope*x for x < 0   1 for y > 0, else slope
//   tanh                               1 - y^2
//   sigmoid     1 / (1 + exp(-x))      y * (1 - y)
// Memory-bound: 2 streams forward, 3 backward.

template <class T, ActivationKind kKind>
inline Vec<T> activate(Vec<T> x, [[maybe_unused]] T parameter) {
  if constexpr (kKind == ActivationKind::relu) {
    return maximum<T>(Vec<T>{}, x);
  } else if constexpr (kKind == ActivationKind::leaky_relu) {
    return x < Vec<T>{} ? x * parameter : x;
  } else if constexpr (kKind == ActivationKind::tanh) {
    return vector_tanh<T>(x);
  } else if constexpr (kKind == ActivationKind::sigmoid) {
    return vector_sigmoid<T>(x);
  } else {
    return x;
  }
}

// grad * f'(x), given y = f(x).
template <class T, ActivationKind kKind>
inline Vec<T> gate(Vec<T> grad, [[maybe_unused]] Vec<T> y, [[maybe_unused]] T parameter) {
  if constexpr (kKind == ActivationKind::relu) {
    return y > Vec<T>{} ? grad : Vec<T>{};
  } else if constexpr (kKind == ActivationKind::leaky_relu) {
    return y > Vec<T>{} ? grad : grad * parameter;
  } else if constexpr (kKind == ActivationKind::tanh) {
    return grad - grad * (y * y);
  } else if constexpr (kKind == ActivationKind::sigmoid) {
    return grad * (y - y * y);
  } else {
    return grad;
  }
}

template <class T, ActivationKind kKind>
void activation_forward(const ActivationArgs<T>& args) noexcept {
  for (Index i = 0; i < args.rows; ++i) {
    const T* x = args.input + i * args.ld_input;
    T* y = args.output + i * args.ld_output;
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      store_lanes(y + j, activate<T, kKind>(load_lanes(x + j, lanes), args.parameter), lanes);
    });
  }
}

template <class T, ActivationKind kKind>
void activation_backward(const ActivationArgs<T>& args) noexcept {
  for (Index i = 0; i < args.rows; ++i) {
    const T* y = args.input + i * args.ld_input;
    T* grad = args.output + i * args.ld_output;
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      store_lanes(grad + j, gate<T, kKind>(load_lanes(grad + j, lanes), load_lanes(y + j, lanes), args.parameter),
                  lanes);
    });
  }
}

// Indexed by ActivationKind.
template <class T>
using ActivationKernel = void (*)(const ActivationArgs<T>&) noexcept;

template <class T>
constexpr ActivationKernel<T> kActivationForward[kActivationCount] = {
    activation_forward<T, ActivationKind::identity>, activation_forward<T, ActivationKind::relu>,
    activation_forward<T, ActivationKind::leaky_relu>, activation_forward<T, ActivationKind::tanh>,
    activation_forward<T, ActivationKind::sigmoid>};

template <class T>
constexpr ActivationKernel<T> kActivationBackward[kActivationCount] = {
    activation_backward<T, ActivationKind::identity>, activation_backward<T, ActivationKind::relu>,
    activation_backward<T, ActivationKind::leaky_relu>, activation_backward<T, ActivationKind::tanh>,
    activation_backward<T, ActivationKind::sigmoid>};
