// Ensemble<T>: checks, and one call of the core for all members. What the members say as a whole is computed for blocks of
// rows, so that the outputs of all of them need not fit into memory at once.

#include <stoop/ensemble.hpp>

#include <algorithm>
#include <string>
#include <utility>

#include <stoop/error.hpp>

#include "../base/memory.hpp"
#include "../data/checks.hpp"
#include "../data/code_checks.hpp"
#include "../graph/input_map.hpp"
#include "../run/device.hpp"
#include "summary.hpp"

namespace stoop::inline v0_1 {
namespace {

// Names the member by its number, and tells what it has and what member 0 has.
[[noreturn]] void refuse_member(std::string_view where, Index i, const std::string& has, const std::string& expected) {
  throw_value_error(where, "member " + std::to_string(i) + " has " + has, "expected " + expected + ", as member 0",
                    "members may differ in their layers only");
}

std::string output_text(const std::optional<OutputKind>& output) {
  return output ? "output " + in_quotes(std::string(name_of(*output))) : "no output, as before any training";
}

std::string classes_text(const std::optional<ClassNames>& classes) {
  if (!classes) return "classes without names";
  constexpr std::size_t kShown = 3;
  std::string names;
  for (std::size_t i = 0; i < std::min(kShown, classes->names.size()); ++i) {
    names += (i == 0 ? "" : ", ") + in_quotes(classes->names[i]);
  }
  return "classes " + names + (classes->names.size() > kShown ? ", ..." : "") + " of " + classes->dtype;
}

// Refuses outputs of members that overlap: either whole members lie one after the other, or their rows by turns.
template <class T>
void check_apart(std::string_view where, const MemberOutputs<T>& out) {
  const Index member = (out.rows - 1) * out.row_stride + out.cols;
  const Index row = (out.members - 1) * out.member_stride + out.cols;
  if (out.members == 1 || out.rows == 0 || out.member_stride >= member) return;
  if (out.member_stride >= out.cols && (out.rows == 1 || out.row_stride >= row)) return;
  throw_value_error(where,
                    "out has member_stride " + std::to_string(out.member_stride) + " and row_stride " +
                        std::to_string(out.row_stride) + ", so that members overlap",
                    "expected memory of its own for each", "leave both strides 0 for contiguous outputs");
}

template <class T>
std::vector<std::shared_ptr<Model<T>>> shared(std::vector<Model<T>> models) {
  std::vector<std::shared_ptr<Model<T>>> out;
  for (Model<T>& model : models) out.push_back(std::make_shared<Model<T>>(std::move(model)));
  return out;
}

}  // namespace

// One call for rows of x, with what becomes of the outputs. The arguments of all members are made on demand, because any
// number of calls may run at once.
template <class T>
class MembersCall final : public Networks<T> {
 public:
  MembersCall(const std::vector<std::shared_ptr<Model<T>>>& members, const InputView& x, const MemberOutputs<T>& out,
              Poller* poller)
      : members_(members), x_(x), out_(out), poller_(poller) {}

  void reduce_to(const Summary<T>* summary) { summary_ = summary; }

  Index size() const override { return static_cast<Index>(members_.size()); }
  const InferenceExecutor<T>& executor(Index i) const override { return model(i).inference(); }
  InferenceRun<T> run(Index i) const override {
    InferenceRun<T> run = model(i).inference_run(x_);
    run.out = {out_.data + i * out_.member_stride, out_.rows, out_.cols, out_.row_stride};
    run.poller = poller_;
    return run;
  }
  // Throws if a member has no statistics for its Normalization, or if x holds numbers that not all members take.
  void check(std::string_view where) const {
    for (Index i = 0; i < size(); ++i) check_adapted(where, run(i).data.map, model(i).input_dim());
    if (x_.rows > 0) check_samples<T>(where, x_, model(0).input_dim(), poller_, missing());
    for (Index i = 0; i < size(); ++i) {
      const InputMap<T> map = run(i).data.map;
      if (map.columns != nullptr) {
        check_codes(where, x_, {map.columns, static_cast<std::size_t>(model(i).input_dim())});
      }
    }
  }
  MissingValues missing() const {
    for (Index i = 0; i < size(); ++i) {
      if (run(i).data.map.missing == nullptr) return MissingValues::error;
    }
    return MissingValues::mean;
  }
  bool reduces() const override { return summary_ != nullptr; }
  void reduce(Range rows) const noexcept override { summary_->take(out_, rows); }

 private:
  const Model<T>& model(Index i) const { return *members_[static_cast<std::size_t>(i)]; }

