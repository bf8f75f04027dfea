// Matrix products per provider and form, on the slices that threads get of the workloads of stoop bench, and on cubes.
// Those of bfloat16 beside the peak of their own dot products.
// Name: gemm/<type>/<provider>/<form>/<workload>[/<threads>]:<m>x<n>x<k>. Checked against plain loops before timing.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "bench_support.hpp"
#include "cpu/gemm_blas.hpp"

namespace stoop::bench {
namespace {

enum class Provider { native, blas, amx_bf16, avx512_bf16 };  // the last two round operands to bfloat16

struct Product {
  GemmForm form;
  Index m, n, k;
  Index lda = 0, ldb = 0, ldc = 0;  // 0: contiguous
};

const char* name_of(Provider provider) {
  constexpr const char* kNames[] = {"native", "blas", "amx_bf16", "avx512_bf16"};
  return kNames[static_cast<int>(provider)];
}

bool rounds(Provider provider) { return provider == Provider::amx_bf16 || provider == Provider::avx512_bf16; }

const Bfloat16Table& bfloat16_of(Provider provider) {
  return bfloat16_table(provider == Provider::amx_bf16 ? Bfloat16Isa::amx_bf16 : Bfloat16Isa::avx512_bf16);
}

template <class T>
bool is_there(Provider provider) {
  if (provider == Provider::native) return true;
  if (provider == Provider::blas) return blas_available();
  const std::vector<Bfloat16Isa> ways = supported_bfloat16();
  return sizeof(T) == sizeof(float) && std::any_of(ways.begin(), ways.end(), [&](Bfloat16Isa way) {
           return name_of(provider) == std::string(name_of(way));
         });
}

template <class T>
Index scratch_elements(Provider provider, Index m, Index n, Index k) {
  return rounds(provider) ? bfloat16_of(provider).gemm_scratch_elements(m, n, k)
                          : active_table<T>().gemm_scratch_elements(m, n, k);
}

template <class T>
double peak_of(Provider provider) {
  return rounds(provider) ? dot_peak(bfloat16_of(provider)) : fma_peak<T>();
}

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
  } else if (rounds(provider)) {
    if constexpr (std::is_same_v<T, float>) bfloat16_of(provider).gemm(args);
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
bool is_right(const GemmArgs<T>& args, bool rounded) {
  constexpr Index kPoints = 5;
  const double of_a_term = rounded ? 0x1p-8 : sizeof(T) == 4 ? 1e-6 : 1e-14;
  const double tolerance = of_a_term * static_cast<double>(args.k);
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
  const auto [form, m, n, k, given_lda, given_ldb, given_ldc] = product;
  const Index lda = given_lda > 0 ? given_lda : (form == GemmForm::tn ? m : k);
  const Index ldb = given_ldb > 0 ? given_ldb : (form == GemmForm::nt ? k : n);
  const Index ldc = given_ldc > 0 ? given_ldc : n;
  const Array<T> a((form == GemmForm::tn ? k : m) * lda), b((form == GemmForm::nt ? n : k) * ldb);
  Array<T> c(m * ldc), scratch(scratch_elements<T>(provider, m, n, k));
  GemmArgs<T> args{};  // no epilogue
  args.form = form;
  args.m = m, args.n = n, args.k = k;
  args.a = a.data(), args.lda = lda;
  args.b = b.data(), args.ldb = ldb;
  args.c = c.data(), args.ldc = ldc;
  args.scratch = scratch.data();
  multiply(provider, args);
  if (!is_right(args, rounds(provider))) {
    state.SkipWithError("wrong product");
    return;
  }
  const double seconds = time_kernel(state, [&] { multiply(provider, args); });
  const double gflops = 2e-9 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) / seconds;
  state.counters["GFLOP/s"] = gflops;
  state.counters["share_of_peak"] = gflops / peak_of<T>(provider);
}

template <class T>
void add(const std::string& what, Product product) {
  for (const Provider provider : {Provider::native, Provider::blas, Provider::amx_bf16, Provider::avx512_bf16}) {
    if (!is_there<T>(provider)) continue;
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
    {"rl_tiny", 64, {8, 64, 64, 4}},           {"letter", 128, {16, 128, 128, 26}},
    {"mnist_plain", 128, {784, 512, 256, 10}}, {"wide", 512, {1024, 2048, 2048, 10}},
    {"deep", 256, {64, 128, 128, 10}},
};

// How far apart the rows of a buffer lie, as padded_stride in plan/builder.hpp has it, and the rows of a weight whose
// gradient is one product, as weight_block in plan/build_parameters.cpp.
Index buffer_stride(Index width) {
  const Index stride = (width + 15) / 16 * 16;
  return stride % 1024 == 0 ? stride + 16 : stride;
}

Index weight_rows(Index in, Index out) {
  const Index tile = in >= 32 ? 8 : 4;
  const Index even = ((in + 15) / 16 + tile - 1) / tile * tile;
  return std::min({even, std::max(tile, (Index{1} << 17) / out / tile * tile), in});
}

// The products of one layer of a step by a team of `threads`.
void add_layer(const Network& network, std::size_t layer, Index threads) {
  const Index in = network.widths[layer], out = network.widths[layer + 1], batch = network.batch_size;
  const bool by_columns = in * out >= Index{1} << 16 && in * out > batch * (in + out);
  const std::string name = std::string(network.name) + "/" + std::to_string(threads);
  const Index in_stride = buffer_stride(in), out_stride = buffer_stride(out);
  add<float>(name, {GemmForm::nn, by_columns ? batch : batch / threads, by_columns ? out / threads : out, in, in_stride,
                    out, out_stride});
  if (layer > 0) {
    add<float>(name, {GemmForm::nt, by_columns ? batch : batch / threads, by_columns ? in / threads : in, out,
                      out_stride, out, in_stride});
  }
  if (threads > 1) return;  // a block of a weight is the same for any team
  add<float>(network.name, {GemmForm::tn, weight_rows(in, out), out, batch, in_stride, out_stride, out});
}

}  // namespace

void register_gemm() {
  for (const Network& network : kNetworks) {
    for (std::size_t layer = 0; layer + 1 < network.widths.size(); ++layer) {
      for (const Index threads : {1, 2}) add_layer(network, layer, threads);
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
