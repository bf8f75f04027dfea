// Samples as they are stored, through Trainer<T> and Model<T>: bytes, other floats, strides, mapped matrices. The bits
// are those of a matrix of T that was converted first.
#include <gtest/gtest.h>
#if defined(__linux__)
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

#include <cmath>
#include <string>

#include <stoop/error.hpp>
#include <stoop/trainer.hpp>

#include "data/read_ahead.hpp"
#include "test_helpers.hpp"

namespace stoop {
namespace {

template <class T>
class Inputs : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Inputs, ElementTypes);

constexpr Index kRows = 90, kCols = 21, kStride = 26;
constexpr double kScale = 2.0 / 255.0, kShift = -0.9;

std::vector<std::int32_t> classes() {
  std::vector<std::int32_t> y;
  for (std::int32_t i = 0; i < kRows; ++i) y.push_back(i % 3);
  return y;
}

template <class From>
std::vector<From> stored() {
  std::vector<From> values(static_cast<std::size_t>(kRows * kStride));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<From>(i * i % 251 + (sizeof(From) > 1) * 0.3);
  return values;
}

template <class From>
InputView view(const std::vector<From>& values, bool mapped = false) {
  InputView x = MatrixView<const From>{values.data(), kRows, kCols, kStride};
  x.mapped = mapped;
  return x;
}

ModelConfig config_with(double scale, double shift) {
  return {.input_dim = kCols,
          .layers = {Dense{9}, BatchNorm{}, ReLU{}, Dense{3}},
          .seed = 2,
          .input_scale = scale,
          .input_shift = shift};
}

// The results of a fit, and of all calls of the model after it.
template <class T>
std::vector<T> trained(Model<T> model, const InputView& x, int threads, bool shuffle) {
  const std::vector<std::int32_t> y = classes();
  Trainer<T> trainer(model, {.num_threads = threads});
  trainer.fit(x, y, {.epochs = 2, .batch_size = 16, .shuffle = shuffle});
  std::vector<T> out = parameters_of(model), gradient(out.size()), predictions(kRows * 3);
  out.push_back(static_cast<T>(trainer.loss_and_grad(x, y, gradient)));
  out.push_back(static_cast<T>(trainer.evaluate(x, y).loss));
  out.push_back(static_cast<T>(trainer.step(x, y)));
  model.predict(x, matrix(predictions.data(), kRows, 3));
  out.insert(out.end(), gradient.begin(), gradient.end());
  out.insert(out.end(), predictions.begin(), predictions.end());
  return out;
}

template <class T, class From>
void expect_bits_of_converting_first() {
  const std::vector<From> values = stored<From>();
  std::vector<T> converted, scaled;
  for (const From value : values) {
    converted.push_back(static_cast<T>(value));
    scaled.push_back(std::fma(static_cast<T>(value), static_cast<T>(kScale), static_cast<T>(kShift)));
  }
  const Model<T> plain(config_with(1.0, 0.0)), scaling(config_with(kScale, kShift));
  for (const int threads : {1, 3}) {
    for (const bool shuffle : {true, false}) {
      for (const bool mapped : {true, false}) {
        EXPECT_TRUE(same_bits<T>(trained(plain, view(values, mapped), threads, shuffle),
                                 trained(plain, view(converted), 1, shuffle)));
        EXPECT_TRUE(same_bits<T>(trained(scaling, view(values, mapped), threads, shuffle),
                                 trained(plain, view(scaled), 1, shuffle)));
      }
    }
  }
}

TYPED_TEST(Inputs, EveryStoredTypeGivesTheBitsOfConvertingFirst) {
  expect_bits_of_converting_first<TypeParam, std::uint8_t>();
  expect_bits_of_converting_first<TypeParam, float>();
  expect_bits_of_converting_first<TypeParam, double>();
}

// The first bad row of the batch that meets one is named, whoever of the team reads it; the updates before it stay.
TYPED_TEST(Inputs, AMappedMatrixIsCheckedAsItsRowsAreRead) {
  using T = TypeParam;
  std::vector<T> values = stored<T>();
  for (const Index row : {70, 53, 61}) values[static_cast<std::size_t>(row * kStride + 4)] = kInfinity<T>;
  const std::vector<std::int32_t> y = classes();
  const ModelConfig config{.input_dim = kCols, .layers = {Dense{3}}};
  for (const int threads : {1, 2, 3}) {
    Model<T> model(config), twin(config);
    Trainer<T> trainer(model, {.num_threads = threads}), until_then(twin);
    try {
      trainer.fit(view(values, true), y, {.batch_size = 16, .shuffle = false});
      ADD_FAILURE() << "not noticed";
    } catch (const ValueError& error) {
      EXPECT_NE(std::string(error.what()).find("an infinity at row 53, column 4"), std::string::npos) << error.what();
    }
    InputView before = view(values);
    before.rows = 48;
    until_then.fit(before, std::span(y).first(48), {.batch_size = 16, .shuffle = false});
    EXPECT_TRUE(same_bits<T>(model.parameter_block(), twin.parameter_block())) << threads << " threads";
    EXPECT_EQ(trainer.steps(), 3);
  }
}

#if defined(__linux__)

// A file of 64 MB in memory that none of has been read yet, where the file system can be told to forget it.
class MappedFile {
 public:
  static constexpr Index kRows = 8192, kCols = 8192;

