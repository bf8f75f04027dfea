// Reads the header of a safetensors file. Part of config_json.cpp, whose `read` it calls.

constexpr std::size_t kMostMemory = std::size_t{1} << 24;
constexpr std::size_t kMostTensors = 1'000'000;  // models of kMostLayers layers have half of them
constexpr std::size_t kMostDimensions = 64;
constexpr std::string_view kMetadataKey = "__metadata__";

TensorEntry read_tensor(const Json& value, const std::string& where, const std::string& name) {
  require_object(value, where);
  check_keys(value, where, {"dtype", "shape", "data_offsets"});
  TensorEntry entry{.name = name, .dtype = {}, .shape = {}};
  std::vector<Index> offsets;
  read(at(value, where, "dtype"), where + ".dtype", entry.dtype);
  if (const Json& shape = at(value, where, "shape"); shape.is_array() && shape.elements().size() > kMostDimensions) {
    throw_value_error(where + ".shape", "got " + std::to_string(shape.elements().size()) + " numbers",
                      "expected at most " + std::to_string(kMostDimensions), "check where it comes from");
  }
  read(at(value, where, "shape"), where + ".shape", entry.shape);
  read(at(value, where, "data_offsets"), where + ".data_offsets", offsets);
  if (offsets.size() != 2) {
    throw_value_error(where + ".data_offsets", "got " + std::to_string(offsets.size()) + " numbers",
                      "expected [begin, end]", "write the file again");
  }
  entry.begin = offsets[0];
  entry.end = offsets[1];
  return entry;
}

[[noreturn]] void refuse_second(std::string_view where, const std::string& name) {
  throw_value_error(where, "the key " + in_quotes(name) + " is there twice", "expected each key once",
                    "remove one of the two");
}

void check_names(const std::vector<TensorEntry>& tensors, std::string_view where) {
  std::vector<const std::string*> names;
  for (const TensorEntry& entry : tensors) names.push_back(&entry.name);
  std::sort(names.begin(), names.end(), [](const auto* a, const auto* b) { return *a < *b; });
  const auto second =
      std::adjacent_find(names.begin(), names.end(), [](const auto* a, const auto* b) { return *a == *b; });
  if (second != names.end()) refuse_second(where, **second);
}

// Each member is read as soon as it is complete, so that the text of a header takes no memory, only what it holds. Errors in a
// member are reported at the end, when the whole is known to be JSON with each key once.
TensorHeader read_header(ReadBytes bytes, const std::string& where, std::size_t memory) {
  const JsonLimits limits{
      .depth = 8, .memory = std::min(memory, kMostMemory), .when_deep = "check where it comes from"};
  TensorHeader header;
  std::optional<ValueError> mistake;
  bool has_metadata = false;
  TreeBuilder builder(where, limits, [&](std::string& name, Json& value) {
    const bool is_metadata = name == kMetadataKey;
    if (is_metadata && std::exchange(has_metadata, true)) refuse_second(where, name);
    if (header.tensors.size() == kMostTensors) {
      throw_value_error(where, "there are more than " + std::to_string(kMostTensors) + " tensors", "expected fewer",
                        "check where it comes from");
    }
    TensorEntry entry{.name = name, .dtype = {}, .shape = {}};
    if (!mistake) try {
        const std::string path = where + ": " + in_quotes(name);
        if (is_metadata) read(value, path, header.metadata);
        if (!is_metadata) entry = read_tensor(value, path, name);
      } catch (const ValueError& error) {
        mistake = error;
      }
    if (!is_metadata) header.tensors.push_back(std::move(entry));
  });
  read_json(std::move(bytes), where, builder);
  require_object(builder.root(), where);
  check_names(header.tensors, where);
  if (mistake) throw ValueError(*mistake);
  std::sort(header.tensors.begin(), header.tensors.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  return header;
}
