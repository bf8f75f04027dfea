// Activations and their derivatives, elementwise. The derivative is computed from what `saves` names: the output y
// wherever it determines the derivative, so that a product's epilogue can overwrite its input, else the input x.
//
//   kind        f(x)                      saves  f'(x)                       source
//   relu        max(0, x)                 y      1 for y > 0, else 0         Glorot, Bordes & Bengio 2011, section 3
//   leaky_relu  x, slope*x for x < 0      y      1 for y > 0, else slope     Maas, Hannun & Ng 2013, eq. 2
//   tanh        tanh(x)                   y      1 - y^2                     LeCun et al. 1998, section 4.4
//   sigmoid     1 / (1 + exp(-x))         y      y * (1 - y)
//   elu         x, a*expm1(x) for x <= 0  y      1 for y > 0, else y + a     Clevert et al. 2016, section 3
//   gelu        x * Phi(x)                x      Phi(x) + x * phi(x)         Hendrycks & Gimpel 2016, eq. 1
//   silu        x * sigmoid(x)            x      s * (1 + x * (1 - s))       Elfwing 2018; Ramachandran 2017
//   softplus    log(1 + exp(x))           y      1 - exp(-y)                 Dugas et al. 2001; Glorot et al. 2011
//
// Phi and phi: the standard normal distribution function, exact by erfc, and density. s: sigmoid(x). slope and a, both
// >= 0, are `parameter`. Forward is within 3 ulp for every x (gelu: 8), but that silu is -0 where exp(-x) overflows
// (-2e-37 at x = -89 in float); derivatives, which have zeros, to a few ulp of 1. Limits at +-inf are exact.
// Memory-bound up to leaky_relu: 2 streams forward, 3 backward. The others are bound by arithmetic while in cache.

template <class T>
inline Vec<T> softplus(Vec<T> x) {
  // log(1 + exp(x)) without overflow, and without cancellation at either end.
  return maximum<T>(Vec<T>{}, x) + vector_log1p_of_fraction<T>(vector_exp<T>(-absolute<T>(x)));
}

// x * Phi(x) = max(x, 0) - |x| * (1 - Phi(|x|)): what is subtracted is at most half of x, so nothing cancels.
template <class T>
inline Vec<T> gelu(Vec<T> x) {
  const NormalTail<T> tail = normal_tail<T>(x);
  return maximum<T>(Vec<T>{}, x) - (tail.t * tail.ratio) * tail.density;
}

// The derivative d at -|x|; at |x| it is 1 - d.
template <class T>
inline Vec<T> gelu_derivative(Vec<T> x) {
  const T kInverseSqrtTwoPi = static_cast<T>(0.39894228040143267794);
  const NormalTail<T> tail = normal_tail<T>(x);
  const Vec<T> d = tail.density * (tail.ratio - tail.t * kInverseSqrtTwoPi);
  return x < T(0) ? d : T(1) - d;
}

// x is kept from -inf, where the quotient would be -inf / inf.
template <class T>
inline Vec<T> silu(Vec<T> x) {
  return maximum<T>(broadcast(ExpConstants<T>::kLowest), x) / (T(1) + vector_exp<T>(-x));
}

template <class T>
inline Vec<T> silu_derivative(Vec<T> x) {
  const T limit = -ExpConstants<T>::kLowest;
  const Vec<T> clamped = minimum<T>(broadcast(limit), maximum<T>(broadcast(-limit), x));
  const Vec<T> e = vector_exp<T>(-absolute<T>(clamped));
  const Vec<T> larger = T(1) / (T(1) + e), smaller = e * larger;  // sigmoid(|x|) and 1 - sigmoid(|x|)
  const auto negative = clamped < T(0);
  return (negative ? smaller : larger) * (T(1) + clamped * (negative ? larger : smaller));
}

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
  } else if constexpr (kKind == ActivationKind::elu) {
    return x > Vec<T>{} ? x : parameter * vector_expm1<T>(x);
  } else if constexpr (kKind == ActivationKind::gelu) {
    return gelu<T>(x);
  } else if constexpr (kKind == ActivationKind::silu) {
    return silu<T>(x);
  } else if constexpr (kKind == ActivationKind::softplus) {
    return softplus<T>(x);
  } else {
    static_assert(kKind == ActivationKind::identity);
    return x;
  }
}

// grad * f'(x), given what f saves: y = f(x), or x for gelu and silu.
template <class T, ActivationKind kKind>
inline Vec<T> gate(Vec<T> grad, [[maybe_unused]] Vec<T> saved, [[maybe_unused]] T parameter) {
  if constexpr (kKind == ActivationKind::relu) {
    return saved > Vec<T>{} ? grad : Vec<T>{};
  } else if constexpr (kKind == ActivationKind::leaky_relu) {
    return saved > Vec<T>{} ? grad : grad * parameter;
  } else if constexpr (kKind == ActivationKind::tanh) {
    return grad - grad * (saved * saved);
  } else if constexpr (kKind == ActivationKind::sigmoid) {
    return grad * (saved - saved * saved);
  } else if constexpr (kKind == ActivationKind::elu) {
    return saved > Vec<T>{} ? grad : grad * (saved + parameter);
  } else if constexpr (kKind == ActivationKind::gelu) {
    return grad * gelu_derivative<T>(saved);
  } else if constexpr (kKind == ActivationKind::silu) {
    return grad * silu_derivative<T>(saved);
  } else if constexpr (kKind == ActivationKind::softplus) {
    return -grad * vector_expm1<T>(-saved);
  } else {
    static_assert(kKind == ActivationKind::identity);
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
    const T* saved = args.input + i * args.ld_input;
    T* grad = args.output + i * args.ld_output;
    for_each_vector<T>(args.cols, [&](Index j, int lanes) {
      store_lanes(grad + j, gate<T, kKind>(load_lanes(grad + j, lanes), load_lanes(saved + j, lanes), args.parameter),
                  lanes);
    });
  }
}

// Indexed by ActivationKind.
template <class T>
using ActivationKernel = void (*)(const ActivationArgs<T>&) noexcept;

template <class T>
constexpr ActivationKernel<T> kActivationForward[kActivationCount] = {
    activation_forward<T, ActivationKind::identity>,   activation_forward<T, ActivationKind::relu>,
    activation_forward<T, ActivationKind::leaky_relu>, activation_forward<T, ActivationKind::tanh>,
    activation_forward<T, ActivationKind::sigmoid>,    activation_forward<T, ActivationKind::elu>,
    activation_forward<T, ActivationKind::gelu>,       activation_forward<T, ActivationKind::silu>,
    activation_forward<T, ActivationKind::softplus>};

template <class T>
constexpr ActivationKernel<T> kActivationBackward[kActivationCount] = {
    activation_backward<T, ActivationKind::identity>,   activation_backward<T, ActivationKind::relu>,
    activation_backward<T, ActivationKind::leaky_relu>, activation_backward<T, ActivationKind::tanh>,
    activation_backward<T, ActivationKind::sigmoid>,    activation_backward<T, ActivationKind::elu>,
    activation_backward<T, ActivationKind::gelu>,       activation_backward<T, ActivationKind::silu>,
    activation_backward<T, ActivationKind::softplus>};