  const std::vector<std::shared_ptr<Model<T>>>& members_;
  const InputView x_;
  const MemberOutputs<T> out_;
  Poller* const poller_;
  const Summary<T>* summary_ = nullptr;
};

namespace {

// Takes the rows through all members, and throws what went wrong. `first` is the number of the first row, for the message.
template <class T>
void infer(std::string_view where, const MembersCall<T>& call, const InputView& x, Index first) {
  const InferenceResult result = infer_members(call);
  if (result.interrupted) throw_interrupted(where);
  refuse_bad_row<T>(where, x, result.non_finite_row == kNone ? kNone : first + result.non_finite_row, call.missing());
}

InputView rows_of(const InputView& x, Range rows) {
  InputView part = x;
  part.data = x.row(rows.begin);
  part.rows = rows.end - rows.begin;
  return part;
}

// Summarises blocks of rows.
template <class T>
void summarize(std::string_view where, const std::vector<std::shared_ptr<Model<T>>>& members, const InputView& x,
               Summary<T> summary, const KeepGoing& keep_going) {
  constexpr Index kMostBytes = Index{1} << 24;  // of the outputs of a block
  Poller poller(keep_going);
  Poller* const asked = keep_going ? &poller : nullptr;
  MembersCall<T>(members, x, {}, asked).check(where);
  const Index size = static_cast<Index>(members.size()), cols = members[0]->output_dim();
  const Index most = std::max<Index>(kMostBytes / (size * cols * Index{sizeof(T)}), kRowBlock);
  AlignedBuffer<T> outputs;
  for (Index begin = 0; begin < x.rows; begin += most) {
    const Range rows{begin, std::min(begin + most, x.rows)};
    const Index count = rows.end - rows.begin;
    if (begin == 0) outputs.reset_untouched(size * count * cols);
    const MemberOutputs<T> out{outputs.data(), size, count, cols, count * cols, cols};
    MembersCall<T> call(members, rows_of(x, rows), out, asked);
    const Summary<T> of_block = summary.from(begin);
    call.reduce_to(&of_block);
    infer(where, call, x, begin);
  }
}

}  // namespace

template <class T>
Ensemble<T>::Ensemble(std::vector<Model<T>> members) : Ensemble(shared(std::move(members))) {}
template <class T>
Ensemble<T>::Ensemble(std::vector<std::shared_ptr<Model<T>>> members) : members_(std::move(members)) {
  constexpr const char* kWhere = "Ensemble";
  if (members_.empty()) throw_value_error(kWhere, "there is no model", "expected at least one", "give trained models");
  for (Index i = 0; i < size(); ++i) {
    if (members_[static_cast<std::size_t>(i)] == nullptr) {
      throw_value_error(kWhere, "member " + std::to_string(i) + " is null", "expected a model", "make it first");
    }
  }
  check_alike(kWhere);
}
template <class T>
Ensemble<T>::Ensemble(Ensemble&& other) noexcept = default;
template <class T>
Ensemble<T>& Ensemble<T>::operator=(Ensemble&& other) noexcept = default;
template <class T>
Ensemble<T>::~Ensemble() = default;

// Whoever shares a member may have put another model in its place since.
template <class T>
void Ensemble<T>::check_sizes(std::string_view where) const {
  const auto text = [](Index count, const char* what) {
    return std::to_string(count) + ' ' + what + (count == 1 ? "" : "s");
  };
  const Model<T>& first = (*this)[0];
  for (Index i = 1; i < size(); ++i) {
    const Model<T>& other = (*this)[i];
    if (other.input_dim() != first.input_dim())
      refuse_member(where, i, text(other.input_dim(), "input"), text(first.input_dim(), "input"));
    if (other.output_dim() != first.output_dim())
      refuse_member(where, i, text(other.output_dim(), "output"), text(first.output_dim(), "output"));
  }
}

// The same holds for what its outputs mean.
template <class T>
void Ensemble<T>::check_alike(std::string_view where) const {
  check_sizes(where);
  const ModelConfig first = (*this)[0].config_now();
  for (Index i = 1; i < size(); ++i) {
    const ModelConfig other = (*this)[i].config_now();
    if (other.output != first.output) refuse_member(where, i, output_text(other.output), output_text(first.output));
    if (other.classes != first.classes)
      refuse_member(where, i, classes_text(other.classes), classes_text(first.classes));
  }
}

template <class T>
Index Ensemble<T>::size() const {
  return static_cast<Index>(members_.size());
}
template <class T>
Index Ensemble<T>::input_dim() const {
  return members_[0]->input_dim();
}
template <class T>
Index Ensemble<T>::output_dim() const {
  return members_[0]->output_dim();
}
template <class T>
Model<T>& Ensemble<T>::operator[](Index i) {
  return *members_[static_cast<std::size_t>(i)];
}
template <class T>
const Model<T>& Ensemble<T>::operator[](Index i) const {
  return *members_[static_cast<std::size_t>(i)];
}

template <class T>
void Ensemble<T>::predict(const InputView& x, const MemberOutputs<T>& out, const KeepGoing& keep_going) const {
  constexpr const char* kWhere = "Ensemble.predict";
  check_sizes(kWhere);
  Poller poller(keep_going);
  Poller* const asked = keep_going ? &poller : nullptr;
  MembersCall<T>(members_, x, out, asked).check(kWhere);
  if (out.members != size()) {
    throw_value_error(kWhere, "out is for " + std::to_string(out.members) + " members",
                      "expected " + std::to_string(size()), "give a matrix of outputs for each member");
  }
  MemberOutputs<T> written = out;
  if (written.row_stride == 0) written.row_stride = out.cols;
  if (written.member_stride == 0) written.member_stride = out.rows * written.row_stride;
  check_view(kWhere, "out", MatrixView<T>{out.data, out.rows, out.cols, written.row_stride}, x.rows, output_dim());
  check_apart(kWhere, written);
  if (x.rows == 0) return;
  infer(kWhere, MembersCall<T>(members_, x, written, asked), x, 0);
}

template <class T>
void Ensemble<T>::predict_mean(const InputView& x, MatrixView<T> mean, MatrixView<T> deviation,
                               const KeepGoing& keep_going) const {
  constexpr const char* kWhere = "Ensemble.predict_mean";
  check_sizes(kWhere);
  check_view(kWhere, "mean", mean, x.rows, output_dim());
  if (deviation.data != nullptr) check_view(kWhere, "deviation", deviation, x.rows, output_dim());
  summarize(kWhere, members_, x, Summary<T>(SummaryKind::outputs, mean, deviation), keep_going);
}

template <class T>
Index Ensemble<T>::probability_columns() const {
  return members_[0]->output() == OutputKind::sigmoid && output_dim() == 1 ? 2 : output_dim();
}

template <class T>
void Ensemble<T>::predict_proba(const InputView& x, MatrixView<T> mean, MatrixView<T> deviation,
                                const KeepGoing& keep_going) const {
  constexpr const char* kWhere = "Ensemble.predict_proba";
  check_alike(kWhere);
  const std::optional<OutputKind> output = members_[0]->output();
  if (output == OutputKind::identity) {
    throw_value_error(kWhere, "the outputs are values, by the loss of the training or as set",
                      "expected logits of classes",
                      "use predict_mean, or set the output of each model if they are logits");
  }
  const Index cols = probability_columns();
  check_view(kWhere, "mean", mean, x.rows, cols);
  if (deviation.data != nullptr) check_view(kWhere, "deviation", deviation, x.rows, cols);
  const bool is_softmax =
      output.value_or(output_dim() == 1 ? OutputKind::sigmoid : OutputKind::softmax) == OutputKind::softmax;
  const SummaryKind kind = is_softmax             ? SummaryKind::softmax
                           : cols != output_dim() ? SummaryKind::two_classes
                                                  : SummaryKind::sigmoid;
  summarize(kWhere, members_, x, Summary<T>(kind, mean, deviation), keep_going);
}

template <class T>
void Ensemble<T>::predict_gaussian(const InputView& x, MatrixView<T> mean, MatrixView<T> variance,
                                   const KeepGoing& keep_going) const {
  constexpr const char* kWhere = "Ensemble.predict_gaussian";
  check_alike(kWhere);
  const std::optional<OutputKind> output = members_[0]->output();
  if (output.value_or(OutputKind::identity) != OutputKind::identity || output_dim() % 2 != 0) {
    throw_value_error(kWhere, "the models have " + std::to_string(output_dim()) + " outputs and " + output_text(output),
                      "expected means and as many log variances of each",
                      "train the models with the loss GaussianNLL, or use predict_mean or predict_proba");
  }
  check_view(kWhere, "mean", mean, x.rows, output_dim() / 2);
  check_view(kWhere, "variance", variance, x.rows, output_dim() / 2);
  summarize(kWhere, members_, x, Summary<T>(SummaryKind::gaussian, mean, variance), keep_going);
}

template class Ensemble<float>;
template class Ensemble<double>;

}  // namespace stoop
