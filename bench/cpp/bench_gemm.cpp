// Matrix products per provider and form, on the layers of the workloads of stoop bench and on cubes.
// Name: gemm/<type>/<provider>/<form>/<workload>:<m>x<n>x<k>. Checked against plain loops before it is timed.
#include <cmath>

#include "bench_support.hpp"
#include "cpu/gemm_blas.hpp"

namespace stoop::bench {
namespace {

enum class Provider { native, blas };

struct Product {
  GemmForm form;
  Index m, n, k;
};

const char* name_of(Provider provider) { return provider == Provider::native ? "native" : "blas"; }

const char* name_of(GemmForm form) {
  switch (form) {
    case GemmForm::nn:
      return "nn";
    case GemmForm::nt:
      return "nt";
    case GemmForm::tn:
      return "tn";
  }
  return "?";
}

template <class T>
void multiply(Provider provider, const GemmArgs<T>& args) {
  if (provider == Provider::blas) {
    blas_gemm(args);
  } else {
    active_table<T>().gemm(args);
  }
}

// Element (i, j) of op(a) @ op(b) in double.
template <class T>
double reference(const GemmArgs<T>& args, Index i, Index j) {
  double sum = 0.0;
  for (Index p = 0; p < args.k; ++p) {
    const T a = args.form == GemmForm::tn ? args.a[p * args.lda + i] : args.a[i * args.lda + p];
    const T b = args.form == GemmForm::nt ? args.b[j * args.ldb + p] : args.b[p * args.ldb + j];
    sum += static_cast<double>(a) * static_cast<double>(b);
  }
  return sum;
}

// Spot check of elements spread over c, edges included; operands are in [-1, 1).
template <class T>
bool is_right(const GemmArgs<T>& args) {
  constexpr Index kPoints = 5;
  const double tolerance = (sizeof(T) == 4 ? 1e-6 : 1e-14) * static_cast<double>(args.k);
  for (Index p = 0; p < kPoints; ++p) {
    for (Index q = 0; q < kPoints; ++q) {
      const Index i = (args.m - 1) * p / (kPoints - 1), j = (args.n - 1) * q / (kPoints - 1);
      const double difference = static_cast<double>(args.c[i * args.ldc + j]) - reference(args, i, j);
      if (!(std::fabs(difference) <= tolerance)) return false;  // true for NaN too
    }
  }
  return true;
}

template <class T>
void run_gemm(benchmark::State& state, Provider provider, Product product) {
  const auto [form, m, n, k] = product;
  const Array<T> a(m * k), b(k * n);
  Array<T> c(m * n), scratch(active_table<T>().gemm_scratch_elements(m, n, k));
  GemmArgs<T> args{};  // no epilogue
  args.form = form;
  args.m = m, args.n = n, args.k = k;
  args.a = a.data(), args.lda = form == GemmForm::tn ? m : k;
  args.b = b.data(), args.ldb = form == GemmForm::nt ? k : n;
  args.c = c.data(), args.ldc = n;
  args.scratch = scratch.data();
  multiply(provider, args);
  if (!is_right(args)) {
    state.SkipWithError("wrong product");
    return;
  }
  const double seconds = time_kernel(state, [&] { multiply(provider, args); });
  const double gflops = 2e-9 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) / seconds;
  state.counters["GFLOP/s"] = gflops;
  state.counters["share_of_peak"] = gflops / fma_peak<T>();
}

template <class T>
void add(const std::string& what, Product product) {
  for (const Provider provider : {Provider::native, Provider::blas}) {
    if (provider == Provider::blas && !blas_available()) continue;
    const std::string name = std::string("gemm/") + dtype_name<T>() + "/" + name_of(provider) + "/" +
                             name_of(product.form) + "/" + what + ":" + std::to_string(product.m) + "x" +
                             std::to_string(product.n) + "x" + std::to_string(product.k);
    benchmark::RegisterBenchmark(name.c_str(), run_gemm<T>, provider, product)->Unit(benchmark::kMicrosecond);
  }
}

struct Network {
  const char* name;
  Index batch_size;
  std::vector<Index> widths;  // equal layers once
};

const std::vector<Network> kNetworks = {
    {"rl_tiny", 64, {8, 64, 64, 4}},       {"letter", 128, {16, 128, 128, 26}}, {"mnist", 128, {784, 512, 256, 10}},
    {"wide", 512, {1024, 2048, 2048, 10}}, {"deep", 256, {64, 128, 128, 10}},
};

}  // namespace

void register_gemm() {
  for (const auto& [name, batch, widths] : kNetworks) {
    for (std::size_t i = 0; i + 1 < widths.size(); ++i) {
      const Index in = widths[i], out = widths[i + 1];
      add<float>(name, {GemmForm::nn, batch, out, in});             // forward
      if (i > 0) add<float>(name, {GemmForm::nt, batch, in, out});  // gradient of the input
      add<float>(name, {GemmForm::tn, in, out, batch});             // gradient of the weight
    }
  }
  for (const Index size : {64, 128, 2048}) {
    for (const GemmForm form : {GemmForm::nn, GemmForm::nt, GemmForm::tn}) {
      add<float>("cube", {form, size, size, size});
      add<double>("cube", {form, size, size, size});
    }
  }
}

}  // namespace stoop::bench
