// exp, tanh and the logistic function on vectors, after Cody & Waite (1980): x = n*ln2 + r with |r| <= ln2/2,
// expm1(r) by its Taylor polynomial (degree 7 in float, 13 in double: remainder under half an ulp), then scaling by 2^n.
// Limits are exact: exp(-inf) = 0, exp(+inf) = inf, tanh(+-inf) = +-1; NaN stays NaN.

template <class T>
struct ExpConstants;
template <>
struct ExpConstants<float> {
  static constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to the nearest integer
  static constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  static constexpr float kLowest = -104.0f, kHighest = 89.0f;  // outside, the result is 0 or inf
  static constexpr float kTanhLimit = 10.0f;                   // beyond, tanh rounds to 1
  static constexpr int kMantissaBits = 23, kBias = 127;
};
template <>
struct ExpConstants<double> {
  static constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double kLn2High = 6.93147180369123816490e-01, kLn2Low = 1.90821492927058770002e-10;
  static constexpr double kLowest = -746.0, kHighest = 710.0;
  static constexpr double kTanhLimit = 20.0;
  static constexpr int kMantissaBits = 52, kBias = 1023;
};

// expm1 on |r| <= ln2/2 by Horner's rule.
template <class T>
inline Vec<T> expm1_polynomial(Vec<T> r) {
  // 1/k! from the highest degree down to 1/2!.
  constexpr double kInverseFactorials[] = {1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0,
                                           1.0 / 362880.0,     1.0 / 40320.0,     1.0 / 5040.0,     1.0 / 720.0,
                                           1.0 / 120.0,        1.0 / 24.0,        1.0 / 6.0,        0.5};
  constexpr int kTerms = 12, kFirst = sizeof(T) == 4 ? 6 : 0;
  Vec<T> p = broadcast(static_cast<T>(kInverseFactorials[kFirst]));
  STOOP_UNROLL
  for (int i = kFirst + 1; i < kTerms; ++i) p = p * r + static_cast<T>(kInverseFactorials[i]);
  return p * (r * r) + r;
}

// x split into r and n, n as a float and in the integer bits of `bits`.
template <class T>
struct Reduced {
  Vec<T> r, n;
};

template <class T>
inline Reduced<T> reduce_by_ln2(Vec<T> x) {
  using C = ExpConstants<T>;
  const Vec<T> n = (x * static_cast<T>(1.44269504088896340736) + C::kRound) - C::kRound;
  return {(x - n * C::kLn2High) - n * C::kLn2Low, n};
}

// 2^n for an integer-valued n in the range of normal numbers.
template <class T>
inline Vec<T> power_of_two(Vec<T> n) {
  using C = ExpConstants<T>;
  const Vec<T> shifted = n + (C::kRound + static_cast<T>(C::kBias));
  return (Vec<T>)((IntVec<T>)shifted << C::kMantissaBits);
}

template <class T>
inline Vec<T> vector_exp(Vec<T> x) {
  using C = ExpConstants<T>;
  x = minimum<T>(broadcast(C::kHighest), maximum<T>(broadcast(C::kLowest), x));
  const Reduced<T> s = reduce_by_ln2<T>(x);
  const Vec<T> one_plus = expm1_polynomial<T>(s.r) + T(1);
  // In two factors, because 2^n alone leaves the normal range at both ends.
  const Vec<T> half = (s.n * T(0.5) + C::kRound) - C::kRound;
  return (one_plus * power_of_two<T>(half)) * power_of_two<T>(s.n - half);
}

// tanh(x) = e / (e + 2) with e = expm1(2x), which keeps full relative precision near zero.
template <class T>
inline Vec<T> vector_tanh(Vec<T> x) {
  using C = ExpConstants<T>;
  x = minimum<T>(broadcast(C::kTanhLimit), maximum<T>(broadcast(-C::kTanhLimit), x));
  const Reduced<T> s = reduce_by_ln2<T>(x + x);
  const Vec<T> scale = power_of_two<T>(s.n);
  const Vec<T> e = scale * expm1_polynomial<T>(s.r) + (scale - T(1));
  return e / (e + T(2));
}

template <class T>
inline Vec<T> vector_sigmoid(Vec<T> x) {
  return T(1) / (T(1) + vector_exp<T>(-x));
}
