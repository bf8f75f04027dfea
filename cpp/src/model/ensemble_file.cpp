// Saves and loads an ensemble as one safetensors file. The tensors of member i are those of a model's file with "i." before
// their names, its architecture is in the metadata under "stoop.member.i", and "stoop.ensemble" says how many there are.

#include <charconv>
#include <map>
#include <string>
#include <utility>

#include <stoop/ensemble.hpp>
#include <stoop/error.hpp>

#include "../io/asking.hpp"
#include "../io/config_json.hpp"
#include "../io/safetensors.hpp"
#include "model_file.hpp"

namespace stoop::inline v0_1 {
namespace {

constexpr const char* kLoad = "load_ensemble";
// What a member takes beside its layers: most of it, where it is small.
constexpr std::size_t kMemoryOfAMember = 4096;

FilePart part_of(const TensorFile& file, const TensorsByName& tensors, Index i = 0) {
  return {file, tensors, "stoop.member." + std::to_string(i), std::to_string(i) + '.', kLoad, "Ensemble.save"};
}

Index member_count(const FilePart& part) {
  const std::map<std::string, std::string>& metadata = part.file.metadata();
  const auto found = metadata.find(kEnsembleKey);
  if (found == metadata.end() && metadata.contains(kModelKey)) {
    throw_checkpoint_error(kLoad, part.file.name() + " holds one model", "expected an ensemble",
                           "read it with load_model");
  }
  if (found == metadata.end()) {
    refuse(part, "has no stoop ensemble in its metadata", "expected a file written by Ensemble.save");
  }
  Index count = 0;
  const std::string& text = found->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || end != text.data() + text.size() || count < 1) {
    refuse(part, "says that it has " + in_quotes(text) + " members", "expected a number from 1 on");
  }
  const auto most = static_cast<Index>(*part.file.memory_of_texts() / kMemoryOfAMember);
  if (count > most) {
    refuse(part, "says that it has " + in_quotes(text) + " members",
           "expected at most " + std::to_string(most) + " in a file of its size");
  }
  return count;
}

template <class T>
Ensemble<T> read_ensemble(const TensorFile& file) {
  TensorsByName tensors;
  const FilePart whole = part_of(file, tensors);
  const Index count = member_count(whole);
  file.take_memory(kMemoryOfAMember * static_cast<std::size_t>(count));
  tensors = tensors_by_name(whole);
  std::vector<Model<T>> members;
  std::size_t read = 0;
  for (Index i = 0; i < count; ++i) {
    members.push_back(read_part<T>(part_of(file, tensors, i)));
    read += members.back().parameter_infos().size() + members.back().buffer_infos().size();
  }
  if (read != tensors.size()) {
    refuse(whole, "has " + std::to_string(tensors.size()) + " tensors", "expected " + std::to_string(read));
  }
  try {
    return Ensemble<T>(std::move(members));
  } catch (const ValueError& error) {
    refuse(whole, std::string("has members that do not fit together: ") + error.what(),
           "expected those of one ensemble");
  }
}

}  // namespace

template <class T>
void Ensemble<T>::save(const std::filesystem::path& path, const KeepGoing& keep_going) const {
  constexpr const char* kWhere = "Ensemble.save";
  check_alike(kWhere);
  const Asking asking(keep_going, kWhere);
  std::vector<TensorToSave> tensors;
  std::map<std::string, std::string> metadata = {{kFormatKey, kFormat}, {kEnsembleKey, std::to_string(size())}};
  std::size_t memory = 0;
  for (Index i = 0; i < size(); ++i) {
    const Model<T>& member = (*this)[i];
    const ModelConfig config = member.config_now();
    const std::string prefix = std::to_string(i) + '.';
    add_tensors(tensors, prefix, member.parameter_infos(), member.parameter_block().data());
    add_tensors(tensors, prefix, member.buffer_infos(), member.buffer_block().data());
    metadata["stoop.member." + std::to_string(i)] = to_json(config);
    memory += kMemoryOfAMember + memory_of_metadata(config);
  }
  save_tensors(path, tensors, metadata, memory);
}

template <class T>
Ensemble<T> Ensemble<T>::load(const std::filesystem::path& path, const KeepGoing& keep_going) {
  const Asking asking(keep_going, kLoad);
  return read_ensemble<T>(TensorFile(path));
}

std::variant<Ensemble<float>, Ensemble<double>> load_ensemble(const std::filesystem::path& path,
                                                              const KeepGoing& keep_going) {
  const Asking asking(keep_going, kLoad);
  const TensorFile file(path);
  const TensorsByName none;
  const FilePart whole = part_of(file, none);
  member_count(whole);
  if (dtype_of(whole) == DType::float32) return read_ensemble<float>(file);
  return read_ensemble<double>(file);
}

template void Ensemble<float>::save(const std::filesystem::path&, const KeepGoing&) const;
template void Ensemble<double>::save(const std::filesystem::path&, const KeepGoing&) const;
template Ensemble<float> Ensemble<float>::load(const std::filesystem::path&, const KeepGoing&);
template Ensemble<double> Ensemble<double>::load(const std::filesystem::path&, const KeepGoing&);

}  // namespace stoop