  MappedFile() {
    const std::vector<char> zeros(1 << 20);
    const int file = open(kPath, O_RDWR | O_CREAT | O_TRUNC, 0600);
    for (int i = 0; i < 64; ++i) EXPECT_EQ(write(file, zeros.data(), zeros.size()), 1 << 20);
    EXPECT_EQ(fsync(file), 0);
    EXPECT_EQ(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED), 0);
    memory_ = mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    unlink(kPath);
    forgets_ = resident(0, kRows) == 0 && sysconf(_SC_PAGESIZE) <= kCols;
  }
  ~MappedFile() { munmap(memory_, kBytes); }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  InputView view() const {
    InputView x = matrix(static_cast<const std::uint8_t*>(memory_), kRows, kCols);
    x.mapped = true;
    return x;
  }
  bool forgets() const { return forgets_; }

  // Rows of [begin, end), of the order if one is given, that are in memory.
  Index resident(Index begin, Index end, const std::vector<std::int32_t>* order = nullptr) const {
    const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    std::vector<unsigned char> pages(kBytes / page);
    EXPECT_EQ(mincore(memory_, kBytes, pages.data()), 0);
    Index count = 0;
    for (Index i = begin; i < end; ++i) {
      const std::size_t row = static_cast<std::size_t>(order == nullptr ? i : (*order)[static_cast<std::size_t>(i)]);
      count += (pages[row * kCols / page] & 1) && (pages[(row * kCols + kCols - 1) / page] & 1);
    }
    return count;
  }
  // Reading goes on after the request.
  bool becomes_resident(Index begin, Index end, const std::vector<std::int32_t>* order = nullptr) const {
    for (int tries = 0; tries < 500; ++tries) {
      if (resident(begin, end, order) == end - begin) return true;
      usleep(10000);
    }
    return false;
  }

 private:
  static constexpr const char* kPath = "test_input.tmp";
  static constexpr std::size_t kBytes = kRows * kCols;
  void* memory_;
  bool forgets_;
};

// Requests are advice, which a busy kernel may refuse: of three files one must be read as asked.
template <class Body>
void expect_on_one_of_three(Body body) {
  for (int i = 0; i < 3; ++i) {
    if (body(MappedFile())) return;
  }
  FAIL() << "what was asked for is not in memory";
}

TEST(ReadAhead, InSequenceTheNextRowsAreAskedFor) {
  expect_on_one_of_three([](const MappedFile& file) {
    const Index ahead = rows_ahead(file.view(), false);
    EXPECT_LT(4 * ahead, 3 * MappedFile::kRows);
    ReadAhead pages;
    pages.start(file.view(), nullptr, MappedFile::kRows);
    pages.ask(0, 100, 0, 2);
    if (!file.becomes_resident(0, ahead)) return false;
    EXPECT_TRUE(!file.forgets() || file.resident(ahead + 200, MappedFile::kRows) == 0);
    pages.advance(100);
    pages.ask(100, ahead, 1, 2);  // not this thread's
    EXPECT_TRUE(!file.forgets() || file.resident(ahead + 200, MappedFile::kRows) == 0);
    pages.ask(100, ahead, 0, 2);
    return file.becomes_resident(ahead, 2 * ahead - 200);
  });
}

TEST(ReadAhead, InAnyOrderTheRowsOfTheNextBatchesAreAskedForOneByOne) {
  std::vector<std::int32_t> order(MappedFile::kRows);
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int32_t>(i * 2731 % order.size());
  expect_on_one_of_three([&](const MappedFile& file) {
    const Index ahead = rows_ahead(file.view(), true), batch = 100;
    ReadAhead pages(0);
    pages.start(file.view(), order.data(), MappedFile::kRows);
    for (int thread = 0; thread < 3; ++thread) pages.ask(0, batch, thread, 3);
    if (!file.becomes_resident(0, batch + ahead, &order)) return false;
    EXPECT_TRUE(!file.forgets() || file.resident(batch + ahead, MappedFile::kRows, &order) == 0);
    for (Index end = batch; end < MappedFile::kRows; end += batch) {
      pages.advance(end);
      pages.ask(end, end + batch, 0, 1);
    }
    return file.becomes_resident(0, MappedFile::kRows, &order);
  });
}

TEST(ReadAhead, AFileThatFitsIntoMemoryIsReadThroughBesideTheFirstBatches) {
  std::vector<std::int32_t> order(MappedFile::kRows);
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int32_t>(i);
  expect_on_one_of_three([&](const MappedFile& file) {
    ReadAhead pages(MappedFile::kRows * MappedFile::kCols);
    pages.start(file.view(), order.data(), MappedFile::kRows);
    for (int thread = 0; thread < 2; ++thread) pages.ask(0, 100, thread, 2);
    return file.becomes_resident(0, MappedFile::kRows);
  });
}

#endif

}  // namespace
}  // namespace stoop
